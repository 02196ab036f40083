"""Checkpoints of small untrained models with the bundled codec, as the recipes write them, in a moment."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lightning_modules.flow_matching import FlowMatching
from lightning_modules.r3gan import R3GAN
from livejam.codecs.causal_codec import CausalCodec
from livejam.codecs.pretrained import pretrained_codec
from livejam.networks import CausalTransformer, ConditionedTransformer, DiffusionTransformer, EncoderDecoder, TagEncoder
from livejam.reference import ReferenceTraining
from livejam.sketch import CHANNELS, SketchTraining

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


TRANSFORMER = {
    "latent_channels": 96,
    "width": 16,
    "depth": 2,
    "heads": 2,
    "context_frames": 9,
    "block_frames": 3,
    "prompt_width": 8,
    "mix_channels": 96,
}


def band_checkpoint(
    path: Path,
    codec: CausalCodec | None = None,
    targets: tuple[str, ...] = ("Percussive",),
    anticipations: int = 0,
    reference: ReferenceTraining | None = None,
) -> Path:
    """Write a checkpoint of LiveBand.

    Args:
        path: the file.
        codec: another codec than the bundled one, whose weights are then only in the checkpoint.
        targets: names of the instruments that it learnt.
        anticipations: that it knows.
        reference: settings of the references that it takes, by log-mel; None = none.
    """
    torch.manual_seed(0)
    options: dict[str, Any] = {**GENERATOR, "anticipations": anticipations} if anticipations else GENERATOR
    if reference is not None:
        options = {**options, "reference_channels": reference.analysis.channels}
    made_of = {"class_path": "livejam.networks.CausalTransformer", "init_args": options}
    settings: dict[str, Any] = {"generator": made_of, "anticipation_frames": 1, "codec": named(codec)}
    if reference is not None:
        numbers = {"excerpt_seconds": reference.analysis.excerpt_seconds, "excerpts": reference.analysis.excerpts}
        settings["reference"] = {"analysis": {"encoder": {"class_path": "metrics.embeddings.LogMel"}, **numbers}}
    generator = CausalTransformer(**options)
    if generator.project_reference is not None:  # it begins at zero, and would not be heard
        nn.init.normal_(generator.project_reference.weight)
    return _written(path, generator, codec or pretrained_codec(), R3GAN, settings, targets)


def lmdm_checkpoint(
    path: Path,
    cutoff_blocks: tuple[int, ...] = (0, -1, 1),
    unconditional_dropout: float = 0.1,
    sketch: SketchTraining | None = None,
    prompt_dropout: float = 0.0,
) -> Path:
    """Write a checkpoint of an Encoder-Decoder LMDM with two sampling steps that plays drums and bass.

    Args:
        path: the file.
        cutoff_blocks: those that it was trained with.
        unconditional_dropout: share of its training that was like guidance's unconditional side.
        sketch: the sketches that it follows; None = none.
        prompt_dropout: share of its training without a prompt.
    """
    torch.manual_seed(0)
    mask = {"class_path": "livejam.networks.EncoderDecoder", "init_args": {"context_frames": 9}}
    # as configs/lmdm/sketch_pocket.yaml
    inputs = {} if sketch is None else {"sketch_channels": list(CHANNELS), "sketch_levels": 16}
    options: dict[str, Any] = {**TRANSFORMER, **inputs}
    transformer = {
        "class_path": "livejam.networks.DiffusionTransformer",
        "init_args": {**options, "mask": mask},
    }
    encoder = {"class_path": "livejam.networks.TagEncoder", "init_args": {"width": 8}}
    settings = {
        "generator": {
            "class_path": "livejam.networks.ConditionedTransformer",
            "init_args": {"transformer": transformer, "prompt_encoder": encoder},
        },
        "context_mode": {"class_path": "livejam.systems.context.RoutedContext"},
        "sampler": {"class_path": "livejam.sampling.Euler", "init_args": {"steps": 2, "guidance": 2.0}},
        "cutoff_blocks": list(cutoff_blocks),
        "play_cutoff_blocks": None,
        "unconditional": {"without_prompt": True, "without_mix": True},
        "unconditional_dropout": unconditional_dropout,
        "prompt_dropout": prompt_dropout,
        "codec": named(None),
        "sketch": None if sketch is None else asdict(sketch),
    }
    network = DiffusionTransformer(**options, mask=EncoderDecoder(9))
    generator = ConditionedTransformer(network, TagEncoder(8)).requires_grad_(False)
    for parameter in generator.parameters():
        parameter.copy_(0.15 * torch.randn(parameter.shape))
    return _written(path, generator, pretrained_codec(), FlowMatching, settings, ("Percussive", "Bass"))


def _written(
    path: Path,
    generator: nn.Module,
    codec: CausalCodec,
    recipe: Any,
    settings: dict[str, Any],
    targets: tuple[str, ...],
) -> Path:
    parts, spec = {"generator": generator, "codec": codec}, codec.spec
    silence_BAN = torch.zeros(1, spec.audio_channels, 8 * spec.hop_samples)
    statistics = {"latent_mean_C": torch.zeros(spec.latent_channels), "latent_std_C": torch.ones(spec.latent_channels)}
    state = {f"{name}.{key}": weight for name, part in parts.items() for key, weight in part.state_dict().items()}
    state |= statistics | {"iteration": torch.tensor(3), "silence_C": codec.encode(silence_BAN)[0, -1]}
    facts = {
        "codec_spec": spec.to_dict(),
        "latents_hash": codec.latents_hash,
        "player": recipe.player(settings),
    }
    data = {"class_path": "datamodules.Slakh2100DataModule", "init_args": {"root": "/home/someone/songs"}}
    model = {"class_path": f"lightning_modules.{recipe.__name__}", "init_args": settings}
    livejam = {**facts, **statistics, "instruments": list(targets), "lineage": []}
    config = {"seed_everything": 1, "model": model, "data": data}
    torch.save({"state_dict": state, "livejam": livejam, "config": config}, path)
    return path


def named(codec: CausalCodec | None) -> dict[str, Any]:
    """A codec as a configuration names it."""
    if codec is None:
        return {"class_path": "livejam.codecs.pretrained_codec", "init_args": {"weights": "pocket"}}
    return {"class_path": "livejam.codecs.CausalCodec", "init_args": dict(codec.config)}
