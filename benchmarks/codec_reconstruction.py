"""What a codec loses: held-out songs against their reconstructions. The last line is one JSON object.

    python -m benchmarks.codec_reconstruction --songs 10 --seed 777

Excerpts of songs that were never trained on (rendered from another seed if they are not there) are encoded and
decoded. Mixes: beat F1 against the true beats of original and reconstruction. Stems: correlation of their chroma,
error of log-mel spectra, multi-resolution STFT distance, level. Speed: seconds of audio encoded plus decoded per second
of processor time, one thread.

Shapes: N audio samples.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from datamodules.audio import read_audio
from livejam.codecs import CausalCodec, pretrained_codec
from metrics.loudness import relative_level_db
from metrics.reconstruction import chroma_correlation, log_mel_error, stft_distance

SILENT_DB = -45.0
UNPITCHED = ("Percussive", "Sound Effects", "Sound effects")


@dataclass(frozen=True)
class Excerpt:
    """Original audio of one stem or mix, mono, and what it is ("mix", "drums", "bass", "pitched", "unpitched")."""

    song: str
    kind: str
    audio_N: Tensor
    beats_seconds: tuple[float, ...]


def excerpts(root: Path, codec: CausalCodec, seconds: float) -> list[Excerpt]:
    """Mix and sounding stems of every song below a Slakh-format root, from 8 seconds on."""
    start, found = 8.0, []
    samples = codec.spec.frames_in(seconds) * codec.spec.hop_samples
    for song in sorted(path.parent for path in root.glob("**/metadata.yaml")):
        stems = yaml.safe_load((song / "metadata.yaml").read_text())["stems"]
        truth = json.loads((song / "annotations.json").read_text())["beats"]
        beats = tuple(t - start for t in truth if start <= t < start + seconds)
        files = [("mix", song / "mix.flac")]
        files += [(_kind(stem), song / "stems" / f"{name}.flac") for name, stem in sorted(stems.items())]
        for kind, path in files:
            audio = read_audio(path, codec.spec.sample_rate_hz, 1, start, samples)
            if 20 * np.log10(np.abs(audio).max() + 1e-9) > SILENT_DB:
                found.append(Excerpt(song.name, kind, torch.from_numpy(audio[0].copy()), beats))
    return found


def _kind(stem: dict[str, str | bool | int]) -> str:
    if stem["is_drum"]:
        return "drums"
    if stem["inst_class"] == "Bass":
        return "bass"
    return "unpitched" if stem["inst_class"] in UNPITCHED else "pitched"


@torch.no_grad()
def reconstruct(codec: CausalCodec, originals: Sequence[Excerpt]) -> tuple[list[Tensor], float]:
    """Reconstructions, and seconds of audio per processor second of encoding plus decoding, one at a time."""
    start = time.process_time()
    audio = [codec.decode(codec.encode(item.audio_N[None, None]))[0, 0] for item in originals]
    elapsed = time.process_time() - start
    total = sum(len(item.audio_N) for item in originals) / codec.spec.sample_rate_hz
    return audio, total / elapsed


@torch.no_grad()
def stream_speed(codec: CausalCodec, frames: int = 200) -> float:
    """Seconds of audio per processor second of encoding plus decoding frame by frame."""
    encoder, decoder = codec.init_encoder_state(1), codec.init_decoder_state(1)
    audio_BAN = 0.1 * torch.randn(1, codec.spec.audio_channels, codec.spec.hop_samples)
    start = time.process_time()
    for _ in range(frames):
        latents_BTC, encoder = codec.encode_step(audio_BAN, encoder)
        _, decoder = codec.decode_step(latents_BTC, decoder)
    return codec.spec.seconds_in(frames) / (time.process_time() - start)


def stem_scores(
    codec: CausalCodec, originals: Sequence[Excerpt], made: Sequence[Tensor]
) -> dict[str, dict[str, float]]:
    """Mean scores per kind of excerpt."""
    rate = codec.spec.sample_rate_hz
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for item, audio_N in zip(originals, made, strict=True):
        ours = scores[item.kind]
        ours["log_mel_error"].append(log_mel_error(audio_N, item.audio_N, rate))
        ours["stft_distance"].append(stft_distance(audio_N, item.audio_N))
        ours["level_db"].append(relative_level_db(audio_N.numpy(), item.audio_N.numpy(), rate))
        if item.kind in ("bass", "pitched"):
            correlation = chroma_correlation(audio_N, item.audio_N, rate, item.kind == "bass")
            ours["chroma_correlation"].append(correlation)
    means = {kind: {name: float(np.nanmean(v)) for name, v in each.items()} for kind, each in scores.items()}
    counts = {kind: {"count": float(len(each["level_db"]))} for kind, each in scores.items()}
    return {kind: {**means[kind], **counts[kind]} for kind in sorted(means)}


def beat_scores(codec: CausalCodec, originals: Sequence[Excerpt], made: Sequence[Tensor]) -> dict[str, float]:
    """Beat F1 of mixes and of their reconstructions against the true beats."""
    from metrics.beats import MadmomRNN, beat_f_measure

    rate = codec.spec.sample_rate_hz
    mixes = [(item, audio_N) for item, audio_N in zip(originals, made, strict=True) if item.kind == "mix"]
    tracker = MadmomRNN()
    truth = [np.array(item.beats_seconds) for item, _ in mixes]
    before = tracker([item.audio_N.numpy() for item, _ in mixes], rate)
    after = tracker([audio_N.numpy() for _, audio_N in mixes], rate)
    original = float(np.mean([beat_f_measure(t, b) for t, b in zip(truth, before, strict=True)]))
    reconstructed = float(np.mean([beat_f_measure(t, b) for t, b in zip(truth, after, strict=True)]))
    return {"original": original, "reconstructed": reconstructed, "ratio": reconstructed / original}


def main() -> None:
    """Render if needed, reconstruct, score, print."""
    parser = argparse.ArgumentParser(description="Held-out reconstruction of a codec; the last line is JSON.")
    parser.add_argument("--weights", default="pocket", help="bundled name or .safetensors file")
    parser.add_argument("--root", type=Path, default=Path("data/codec_held_out"), help="Slakh-format songs")
    parser.add_argument("--songs", type=int, default=10, help="songs to render if root is missing")
    parser.add_argument("--seed", type=int, default=777, help="seed of these songs; training used 20")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the excerpt of each song")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if not arguments.root.exists():
        from datamodules.pocket_slakh.render import render_songs

        render_songs(arguments.root, arguments.songs, arguments.seed)
    codec = pretrained_codec(arguments.weights)
    originals = excerpts(arguments.root, codec, arguments.seconds)
    made, speed = reconstruct(codec, originals)
    result = {
        "codec": asdict(codec.spec),
        "beat_f1": beat_scores(codec, originals, made),
        "stems": stem_scores(codec, originals, made),
        "times_real_time_offline": speed,
        "times_real_time_frame_by_frame": stream_speed(codec),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
