"""How a model comes from one prompt to another: how soon, with what clicks, and whether it stays in time.

python -m benchmarks.prompt_transitions --checkpoint runs/lmdm_blockcausal_pocket/checkpoints/last.ckpt

A diffusion model plays to songs of the test split without either of two instruments. After `--before` seconds the
prompt changes from the one to the other, in every way of LMDM's stage: a hard change with re-encoding, the same with
ejection of the oldest blocks, and a cross-fade; each with the model's own sampler, and the hard change and the
cross-fade with CFG++ 0.7 as well. All of them go on from the same past. Anchors are both prompts from the beginning to
the end.

What a block sounds like is judged by a linear classifier on statistics of its log-mel spectrogram (`LogMel`), fitted on
true stems of the training split. Its accuracy on the true stems of these test songs is stated. Per row:

| column | meaning |
|---|---|
| block n | share of songs in which the n-th block after the beginning of the change is taken for the new instrument |
| follows after | seconds until two blocks in a row are; songs where they never are count with all the time there was |
| click | how much more sharply the waveform bends at the joins in the change than around them, in dB |
| lock before, lock after | phase lock of the onsets on the true beats, in the seconds before and after |
| level | of the sound after the change, against before, in dB |

Intervals are of 95 %, by leaving songs out. The last line is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from benchmarks.cutoff_sweep import Model, model_of
from benchmarks.duets import Classifier, Duet, duets, features, fitted
from datamodules import Slakh2100DataModule
from livejam.accompanist import Controls
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.networks.conditioning import read_words
from livejam.sampling import EulerPlusPlus, read_weights
from livejam.streaming.pipeline import Musician
from livejam.streaming.prompting import PromptChange, PromptLine, planned
from livejam.streaming.rings import Audio
from livejam.systems.lmdm import LMDMAccompanist
from metrics.clicks import clicks_db
from metrics.intervals import jackknife_interval
from metrics.phase_lock import onset_strength, phase_lock

CFG_PLUS_PLUS = 0.7
"""LMDM's weight of CFG++ while prompts change."""

FADE_BLOCKS = 4
LOCK_SECONDS = 8.0


@dataclass(frozen=True)
class Way:
    """A row: how the prompt changes.

    Args:
        name: of the row.
        change: as for a session, at the frame where the change begins; None = it does not change.
        plus_plus: whether the sampler is CFG++ from then on.
    """

    name: str
    change: PromptChange | None
    plus_plus: bool = False


def ways(new: str, context_blocks: int) -> list[Way]:
    """All rows that change from the same past."""
    words = read_words(new)
    hard, fade = PromptChange(0.0, words), PromptChange(0.0, words, fade_blocks=FADE_BLOCKS)
    some = math.ceil(context_blocks / 2)
    return [
        Way("hard change", hard),
        Way(f"hard change, {some} of {context_blocks} blocks forgotten", replace(hard, eject_blocks=some)),
        Way("hard change, all blocks forgotten", replace(hard, eject_blocks=context_blocks)),
        Way(f"cross-fade over {FADE_BLOCKS} blocks", fade),
        Way(f"cross-fade over {FADE_BLOCKS} blocks, context not encoded again", replace(fade, reencode=False)),
        Way("hard change, CFG++ 0.7", hard, plus_plus=True),
        Way(f"cross-fade over {FADE_BLOCKS} blocks, CFG++ 0.7", fade, plus_plus=True),
        Way("no change", None),
    ]


