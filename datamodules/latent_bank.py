"""The latent bank on disk: one memory-mapped file per song, and one manifest.

A bank is a folder with `manifest.json` and `songs/TrackXXXXX.safetensors`. Every song file describes itself, so that
a killed build continues where it stopped. The manifest is written last and makes the folder a bank.

Shapes: S stems, M sub-mixes, T latent frames, C latent channels.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from datamodules.annotations import annotations_from_dict, annotations_to_dict
from datamodules.slakh_scan import Refusal, Song
from livejam.batch import Annotations
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.spec import CodecSpec, LatentStatistics

SCHEMA = 2
MANIFEST = "manifest.json"
SMALLEST_STD = 1e-6
"""A latent channel that is constant is divided by 1 instead of its deviation."""


@dataclass(frozen=True)
class BankSettings:
    """Everything that the content of a bank depends on, besides the audio.

    Args:
        codec: the spec of the latents.
        latents_hash: the codec's `Codec.latents_hash`.
        split: "train", "validation" or "test".
        seed: seed of the random sub-mixes.
        submixes_per_song: sub-mixes per song (M).
        targets: class indices of the stems that may be targets, ascending.
        threshold_dbfs: frames of stems above this level, in dB below full scale, count as sounding.
    """

    codec: CodecSpec
    latents_hash: str
    split: str
    seed: int
    submixes_per_song: int
    targets: tuple[int, ...]
    threshold_dbfs: float

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "targets": list(self.targets)}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> BankSettings:
        return cls(**{**values, "codec": CodecSpec(**values["codec"]), "targets": tuple(values["targets"])})

    def digest(self) -> str:
        """A short name for these settings."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:12]

    def require_same(self, other: BankSettings, place: Path | str) -> None:
        """Refuse a bank that was built for something else.

        Raises:
            UserError: names every field in which the bank in `place` (`other`) differs from this run.
        """
        mine, theirs = _flat(self), _flat(other)
        different = [name for name in mine if mine[name] != theirs[name]]
        if different:
            details = ", ".join(f"{name}: bank {theirs[name]!r}, this run {mine[name]!r}" for name in different)
            raise UserError(
                f"the latent bank in {place} was built with other settings ({details}); "
                "delete that folder, or name another one with data.bank_root"
            )


def _flat(settings: BankSettings) -> dict[str, Any]:
    plain = {f.name: getattr(settings, f.name) for f in fields(settings) if f.name != "codec"}
    return {**{f"codec.{name}": value for name, value in settings.codec.to_dict().items()}, **plain}


@dataclass(frozen=True)
class BankedStem:
    """A stem of a song in a bank: its name, its class index, and a description in words."""

    name: str
    category: int
    description: str


@dataclass(frozen=True)
class SongLatents:
    """The content of a bank for one song; the tensors are views into its file if it was read from one.

    Args:
        name: the song's name.
        digest: digest of the audio files that it was made from.
        stems: the stems that may be targets, in the order of S; the others are in sub-mixes only.
        refusals: stems that could not be read.
        annotations: beats and chords, None where not known.
        stems_STC: latents of these stems (float16).
        submixes_MTC: latents of every sub-mix (float16).
        membership_MS: which stems sound in which sub-mix (bool).
        stem_levels_ST: RMS per frame in dB below full scale (float16), −120 for silence.
        submix_levels_MT: the same for the sub-mixes.
        sum_C: sum over all frames of stems and sub-mixes (float64), before rounding to float16.
        square_sum_C: the same for the squares.
    """

    name: str
    digest: str
    stems: tuple[BankedStem, ...]
    refusals: tuple[Refusal, ...]
    annotations: Annotations | None
    stems_STC: Tensor
    submixes_MTC: Tensor
    membership_MS: Tensor
    stem_levels_ST: Tensor
    submix_levels_MT: Tensor
    sum_C: Tensor
    square_sum_C: Tensor

    @property
    def frames(self) -> int:
        """Frames of every stem and sub-mix."""
        return self.stems_STC.shape[1]


