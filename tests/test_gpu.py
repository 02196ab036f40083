"""The recipes on a real GPU: the steps of `test_elsewhere.py`, with their time and memory, and FlexAttention's kernels.

Without a GPU they are skipped.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from elsewhere_recipes import CASES, COUNTED, WARM, Built, Values, build
from lightning.pytorch import Callback, Trainer

from lightning_modules.codec_training import CodecTraining
from livejam import load
from livejam.networks import BlockCausal, CausalTransformer, DiffusionTransformer, EncoderDecoder
from livejam.networks.diffusion_conditions import DiffusionConditions
from livejam.networks.diffusion_masks import AttentionMask
from livejam.streaming import Session

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
    pytest.mark.filterwarnings("ignore:.*in eval mode.*"),
]


@pytest.fixture(autouse=True)
def _exact() -> Iterator[None]:
    """Matrix products in float32, not in TF32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    yield
    torch.set_float32_matmul_precision(before)


class Pace(Callback):
    """Seconds per batch after the first ones, and whether all weights are finite."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, trainer: Trainer, module: Any, out: Any, batch: Any, index: int) -> None:
        if module.device.type == "cuda":
            torch.cuda.synchronize()
        self.times.append(time.perf_counter())
        assert all(bool(torch.isfinite(weight).all()) for weight in module.parameters())


def train(built: Built, pace: Pace, accelerator: str, precision: str) -> None:
    if isinstance(built.model, CodecTraining):
        built.model.code_is_fitted.fill_(True)
    silent = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    few: dict[str, Any] = {"max_epochs": 1, "limit_val_batches": 0, "num_sanity_val_steps": 0}
    clip = built.trainer["gradient_clip_val"]
    hardware: dict[str, Any] = {"accelerator": accelerator, "devices": 1, "precision": precision}
    trainer = Trainer(callbacks=[pace], gradient_clip_val=clip, **silent, **few, **hardware)
    trainer.fit(built.model, Values(built, WARM + COUNTED))


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("case", CASES)
def test_recipes_train(case: str, precision: str) -> None:
    torch.cuda.reset_peak_memory_stats()
    pace = Pace()
    train(build(case, *CASES[case]), pace, "gpu", precision)
    seconds = (pace.times[-1] - pace.times[WARM - 1]) / COUNTED
    memory = torch.cuda.max_memory_allocated() / 1e9
    print(f"\n{case} in {precision}: {1000 * seconds:.1f} ms per batch, {memory:.2f} GB")  # noqa: T201


@pytest.mark.parametrize("causal", [True, False])
def test_liveband_computes_the_same_as_on_a_cpu(causal: bool) -> None:
    """FlexAttention's compiled kernel against SDPA, with gradients."""
    torch.manual_seed(0)
    network = CausalTransformer(6, 4, 64, 2, 2, window_frames=16, causal=causal, class_channels=8)
    inputs = torch.randn(2, 48, 4), torch.randn(2, 48, 6), torch.tensor([0, 3])
    require_same(network, inputs)


@pytest.mark.parametrize("mask", [EncoderDecoder(32), BlockCausal(8, 4)], ids=["encoder_decoder", "block_causal"])
def test_lmdm_computes_the_same_as_on_a_cpu(mask: AttentionMask) -> None:
    torch.manual_seed(0)
    network = DiffusionTransformer(4, 64, 2, 2, 32, 8, mask=mask)
    require_same(network, (torch.randn(2, 40, 4), torch.tensor([0.2, 0.9]), DiffusionConditions()))


@pytest.mark.parametrize("model", ["liveband-pocket", "liveband-wide"])
def test_a_session_plays_the_same_as_on_a_cpu(model: str) -> None:
    """The bundled weights and codec, in blocks as on stage; recurrence makes rounding grow a little."""
    sound_AN = 0.2 * torch.randn(1, 8 * 22_050, generator=torch.Generator().manual_seed(0))
    played = []
    for device in ("cpu", "cuda"):
        session = Session(load(model, device=device), instruments=["Drums"], channels=1, sample_rate_hz=22_050)
        played.append(torch.cat([session.process(audio_AN) for audio_AN in sound_AN.split(5000, dim=-1)], dim=-1))
    assert played[1].device.type == "cpu"
    apart = (played[0] - played[1]).square().mean() / played[0].square().mean()
    assert apart < 1e-4, f"{10 * apart.log10():.1f} dB"


def require_same(network: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
    results = []
    for device in ("cpu", "cuda"):
        there = network.to(device)
        there.zero_grad()
        out = there(*(x.to(device) if isinstance(x, torch.Tensor) else x for x in inputs))
        out.square().mean().backward()
        # copies: a network that moves takes its gradients with it
        gradients = (p.grad.cpu().clone() for p in there.parameters() if p.grad is not None)
        results.append([out.detach().cpu(), *gradients])
    for exact, found in zip(*results, strict=True):
        assert torch.allclose(exact, found, rtol=1e-3, atol=1e-4)