class Stage:
    """A model that plays to all songs at once.

    Args:
        model: what plays.
        songs: what it plays to.
        words: the old and the new prompt.
        before_blocks: blocks before the change.
    """

    def __init__(self, model: Model, songs: Sequence[Duet], words: tuple[str, str], before_blocks: int) -> None:
        self.player, self.who, self.words, self.before_blocks = model.player, model.accompanist, words, before_blocks
        codec, block = self.player.codec, self.who.block_frames
        hop = codec.spec.hop_samples
        mix_BAN = torch.from_numpy(np.stack([song.mix_N for song in songs]))[:, None]
        mix_BAN = mix_BAN.expand(-1, codec.spec.audio_channels, -1)
        mix_BAN = mix_BAN[..., : mix_BAN.shape[-1] // (block * hop) * block * hop]
        with torch.inference_mode():
            self.mix_BTC = torch.cat([codec.encode(x_BAN) for x_BAN in mix_BAN.split(1)])
        self.seed_B = torch.tensor([zlib.crc32(song.stems[0].name.encode()) for song in songs])

    def musician(self, words: str) -> Musician:
        """The model before the first block."""
        instrument_B = torch.zeros(len(self.seed_B), dtype=torch.int64)
        controls = Controls(instrument_B, self.seed_B, (words,) * len(self.seed_B))
        return Musician(self.who, controls, self.who.init_state(len(self.seed_B), controls))

    def play(self, musician: Musician, first: int, stop: int, line: PromptLine | None) -> tuple[Tensor, Musician]:
        """Blocks `first` to `stop`, which are numbered as they are heard."""
        blocks, frames = [], self.who.block_frames
        for number in tqdm(range(first, stop), desc="blocks", leave=False):
            if line is not None:
                memory, told = line.told(musician.accompanist, musician.memory, musician.told, self.emitted(number))
                musician = replace(musician, memory=memory, told=told)
            mix_BTC = self.mix_BTC[:, number * frames : (number + 1) * frames]
            out_BTC, memory = musician.accompanist.step(mix_BTC, musician.memory)
            musician = replace(musician, memory=memory)
            blocks.append(out_BTC)
        return torch.cat(blocks, dim=1), musician

    def emitted(self, number: int) -> int:
        """The first frame that a block emits."""
        return number * self.who.block_frames + 1 + self.who.anticipation_frames

    @torch.inference_mode()
    def rows(self, rows: Sequence[Way]) -> dict[str, Audio]:
        """What is played (BN) by every way and by both anchors, from the first frame of the mix on."""
        blocks = self.mix_BTC.shape[1] // self.who.block_frames
        past_BTC, then = self.play(self.musician(self.words[0]), 0, self.before_blocks, None)
        found = {}
        for way in tqdm(rows, desc="ways"):
            now, line = then, None
            if way.plus_plus:
                own: Any = self.who.sampler
                sampler = EulerPlusPlus(own.steps, CFG_PLUS_PLUS, own.schedule)
                now = replace(then, accompanist=self.who.with_sampler(sampler))
            if way.change is not None:
                frame = self.emitted(self.before_blocks)
                change = planned(way.change, self.who, len(self.seed_B), frame)
                line = PromptLine(then.memory.prompt).with_change(change)
            rest_BTC, _ = self.play(now, self.before_blocks, blocks, line)
            found[way.name] = self._sound(torch.cat((past_BTC, rest_BTC), dim=1))
        new_BTC, _ = self.play(self.musician(self.words[1]), 0, blocks, None)
        return found | {"new prompt from the beginning": self._sound(new_BTC)}

    def _sound(self, played_BTC: Tensor) -> Audio:
        silence_BTC = self.player.silence_C.expand(len(played_BTC), 1 + self.who.anticipation_frames, -1)
        whole_BTC = torch.cat((silence_BTC, played_BTC), dim=1)[:, : self.mix_BTC.shape[1]]
        sounds = [self.player.codec.decode(x_BTC)[0].mean(0) for x_BTC in whole_BTC.split(1)]
        return torch.stack(sounds).numpy()


@dataclass(frozen=True)
class Judge:
    """Measures what was played.

    Args:
        classifier: of a block.
        songs: what was played to.
        rate: samples per second.
        block_samples: of a block of the model.
        change_samples: where the change begins.
    """

    classifier: Classifier
    songs: Sequence[Duet]
    rate: int
    block_samples: int
    change_samples: int

    def is_new(self, audio_N: Audio) -> NDArray[np.bool_]:
        """Which blocks after the change are taken for the new instrument."""
        return self.classifier.is_new(features(audio_N[self.change_samples :], self.block_samples, self.rate))

    def __call__(self, song: Duet, audio_N: Audio, changing_blocks: int) -> dict[str, float]:
        """The numbers of one song."""
        new_K, block = self.is_new(audio_N), self.block_samples
        twice = new_K[:-1] & new_K[1:]
        first = int(np.argmax(twice)) if twice.any() else len(new_K)
        joins_K = self.change_samples + block * np.arange(changing_blocks)
        before, after = (self._lock(song, audio_N, start) for start in self._windows())
        parts = audio_N[: self.change_samples][-round(LOCK_SECONDS * self.rate) :], audio_N[self.change_samples :]
        levels = [10 * math.log10(float(np.square(part).mean()) + 1e-10) for part in parts]
        return {
            **{f"block {number}": float(new_K[number - 1]) for number in (1, 2, 4, 8)},
            "follows after": first * block / self.rate,
            "click": float(np.nanmean(clicks_db(audio_N, joins_K, block))),
            "lock before": before,
            "lock after": after,
            "lock change": after - before,
            "level": levels[1] - levels[0],
        }

    def _windows(self) -> tuple[float, float]:
        change = self.change_samples / self.rate
        return change - LOCK_SECONDS, change

    def _lock(self, song: Duet, audio_N: Audio, start: float) -> float:
        """Phase lock in some seconds, where all stretches count in which either instrument ought to play."""
        stop = start + LOCK_SECONDS
        part = slice(round(start * self.rate), round(stop * self.rate))
        ought_N = song.stems[0].target_N[part] + song.stems[1].target_N[part]
        played, ought = (onset_strength(torch.from_numpy(x_N.copy()), self.rate) for x_N in (audio_N[part], ought_N))
        truth = song.stems[0].annotations.excerpt(start, LOCK_SECONDS)
        return phase_lock(played.numpy(), ought.numpy(), truth.beats_seconds)


def cell(values_U: Sequence[float]) -> dict[str, Any]:
    """Mean over songs, with its interval."""
    values = np.array([value for value in values_U if math.isfinite(value)])
    if not len(values):
        return {"value": None, "interval": None, "songs": 0}
    left_out_U = np.array([np.delete(values, place).mean() for place in range(len(values))])
    low, high = jackknife_interval(float(values.mean()), left_out_U)
    return {
        "value": float(values.mean()),
        "interval": None if math.isnan(low) else [low, high],
        "songs": len(values),
    }


def table(judge: Judge, sounds: Mapping[str, Audio]) -> dict[str, dict[str, Any]]:
    """Row → column → number; `curve` is the share of songs per block."""
    rows: dict[str, dict[str, Any]] = {}
    for name, audio_BN in sounds.items():
        changing = FADE_BLOCKS if "fade" in name else 1
        songs = [judge(song, audio_N, changing) for song, audio_N in zip(judge.songs, audio_BN, strict=True)]
        rows[name] = {column: cell([song[column] for song in songs]) for column in songs[0]}
        rows[name]["curve"] = np.stack([judge.is_new(audio_N) for audio_N in audio_BN]).mean(0).tolist()
    return rows


def draw(rows: Mapping[str, Mapping[str, Any]], block_seconds: float, title: str, out: Path) -> None:
    """The share of songs that follow, over the seconds since the change."""
    figure = Figure(figsize=(10, 5), layout="constrained")
    axes = figure.subplots()
    for place, (name, row) in enumerate(rows.items()):
        anchor = name in ("no change", "new prompt from the beginning")
        seconds = block_seconds * (0.5 + np.arange(len(row["curve"])))
        axes.plot(seconds, row["curve"], "--" if anchor else "o-", color="0.5" if anchor else f"C{place}", label=name)
    axes.set(xlabel="seconds since the change began", ylabel="share of songs that sound like the new prompt")
    axes.set(title=title, ylim=(-0.03, 1.03))
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5), frameon=False)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def text(number: Mapping[str, Any]) -> str:
    """A number with its interval, in Markdown."""
    if number["value"] is None:
        return "–"
    around = f" [{number['interval'][0]:.2f}, {number['interval'][1]:.2f}]" if number["interval"] else ""
    return f"{number['value']:.2f}{around}"