TENSORS = tuple(f.name for f in fields(SongLatents) if f.type == "Tensor")


def song_path(folder: Path, song: str) -> Path:
    """Where a bank keeps a song."""
    return folder / "songs" / f"{song}.safetensors"


def write_song(folder: Path, song: SongLatents, settings: BankSettings) -> None:
    """Write one song whole, or not at all.

    Raises:
        UserError: the disk is full.
    """
    header = {
        "schema": SCHEMA,
        "settings": settings.to_dict(),
        "name": song.name,
        "digest": song.digest,
        "stems": [asdict(stem) for stem in song.stems],
        "refusals": [asdict(refusal) for refusal in song.refusals],
        "annotations": None if song.annotations is None else annotations_to_dict(song.annotations),
    }
    tensors = {name: getattr(song, name).contiguous() for name in TENSORS}
    # one key only: the order of several is not deterministic, and banks are compared byte by byte
    content = save(tensors, metadata={"livejam": json.dumps(header)})
    # written by Python, whose errors tell a full disk from others
    with atomic_path(song_path(folder, song.name)) as temporary:
        temporary.write_bytes(content)


def read_song(path: Path) -> tuple[SongLatents, BankSettings]:
    """A song of a bank; its tensors are memory-mapped and read on use.

    Raises:
        UserError: the file is damaged or of another version.
    """
    try:
        with safe_open(path, "pt") as file:
            header = json.loads(file.metadata()["livejam"])
            tensors = {name: file.get_tensor(name) for name in TENSORS}
        if header["schema"] != SCHEMA:
            raise ValueError(f"schema {header['schema']} instead of {SCHEMA}")
        song = SongLatents(
            name=header["name"],
            digest=header["digest"],
            stems=tuple(BankedStem(**stem) for stem in header["stems"]),
            refusals=tuple(Refusal(**refusal) for refusal in header["refusals"]),
            annotations=_annotations_of(header),
            **tensors,
        )
        return song, BankSettings.from_dict(header["settings"])
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise _no_song(path, error) from error


def read_banked_annotations(path: Path) -> Annotations | None:
    """Beats and chords of a song of a bank, None where not known; the file is closed again, and no latents are read.

    Raises:
        UserError: the file is damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            return _annotations_of(json.loads(file.metadata()["livejam"]))
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise _no_song(path, error) from error


def _no_song(path: Path, error: Exception) -> UserError:
    return UserError(f"{path} is no song of a latent bank ({error}); delete the file and it is built again")


def _annotations_of(header: dict[str, Any]) -> Annotations | None:
    values = header["annotations"]
    return None if values is None else annotations_from_dict(values)


def is_banked(folder: Path, root: Path, song: Song, settings: BankSettings) -> bool:
    """Whether the song's file exists, is complete, and was made from these files with these settings."""
    try:
        banked, its_settings = read_song(song_path(folder, song.name))
    except UserError:
        return False
    return its_settings == settings and is_made_from(folder, root, song, banked.digest)


def is_made_from(folder: Path, root: Path, song: Song, digest: str) -> bool:
    """Whether a banked song of this digest was made from the song's files.

    Banks of older versions know only the names and sizes of their sources. For these, no stem may be younger than the
    bank's own file.
    """
    if digest != song.name_digest:
        return digest == song.digest
    files, made = (root / song.folder / stem.file for stem in song.stems), song_path(folder, song.name).stat().st_mtime
    return all(file.stat().st_mtime <= made for file in files)


