"""How fast a latent bank of Slakh2100's size is: `python -m benchmarks.data_bank [--bank FOLDER]`.

Without a bank it makes one of random latents with the shapes of configs/liveband/slakh.yaml: 2100 songs of four
minutes, ten stems and sixteen sub-mixes take 27 GB (`--songs` makes fewer; the folder is deleted at the end). Every
number is measured in a fresh process. The last line is one JSON object:

- `open_seconds`: from nothing to the first batch, with cold pages; `resident_mb`: memory that this took, without file
  pages;
- `cold_items_per_second`: training items that two workers give, when no page of the bank is in memory. The files' pages
  are dropped with posix_fadvise(POSIX_FADV_DONTNEED) beforehand, after they were written to the disk;
- `warm_items_per_second`: the same batches once more, whose pages are in memory now;
- `unshared_items_per_second`: warm, with memory of its own for every batch, as PyTorch passes tensors, in place of
  slots that are used again; `shared_ratio` is the gain, the median over turns of one and the other;
- `wait_share`: the share of the time that a training step of `--step_seconds` waits for its batch, with cold pages;
  `unshared_wait_share` is that without slots. The paper's step takes .8 s;
- `manifest_seconds`: hashing the bank and indexing it, which ends a build.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median

import numpy as np
import torch

from datamodules.bank_batches import BankBatches
from datamodules.bank_index import keep_index
from datamodules.crops import ActivityRule
from datamodules.latent_bank import (
    BankedStem,
    BankSettings,
    SongLatents,
    read_manifest,
    song_path,
    write_manifest,
    write_song,
)
from datamodules.local_bank import LatentBank
from datamodules.run_sampler import ResumableLoader, RunSampler
from datamodules.submixes import draw_submixes
from livejam.batch import AccompanimentBatch
from livejam.spec import CodecSpec

CATEGORIES = (0, 4, 14)
STEMS, SUBMIXES = 7, 6
LOUD_DBFS, SILENT_DBFS = -20.0, -120.0
SILENCE_FRAMES = 100
WORKERS, TURNS = 2, 3


def make_bank(
    folder: Path, songs: int, frames: int, channels: int, stems: int = STEMS, submixes: int = SUBMIXES
) -> None:
    """A bank of random latents; every stem is silent for a while, and sub-mixes are drawn as for a real bank.

    All songs hold the same latents, rotated: only their place on the disk matters.
    """
    loud_S, all_S = np.full(stems, frames), np.ones(stems, bool)
    spec = CodecSpec("random", 22050, 1, 2048, channels, 0)
    settings = BankSettings(spec, "0" * 64, "train", 0, submixes, CATEGORIES, -60.0)
    rng = torch.Generator().manual_seed(0)
    stems_STC = torch.randn(stems, frames, channels, generator=rng).half()
    submixes_MTC = torch.randn(submixes, frames, channels, generator=rng).half()
    for number in range(songs):
        membership_MS = torch.from_numpy(draw_submixes(loud_S, all_S, submixes, np.random.default_rng(number)))
        drawn = len(membership_MS)
        song = SongLatents(
            name=f"Track{number:05d}",
            digest="0",
            stems=tuple(BankedStem(f"S{i:02d}", CATEGORIES[i % 3], "random") for i in range(stems)),
            refusals=(),
            annotations=None,
            stems_STC=stems_STC.roll(number, dims=0),
            submixes_MTC=submixes_MTC.roll(number, dims=0)[:drawn],
            membership_MS=membership_MS,
            stem_levels_ST=_levels(stems, frames, number),
            submix_levels_MT=torch.full((drawn, frames), LOUD_DBFS).half(),
            sum_C=torch.zeros(channels, dtype=torch.float64),
            square_sum_C=torch.full((channels,), float((stems + drawn) * frames), dtype=torch.float64),
        )
        write_song(folder, song, settings)
    write_manifest(folder, [f"Track{number:05d}" for number in range(songs)], settings)
    keep_index(folder, read_manifest(folder))


def _levels(stems: int, frames: int, number: int) -> torch.Tensor:
    """Every stem sounds, except for one stretch of its own."""
    levels_ST = torch.full((stems, frames), LOUD_DBFS)
    for stem in range(stems):
        begin = (number + stem * SILENCE_FRAMES) % max(1, frames - SILENCE_FRAMES)
        levels_ST[stem, begin : begin + min(SILENCE_FRAMES, frames // 4)] = SILENT_DBFS
    return levels_ST.half()


def drop_pages(folder: Path) -> None:
    """No page of the bank's files stays in memory; they must be written, and mapped by nobody."""
    for path in [*folder.glob("*.*"), *folder.glob("songs/*")]:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def open_batches(folder: Path, crop_frames: int, batch_size: int, shared: bool = True) -> BankBatches:
    """The training batches of a bank; `shared`: in memory that training and its workers share."""
    bank, workers = LatentBank(folder), WORKERS if shared else 0
    return BankBatches(bank, bank.manifest.settings.targets, crop_frames, batch_size, ActivityRule(), 0, workers)


