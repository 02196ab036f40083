"""What a checkpoint is and where it comes from, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from livejam.checkpoints.best import best_until_then
from livejam.checkpoints.facts import ancestors, learnt_instruments, lineage_text
from livejam.checkpoints.file import part
from livejam.checkpoints.published import published_facts, read_model
from livejam.spec import CodecSpec


def describe(path: str | Path) -> str:
    """What a checkpoint or a published model is and where it comes from, as text.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    checkpoint = read_model(path)
    weights, facts, config = checkpoint["state_dict"], checkpoint["livejam"], checkpoint.get("config", {})
    spec, settings = CodecSpec(**facts["codec_spec"]), config.get("model", {}).get("init_args", {})
    published = published_facts(checkpoint)
    averaged = published.get("averaged", bool(part(weights, "ema_generator")))
    rows = {
        "recipe": config.get("model", {}).get("class_path", "unknown (written without the lightning command)"),
        "iteration": int(weights["iteration"]) if "iteration" in weights else "unknown",
        "networks": ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in _sizes(weights).items()),
        "instruments": ", ".join(learnt_instruments(checkpoint)) or "unknown",
        "anticipation": _anticipation(settings),
        "sketch": "follows loudness, brightness and pitch" if settings.get("sketch") else "follows none",
        "reference": _reference(settings),
        "plays with": "averaged generator (EMA)" if averaged else "raw generator",
        "codec": f"{spec.name}, {spec.sample_rate_hz} Hz × {spec.audio_channels}, hop {spec.hop_samples} "
        f"({spec.frame_rate_hz:.2f} frames/s), {spec.latent_channels} channels, delay {spec.delay_samples} samples",
        "latents hash": facts["latents_hash"],
        "statistics": _summary(facts.get("latent_mean_C"), facts.get("latent_std_C")),
        "seed": config.get("seed_everything", "unknown"),
        "lineage": lineage_text(ancestors(checkpoint)),
        **_average(facts.get("averaged_from", ())),
    } | (_publication(published) if published else _training(checkpoint, config))
    return "\n".join(f"{name:>15}  {value}" for name, value in rows.items())


def _training(checkpoint: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """What only a checkpoint of a training knows."""
    return {
        "epoch": checkpoint.get("epoch", "unknown"),
        "best": best_until_then(checkpoint) or "no number was watched",
        "continued from": config.get("ckpt_path") or "nothing: trained from the start",
        "lightning": checkpoint.get("pytorch-lightning_version", "unknown"),
    }


def _publication(facts: Mapping[str, Any]) -> dict[str, Any]:
    """What only a published model says."""
    change = f"{100 * float(facts['float16_change']):.2g} %"
    half = facts["precision"] == "float16"
    said = f"which changes what it plays by {change}" if half else f"because float16 would change it by {change}"
    return {
        "licence": facts["licence"] or "not stated",
        "precision": f"{facts['precision']}, {said}",
        "published from": f"a checkpoint with SHA-256 {facts['checkpoint_sha256']}",
        "published by": f"livejam {facts['livejam']}",
    }


def _reference(settings: Mapping[str, Any]) -> str:
    """Whether it takes a recording to sound like, and what it knows it by."""
    reference = settings.get("reference")
    if not reference:
        return "takes none"
    return f"takes one, by {reference['analysis']['encoder']['class_path'].rpartition('.')[2]}"


def _anticipation(settings: Mapping[str, Any]) -> str:
    """How far ahead it plays: in frames, or as the part of the mix that it knows when a block begins."""
    cutoffs = settings.get("cutoff_blocks")
    if not cutoffs:
        frames = settings.get("anticipation_frames", "unknown")
        known = settings.get("generator", {}).get("init_args", {}).get("anticipations")
        return f"{frames} frame{'' if frames == 1 else 's'}" + (f"; learnt 0 to {known - 1}" if known else "")
    played = settings.get("play_cutoff_blocks")
    return f"cutoff of {cutoffs[0] if played is None else played} blocks; trained on {', '.join(map(str, cutoffs))}"


def _average(models: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the weights are the mean of, by `livejam average`."""
    parts = [f"{m['share']:.0%} of {m['sha256'][:12]} ({m['lineage']})" for m in models]
    return {"weights are": " + ".join(parts)} if parts else {}


def _summary(mean_C: Tensor | None, std_C: Tensor | None) -> str:
    if mean_C is None or std_C is None:
        return "missing"
    mean, std = f"{mean_C.min():.3g} … {mean_C.max():.3g}", f"{std_C.min():.3g} … {std_C.max():.3g}"
    return f"{len(mean_C)} channels, mean {mean}, standard deviation {std}"


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Number of parameters per sub-module."""
    sizes: dict[str, int] = {}
    for key, value in weights.items():
        name, dot, _ = key.partition(".")
        if dot:
            sizes[name] = sizes.get(name, 0) + value.numel()
    return sizes
