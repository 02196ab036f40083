"""Checkpoints for Lightning, from any source, read without running code in them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from livejam.checkpoints.file import read_torch_file
from livejam.errors import UserError


class PlainCheckpointIO(TorchCheckpointIO):
    """Lightning's own reader and writer, except that nothing is ever unpickled, neither from disk nor from a server.

    By default, Lightning itself unpickles what comes over http.
    """

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


def _read(url: str, remedy: str) -> Any:
    """What is in the file at a path or a URL."""
    try:
        files, path = url_to_fs(url)
        source = None if isinstance(files, LocalFileSystem) else BytesIO(files.cat_file(path))
    except Exception as error:  # every protocol has exceptions of its own
        reason = " ".join(str(error).split()) or type(error).__name__
        raise UserError(f"{url} cannot be fetched ({reason}); copy the file here and name its path") from error
    return read_torch_file(path, remedy, source)
