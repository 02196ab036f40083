"""What the commands that play a recording share."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from livejam.audio_files import Audio, Recording


@contextmanager
def workplace(folder: Path) -> Iterator[Path]:
    """A folder in a folder, for what is heard and played, which is gone afterwards.

    The outer one is made if needed, and gone as well if nothing was left in it.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=".playing-", dir=folder) as place:
            yield Path(place)
    finally:
        with suppress(OSError):  # it is not empty if all went well
            if made:
                folder.rmdir()


def with_progress(mix: Recording, chunks: Iterator[Audio]) -> Iterator[Audio]:
    """The chunks of a recording; after two seconds of work a bar shows how far it has come."""
    from tqdm import tqdm

    with tqdm(total=round(mix.seconds), unit="s", desc="playing", delay=2, leave=False, disable=None) as bar:
        heard = 0
        for chunk_AN in chunks:
            yield chunk_AN
            heard += chunk_AN.shape[1]
            bar.update(heard // mix.sample_rate_hz - bar.n)
