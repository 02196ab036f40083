"""What the latent bank of all of Slakh2100 costs per codec: `python -m benchmarks.bank_cost`.

Encodes a song of one minute with ten targets and sixteen sub-mixes (configs/bank/slakh.yaml) in one thread, as a worker
of the builder does. Codecs without bundled weights have random ones, which take as long. From that follow the hours of
one core for 2100 songs of 4 minutes, and from the codec's spec the bytes. Decoding FLAC and writing come on top.
The last line is one JSON object.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import torch

from datamodules.bank_building import SongAudio, encode_song
from datamodules.latent_bank import BankedStem
from livejam.cli.codec_choice import choose_codec
from livejam.codecs import Codec

CODECS = {"pocket": "pocket", "slakh": str(Path(__file__).parents[1] / "configs" / "codec" / "slakh.yaml")}
STEMS, SUBMIXES = 10, 16
SONGS, SONG_SECONDS = 2100, 248.6
"""Slakh2100: 145 hours of music."""
MEASURED_SECONDS = 60.0


def cost(codec: Codec) -> dict[str, float]:
    """Core-hours and bytes for the whole set."""
    spec = codec.spec
    frames = spec.frames_in(MEASURED_SECONDS)
    song = SongAudio(
        name="Track00001",
        digest="0",
        stems=tuple(BankedStem(f"S{stem:02d}", 0, "noise") for stem in range(STEMS)),
        refusals=(),
        annotations=None,
        stems_SAN=0.1 * torch.randn(STEMS, spec.audio_channels, frames * spec.hop_samples),
        target_S=torch.ones(STEMS, dtype=torch.bool),
        membership_MS=torch.rand(SUBMIXES, STEMS) < 0.5,
    )
    encode_song(codec, song)
    begin = time.process_time()
    encode_song(codec, song)
    seconds = time.process_time() - begin
    rows, share = STEMS + SUBMIXES, SONGS * SONG_SECONDS / MEASURED_SECONDS
    return {
        "times_real_time": round(rows * frames * spec.frame_seconds / seconds, 1),
        "core_hours": round(seconds * share / 3600, 1),
        "gigabytes": round(rows * frames * spec.latent_channels * 2 * share / 1e9, 1),
    }


def main() -> None:
    """Measure, print."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    result = {}
    for name, choice in CODECS.items():
        result[name] = cost(choose_codec([choice]).eval())
        print(f"{name}: {result[name]}", flush=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
