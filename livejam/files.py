"""Files that are written completely or not at all, and by one process at a time."""

from __future__ import annotations

import fcntl
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from livejam.errors import FULL, UserError

log = logging.getLogger(__name__)


@contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path` that replaces it when the block ends without an exception.

    Args:
        path: the file to write; its folder is made if needed.

    Raises:
        UserError: the disk is full, nothing was left behind and an older file stays as it was; or something other
            than a file is in its place, such as a device.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        raise UserError(f"{path} is not a file that can be replaced; name another")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        if error.errno in FULL:
            raise UserError(f"the disk is full while writing {path}; free some space and start again") from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def one_after_the_other(path: Path, waiting: str = "") -> Iterator[None]:
    """Wait for other processes that read a file or a folder, change it and write it again.

    A hidden file beside it is locked; the operating system ends the lock with the process, however that ends.

    Args:
        path: the file or folder; it need not exist, the folder that it is in is made if needed.
        waiting: what is logged if there is another process to wait for.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f".{path.name}.lock").open("w") as lock:
        # some network disks have no locks; there, nothing is guarded
        with suppress(OSError):
            _lock(lock, waiting)
        yield


def _lock(file: IO[str], waiting: str) -> None:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # POSIX lets systems choose between the two
        if waiting:
            log.warning(waiting)
        fcntl.lockf(file, fcntl.LOCK_EX)
