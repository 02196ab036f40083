"""COCOLA's weights: livejam's own as safetensors with the sizes beside them, and the published checkpoint."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from livejam.checkpoints.file import read_torch_file
from livejam.checkpoints.weights import find_weights
from livejam.errors import UserError
from livejam.files import atomic_path
from metrics.cocola import Cocola, PocketEncoder, PublishedEncoder

PUBLISHED = "cocola"
"""Name of the papers' weights."""

FOLDER = Path(__file__).parent / "weights"
BUNDLED = {"pocket": FOLDER / "pocket_cocola.safetensors", "strict": FOLDER / "strict_cocola.safetensors"}
"""By name: the one that monitors use, and one that knows echoes and noise."""


def save_cocola(cocola: Cocola, path: str | Path, training: Mapping[str, str | int | float]) -> None:
    """Write a network's weights as float16, whole or not at all.

    Args:
        cocola: a network with a `PocketEncoder` or a `PublishedEncoder`.
        path: the .safetensors file.
        training: a note of how it was trained.
    """
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in cocola.state_dict().items()}
    tensors = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}
    sizes = cocola.encoder.config if isinstance(cocola.encoder, PocketEncoder) else {"dimension": cocola.dimension}
    metadata = {
        "encoder": type(cocola.encoder).__name__,
        "sizes": json.dumps(sizes),
        "training": json.dumps(dict(training)),
    }
    with atomic_path(path) as temporary:
        save_file(tensors, str(temporary), metadata)


def load_cocola(path: str | Path) -> Cocola:
    """The network in a .safetensors file, frozen, in evaluation mode.

    Raises:
        UserError: the file is missing, is no COCOLA, or does not fit its own sizes.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no COCOLA file {path}; train one with configs/cocola/pocket.yaml, or use 'pocket'")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            sizes = json.loads(metadata["sizes"])
        encoders = {kind.__name__: kind for kind in (PocketEncoder, PublishedEncoder)}
        cocola = Cocola(encoders[metadata["encoder"]](**sizes), sizes["dimension"])
        cocola.load_state_dict(load_file(str(path)))
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, RuntimeError, struct.error) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a COCOLA written by livejam ({reason}); fetch or train it again") from error
    return cocola.eval().requires_grad_(False)


ENUMS = ("EmbeddingMode", "ModelInputType")
"""Types of the reference implementation that its checkpoint mentions; plain strings stand in for them."""


def load_published_cocola(path: str | Path) -> Cocola:
    """The network in a checkpoint of the reference implementation, frozen, in evaluation mode; no foreign code runs.

    Raises:
        UserError: the file is missing or holds something else.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no COCOLA checkpoint {path}; run `livejam weights fetch cocola`")
    stand_ins = [(str, f"contrastive_model.constants.{name}") for name in ENUMS]
    with torch.serialization.safe_globals(stand_ins):  # type: ignore[arg-type]  # pairs are documented
        held = read_torch_file(path, "run `livejam weights fetch cocola`")
    tensors = held.get("state_dict") if isinstance(held, dict) else None
    if not isinstance(tensors, dict) or not all(isinstance(tensor, torch.Tensor) for tensor in tensors.values()):
        raise UserError(f"{path} is not a COCOLA checkpoint; run `livejam weights fetch cocola`")
    cocola = Cocola(PublishedEncoder())
    require_same_tensors(tensors, cocola.state_dict(), Path(path))
    cocola.load_state_dict(tensors)
    return cocola.eval().requires_grad_(False)


def require_same_tensors(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor], path: Path) -> None:
    """Refuse weights of another network.

    Raises:
        UserError: names the first tensor that is missing, unknown, or of another shape.
    """
    for name in sorted(found.keys() | expected.keys()):
        theirs, ours = (tuple(t[name].shape) if name in t else "missing" for t in (found, expected))
        if theirs != ours:
            raise UserError(
                f"{path} holds other weights than COCOLA's ({name}: {theirs} in the file, {ours} in the network); "
                "run `livejam weights fetch cocola`"
            )


def pretrained_cocola(weights: str = "pocket") -> Cocola:
    """A trained network, frozen, in evaluation mode. Scores of different weights cannot be compared.

    Args:
        weights: "pocket" or "strict", the bundled ones (`docs/cocola.md`); "cocola", the published one after
            `livejam weights fetch cocola`; the path of a .safetensors file of `lightning_modules.cocola_training`; or
            the path of a published .ckpt.

    Raises:
        UserError: no such weights.
    """
    if weights in BUNDLED:
        return load_cocola(BUNDLED[weights])
    if weights == PUBLISHED:
        return load_published_cocola(find_weights("cocola").require())
    if weights.endswith(".ckpt"):
        return load_published_cocola(weights)
    if weights.endswith(".safetensors"):
        return load_cocola(weights)
    names = ", ".join(f"'{name}'" for name in (*BUNDLED, PUBLISHED))
    raise UserError(f"no COCOLA is called '{weights}'; use {names}, a .safetensors or a published .ckpt")
