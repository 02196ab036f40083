"""ARC-Forcing with toy networks on a toy codec."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from toy_latents import CHANNELS, CountingData, ToyCodec, make_batch

from lightning_modules import ARCForcing
from lightning_modules.rollout_crop import RolloutCrop
from livejam.networks import (
    BlockCausal,
    ConditionedTransformer,
    DiffusionTransformer,
    EncoderDecoder,
    RolloutDiscriminator,
    ScoreHead,
    TagEncoder,
)
from livejam.objectives.arc import ARCObjective
from livejam.sampling import PingPong
from livejam.systems.context import RoutedContext
from livejam.systems.rollout import Rollout

CONTEXT, BLOCK, BLOCKS = 8, 4, 3
FRAMES = CONTEXT + BLOCKS * BLOCK
MASKS = {"encoder_decoder": EncoderDecoder(CONTEXT), "block_causal": BlockCausal(BLOCK, CONTEXT // BLOCK)}


def awake(network: torch.nn.Module) -> torch.nn.Module:
    """Every branch speaks: what starts at zero would hide what is wrong."""
    rng = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.2 * torch.randn(weight.shape, generator=rng))
    return network


def make_transformer(**settings: Any) -> ConditionedTransformer:
    sizes: dict[str, Any] = {"width": 16, "depth": 2, "heads": 2, "prompt_width": 8, "mix_channels": CHANNELS}
    return ConditionedTransformer(DiffusionTransformer(CHANNELS, **(sizes | settings)), TagEncoder(8))


def make_module(mask: str = "block_causal", codec: str = "toy", **settings: Any) -> ARCForcing:
    torch.manual_seed(0)
    generator = make_transformer(context_frames=CONTEXT, block_frames=BLOCK, mask=MASKS[mask])
    base = make_transformer(context_frames=0, block_frames=FRAMES)
    discriminator = RolloutDiscriminator(base, layer=0, head=ScoreHead(16, channels=8))
    sgd = lambda p: torch.optim.AdamW(p, lr=1e-3)  # noqa: E731
    fast: dict[str, Any] = {
        "context_mode": RoutedContext(0.25, 0.1),
        "sampler": PingPong(steps=2),
        "cutoff_blocks": [-1],
        "allow_untrained": True,
        "generator_optimizer": sgd,
        "discriminator_optimizer": sgd,
    }
    rollout = {name: settings.pop(name) for name in [f.name for f in fields(Rollout)] if name in settings}
    objective = {name: settings.pop(name) for name in [f.name for f in fields(ARCObjective)] if name in settings}
    fast["rollout"] = Rollout(**({"blocks": BLOCKS, "schedule_steps": 4} | rollout))
    fast["objective"] = ARCObjective(**objective)
    awake(generator), awake(discriminator)
    return ARCForcing(generator, discriminator, ToyCodec(codec), **(fast | settings))


def data(**settings: Any) -> CountingData:
    return CountingData(**({"batches": 4, "frames": FRAMES} | settings))


def ready(module: ARCForcing, seed: int = 3) -> RolloutCrop:
    """A crop to call the losses with, outside of a trainer."""
    module._rng, module._shared_rng = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    return module._crop(make_batch(FRAMES, 4, seed=1))


def weights(network: torch.nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def save_warm_start(
    path: Path, network: ConditionedTransformer, mask: dict[str, Any] | None, std: float = 1.0, **window: int
) -> None:
    """A checkpoint of FlowMatching, as the `lightning` command writes it, of a network's weights."""
    codec, spec = ToyCodec(), ToyCodec().spec
    state = {f"generator.{name}": value for name, value in network.state_dict().items()}
    state |= {"iteration": torch.tensor(40)}
    settings = {"generator": {"init_args": {"transformer": {"init_args": {**window, "mask": mask}}}}}
    facts = {
        "codec_spec": spec.to_dict(),
        "latents_hash": codec.latents_hash,
        "lineage": [{"recipe": "Base", "iteration": 9}],
    }
    facts |= {"latent_mean_C": torch.full((CHANNELS,), 0.1), "latent_std_C": torch.full((CHANNELS,), std)}
    config = {"model": {"class_path": "lightning_modules.FlowMatching", "init_args": settings}}
    torch.save({"state_dict": state, "livejam": facts, "config": config}, path)
