"""Published models: what plays, and nothing of what trained it, in one safetensors file.

Tensors: `generator.…` (the averaged one if there was one), `latent_mean_C`, `latent_std_C`, `silence_C`, `iteration`,
and `codec.…` only if the codec is not bundled with livejam. Everything else is JSON under the key `livejam` of the
file's metadata. Reading runs no code, and gives what reading a checkpoint gives.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor

from livejam.checkpoints.file import complete, read_checkpoint
from livejam.errors import UserError
from livejam.shipped_configs import how_to_train

BUNDLED = Path(__file__).parent / "bundled"
"""The models that come with livejam: `NAME.safetensors` and its card, `NAME.md`."""

SUFFIX = ".safetensors"
KEY = "livejam"
FORMAT = 1

STATISTICS = ("latent_mean_C", "latent_std_C")
"""Tensors that a checkpoint keeps among its facts instead of its weights."""


def bundled_names() -> list[str]:
    """Names of the models that come with livejam."""
    return sorted(file.stem for file in BUNDLED.glob(f"*{SUFFIX}"))


def find_model(name: str | Path) -> Path:
    """A file of the user's, or else the bundled model of that name.

    Raises:
        UserError: there is neither; it names the nearest one.
    """
    own, names = Path(name), bundled_names()
    if own.is_file():
        return own
    if str(name) in names:
        return BUNDLED / f"{name}{SUFFIX}"
    near = get_close_matches(str(name), names, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    known = f"livejam brings {', '.join(names)}" if names else "livejam brings no model"
    raise UserError(f"there is no checkpoint {name}{hint} ({known}); {how_to_train(own)}")


def read_model(name: str | Path) -> dict[str, Any]:
    """What plays, in the form of a checkpoint: of a published model, all but what only training needs.

    Args:
        name: a checkpoint, a published model, or the name of a bundled one.

    Raises:
        UserError: it is missing, damaged, not written by livejam, or tries to run code.
    """
    path = find_model(name)
    return complete(path, read_published(path)) if path.suffix == SUFFIX else read_checkpoint(path)


def read_published(path: Path) -> dict[str, Any]:
    """A published model in the form of a checkpoint: `state_dict`, `livejam`, `config` and `published`.

    Numbers in half precision come back in float32.

    Raises:
        UserError: the file is damaged, or is no model that livejam published.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            held = json.loads((file.metadata() or {})[KEY])
            weights = {name: _single(file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118 (no mapping)
        if held["format"] != FORMAT:
            raise UserError(f"{path} has format {held['format']}, which is newer than this livejam; update livejam")
        facts = {**held["facts"], **{name: weights.pop(name) for name in STATISTICS}}
        return {"state_dict": weights, "livejam": facts, "config": held["config"], "published": held["published"]}
    except UserError:
        raise
    except (SafetensorError, OSError, struct.error) as error:
        raise UserError(f"{path} is damaged, was not copied whole, or is no safetensors file; copy it again") from error
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError, RuntimeError) as error:
        raise UserError(f"{path} is no model that livejam published; make one with `livejam publish`") from error


def published_facts(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    """What is recorded with a published model beside what a checkpoint records; nothing for a checkpoint."""
    facts: Mapping[str, Any] = checkpoint.get("published", {})
    return facts


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