def write_manifest(folder: Path, songs: Iterable[str], settings: BankSettings) -> None:
    """Make the folder a bank: its settings, statistics, counts, and the size and hash of every song file."""
    rows, totals = [], _Totals()
    names = sorted(songs)
    hashes = sha256_of_songs(folder, names)
    for name, sha256 in zip(names, hashes, strict=True):
        path = song_path(folder, name)
        song, _ = read_song(path)
        totals.add(song)
        rows.append({"name": name, "bytes": path.stat().st_size, "sha256": sha256, "digest": song.digest})
    manifest = {
        "schema": SCHEMA,
        "settings": settings.to_dict(),
        "counts": totals.counts(),
        "statistics": totals.statistics(settings.codec.latent_channels),
        "refusals": [asdict(refusal) for refusal in totals.refusals],
        "songs": rows,
    }
    with atomic_path(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(manifest, indent=1), encoding="utf-8")


class _Totals:
    """Sums over the songs of a bank."""

    def __init__(self) -> None:
        self.songs = self.stems = self.submixes = self.frames = self.latents = 0
        self.refusals: list[Refusal] = []
        self.sum_C: Tensor | float = 0.0
        self.square_sum_C: Tensor | float = 0.0

    def add(self, song: SongLatents) -> None:
        self.songs += 1
        self.stems += len(song.stems)
        self.submixes += len(song.membership_MS)
        self.frames += song.frames
        self.latents += (len(song.stems) + len(song.membership_MS)) * song.frames
        self.refusals += song.refusals
        self.sum_C = self.sum_C + song.sum_C
        self.square_sum_C = self.square_sum_C + song.square_sum_C

    def counts(self) -> dict[str, int]:
        return {name: getattr(self, name) for name in ("songs", "stems", "submixes", "frames")}

    def statistics(self, channels: int) -> dict[str, list[float]]:
        if not self.latents:
            return {"mean": [0.0] * channels, "std": [1.0] * channels}
        mean_C = torch.as_tensor(self.sum_C) / self.latents
        std_C = (torch.as_tensor(self.square_sum_C) / self.latents - mean_C.square()).clamp_min(0).sqrt()
        std_C = torch.where(std_C < SMALLEST_STD, torch.ones_like(std_C), std_C)
        return {"mean": mean_C.tolist(), "std": std_C.tolist()}


def sha256_of_songs(folder: Path, songs: Iterable[str]) -> list[str]:
    """SHA-256 of each song's file; every core hashes one at a time."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(sha256_of, (song_path(folder, song) for song in songs)))


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Manifest:
    """The content of `manifest.json`.

    Args:
        settings: the settings that the bank was built with.
        counts: numbers of songs, stems, submixes and frames (summed over the songs).
        statistics: mean and standard deviation per latent channel, over all frames of stems and sub-mixes.
        refusals: stems that could not be read when the bank was built.
        names: the songs, sorted.
        sizes: bytes of each song's file.
        hashes: SHA-256 of each song's file.
        digests: digest of the audio files that each song was made from; None in banks of older versions.
    """

    settings: BankSettings
    counts: dict[str, int]
    statistics: LatentStatistics
    refusals: tuple[Refusal, ...]
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    hashes: tuple[str, ...]
    digests: tuple[str | None, ...]


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the bank in `folder`.

    Raises:
        UserError: there is none, or it is damaged or of another version.
    """
    path = folder / MANIFEST
    if not path.is_file():
        raise UserError(
            f"no latent bank in {folder}: {MANIFEST} is missing; build it with "
            "`lightning predict --config configs/bank/pocket.yaml`, or let the first `lightning fit` do it"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["schema"] != SCHEMA:
            raise ValueError(f"schema {values['schema']} instead of {SCHEMA}")
        statistics = values["statistics"]
        return Manifest(
            settings=BankSettings.from_dict(values["settings"]),
            counts=values["counts"],
            statistics=LatentStatistics(torch.tensor(statistics["mean"]), torch.tensor(statistics["std"])),
            refusals=tuple(Refusal(**refusal) for refusal in values["refusals"]),
            names=tuple(row["name"] for row in values["songs"]),
            sizes=tuple(row["bytes"] for row in values["songs"]),
            hashes=tuple(row["sha256"] for row in values["songs"]),
            digests=tuple(row.get("digest") for row in values["songs"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path} is no manifest of a latent bank ({error}); delete it and the next start repairs it"
        ) from error
