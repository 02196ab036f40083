"""The one place that reads files of PyTorch: tensors and plain values, never code."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import IO, Any

import torch

from livejam.errors import UserError

_NAMED = re.compile(r"GLOBAL (\S+)")


def read_torch_file(path: str | Path, remedy: str, source: IO[bytes] | None = None, mmap: bool = False) -> Any:
    """What `torch.save` wrote, on the CPU. A pickle that names anything but tensors and plain values is refused.

    Args:
        path: the file, or what to call `source`.
        remedy: how the user gets a good file, as the end of a sentence.
        source: its bytes, where it does not lie on a disk.
        mmap: map the tensors instead of reading them.

    Raises:
        UserError: it cannot be read, is no such file, is damaged, or wants to run code.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what PyTorch wants reported to it about pickles of others
            return torch.load(source or path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # damage shows as any of a dozen exceptions, all of which mean the same to a user
        raise UserError(f"{path} {_reason(error)}; {remedy}") from error


def _reason(error: Exception) -> str:
    """What is wrong, without PyTorch's advice to load it all the same."""
    text = str(error)
    if named := _NAMED.search(text):
        return f"names {named[1]}, which is no tensor and no plain value, and is not loaded because it could run code"
    if isinstance(error, OSError) and error.strerror:
        return f"cannot be read ({error.strerror})"
    if "PytorchStreamReader" in text:
        return "is damaged or was not copied whole"
    return "holds something else than tensors of PyTorch"
