"""What codecs lose: held-out songs against their reconstructions. The last line is one JSON object.

    python -m benchmarks.codec_reconstruction --weights pocket --songs 10 --seed 777

Excerpts of songs that were never trained on (rendered from another seed if they are not there) are encoded and
decoded. Mixes: beat F1 against the true beats of original and reconstruction. Stems by kind: log-mel error,
multi-resolution STFT distance, SI-SDR, Fréchet distance of log-mel windows, chroma, energy in spectral gaps, onsets,
level, smoothness of the latents. Robustness: how the level changes when latents are disturbed. Speed: seconds of audio
encoded plus decoded per second of processor time, one thread. Several codecs are measured on the same excerpts.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from datamodules.annotations import read_annotations
from datamodules.audio import read_audio
from datamodules.slakh_index import SlakhIndex
from datamodules.slakh_scan import Stem
from livejam.batch import CATEGORIES
from livejam.codecs import CausalCodec, pretrained_codec
from livejam.errors import UserError
from livejam.objectives.latent_regularity import smoothness
from metrics.beat_tracking import Floats
from metrics.embeddings import LogMel
from metrics.evaluation.harmony_measure import UNPITCHED
from metrics.frechet import FrechetAudioDistance
from metrics.loudness import relative_level_db
from metrics.reconstruction import (
    chroma_correlation,
    log_mel_error,
    onset_f_measure,
    si_sdr_db,
    spectral_gap_excess_db,
    stft_distance,
)

START_SECONDS = 8.0
SILENT_DB = -45.0
NOISE = (0.3, 0.6, 1.0)
OUTLIERS, OUTLIER = 0.01, 6.0
"""Share of latents that are replaced by an extreme value of random sign, and that value."""


@dataclass(frozen=True)
class Excerpt:
    """Original audio of one stem or mix, and what it is ("mix", "drums", "bass", "pitched", "unpitched")."""

    song: str
    kind: str
    audio_AN: Tensor
    beats_seconds: tuple[float, ...]


@dataclass(frozen=True)
class Reconstruction:
    """An excerpt after the codec, its latents, and the processor seconds it took."""

    audio_AN: Tensor
    latents_TC: Tensor
    seconds: float


def excerpts(root: Path, sample_rate_hz: int, audio_channels: int, seconds: float) -> list[Excerpt]:
    """Mix and sounding stems of every song of a data set, from 8 seconds on.

    The mix of a song without a file for it, such as an imported recording, is the sum of its stems.

    Raises:
        UserError: nothing sounds from there on.
    """
    found, samples = [], round(seconds * sample_rate_hz)
    for song in SlakhIndex.open(root).songs:
        folder = root / song.folder
        truth = read_annotations(folder)
        beats = tuple(t - START_SECONDS for t in truth.beats_seconds) if truth else ()
        beats = tuple(t for t in beats if 0 <= t < seconds)

        hear = partial(read_audio, sample_rate_hz=sample_rate_hz, channels=audio_channels)
        hear = partial(hear, start_seconds=START_SECONDS, samples=samples)
        stems = [(_kind(stem), torch.tensor(hear(folder / stem.file))) for stem in song.stems]
        mix = folder / "mix.flac"
        mix_AN = torch.tensor(hear(mix)) if mix.is_file() else torch.stack([audio_AN for _, audio_AN in stems]).sum(0)
        found += [
            Excerpt(song.name, kind, audio_AN, beats)
            for kind, audio_AN in [("mix", mix_AN), *stems]
            if 20 * np.log10(float(audio_AN.abs().max()) + 1e-9) > SILENT_DB
        ]
    if not found:
        raise UserError(f"nothing sounds in {root} from second {START_SECONDS:g} on; name songs that are longer")
    return found


def mixes_with_beats(originals: Sequence[Excerpt]) -> list[int]:
    """The places of the mixes whose true beats are known."""
    return [place for place, item in enumerate(originals) if item.kind == "mix" and item.beats_seconds]


def _kind(stem: Stem) -> str:
    category = CATEGORIES[stem.category]
    if category in ("Percussive", "Bass"):
        return "drums" if category == "Percussive" else "bass"
    return "unpitched" if category in UNPITCHED else "pitched"


@torch.no_grad()
def reconstruct(codec: CausalCodec, originals: Sequence[Excerpt]) -> list[Reconstruction]:
    """Encoded and decoded, one at a time."""
    made = []
    for item in originals:
        start, samples = time.process_time(), item.audio_AN.shape[1]
        padded_AN = torch.nn.functional.pad(item.audio_AN, (0, -samples % codec.spec.hop_samples))
        latents_BTC = codec.encode(padded_AN[None])
        audio_AN = codec.decode(latents_BTC)[0, :, :samples]
        made.append(Reconstruction(audio_AN, latents_BTC[0], time.process_time() - start))
    return made


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
    codec: CausalCodec, originals: Sequence[Excerpt], made: Sequence[Reconstruction]
) -> dict[str, dict[str, float]]:
    """Scores per kind of excerpt: means over the excerpts, and one Fréchet distance of all their windows."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    embed, rate = LogMel(), codec.spec.sample_rate_hz
    distances: dict[str, FrechetAudioDistance] = defaultdict(lambda: FrechetAudioDistance(embed.dimension))
    for item, ours in zip(originals, made, strict=True):
        moves_BTC = (ours.latents_TC - ours.latents_TC.mean(0))[None]
        scores[item.kind]["latent_smoothness"].append(float(smoothness(moves_BTC)))
        for true_N, made_N in zip(item.audio_AN, ours.audio_AN, strict=True):
            for name, value in channel_scores(item.kind, made_N, true_N, rate).items():
                scores[item.kind][name].append(value)
            distances[item.kind].update(embed(true_N, rate), real=True)
            distances[item.kind].update(embed(made_N, rate), real=False)
    means = {kind: {name: float(np.nanmean(v)) for name, v in each.items()} for kind, each in sorted(scores.items())}
    for kind, row in means.items():
        row["fad_log_mel"] = float(distances[kind].compute().distance)
        row["count"] = float(len(scores[kind]["latent_smoothness"]))
    return means


