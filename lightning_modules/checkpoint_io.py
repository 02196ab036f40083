"""Checkpoints for Lightning: written whole or not at all, and read from any source without running code in them."""

from __future__ import annotations

import glob
import os
from io import BytesIO
from pathlib import Path
from typing import IO, Any

import torch
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from livejam.checkpoints.file import read_torch_file
from livejam.errors import FULL, UserError
from livejam.files import atomic_path


class PlainCheckpointIO(TorchCheckpointIO):
    """Lightning's own reader and writer, except for two things.

    Nothing is ever unpickled, neither from disk nor from a server; Lightning itself unpickles what comes over http.
    And a file on disk is written beside its place and then moved there, so that the one before it stays until the new
    one is complete; Lightning writes into `$TMPDIR`, which may be another file system, from which it can only copy.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint to a path or a URL of fsspec.

        Raises:
            UserError: the disk is full, and the file that was there before is as it was.
        """
        files, place = url_to_fs(str(path))
        if isinstance(files, LocalFileSystem) and storage_options is None:
            _write(checkpoint, Path(place))
        else:
            super().save_checkpoint(checkpoint, path, storage_options)

    def load_checkpoint(
        self, path: str | Path, map_location: Any = None, weights_only: bool | None = None
    ) -> dict[str, Any]:
        """The checkpoint at a path or a URL of fsspec, on the CPU, whatever `map_location` and `weights_only` say.

        Raises:
            UserError: it cannot be reached or read, tries to run code, or is not a checkpoint.
        """
        remedy = "name another with --ckpt_path, or train again"
        checkpoint = _read(str(path), remedy)
        # Lightning says what it wants of a trainer's checkpoint; the bare weights in which forked processes hand theirs
        # back to the first one it asks for without
        parts = {"state_dict", "pytorch-lightning_version"} if weights_only is not None else set()
        if not isinstance(checkpoint, dict) or not parts <= checkpoint.keys():
            raise UserError(f"{path} is not a training checkpoint (perhaps a file of bare weights); {remedy}")
        return checkpoint


def _write(checkpoint: dict[str, Any], path: Path) -> None:
    """A checkpoint on disk, complete and safe from a power cut; what a killed process left half-written is removed."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*"):
        left.unlink(missing_ok=True)
    try:
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            _save(checkpoint, file)
        folder = os.open(path.parent, os.O_RDONLY)
        os.fsync(folder)  # the new name
        os.close(folder)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror}); the one before it is kept") from error


def _save(checkpoint: dict[str, Any], file: IO[bytes]) -> None:
    try:
        torch.save(checkpoint, file)
        file.flush()
        os.fsync(file.fileno())
    except (RuntimeError, OSError) as error:
        # PyTorch raises an error of its own while the file's is being raised
        reason = error if isinstance(error, OSError) else error.__context__
        if isinstance(reason, OSError) and reason.errno in FULL:
            raise UserError(
                "the disk is full: this checkpoint is not written, the one before it is kept; free some space and "
                "continue with --ckpt_path last"
            ) from error
        raise


def _read(url: str, remedy: str) -> Any:
    """What is in the file at a path or a URL."""
    try:
        files, path = url_to_fs(url)
        source = None if isinstance(files, LocalFileSystem) else BytesIO(files.cat_file(path))
    except Exception as error:  # every protocol has exceptions of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{url} cannot be fetched ({reason}); copy the file here and name its path") from error
    return read_torch_file(path, remedy, source)
