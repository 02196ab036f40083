"""A trained checkpoint as something that plays, without Lightning and without unpickling anything.

Shapes: C latent channels.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from livejam.accompanist import Accompanist
from livejam.checkpoints.aliases import renamed
from livejam.checkpoints.best import best_until_then
from livejam.checkpoints.lineage import ancestors, told
from livejam.checkpoints.torch_file import read_torch_file
from livejam.codecs.codec import Codec
from livejam.codecs.pretrained import load_codec, pretrained_codec
from livejam.errors import UserError
from livejam.finite import require_finite_weights
from livejam.instruments import learnt_instruments
from livejam.networks.diffusion_conditions import NOTHING_ASKED, Unconditional
from livejam.spec import CodecSpec
from livejam.statistics import LatentStatistics
from livejam.systems.liveband import LiveBandAccompanist
from livejam.systems.lmdm import LMDMAccompanist


@dataclass(frozen=True)
class Player:
    """What it takes to play along.

    Args:
        accompanist: the trained model, in evaluation mode.
        codec: the very codec it was trained with.
        silence_C: the codec's latent of silence, played until the first emitted frame is due.
        instruments: names of what it learnt to play; empty = not known.
    """

    accompanist: Accompanist[Any]
    codec: Codec[Any, Any]
    silence_C: Tensor
    instruments: tuple[str, ...] = ()


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a livejam checkpoint, on the CPU. Only tensors and plain values are read (`weights_only`).

    Raises:
        UserError: the file is missing, damaged, not written by a livejam recipe, or wants to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}; train one with `make demo` or `lightning fit`")
    checkpoint = read_torch_file(path, "copy it again or train anew")
    if not isinstance(checkpoint, dict) or not {"state_dict", "livejam"} <= checkpoint.keys():
        raise UserError(f"{path} was not written by a livejam recipe; train one with `lightning fit`")
    _require_facts(path, checkpoint)
    return {**checkpoint, "config": renamed(checkpoint["config"])} if "config" in checkpoint else checkpoint


def _require_facts(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Refuse a checkpoint that does not hold what every recipe writes, whoever changed it."""
    weights, facts = checkpoint["state_dict"], checkpoint["livejam"]
    try:
        CodecSpec(**facts["codec_spec"])
        sound = "latents_hash" in facts and all(isinstance(weight, Tensor) for weight in weights.values())
    except (KeyError, TypeError, ValueError, AttributeError):
        sound = False
    if not sound or not isinstance(checkpoint.get("config", {}), Mapping):
        raise UserError(f"{path} lacks what a livejam recipe writes; train anew, or update livejam")


def load_player(path: str | Path) -> Player:
    """Rebuild accompanist and codec from a checkpoint; the averaged generator plays where there is one.

    Raises:
        UserError: the checkpoint is unusable, and why.
    """
    checkpoint = read_checkpoint(path)
    weights, facts = checkpoint["state_dict"], checkpoint["livejam"]
    if "config" not in checkpoint:
        raise UserError(f"{path} has no configuration in it; train with the `lightning` command, which keeps it")
    try:
        settings = checkpoint["config"]["model"]["init_args"]
        played = _part(weights, "ema_generator") or _part(weights, "generator")
        statistics_C = {name: facts[name] for name in ("latent_mean_C", "latent_std_C")}
        require_finite_weights({**played, **_part(weights, "codec"), **statistics_C}, str(path))
        codec = _codec(settings["codec"], weights, facts)
        generator = _built(settings["generator"], "livejam.networks")
        generator.load_state_dict(played)
        statistics = LatentStatistics(facts["latent_mean_C"], facts["latent_std_C"])
        generator = generator.eval().requires_grad_(False)
        accompanist = _accompanist(settings, generator, codec.spec, statistics)
        return Player(accompanist, codec, weights["silence_C"], learnt_instruments(checkpoint))
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not fit this version of livejam ({reason}); train anew or update") from error


