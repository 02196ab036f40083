"""Whether an exported model plays as well as PyTorch does: both play the test songs, and what they play is measured."""

from __future__ import annotations

import json
import math
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from livejam.batch import CATEGORIES, NAMES
from livejam.export.model import StepModel
from livejam.export.playing import Step, accompaniment
from livejam.export.signature import MUSIC

if TYPE_CHECKING:
    from metrics.evaluation.clips import Audio, Clip
    from metrics.musical_parity import Difference, Score

ITEM_SECONDS = 20.0
TITLES = {"beat_f1": "beat F1 of drums", "chord_tones": "chord tones", "distance": "Fréchet distance"}

Begin = Callable[[int, int], Step]
"""Instrument and seed → steps from the first one."""


@dataclass(frozen=True)
class TestSongs:
    """Items of test songs, and how to judge what is played to them.

    Args:
        root: the data set.
        model: that plays.
        items: how many, at most.
    """

    __test__ = False
    root: Path
    model: StepModel
    items: int

    def clips(self) -> list[Clip]:
        """The items.

        Raises:
            UserError: there are none.
        """
        from datamodules.test_items import TestItems
        from metrics.evaluation.clips import Clip

        spec = self.model.player.codec.spec
        learnt = [NAMES.index(one.name) for one in self.model.instruments()]
        categories = [index for index in learnt if index < len(CATEGORIES)] or range(len(CATEGORIES))
        items = TestItems(self.root, spec, categories, self.items, ITEM_SECONDS)
        clips = []
        for excerpt, item in _shown(items, len(items), "reading songs"):
            mix_N, target_N = (audio_AN.mean(0) for audio_AN in (item.audio.mix_AN, item.audio.target_AN))
            category, start = excerpt.song.stems[excerpt.target].category, spec.seconds_in(excerpt.start_frame)
            nothing_N = np.zeros(0, np.float32)
            clip = Clip(
                mix_N, target_N, nothing_N, spec.sample_rate_hz, category, excerpt.song.name, start, item.annotations
            )
            clips.append(clip)
        return clips

    def played(self, clips: Sequence[Clip], begin: Begin, title: str) -> list[Audio]:
        """What a way of playing makes of every item; equal items get equal seeds."""
        channels = self.model.player.codec.spec.audio_channels
        made = []
        for clip in _shown(clips, len(clips), title):
            seed = zlib.crc32(f"{clip.song} {clip.category}".encode())
            mix_AN = torch.from_numpy(clip.mix_N).expand(channels, -1)
            played_AN = accompaniment(self.model, begin(clip.category, seed), mix_AN)
            made.append(np.ascontiguousarray(played_AN.mean(0).numpy()))
        return made

    def scores(self, ways: Mapping[str, Begin]) -> dict[str, dict[str, Score]]:
        """The scores of every way of playing, by its name."""
        from metrics.musical_parity import MusicalScores

        clips, spec = self.clips(), self.model.player.codec.spec
        judge = MusicalScores(clips, ITEM_SECONDS, spec.hop_samples)
        found = {}
        for name, begin in ways.items():
            played = self.played(clips, begin, f"playing in {name}")
            with _bar(len(clips), "measuring") as bar:
                found[name] = judge(played, bar.update)
        return found


def music_facts(root: Path, differences: Mapping[str, Difference]) -> dict[str, Any]:
    """The differences as JSON, and whether all are within their limits."""
    return {
        "songs": str(root),
        "kept": all(one.kept for one in differences.values()),
        "sure": all(one.sure for one in differences.values()),
        "measures": {name: _facts(one) for name, one in differences.items()},
    }


def _facts(one: Difference) -> dict[str, Any]:
    return {
        "reference": _number(one.reference),
        "value": _number(one.value),
        "difference": _number(one.difference),
        "interval": [_number(end) for end in one.interval],
        "limit": one.limit,
        "songs": one.songs,
        "kept": one.kept,
        "sure": one.sure,
    }


def _number(value: float) -> float | None:
    return round(value, 6) if math.isfinite(value) else None


def music_lines(differences: Mapping[str, Difference]) -> list[str]:
    """One line per measure, and the judgement."""
    lines = []
    for name, one in differences.items():
        scale, unit = (100, " %") if name == "distance" else (1, "")
        low, high = (scale * end for end in one.interval)
        interval = f" [{low:+.4f}, {high:+.4f}]" if math.isfinite(low) else ""
        verdict = "kept" if one.kept else "WORSE" if _is_worse(name, one) else "DIFFERENT"
        lines.append(
            f"  {TITLES[name]:<17}{one.value:8.3f}, in PyTorch {one.reference:.3f}; difference "
            f"{scale * one.difference:+.4f}{unit}{interval} over {one.songs} songs: {verdict}"
            f"{'' if one.sure else ', but not sure with so few songs'}"
        )
    return lines


def _is_worse(name: str, one: Difference) -> bool:
    return not (one.difference < 0 if name == "distance" else one.difference > 0)


def write_music(folder: Path, facts: dict[str, Any]) -> None:
    """Write them beside the graphs."""
    from livejam.files import atomic_path

    with atomic_path(folder / MUSIC) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")


def _bar(total: int, title: str) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, desc=title, unit="item", delay=2, leave=False, disable=None, file=sys.stderr)


def _shown(items: Any, total: int, title: str) -> Any:
    with _bar(total, title) as bar:
        for item in items:
            yield item
            bar.update()
