"""Pictures and sounds of what codecs lose, for docs/codecs.md.

    python -m benchmarks.codec_examples --weights before=old.safetensors --weights after=pocket --root data/codec_test

Of one song: mix, drums and bass, as spectrograms of original and reconstructions and as FLAC files of a few seconds.

Shapes: A audio channels, N audio samples.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import soundfile
import torch

from benchmarks.codec_reconstruction import Excerpt, excerpts, reconstruct
from livejam.codecs import pretrained_codec
from metrics.reconstruction_picture import draw_fine

HIGHEST_HZ = {"mix": 5000.0, "drums": 5000.0, "bass": 2000.0}


def chosen(originals: list[Excerpt], song: str) -> dict[str, Excerpt]:
    """The first excerpt of each kind of a song."""
    mine = [item for item in originals if item.song == song]
    return {kind: next(item for item in mine if item.kind == kind) for kind in HIGHEST_HZ}


def main() -> None:
    """Reconstruct, draw, write."""
    parser = argparse.ArgumentParser(description="Pictures and sounds of reconstructions.")
    parser.add_argument("--weights", action="append", required=True, metavar="TITLE=WEIGHTS", help="may be repeated")
    parser.add_argument("--root", type=Path, default=Path("data/codec_test"), help="Slakh-format songs")
    parser.add_argument("--song", default="Track00001", help="its folder")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of the excerpts")
    parser.add_argument("--out", type=Path, default=Path("docs/codecs"), help="where to write")
    given = parser.parse_args()
    torch.set_num_threads(1)
    codecs = {title: pretrained_codec(name) for title, _, name in (text.partition("=") for text in given.weights)}
    rate = next(iter(codecs.values())).spec.sample_rate_hz
    items = chosen(excerpts(given.root / "train", rate, 1, given.seconds), given.song)
    sounds = {kind: {"original": item.audio_AN[0]} for kind, item in items.items()}
    for title, codec in codecs.items():
        for kind, made in zip(items, reconstruct(codec, list(items.values())), strict=True):
            sounds[kind][title] = made.audio_AN[0]
    given.out.mkdir(parents=True, exist_ok=True)
    for kind, by_title in sounds.items():
        draw_fine(by_title, rate, HIGHEST_HZ[kind], given.out / f"{kind}.png")
        for title, audio_N in by_title.items():
            soundfile.write(given.out / f"{kind}_{title}.flac", audio_N.clamp(-1, 1).numpy(), rate, subtype="PCM_16")


if __name__ == "__main__":
    main()
