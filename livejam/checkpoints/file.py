"""The one place that reads files of PyTorch, checkpoints among them: tensors and plain values, never code."""

from __future__ import annotations

import errno
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from livejam.checkpoints.aliases import renamed
from livejam.errors import MissingCheckpointError, UserError
from livejam.spec import CodecSpec

_NAMED = re.compile(r"GLOBAL (\S+)")

_UPDATE = ("lora_down_RI", "lora_up_OR", "lora_scale", "linear.weight")
"""Names of a low-rank update, and of the weight that it belongs to."""


def read_torch_file(path: str | Path, remedy: str, source: IO[bytes] | None = None, mmap: bool = False) -> Any:
    """The content of a file of `torch.save`, on the CPU; only tensors and plain values are accepted.

    Args:
        path: the file, or a name for `source`.
        remedy: how the user gets a good file, as the end of a sentence.
        source: its bytes, if it is not on a disk.
        mmap: map the tensors instead of reading them.

    Raises:
        UserError: it cannot be read, is not such a file, is damaged, or tries to run code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's requests to report other people's pickles
            return torch.load(source or path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # damage raises any of a dozen exceptions, which all mean the same to a user
        raise UserError(f"{path} {_reason(error)}; {remedy}") from error


def _reason(error: Exception) -> str:
    """What is wrong, without PyTorch's advice to load it anyway."""
    text = str(error)
    if named := _NAMED.search(text):
        return f"names {named[1]}, which is no tensor and no plain value, and is not loaded because it could run code"
    # the end of a short file is looked for before its beginning
    if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:
        return f"cannot be read ({error.strerror})"
    if "PytorchStreamReader" in text or isinstance(error, EOFError | OSError):
        return "is damaged or was not copied whole"
    return "holds something else than tensors of PyTorch"


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """The contents of a livejam checkpoint, on the CPU. Only tensors and plain values are read (`weights_only`).

    Raises:
        UserError: the file is missing, damaged, not written by a livejam recipe, or tries to run code.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingCheckpointError(path)
    checkpoint = read_torch_file(path, "copy it again or train again")
    if not isinstance(checkpoint, dict) or not {"state_dict", "livejam"} <= checkpoint.keys():
        raise UserError(f"{path} was not written by a livejam recipe; train one with `lightning fit`")
    return complete(path, checkpoint)


def complete(path: Path, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """A checkpoint with today's names in its configuration.

    Raises:
        UserError: it lacks what every recipe writes.
    """
    _require_facts(path, checkpoint)
    return {**checkpoint, "config": renamed(checkpoint["config"])} if "config" in checkpoint else checkpoint


def _require_facts(path: Path, checkpoint: Mapping[str, Any]) -> None:
    """Refuse a checkpoint without what every recipe writes."""
    weights, facts = checkpoint["state_dict"], checkpoint["livejam"]
    try:
        CodecSpec(**facts["codec_spec"])
        sound = "latents_hash" in facts and all(isinstance(weight, Tensor) for weight in weights.values())
    except (KeyError, TypeError, ValueError, AttributeError):
        sound = False
    if not sound or not isinstance(checkpoint.get("config", {}), Mapping):
        raise UserError(f"{path} lacks what a livejam recipe writes; train again, or update livejam")


def played_weights(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the generator that plays: the averaged one, if there is one."""
    return part(weights, "ema_generator") or part(weights, "generator")


def part(weights: Mapping[str, Tensor], name: str) -> dict[str, Tensor]:
    """The weights of one sub-module, without the traces of `torch.compile` and of low-rank updates."""
    prefix = f"{name}."
    part = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
    return merged({key.replace("_orig_mod.", ""): value for key, value in part.items()})


def merged(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of the plain network that plays as one with low-rank updates does: W + α/R · up · down.

    `livejam.networks.lora` makes such updates. Weights without them, or with damaged ones, stay as they are.

    Args:
        weights: by name; they are not changed.
    """
    plain = dict(weights)
    for name in [key.removesuffix(_UPDATE[0]) for key in weights if key.endswith(f".{_UPDATE[0]}")]:
        down_RI, up_OR, scale, weight_OI = (weights.get(f"{name}{part}", torch.empty(0)) for part in _UPDATE)
        if (scale.ndim, up_OR.ndim, down_RI.ndim) != (0, 2, 2) or len(down_RI) != up_OR.shape[1]:
            continue
        if weight_OI.shape != (len(up_OR), down_RI.shape[1]):
            continue
        update_OI = scale.double() * (up_OR.double() @ down_RI.double())
        plain[f"{name}weight"] = (weight_OI.double() + update_OI).to(weight_OI.dtype)
        for part in _UPDATE:
            del plain[f"{name}{part}"]
        if f"{name}linear.bias" in plain:
            plain[f"{name}bias"] = plain.pop(f"{name}linear.bias")
    return plain
