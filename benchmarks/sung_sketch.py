"""Which notes a model plays to a sketch that is sung: heard by the filter bank, and by the tracker of single notes.

python -m benchmarks.sung_sketch --checkpoint runs/lmdm_sketch_pocket/checkpoints/last.ckpt

A voice (harmonics under the formants of an open vowel, with vibrato, glides and breath) sings along with the pitched
test items of a model's data: the strongest note of the true stem, frame by frame, by octaves moved to between C3 and
B4, as loud as the stem. The model plays to it four times: with the sketch as the filter bank hears the voice, as the
tracker hears it (`livejam play --voice`), with the sung notes themselves as if they were drawn, and without a sketch.
A model that was trained on voices has learnt that the tracker's notes come late, so all of its sketches' do.

| column | what it is, in frames that are sung and could be played |
|---|---|
| sketch | share of the sketch's strengths that is on the sung note or a semitone beside it |
| strength | strength of the sung note in what is played, relative to the strongest |
| strongest | share of frames whose strongest note in what is played is the sung one |
| pitch class | the same but for octaves |

With 95 % intervals over songs. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.cutoff_sweep import Items, Model, data_of, model_of
from benchmarks.sketch_adherence import UNPITCHED, Agreement, earlier, table, text
from lightning_modules.accompaniment import played_audio
from livejam.batch import CATEGORIES, AccompanimentBatch
from livejam.errors import UserError
from livejam.sampling import read_weights
from livejam.sketch import CONTROLS, Sketcher, VoicePitch, asking_for, median_filtered, unpacked
from livejam.sketch.controls import A4_HZ, A4_NOTE, OCTAVE, RANGE_DB, SOFTEST_DB
from metrics.sketch_adherence import SOUNDS

LOWEST, HIGHEST = 48, 71
HELD_FRAMES = 5
COLUMNS = ("sketch", "strength", "strongest", "pitch class")
FORMANTS = ((600.0, 90.0, 1.0), (1100.0, 110.0, 0.5), (2500.0, 160.0, 0.15))
"""Hz, width in Hz and gain, of an open vowel."""

GLIDE_SECONDS, VIBRATO_HZ, VIBRATO_CENTS = 0.06, 5.5, 40.0

Numbers = Mapping[str, float]


def voice(note_N: Tensor, sample_rate_hz: int, vibrato_cents: float = VIBRATO_CENTS) -> Tensor:
    """Audio_N (float64), at most 1, of a voice with these notes of MIDI, which may be any numbers."""
    time_N = torch.arange(len(note_N), dtype=torch.float64) / sample_rate_hz
    note_N = note_N + vibrato_cents / 100 * torch.sin(2 * math.pi * VIBRATO_HZ * time_N)
    hz_N = A4_HZ * 2 ** ((note_N - A4_NOTE) / OCTAVE)
    phase_N, out_N = (2 * math.pi * hz_N / sample_rate_hz).cumsum(0), torch.zeros_like(time_N)
    for harmonic in range(1, 40):
        overtone_N = harmonic * hz_N
        gain_N = sum(gain / (1 + ((overtone_N - hz) / width) ** 2) for hz, width, gain in FORMANTS) + 0.02
        audible_N = overtone_N < min(0.45 * sample_rate_hz, 7000.0)
        out_N += torch.where(audible_N, gain_N / harmonic**0.5, 0.0) * torch.sin(harmonic * phase_N)
    return out_N / out_N.abs().max().clamp_min(1e-9)


def sung_along(curves_TP: Tensor, hop_samples: int, sample_rate_hz: int, seed: int) -> tuple[Tensor, Tensor]:
    """A voice (N) that sings the strongest notes of a sketch, and what it sings in every frame (T; NaN: nothing).

    Args:
        curves_TP: packed curves of a pitched sound.
        hop_samples: samples of a frame.
        sample_rate_hz: rate of the sound.
        seed: of the breath.
    """
    note_T = median_filtered(curves_TP[None, :, 2:3].double(), HELD_FRAMES)[0, :, 0]
    sounds_T = (curves_TP[:, 0] > SOUNDS) & (note_T >= 0)
    note_T = torch.where(note_T < LOWEST, LOWEST + (note_T - LOWEST) % OCTAVE, note_T)
    note_T = torch.where(note_T > HIGHEST, HIGHEST - (OCTAVE - 1) + (note_T - HIGHEST - 1) % OCTAVE, note_T)
    level_T = torch.where(sounds_T, 10 ** ((RANGE_DB * curves_TP[:, 0].double() + SOFTEST_DB) / 20), 0.0)
    width = round(GLIDE_SECONDS * sample_rate_hz) | 1
    note_N, gain_N = (
        torch.nn.functional.avg_pool1d(
            torch.nn.functional.pad(x.repeat_interleave(hop_samples)[None, None], [width // 2] * 2, mode="replicate"),
            width,
            1,
        )[0, 0]
        for x in (note_T, level_T)
    )
    breath_N = 0.02 * torch.randn(len(note_N), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    # the level of a sketch is A-weighted and of power: a voice at full scale has about -12 dB
    audio_N = 4 * gain_N * (voice(note_N, sample_rate_hz) + breath_N)
    return audio_N.clamp(-1, 1).float(), torch.where(sounds_T, note_T, torch.nan)


def drawn(note_T: Tensor, levels_TP: Tensor) -> Tensor:
    """The packed_TP of these notes at full strength, with the levels of other curves."""
    out_TP, kept = levels_TP.clone(), (levels_TP.shape[1] - 2) // 2
    out_TP[:, 2:], out_TP[:, 2 + kept :] = -1, 0
    out_TP[:, 2] = note_T.nan_to_num(-1)
    out_TP[:, 2 + kept] = note_T.isfinite().to(out_TP)
    return out_TP


def later(curves_BTP: Tensor, frames: int) -> Tensor:
    """Curves whose notes come so many frames later, and no note before the first."""
    out_BTP, kept = curves_BTP.clone(), (curves_BTP.shape[2] - 2) // 2
    out_BTP[:, frames:, 2:] = curves_BTP[:, : curves_BTP.shape[1] - frames, 2:]
    out_BTP[:, :frames, 2 : 2 + kept], out_BTP[:, :frames, 2 + kept :] = -1, 0
    return out_BTP


def scored(sketch_TP: Tensor | None, played_TP: Tensor, note_T: Tensor) -> Numbers:
    """The columns of one item; nan where there is no sketch."""
    at_T = note_T.isfinite().nonzero()[:, 0]
    at_T = at_T[at_T < len(played_TP)]
    note, found_TK = note_T[at_T].long(), unpacked(played_TP[None]).values_BTK[0, at_T, 2:]
    best = found_TK.argmax(dim=1)
    hits = (best == note) & (found_TK.amax(dim=1) > 0)
    classes = (best % OCTAVE == note % OCTAVE) & (found_TK.amax(dim=1) > 0)
    share = math.nan
    if sketch_TP is not None:
        asked_TK = unpacked(sketch_TP[None]).values_BTK[0, at_T, 2:]
        near_T3 = asked_TK.gather(1, note[:, None] + torch.arange(-1, 2))
        share = float((near_T3.sum(dim=1) / asked_TK.sum(dim=1).clamp_min(1e-6)).mean())
    strength = found_TK.gather(1, note[:, None]).mean()
    return dict(
        zip(COLUMNS, (share, float(strength), float(hits.float().mean()), float(classes.float().mean())), strict=True)
    )


def measured(model: Model, items: Items, without: Sequence[str] = ()) -> list[Agreement]:
    """All rows of all pitched items.

    Args:
        model: what plays.
        items: what it plays to.
        without: controls that it is not asked for.

    Raises:
        UserError: the model follows no sketch.
    """
    analysis = model.accompanist.sketch
    if analysis is None:
        raise UserError("this model follows no sketch; name a checkpoint of configs/lmdm/sketch_pocket.yaml")
    spec, found = model.player.codec.spec, []
    peaks = replace(analysis, voice=None).at(spec)
    tracked = replace(analysis, voice=analysis.voice or VoicePitch()).at(spec)
    pitched = [target for target in model.data.get("targets") or CATEGORIES if target != UNPITCHED]
    data = data_of(replace(model, data={**model.data, "targets": pitched}), items)
    data.prepare_data() if items.root is None else None
    data.setup("test")
    for batch in tqdm(data.test_dataloader(), desc="batches"):
        found += _of_batch(model, peaks, tracked, analysis.voice is not None, set(CONTROLS) - set(without), batch)
    return found


@torch.inference_mode()
def _of_batch(
    model: Model,
    peaks: Sketcher,
    tracked: Sketcher,
    expected_late: bool,
    controls: Collection[str],
    batch: AccompanimentBatch,
) -> list[Agreement]:
    rows = [row for row, index in enumerate(batch.instrument_B.tolist()) if CATEGORIES[index] != UNPITCHED]
    spec, own_BTP = model.player.codec.spec, peaks(batch.target)
    sung = [sung_along(own_TP, spec.hop_samples, spec.sample_rate_hz, row) for row, own_TP in enumerate(own_BTP)]
    audio_BAN = torch.stack([audio_N for audio_N, _ in sung])[:, None].expand(-1, spec.audio_channels, -1)
    late, bank_BTP = round(tracked.pitch.lag_frames), peaks(audio_BAN)
    # the whole voice is known, so its notes are put where they are sung, as `livejam play --voice` does
    voice_BTP = earlier(tracked(audio_BAN), late)
    drawn_BTP = torch.stack([drawn(note_T, curves_TP) for (_, note_T), curves_TP in zip(sung, bank_BTP, strict=True)])
    sketches = {"by the filter bank": bank_BTP, "by the tracker": voice_BTP, "drawn": drawn_BTP, "none": None}
    # before these, it has heard nothing and is silent, whatever is asked
    found, first = [], max(0, model.accompanist.anticipation_frames + 1)
    for name, curves_BTP in sketches.items():
        given_BTP = curves_BTP if curves_BTP is None or not expected_late else later(curves_BTP, late)
        parts = model.accompanist, model.player.codec, model.player.silence_C, batch
        asked_BTP = None if given_BTP is None else asking_for(given_BTP, controls)
        played_BTP = peaks(played_audio(*parts, asked_BTP))
        for row in rows:
            sketch_TP = None if curves_BTP is None else curves_BTP[row, first:]
            numbers = scored(sketch_TP, played_BTP[row, first:], sung[row][1][first:])
            instrument = CATEGORIES[int(batch.instrument_B[row])]
            found.append(Agreement(name, batch.song[row], instrument, numbers))
    return found


def main() -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a diffusion model that learnt to follow sketches")
    parser.add_argument("--root", help="data set; default: that of the training")
    parser.add_argument("--items", type=int, default=48, help="of the test split, at least 1 (default: 48)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each (default: 20)")
    parser.add_argument("--guidance", type=read_weights, help="as of livejam play; default: the checkpoint's")
    parser.add_argument("--guidance-rescale", type=float, default=0.0, help="as of livejam play, 0 to 1 (default: 0)")
    parser.add_argument("--without", nargs="+", default=[], choices=CONTROLS, help="controls that are not asked for")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch, at least 1 (default: 1)")
    given = parser.parse_args()
    if min(given.items, given.threads) < 1 or given.seconds <= 0 or not 0 <= given.guidance_rescale <= 1:
        parser.error("items and threads must be 1 or more, seconds above 0, --guidance-rescale 0 to 1")
    torch.set_num_threads(given.threads)
    model = model_of(given.checkpoint, None, given.guidance)
    sampler = model.accompanist.sampler.with_rescale(given.guidance_rescale)
    model = replace(model, accompanist=model.accompanist.with_sampler(sampler))
    rows = table(measured(model, Items(given.root, given.items, given.seconds), given.without), COLUMNS)
    print(f"| sketch | {' | '.join(COLUMNS)} |\n|---|{'---|' * len(COLUMNS)}")
    for row, cells in rows.items():
        print(f"| {row} | {' | '.join(text(cells[name]) for name in COLUMNS)} |")
    print(json.dumps({"rows": rows, "settings": vars(given), "sha256": model.sha256}))


if __name__ == "__main__":
    main()
