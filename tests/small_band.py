"""Checkpoints of a small untrained LiveBand with the bundled codec, as the recipe writes them, in a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from lightning_modules.r3gan import R3GAN
from livejam.codecs.causal_codec import CausalCodec
from livejam.codecs.pretrained import pretrained_codec
from livejam.networks import CausalTransformer

GENERATOR = {
    "latent_channels": 96,
    "noise_channels": 4,
    "width": 32,
    "blocks": 1,
    "heads": 2,
    "window_frames": 16,
    "sink": True,
    "class_channels": 8,
}


def band_checkpoint(path: Path, codec: CausalCodec | None = None, targets: tuple[str, ...] = ("Percussive",)) -> Path:
    """Write a checkpoint.

    Args:
        path: the file.
        codec: another codec than the bundled one, whose weights are then only in the checkpoint.
        targets: names of the instruments that it learnt.
    """
    torch.manual_seed(0)
    generator = CausalTransformer(**GENERATOR)
    parts = {"generator": generator, "codec": codec or pretrained_codec()}
    spec = parts["codec"].spec
    silence_BAN = torch.zeros(1, spec.audio_channels, 8 * spec.hop_samples)
    statistics = {"latent_mean_C": torch.zeros(spec.latent_channels), "latent_std_C": torch.ones(spec.latent_channels)}
    state = {f"{name}.{key}": weight for name, part in parts.items() for key, weight in part.state_dict().items()}
    state |= statistics | {"iteration": torch.tensor(3), "silence_C": parts["codec"].encode(silence_BAN)[0, -1]}
    made_of = {"class_path": "livejam.networks.CausalTransformer", "init_args": GENERATOR}
    settings: dict[str, Any] = {"generator": made_of, "anticipation_frames": 1, "codec": named(codec)}
    facts = {
        "codec_spec": spec.to_dict(),
        "latents_hash": parts["codec"].latents_hash,
        "player": R3GAN.player(settings),
    }
    data = {"class_path": "datamodules.Slakh2100DataModule", "init_args": {"root": "/home/someone/songs"}}
    config = {"seed_everything": 1, "model": {"class_path": "lightning_modules.R3GAN", "init_args": settings}}
    livejam = {**facts, **statistics, "instruments": list(targets), "lineage": [], "player": R3GAN.player(settings)}
    torch.save({"state_dict": state, "livejam": livejam, "config": {**config, "data": data}}, path)
    return path


def named(codec: CausalCodec | None) -> dict[str, Any]:
    """A codec as a configuration names it."""
    if codec is None:
        return {"class_path": "livejam.codecs.pretrained_codec", "init_args": {"weights": "pocket"}}
    return {"class_path": "livejam.codecs.CausalCodec", "init_args": dict(codec.config)}