def channel_scores(kind: str, made_N: Tensor, true_N: Tensor, sample_rate_hz: int) -> dict[str, float]:
    """What one channel of a reconstruction is worth; nan where undefined."""
    pair = made_N, true_N, sample_rate_hz
    scores = {
        "log_mel_error": log_mel_error(*pair),
        "stft_distance": stft_distance(made_N, true_N),
        "si_sdr_db": si_sdr_db(made_N, true_N),
        "spectral_gap_excess_db": spectral_gap_excess_db(*pair),
        "level_db": relative_level_db(made_N.numpy(), true_N.numpy(), sample_rate_hz),
    }
    if kind in ("bass", "pitched"):
        scores["chroma_correlation"] = chroma_correlation(*pair, bass=kind == "bass")
    if kind == "drums":
        scores["onset_f1"] = onset_f_measure(*pair)
    return scores


@torch.no_grad()
def robustness(
    codec: CausalCodec, originals: Sequence[Excerpt], made: Sequence[Reconstruction]
) -> dict[str, dict[str, float]]:
    """Mean change of level in dB per kind when noise or outliers are added to the latents, as a generator would."""
    rng, rate = torch.Generator().manual_seed(0), codec.spec.sample_rate_hz
    changes: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for item, ours in zip(originals, made, strict=True):
        noise_TC = torch.randn(ours.latents_TC.shape, generator=rng)
        disturbed = {f"noise {amount}": ours.latents_TC + amount * noise_TC for amount in NOISE}
        is_outlier_TC = torch.rand(noise_TC.shape, generator=rng) < OUTLIERS
        disturbed["outliers"] = torch.where(is_outlier_TC, OUTLIER * noise_TC.sign(), ours.latents_TC)
        for name, latents_TC in disturbed.items():
            audio_N = codec.decode(latents_TC[None])[0, :, : item.audio_AN.shape[1]].mean(0)
            level_db = relative_level_db(audio_N.numpy(), item.audio_AN.mean(0).numpy(), rate)
            changes[item.kind][name].append(level_db)
    return {kind: {name: float(np.nanmean(v)) for name, v in each.items()} for kind, each in sorted(changes.items())}