def measure_opening(folder: Path, crop_frames: int, batch_size: int) -> dict[str, float]:
    """Time and memory until the first batch is there."""
    torch.set_num_threads(1)
    before_mb, begin = _anonymous_mb(), time.perf_counter()
    batches = open_batches(folder, crop_frames, 1)
    _ = batches[next(iter(RunSampler(lambda: 0, 1, 0)))]
    return {
        "open_seconds": round(time.perf_counter() - begin, 3),
        "resident_mb": round(_anonymous_mb() - before_mb, 1),
    }


def measure_items(folder: Path, crop_frames: int, batch_size: int, count: int) -> dict[str, float]:
    """Items per second of two workers: batches for the first time, and the same batches again."""
    torch.set_num_threads(1)
    shared, unshared = (open_batches(folder, crop_frames, batch_size, share) for share in (True, False))
    cold = _items_per_second(shared, count)
    pairs = [(_items_per_second(shared, count), _items_per_second(unshared, count)) for _ in range(TURNS)]
    warm, plain = (median(rates) for rates in zip(*pairs, strict=True))
    return {
        "cold_items_per_second": round(cold),
        "warm_items_per_second": round(warm),
        "unshared_items_per_second": round(plain),
        "shared_ratio": round(median(one / other for one, other in pairs), 2),
    }


def _items_per_second(batches: BankBatches, count: int) -> float:
    stream = _stream(batches, count)
    next(stream)  # the workers have started; and without their end
    begin, taken = time.perf_counter(), sum(1 for _ in islice(stream, count - 2))
    return taken * batches.batch_size / (time.perf_counter() - begin)


def measure_waiting(folder: Path, crop_frames: int, batch_size: int, count: int, step: float) -> dict[str, float]:
    """Share of the time that steps of `step` seconds wait for their batches."""
    torch.set_num_threads(1)
    shares = {}
    for name, shared in (("wait_share", True), ("unshared_wait_share", False)):
        drop_pages(folder)
        waited, stream = 0.0, _stream(open_batches(folder, crop_frames, batch_size, shared), count)
        next(stream)
        begin = mark = time.perf_counter()
        for _ in islice(stream, count - 2):
            waited += time.perf_counter() - mark
            time.sleep(step)  # as for a GPU, the processor has nothing to do
            mark = time.perf_counter()
        shares[name] = round(waited / (time.perf_counter() - begin), 4)
    return {**shares, "step_seconds": step}


def _stream(batches: BankBatches, count: int) -> Iterator[AccompanimentBatch]:
    sampler = RunSampler(lambda: 0, count, rank=0)
    return iter(ResumableLoader(batches, batch_size=None, sampler=sampler, num_workers=WORKERS))


def _anonymous_mb() -> float:
    """Memory of this process that belongs to no file, in MB (2^20 bytes)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


def measure(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """All numbers of a bank, each in a fresh process, whose memory is not that of whoever made the bank."""
    shape = (folder, options.crop_frames, options.batch_size)
    jobs = (
        (measure_opening, shape),
        (measure_items, (*shape, options.batches)),
        (measure_waiting, (*shape, options.batches, options.step_seconds)),
    )
    result: dict[str, float] = {}
    for job, arguments in jobs:
        drop_pages(folder)
        # its processes have workers of their own, which a pool's may not
        with multiprocessing.get_context("spawn").Pool(1, _load_as_training_does) as pool:
            result |= pool.apply(job, arguments)
    begin = time.perf_counter()
    manifest = read_manifest(folder)
    with tempfile.TemporaryDirectory(dir=folder.parent) as copy:
        (Path(copy) / "songs").symlink_to(song_path(folder, "x").parent.absolute())
        write_manifest(Path(copy), manifest.names, manifest.settings)
        keep_index(Path(copy), manifest)
    return {**result, "manifest_seconds": round(time.perf_counter() - begin, 1)}


def _load_as_training_does() -> None:
    # what a spawned process starts would be spawned as well, and those workers share no memory
    multiprocessing.set_start_method(None, force=True)
    multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=Path, help="a bank's folder; left out: a bank of random latents is made")
    parser.add_argument("--folder", type=Path, help="where the random bank is made (default: the temporary folder)")
    parser.add_argument("--songs", type=int, default=2100, help="songs of the random bank")
    parser.add_argument("--channels", type=int, default=96, help="latent channels of the random bank")
    parser.add_argument("--crop_frames", type=int, default=140, help="frames of an item")
    parser.add_argument("--batch_size", type=int, default=128, help="items per batch")
    parser.add_argument("--batches", type=int, default=100, help="batches per number")
    parser.add_argument("--step_seconds", type=float, default=0.1, help="a training step, for the share of waiting")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=arguments.folder) as made:
        folder = arguments.bank or Path(made) / "bank"
        if arguments.bank is None:
            make_bank(folder, arguments.songs, frames=2584, channels=arguments.channels, stems=10, submixes=16)
        manifest = read_manifest(folder)
        size = sum(manifest.sizes) / 1e9
        result = measure(folder, arguments)
    print(f"{len(manifest.names)} songs, {size:.1f} GB, {WORKERS} workers")
    print(f"batches of {arguments.batch_size} items of {arguments.crop_frames} frames")
    print(json.dumps({"gigabytes": round(size, 1), **result}))


if __name__ == "__main__":
    main()