def _codec(configured: Mapping[str, Any], weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Codec[Any, Any]:
    """The codec that the configuration names, with the weights in the checkpoint."""
    codec: Codec[Any, Any] = _built(configured, "livejam.codecs")
    codec.load_state_dict(_part(weights, "codec"))
    codec.spec.require_same(CodecSpec(**facts["codec_spec"]), ours="the codec", theirs="the checkpoint")
    if codec.latents_hash != facts["latents_hash"]:
        raise UserError("the codec weights in the checkpoint are not those it was trained with; the file is damaged")
    return codec.eval().requires_grad_(False)


def _accompanist(
    settings: Mapping[str, Any], generator: Any, spec: CodecSpec, statistics: LatentStatistics
) -> Accompanist[Any]:
    """What the recipe's settings make of a generator: who has a context and a sampler plays in blocks."""
    if "context_mode" in settings:
        context_mode = _built(settings["context_mode"], "livejam.systems.context")
        sampler = _built(settings["sampler"], "livejam.sampling")
        cutoffs, played = settings["cutoff_blocks"], settings["play_cutoff_blocks"]
        # A checkpoint that does not name it was trained before there was a choice.
        named = settings.get("unconditional")
        unconditional = NOTHING_ASKED if named is None else Unconditional(**named)
        cutoff = cutoffs[0] if played is None else played
        return LMDMAccompanist(generator, spec, statistics, context_mode, sampler, cutoff, unconditional=unconditional)
    return LiveBandAccompanist(generator, spec, statistics, settings["anticipation_frames"])


def _built(configured: Mapping[str, Any], package: str) -> Any:
    """An object of one of livejam's own classes, and of what it is made of.

    A class path is code, and the checkpoint may be a stranger's.
    """
    class_path = configured["class_path"]
    if not class_path.startswith(f"{package}."):
        raise UserError(f"the checkpoint names {class_path}, which is none of {package}; it cannot be played here")
    arguments = {
        key: _built(value, package) if isinstance(value, Mapping) and "class_path" in value else value
        for key, value in (configured.get("init_args") or {}).items()
    }
    found = _found(class_path)
    builds = inspect.isclass(found) or inspect.ismethod(found) or found in (pretrained_codec, load_codec)
    if not (builds and getattr(found, "__module__", "").startswith("livejam.")):
        raise UserError(
            f"the checkpoint names {class_path}, which is no class of livejam's own; it cannot be played here"
        )
    return found(**arguments)


def _found(class_path: str) -> Any:
    """A class, a function, or a class's alternative constructor such as `StableAudioVAE.from_weights`."""
    module, _, name = class_path.rpartition(".")
    owner, _, class_name = module.rpartition(".")
    if class_name[:1].isupper():
        return getattr(getattr(importlib.import_module(owner), class_name), name)
    return getattr(importlib.import_module(module), name)


def _part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The weights of one sub-module, without the traces of `torch.compile`."""
    prefix = f"{name}."
    part = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    return {key.replace("_orig_mod.", ""): value for key, value in part.items()}


def describe(path: str | Path) -> str:
    """What a checkpoint is and where it comes from, for people.

    Raises:
        UserError: the checkpoint cannot be read.
    """
    checkpoint = read_checkpoint(path)
    weights, facts, config = checkpoint["state_dict"], checkpoint["livejam"], checkpoint.get("config", {})
    spec, settings = CodecSpec(**facts["codec_spec"]), config.get("model", {}).get("init_args", {})
    rows = {
        "recipe": config.get("model", {}).get("class_path", "unknown (written without the lightning command)"),
        "iteration": int(weights["iteration"]) if "iteration" in weights else "unknown",
        "epoch": checkpoint.get("epoch", "unknown"),
        "networks": ", ".join(f"{name} {count / 1e6:.2f} M" for name, count in _sizes(weights).items()),
        "instruments": ", ".join(learnt_instruments(checkpoint)) or "unknown",
        "anticipation": _anticipation(settings),
        "plays with": "averaged generator (EMA)" if _part(weights, "ema_generator") else "raw generator",
        "codec": f"{spec.name}, {spec.sample_rate_hz} Hz × {spec.audio_channels}, hop {spec.hop_samples} "
        f"({spec.frame_rate_hz:.2f} frames/s), {spec.latent_channels} channels, delay {spec.delay_samples} samples",
        "latents hash": facts["latents_hash"],
        "statistics": _summary(facts.get("latent_mean_C"), facts.get("latent_std_C")),
        "seed": config.get("seed_everything", "unknown"),
        "lineage": told(ancestors(checkpoint)),
        "best": best_until_then(checkpoint) or "no number was watched",
        "continued from": config.get("ckpt_path") or "nothing: trained from the start",
        "lightning": checkpoint.get("pytorch-lightning_version", "unknown"),
    }
    return "\n".join(f"{name:>15}  {value}" for name, value in rows.items())


def _anticipation(settings: Mapping[str, Any]) -> str:
    """How far ahead it plays: in frames, or as what it knows of the mix when a block begins."""
    cutoffs = settings.get("cutoff_blocks")
    if not cutoffs:
        return f"{settings.get('anticipation_frames', 'unknown')} frames"
    played = settings.get("play_cutoff_blocks")
    return f"cutoff of {cutoffs[0] if played is None else played} blocks; trained on {', '.join(map(str, cutoffs))}"


def _summary(mean_C: Tensor | None, std_C: Tensor | None) -> str:
    if mean_C is None or std_C is None:
        return "missing"
    mean, std = f"{mean_C.min():.3g} … {mean_C.max():.3g}", f"{std_C.min():.3g} … {std_C.max():.3g}"
    return f"{len(mean_C)} channels, mean {mean}, standard deviation {std}"


def _sizes(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Numbers per sub-module."""
    sizes: dict[str, int] = {}
    for key, value in weights.items():
        name, dot, _ = key.partition(".")
        if dot:
            sizes[name] = sizes.get(name, 0) + value.numel()
    return sizes