def measured(given: argparse.Namespace) -> dict[str, Any]:
    """Everything that is printed.

    Raises:
        UserError: there are no songs with both instruments.
    """
    model = model_of(given.checkpoint, given.steps, given.guidance)
    if given.cutoff is not None:
        model = replace(model, accompanist=model.accompanist.with_cutoff(given.cutoff))
    who: LMDMAccompanist = model.accompanist
    spec, names = who.spec, (given.old, given.new)
    root, seconds = model.data["root"] if given.root is None else given.root, given.before + given.after
    seconds += 3 * spec.seconds_in(who.block_frames)  # a block begins the change, and one is ahead of the mix
    data = Slakh2100DataModule(root, model.player.codec, mode="audio", full_mix=True, seed=1)
    data.prepare_data()
    songs = duets(data, "test", names, given.songs, seconds)
    known = duets(data, "train", names, given.songs, seconds)
    if not songs or not known:
        raise UserError(f"{root} has no songs with {given.old}, {given.new} and something besides; name others")
    block = who.block_frames * spec.hop_samples
    classifier = Classifier(*fitted(known, block, spec.sample_rate_hz))
    old_KF, new_KF = fitted(songs, block, spec.sample_rate_hz)
    right = np.concatenate([~classifier.is_new(old_KF), classifier.is_new(new_KF)])
    before_blocks = round(given.before * spec.sample_rate_hz / block)
    stage = Stage(model, songs, (given.old.lower(), given.new.lower()), before_blocks)
    judge = Judge(classifier, songs, spec.sample_rate_hz, block, stage.emitted(before_blocks) * spec.hop_samples)
    rows = table(judge, stage.rows(ways(given.new.lower(), who.context_blocks)))
    return {
        "accuracy": float(right.mean()),
        "blocks": len(right),
        "songs": len(songs),
        "block_seconds": block / spec.sample_rate_hz,
        "rows": rows,
        "settings": {name: str(value) for name, value in vars(given).items()},
        "sha256": model.sha256,
    }