def tracked_beats(audio: Sequence[Tensor], sample_rate_hz: int) -> list[Floats]:
    """Beats that a tracker hears in sounds AN."""
    from metrics.beats import MadmomRNN

    return list(MadmomRNN()([audio_AN.mean(0).numpy() for audio_AN in audio], sample_rate_hz))


def beat_scores(
    originals: Sequence[Excerpt], before: Sequence[Floats], made: Sequence[Reconstruction], sample_rate_hz: int
) -> dict[str, float]:
    """Beat F1 of mixes and of their reconstructions against the true beats.

    Args:
        originals: all excerpts.
        before: beats tracked in `mixes_with_beats`, at least one.
        made: reconstructions of all.
        sample_rate_hz: of these.
    """
    from metrics.beats import beat_f_measure

    mixes = mixes_with_beats(originals)
    truth = [np.array(originals[place].beats_seconds) for place in mixes]
    after = tracked_beats([made[place].audio_AN for place in mixes], sample_rate_hz)
    original = float(np.mean([beat_f_measure(t, b) for t, b in zip(truth, before, strict=True)]))
    reconstructed = float(np.mean([beat_f_measure(t, b) for t, b in zip(truth, after, strict=True)]))
    return {"original": original, "reconstructed": reconstructed, "ratio": reconstructed / original}


def measure(
    codec: CausalCodec, originals: Sequence[Excerpt], before: Sequence[Floats], disturbed: bool
) -> dict[str, object]:
    """All figures of one codec.

    Args:
        codec: the codec.
        originals: excerpts at its rate.
        before: beats tracked in the mixes whose true beats are known; without any, beats are left out.
        disturbed: whether to measure robustness too, which takes four times as long as all else.
    """
    made = reconstruct(codec, originals)
    total_seconds = sum(item.audio_AN.shape[1] for item in originals) / codec.spec.sample_rate_hz
    return {
        "codec": asdict(codec.spec),
        "beat_f1": beat_scores(originals, before, made, codec.spec.sample_rate_hz) if before else None,
        "stems": stem_scores(codec, originals, made),
        "robustness_db": robustness(codec, originals, made) if disturbed else None,
        "times_real_time_offline": total_seconds / sum(item.seconds for item in made),
        "times_real_time_frame_by_frame": stream_speed(codec),
    }


def main() -> None:
    """Render if needed, reconstruct, score, print."""
    parser = argparse.ArgumentParser(description="Held-out reconstruction of codecs; the last line is JSON.")
    parser.add_argument("--weights", action="append", help="bundled name or .safetensors file; may be repeated")
    parser.add_argument("--root", type=Path, default=Path("data/codec_held_out"), help="Slakh-format songs")
    parser.add_argument("--songs", type=int, default=10, help="songs to render if root is missing")
    parser.add_argument("--seed", type=int, default=777, help="seed of these songs; training used 20")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the excerpt of each song")
    parser.add_argument("--no-beats", action="store_true", help="skip beat tracking")
    parser.add_argument("--robustness", action="store_true", help="disturb the latents too")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if not given.root.exists():
        from datamodules.pocket_slakh.render import render_songs

        render_songs(given.root, given.songs, given.seed)
    codecs = {weights: pretrained_codec(weights) for weights in given.weights or ["pocket"]}
    results, beats, originals = {}, {}, {}
    for weights, codec in codecs.items():
        spec = codec.spec
        if (form := (spec.sample_rate_hz, spec.audio_channels)) not in originals:
            originals[form] = excerpts(given.root, *form, given.seconds)
            mixes = [] if given.no_beats else mixes_with_beats(originals[form])
            beats[form] = tracked_beats([originals[form][place].audio_AN for place in mixes], spec.sample_rate_hz)
        results[weights] = measure(codec, originals[form], beats[form], given.robustness)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
