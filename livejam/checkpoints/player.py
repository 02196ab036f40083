"""From a trained checkpoint to a player, without Lightning and without unpickling anything.

Shapes: C latent channels.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from livejam.accompanist import Accompanist
from livejam.checkpoints.aliases import player_of_older
from livejam.checkpoints.facts import learnt_instruments
from livejam.checkpoints.file import part, played_weights
from livejam.checkpoints.published import read_model
from livejam.checkpoints.trained_guidance import trained_dropouts
from livejam.codecs.codec import Codec
from livejam.codecs.pretrained import load_codec, pretrained_codec
from livejam.errors import UserError, require_finite_weights
from livejam.option_ranges import require_ranges
from livejam.spec import CodecSpec, LatentStatistics

OWN = ("livejam.codecs", "livejam.networks", "livejam.sampling", "livejam.sketch", "livejam.systems")
"""The packages whose classes any checkpoint may name."""

DIFFUSION = "livejam.systems.lmdm.LMDMAccompanist"
"""The accompanist that may be guided."""

SPARE = (1_000, 200_000_000)
"""Tensors and numbers that a network may have besides those of its file: a frozen encoder of text, for example."""


@dataclass(frozen=True)
class Player:
    """Everything that is needed to play along.

    Args:
        accompanist: the trained model, in evaluation mode.
        codec: the codec that it was trained with.
        silence_C: the codec's latent of silence, played until the first emitted frame is due.
        instruments: names of the instruments that it learnt; empty = not known.
    """

    accompanist: Accompanist[Any]
    codec: Codec
    silence_C: Tensor
    instruments: tuple[str, ...] = ()

    def on(self, device: str) -> Player:
        """The player on another device, such as "cuda"; its networks are moved there, as PyTorch moves modules.

        Raises:
            UserError: there is no such device.
        """
        try:
            there = self.silence_C.to(device)
        except (RuntimeError, AssertionError) as error:  # as PyTorch without CUDA says it
            reason = str(error).splitlines()[0]
            raise UserError(f"PyTorch cannot compute on {device} here ({reason}); use cpu") from error
        accompanist: Any = self.accompanist
        accompanist.generator.to(device)
        return replace(self, codec=self.codec.to(device), silence_C=there)


def load_player(path: str | Path, trusted: Sequence[str] = ()) -> Player:
    """Rebuild accompanist and codec from a checkpoint, with the averaged generator if there is one.

    The checkpoint names its accompanist as `{class_path, init_args}`; weights, codec spec and statistics are added.

    Args:
        path: a checkpoint of the `lightning` command, a published model, or the name of a bundled one.
        trusted: packages or modules besides livejam whose classes the checkpoint may name. A class path runs code, and
            the checkpoint may come from a stranger.

    Raises:
        UserError: the checkpoint is unusable, and why.
    """
    checkpoint = read_model(path)
    weights, facts = checkpoint["state_dict"], checkpoint["livejam"]
    if "config" not in checkpoint:
        raise UserError(f"{path} has no configuration in it; train with the `lightning` command, which keeps it")
    try:
        played = played_weights(weights)
        statistics_C = {name: facts[name] for name in ("latent_mean_C", "latent_std_C")}
        require_finite_weights({**played, **part(weights, "codec"), **statistics_C}, str(path))
        build = Builder((*OWN, *trusted))
        codec = _codec(build(checkpoint["config"]["model"]["init_args"]["codec"]), weights, facts)
        statistics = LatentStatistics(facts["latent_mean_C"], facts["latent_std_C"])
        settings = player_settings(checkpoint)
        require_ranges({f"{path}: player": settings})
        with _no_larger_than(played):
            accompanist = build(settings, spec=codec.spec, statistics=statistics)
        accompanist.generator.load_state_dict(played)
        accompanist.generator.eval().requires_grad_(False)
        return Player(accompanist, codec, weights["silence_C"], learnt_instruments(checkpoint))
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError, AttributeError, ImportError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not fit this version of livejam ({reason}); train again or update") from error


def player_settings(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """The accompanist of a checkpoint as `{class_path, init_args}`."""
    settings: dict[str, Any] | None = checkpoint["livejam"].get("player")
    settings = player_of_older(checkpoint["config"]) if settings is None else settings
    if settings["class_path"] != DIFFUSION or "dropouts" in settings["init_args"]:
        return settings
    return {**settings, "init_args": {**settings["init_args"], "dropouts": trained_dropouts(checkpoint)}}


def _codec(codec: Codec, weights: Mapping[str, Tensor], facts: Mapping[str, Any]) -> Codec:
    """The codec with the weights in the checkpoint; a published model may only name its bundled codec."""
    own = part(weights, "codec")
    if own:
        codec.load_state_dict(own)
    codec.spec.require_same(CodecSpec(**facts["codec_spec"]), ours="the codec", theirs="the checkpoint")
    if codec.latents_hash != facts["latents_hash"]:
        found = "in the checkpoint" if own else "that comes with this livejam"
        remedy = "the file is damaged" if own else "update livejam"
        raise UserError(f"the codec {found} is not the one that it was trained with; {remedy}")
    return codec.eval().requires_grad_(False)


@contextmanager
def _no_larger_than(weights: Mapping[str, Tensor]) -> Iterator[None]:
    """While a network is built: settings that ask for more weights than a file holds must not fill the memory.

    Raises:
        ValueError: the first weight too many, before anything is written into it.
    """
    held = len(weights), sum(weight.numel() for weight in weights.values())
    left = [2 * own + spare for own, spare in zip(held, SPARE, strict=True)]

    def count(module: nn.Module, name: str, weight: nn.Parameter | None) -> None:
        if weight is not None:
            left[0] -= 1
            left[1] -= weight.numel()
            if min(left) < 0:
                raise ValueError(f"its settings ask for more weights than it holds: {name} of {type(module).__name__}")

    hook = register_module_parameter_registration_hook(count)
    try:
        yield
    finally:
        hook.remove()


@dataclass(frozen=True)
class Builder:
    """Builds objects of permitted classes, and their parts.

    Args:
        packages: the packages of these classes.
    """

    packages: tuple[str, ...]

    def __call__(self, configured: Mapping[str, Any], **added: Any) -> Any:
        """The object that `{class_path, init_args}` describes, with further arguments that are built already."""
        arguments = {key: self._argument(value) for key, value in (configured.get("init_args") or {}).items()}
        return self._found(configured["class_path"])(**arguments, **added)

    def _argument(self, value: Any) -> Any:
        return self(value) if isinstance(value, Mapping) and "class_path" in value else value

    def _found(self, class_path: str) -> Any:
        """A class, one of the functions that load codecs, or a class's alternative constructor such as
        `StableAudioVAE.from_weights`."""
        if not self._trusts(class_path):
            raise UserError(
                f"the checkpoint names {class_path}, which is none of {', '.join(self.packages)}; it cannot be played "
                "here, unless you know its code and trust its package (--trust)"
            )
        module, _, name = class_path.rpartition(".")
        owner, _, class_name = module.rpartition(".")
        if class_name[:1].isupper():
            found = getattr(getattr(importlib.import_module(owner), class_name), name)
        else:
            found = getattr(importlib.import_module(module), name)
        builds = inspect.isclass(found) or inspect.ismethod(found) or found in (pretrained_codec, load_codec)
        if not (builds and self._trusts(getattr(found, "__module__", ""))):
            raise UserError(f"the checkpoint names {class_path}, which is no class; it cannot be played here")
        return found

    def _trusts(self, path: str) -> bool:
        return any(path == package or path.startswith(f"{package}.") for package in self.packages)
