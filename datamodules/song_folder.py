"""Folders of songs that appear complete or not at all."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import soundfile

from livejam.errors import UserError

LEAST_FREE_BYTES = 2**20


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder that becomes `folder` at the end; what an earlier, killed process left of it is deleted.

    Raises:
        UserError: the disk is full.
    """
    temporary = folder.parent / f".{folder.name}.rendering"
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        temporary.rename(folder)
    except (OSError, soundfile.SoundFileError) as error:
        if shutil.disk_usage(folder.parent).free < LEAST_FREE_BYTES:
            raise UserError(f"the disk is full while writing {folder}; free some space and start again") from error
        raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
