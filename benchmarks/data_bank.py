"""How fast the latent bank is: `python -m benchmarks.data_bank [--bank FOLDER]`.

Without a bank it makes one of random latents, of the size of the demo's. The last line is one JSON object:
`items_per_second` (training items, batched, in one process), `open_seconds` (opening the bank until the first batch)
and `resident_mb` (memory of the process that is not the bank's own file pages, above what it had before).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import torch

from datamodules.bank_batches import BankBatches
from datamodules.crops import ActivityRule
from datamodules.latent_bank import BankedStem, BankSettings, LatentBank, SongLatents, write_manifest, write_song
from datamodules.run_sampler import BatchKey
from livejam.spec import CodecSpec

CATEGORIES = (0, 4, 14)
STEMS, SUBMIXES = 7, 6


def make_bank(folder: Path, songs: int, frames: int, channels: int) -> None:
    """A bank of random latents, always sounding; sub-mix m leaves out stem m."""
    spec = CodecSpec("random", 22050, 1, 2048, channels, 0)
    settings = BankSettings(spec, "0" * 64, "train", 0, SUBMIXES, CATEGORIES, -60.0)
    rng = torch.Generator().manual_seed(0)
    for number in range(songs):
        song = SongLatents(
            name=f"Track{number:05d}",
            digest="0",
            stems=tuple(BankedStem(f"S{i:02d}", CATEGORIES[i % 3], "random") for i in range(STEMS)),
            refusals=(),
            annotations=None,
            stems_STC=torch.randn(STEMS, frames, channels, generator=rng).half(),
            submixes_MTC=torch.randn(SUBMIXES, frames, channels, generator=rng).half(),
            membership_MS=~torch.eye(SUBMIXES, STEMS, dtype=torch.bool),
            stem_levels_ST=torch.zeros(STEMS, frames).half(),
            submix_levels_MT=torch.zeros(SUBMIXES, frames).half(),
            sum_C=torch.zeros(channels, dtype=torch.float64),
            square_sum_C=torch.full((channels,), float((STEMS + SUBMIXES) * frames), dtype=torch.float64),
        )
        write_song(folder, song, settings)
    write_manifest(folder, [f"Track{number:05d}" for number in range(songs)], settings)


def measure(folder: Path, crop_frames: int, batch_size: int, seconds: float) -> dict[str, float]:
    """Open the bank and draw batches for `seconds`."""
    torch.set_num_threads(1)
    before_mb, begin = _anonymous_mb(), time.perf_counter()
    bank = LatentBank(folder)
    batches = BankBatches(bank, bank.manifest.settings.targets, crop_frames, batch_size, ActivityRule(), seed=0)
    _ = batches[BatchKey(0, 0)]
    opened = time.perf_counter()
    count = 0
    while time.perf_counter() - opened < seconds:
        count += 1
        _ = batches[BatchKey(0, count)]
    return {
        "items_per_second": round(count * batch_size / (time.perf_counter() - opened), 1),
        "open_seconds": round(opened - begin, 4),
        "resident_mb": round(_anonymous_mb() - before_mb, 2),
    }


def _anonymous_mb() -> float:
    """Memory of this process that belongs to no file, in MB (2^20 bytes)."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bank", type=Path, help="a bank's folder; left out: a bank of random latents is made")
    parser.add_argument("--songs", type=int, default=120, help="songs of the random bank")
    parser.add_argument("--crop_frames", type=int, default=64, help="frames of an item")
    parser.add_argument("--batch_size", type=int, default=16, help="items per batch")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long batches are drawn")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = arguments.bank or Path(made)
        if arguments.bank is None:
            make_bank(folder, arguments.songs, frames=480, channels=96)
        # in a fresh process, whose memory is not that of whoever made the bank
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            result = pool.apply(measure, (folder, arguments.crop_frames, arguments.batch_size, arguments.seconds))
    print(f"{folder}: batches of {arguments.batch_size} items of {arguments.crop_frames} frames")
    print(json.dumps(result))


if __name__ == "__main__":
    main()