def main() -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", required=True, help="a diffusion model that takes prompts")
    parser.add_argument("--root", help="data set; default: that of the training")
    parser.add_argument("--old", default="Percussive", help="instrument of the first prompt (default: Percussive)")
    parser.add_argument("--new", default="Piano", help="instrument of the second prompt (default: Piano)")
    parser.add_argument("--songs", type=int, default=24, help="of the test split, at least 1 (default: 24)")
    parser.add_argument("--before", type=float, default=10.0, help="seconds before the change (default: 10)")
    parser.add_argument("--after", type=float, default=10.0, help="seconds after it, at least 8 blocks (default: 10)")
    parser.add_argument("--cutoff", type=int, help="in blocks; default: the checkpoint's")
    parser.add_argument("--steps", type=int, help="of the sampler, at least 1; default: the checkpoint's")
    parser.add_argument("--guidance", type=read_weights, help="as of livejam play; default: the checkpoint's")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch, at least 1 (default: 1)")
    parser.add_argument("--plot", type=Path, help="where to draw the curves (PNG)")
    given = parser.parse_args()
    if min(given.songs, given.threads) < 1 or min(given.before, given.after) < LOCK_SECONDS:
        parser.error(f"songs and threads must be 1 or more, before and after {LOCK_SECONDS:g} s or more")
    torch.set_num_threads(given.threads)
    found = measured(given)
    columns = [column for column in next(iter(found["rows"].values())) if column != "curve"]
    print(f"| row | {' | '.join(columns)} |\n|---|{'---|' * len(columns)}")
    for name, row in found["rows"].items():
        print(f"| {name} | {' | '.join(text(row[column]) for column in columns)} |")
    print(f"accuracy on true stems of {found['songs']} test songs: {found['accuracy']:.3f} of {found['blocks']} blocks")
    if given.plot is not None:
        draw(found["rows"], found["block_seconds"], f"{given.old} → {given.new}", given.plot)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
