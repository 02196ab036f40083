"""Memory and floating-point operations of training at the papers' sizes, counted on the pretended accelerator.

    PYTHONPATH=. python tests/gpu_estimate.py CASE...

Nothing is measured on a GPU: operations are counted, tensors that live at the same time are added up, and hours follow
from a stated share of a GPU's dense bf16 rate. Prints one JSON object: `docs/gpu.md` is made of it.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import torch
from elsewhere import NAME, pretended, register
from elsewhere_recipes import UNTRAINED, Built, Values, _set, build, trainer_of
from lightning.pytorch import Callback, Trainer
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

from lightning_modules.codec_training import CodecTraining

WARM, COUNTED = 2, 2
"""Batches: optimisers have their state after the first ones; of the others one has a gradient penalty."""

CODEC = "--model.init_args.codec"
SMALL = (
    *(CODEC, "livejam.codecs.CausalCodec", f"{CODEC}.init_args.latent_channels", "64"),
    *_set(**{"generator.prompt_encoder": "livejam.networks.TagEncoder", "generator.prompt_encoder.width": "768"}),
    *_set(**{"generator.prompt_encoder.longest": "64"}),
)
"""A codec and an encoder of prompts of the published shapes in the place of published weights; neither is trained."""
EAGER = _set(compile_generator="false")
JUDGE = _set(
    **{
        "discriminator.base.prompt_encoder": "livejam.networks.TagEncoder",
        "discriminator.base.prompt_encoder.width": "768",
        "discriminator.base.prompt_encoder.longest": "64",
    }
)
ROLLOUTS = (*SMALL, *JUDGE, *UNTRAINED, *_set(base_checkpoint="null", discriminator_checkpoint="null"))

PAPER: dict[str, tuple[str, ...]] = {
    "liveband/slakh": (*EAGER, *_set(penalty_every="2")),
    "lmdm/encdec_sao_small": (*SMALL, *EAGER),
    "lmdm/blockcausal_sao_small": (*SMALL, *EAGER),
    "lmdm/arc_forcing_text_encdec": ROLLOUTS,
    "lmdm/arc_forcing_text_blockcausal": ROLLOUTS,
    "lmdm/arc_forcing_jam_blockcausal": ROLLOUTS,
    "lmdm/arc_forcing_discriminator_warmup": SMALL,
    "lookahead/slakh": (*EAGER, CODEC, "livejam.codecs.CausalCodec", f"{CODEC}.init_args.latent_channels", "64"),
    "lookahead/consistency_slakh": (
        *(*UNTRAINED, *_set(teacher_checkpoint="null")),
        *(CODEC, "livejam.codecs.CausalCodec", f"{CODEC}.init_args.latent_channels", "64"),
    ),
    "codec/slakh": (
        *_set(magnitude_steps="1", **{"adversary.init_args.start_iteration": "1"}),
        *_set(**{"adversary.init_args.penalty_every": "2"}),
    ),
}


aten = torch.ops.aten
FLOPS: dict[Any, Callable[..., int]] = {
    **flop_registry,
    aten._scaled_dot_product_fused_attention_overrideable: lambda q, k, v, *rest, **_: sdpa_flop_count(
        q.shape, k.shape, v.shape
    ),
    aten._scaled_dot_product_fused_attention_overrideable_backward: lambda grad, q, k, v, *rest, **_: (
        sdpa_backward_flop_count(grad.shape, q.shape, k.shape, v.shape)
    ),
}
"""Operation → its floating-point operations: torch's own formulas, and its attention under the device's name."""


class Costs(TorchDispatchMode):
    """Bytes of the device's tensors that are alive, now and at most, and floating-point operations so far."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.most = self.flops = 0
        self.known: dict[int, weakref.ref[Any]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.device.type == NAME:
                self.see(tensor)
        if func._overloadpacket in FLOPS:
            self.flops += FLOPS[func._overloadpacket](*args, **(kwargs or {}), out_val=out)
        return out

    def see(self, tensor: Tensor) -> None:
        storage = tensor.untyped_storage()
        name, size = storage._cdata, storage.nbytes()
        if name not in self.known:
            self.known[name] = weakref.ref(storage, lambda _: self.forget(name, size))
            self.now += size
            self.most = max(self.most, self.now)

    def forget(self, name: int, size: int) -> None:
        self.known.pop(name)
        self.now -= size


class Counts(Callback):
    """What the counted batches cost, and the memory before them."""

    def __init__(self, costs: Costs) -> None:
        self.costs, self.flops, self.resting = costs, list[int](), 0

    def on_train_batch_start(self, trainer: Trainer, module: Any, batch: Any, index: int) -> None:
        self.costs.flops = 0
        if index == WARM:
            self.resting = self.costs.most = self.costs.now

    def on_train_batch_end(self, trainer: Trainer, module: Any, out: Any, batch: Any, index: int) -> None:
        self.flops.append(self.costs.flops)


def bytes_of(tensors: Any) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def estimate(case: str) -> dict[str, Any]:
    """Gigabytes, and operations of a batch in units of 10^12."""
    built: Built = build(case, *PAPER[case])
    if isinstance(built.model, CodecTraining):
        built.model.code_is_fitted.fill_(True)
    with pretended(), Costs() as costs:
        counts = Counts(costs)
        trainer = trainer_of(built, counts)
        trainer.fit(built.model, Values(built, WARM + COUNTED))
        trained = [p for group in trainer.optimizers for each in group.param_groups for p in each["params"]]
        state = [t for each in trainer.optimizers for held in each.state.values() for t in tree_leaves(held)]
    model = [*built.model.parameters(), *built.model.buffers()]
    optimiser = bytes_of(t for t in state if isinstance(t, Tensor))
    counted = counts.flops[WARM:]
    return {
        "batch": built.data["batch_size"],
        "parameters_million": round(sum(p.numel() for p in trained) / 1e6, 1),
        "weights_gb": round(bytes_of(model) / 1e9, 2),
        "gradients_gb": round(bytes_of(trained) / 1e9, 2),
        "optimiser_gb": round(optimiser / 1e9, 2),
        "resting_gb": round(counts.resting / 1e9, 2),
        "peak_gb": round(costs.most / 1e9, 2),
        "tflop_per_batch": [round(number / 1e12, 2) for number in counted],
    }


if __name__ == "__main__":
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    register()
    for case in sys.argv[1:] or PAPER:
        print(json.dumps({case: estimate(case)}), flush=True)  # noqa: T201
