"""Slakh2100's archives: fetched with resume, checked, unpacked.

Addresses and MD5 sums are those that the package `mirdata` 1.0.0 carries (`mirdata/datasets/slakh.py`, REMOTES); they
are the records 4599666 and 4603870 of Zenodo. The transfer is the one that fetches weights: mirdata and pooch start a
broken download over, which a hundred gigabytes do not forgive.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
import urllib.error
import zlib
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from datamodules.slakh_index import has_tracks
from livejam.checkpoints.download import BrokenOffError, continue_download
from livejam.checkpoints.weights import WeightFile
from livejam.errors import UserError

BLOCK_BYTES = 1 << 22
UNFRUITFUL_TRIES = 3
"""How often in a row a transfer may break off without a new byte."""

MARGIN_BYTES = 1 << 26


@dataclass(frozen=True)
class Archive:
    """A published archive.

    Args:
        name: its file name.
        url: where it is.
        md5: its MD5 sum.
        unpacked: size of its content over its own size, at most; an estimate for the check of free space.
    """

    name: str
    url: str
    md5: str
    unpacked: float


ARCHIVES = {
    "baby": Archive(
        "babyslakh_16k.tar.gz",
        "https://zenodo.org/record/4603870/files/babyslakh_16k.tar.gz?download=1",
        "311096dc2bde7d61c97e930edbfc7f78",
        unpacked=2.0,
    ),
    "2100-redux": Archive(
        "slakh2100_flac_redux.tar.gz",
        "https://zenodo.org/record/4599666/files/slakh2100_flac_redux.tar.gz?download=1",
        "f4b71b6c45ac9b506f59788456b3f0c4",
        # FLAC does not shrink further
        unpacked=1.1,
    ),
}
"""The archives by version."""


def download(archive: Archive, out: Path, keep_archive: bool = False) -> list[Path]:
    """Fetch, check and unpack an archive; whatever an earlier call did is not done again.

    Args:
        archive: the archive.
        out: the folder into which it is unpacked.
        keep_archive: leave the archive beside what was in it.

    Returns:
        The data sets that it held.

    Raises:
        UserError: too little space, no network, or another file than was published.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / archive.name
    if path.is_file():
        # it may have been put there by hand, so it is not deleted
        if fault := _fault(archive, path):
            raise UserError(f"{path} is not the published file ({fault}); delete it and start again")
    else:
        part = path.with_name(f"{path.name}.part")
        _transfer(archive, out, part)
        if fault := _fault(archive, part):
            part.unlink()
            raise UserError(
                f"{archive.url} is not the published file ({fault}) and was deleted; start again, and report it if "
                "that does not help"
            )
        part.replace(path)
    roots = _unpack(archive, path, out)
    if not keep_archive:
        path.unlink()
    return roots


def require_space(folder: Path, needed: float, what: str) -> None:
    """Refuse to begin what a disk cannot hold.

    Raises:
        UserError: says how much is missing.
    """
    free = shutil.disk_usage(folder).free
    if free < needed + MARGIN_BYTES:
        raise UserError(
            f"{what} needs about {needed / 1e9:.1f} GB in {folder}, but {free / 1e9:.1f} GB are free; free some space, "
            "or name a folder on another disk with --out"
        )


def _transfer(archive: Archive, out: Path, part: Path) -> None:
    """Fetch what is missing, again and again as long as bytes arrive."""

    def before(remaining: int | None) -> None:
        whole = _size(part) + (remaining or 0)
        require_space(out, (remaining or 0) + archive.unpacked * whole, archive.name)

    file = WeightFile(archive.name, archive.url, size_bytes=None, sha256=None)
    unfruitful = 0
    while True:
        have = _size(part)
        try:
            return continue_download(file, part, before)
        except urllib.error.HTTPError as error:
            raise UserError(
                f"{archive.url} is refused by its server ({error.code} {error.reason}); what has arrived is kept: try "
                f"later, or put the archive at {out / archive.name}"
            ) from error
        except BrokenOffError as error:
            unfruitful = 0 if _size(part) > have else unfruitful + 1
            if unfruitful == UNFRUITFUL_TRIES:
                raise UserError(
                    f"{archive.url} cannot be reached ({error}); what has arrived is kept in {part}: start again with "
                    f"network access, or put the archive at {out / archive.name}"
                ) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _fault(archive: Archive, path: Path) -> str:
    """The difference to what was published; empty if there is none."""
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file, tqdm(desc="checking", total=_size(path), unit="B", unit_scale=True, delay=2.0) as bar:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
            bar.update(len(block))
    return "" if digest.hexdigest() == archive.md5 else f"its MD5 is {digest.hexdigest()} instead of {archive.md5}"


def _unpack(archive: Archive, path: Path, out: Path) -> list[Path]:
    """Unpack into a hidden folder, and move what was in it; folders that are there stay as they are."""
    require_space(out, archive.unpacked * _size(path), f"unpacking {path.name}")
    hidden = out / f".{path.name}.unpacking"
    shutil.rmtree(hidden, ignore_errors=True)
    try:
        _extract(path, hidden)
        taken = [entry.name for entry in hidden.iterdir() if (out / entry.name).exists()]
        if taken:
            raise UserError(f"{out / taken[0]} is there already; move it away, or name another folder with --out")
        moved = [entry.rename(out / entry.name) for entry in sorted(hidden.iterdir())]
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
    return [place for place in moved if has_tracks(place)] or [out]


def _extract(path: Path, folder: Path) -> None:
    if not hasattr(tarfile, "data_filter"):
        raise UserError(f"this Python unpacks without checks; take 3.10.12, 3.11.4 or newer, or unpack {path} by hand")
    try:
        with tarfile.open(path) as archive:
            for member in tqdm(archive, "unpacking", unit="file", delay=2.0):
                # nothing outside the folder, no devices, no links that lead out
                archive.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked ({error}); delete it and start again") from error
