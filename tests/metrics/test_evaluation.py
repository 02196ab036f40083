"""The evaluation without a trainer: outputs and measures in, a table out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from livejam.batch import CATEGORIES, AccompanimentOutput, Annotations, Chord, Partner, PlannedItem
from livejam.codecs import pretrained_codec
from livejam.codecs.codec import Codec
from metrics.anchor_rows import ANCHORS
from metrics.cells import Rows
from metrics.embeddings import LogMel
from metrics.evaluation.anchors import Reconstructions
from metrics.evaluation.clips import Clip, clips_of
from metrics.evaluation.evaluate import MODEL, Task, evaluate
from metrics.evaluation.fad_measure import FADMeasure
from metrics.evaluation.harmony_measure import HarmonyMeasure
from metrics.evaluation.table import rows_of
from metrics.lag_copy import Horizon

SECONDS, ITEMS = 4.0, 6


@pytest.fixture(scope="module")
def codec() -> Codec:
    return pretrained_codec("pocket")


def tone(pitch: int, sample_rate_hz: int) -> torch.Tensor:
    time_N = torch.arange(int(SECONDS * sample_rate_hz)) / sample_rate_hz
    return 0.1 * torch.sin(2 * torch.pi * 440 * 2 ** ((pitch - 69) / 12) * time_N)


def outputs(sample_rate_hz: int, gain: float) -> Iterator[AccompanimentOutput]:
    """A bass that plays the root of a chord of its own in every song, a quarter of a tone apart; played with a gain."""
    for song in range(ITEMS):
        target_1AN, other_AN = tone(36 + song, sample_rate_hz)[None, None], tone(42 + song, sample_rate_hz)[None]
        chord = Chord(0.0, SECONDS, "root", ((36 + song) % 12,))
        yield AccompanimentOutput(
            mix_BAN=target_1AN.roll(1, -1),
            target_BAN=target_1AN,
            generated_BAN=gain * target_1AN,
            sample_rate_hz=sample_rate_hz,
            instrument_B=torch.tensor([CATEGORIES.index("Bass")]),
            song=(f"Track{song:05d}",),
            start_seconds=(0.0,),
            annotations=(Annotations((0.0, 1.0, 2.0, 3.0), (0.0,), (chord,)),),
            planned=(PlannedItem(song, False, Partner(other_AN, "Track00099")),),
        )


def table(clips: list[Clip], codec: Codec, folder: Path | None = None, limit: int | None = None) -> Rows:
    reconstructions = Reconstructions(codec)
    measures = (HarmonyMeasure(), FADMeasure(LogMel(bands=4, window_seconds=0.5), None, extrapolate=False))
    tasks = [Task(measure, clips, limit, SECONDS / 2, folder) for measure in measures]
    return rows_of([evaluate(task, reconstructions) for task in tasks], "half as loud")


def test_outputs_and_measures_make_a_table(codec: Codec, tmp_path: Path) -> None:
    rate = codec.spec.sample_rate_hz
    clips = [clip for output in outputs(rate, gain=0.5) for clip in clips_of(output)]
    rows = table(clips, codec, tmp_path)
    assert set(rows) == {"half as loud", *ANCHORS}
    model, truth = rows["half as loud"], rows["ground_truth"]
    assert model["loudness_db"]["value"] == pytest.approx(-6.02, abs=0.01)
    assert model["loudness_db"]["interval"] == pytest.approx([-6.02, -6.02], abs=0.01)
    assert model["loudness_db"]["drift"] == pytest.approx(0, abs=0.01)
    assert (model["chord_tone_share"]["count"], model["chord_tone_share"]["drift_count"]) == (ITEMS, ITEMS)
    assert truth["chord_tone_share"]["value"] > 0.9 > 0.1 > rows["random_pairing"]["chord_tone_share"]["value"]
    assert truth["fad"]["value"] < rows["codec"]["fad"]["value"] < rows["silence"]["fad"]["value"]
    # Anchors come from the disk the second time, and are the same.
    kept = list(tmp_path.iterdir())
    assert len(kept) == 2
    louder = [replace(clip, generated_N=2 * clip.generated_N) for clip in clips]
    again = table(louder, codec, tmp_path)
    assert list(tmp_path.iterdir()) == kept
    assert {row: again[row] for row in ANCHORS} == {row: rows[row] for row in ANCHORS}
    assert again["half as loud"]["loudness_db"]["value"] == pytest.approx(0, abs=0.01)
    # Without a folder nothing is kept, and the first of the plan are the first of any order.
    few = table(clips[::-1], codec, limit=2)
    assert few["half as loud"]["loudness_db"]["count"] == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_nothing_to_measure_has_no_value(codec: Codec) -> None:
    outcome = evaluate(Task(HarmonyMeasure(), []), Reconstructions(codec))
    assert math.isnan(outcome.rows[MODEL]["loudness_db"].value)
    assert outcome.places == []
    assert outcome.rows["codec"]["loudness_db"].count == 0
    counts = {f"val/{name}{end}" for name in outcome.charts for end in ("/count", "/drift/count")}
    assert set(outcome.curves("val")) == counts
    assert not outcome.anchor_curves()


def test_a_model_that_plays_in_blocks_has_two_more_rows(codec: Codec, tmp_path: Path) -> None:
    """The lag copy is kept with the other anchors, under its horizon; what the model expects is measured every time."""
    clips = [clip for output in outputs(codec.spec.sample_rate_hz, gain=0.5) for clip in clips_of(output)]
    task = Task(HarmonyMeasure(), clips, None, SECONDS / 2, tmp_path)
    for gain, block in ((0.25, 4000), (0.5, 4000), (0.5, 8000)):
        expected = [replace(clip, estimate_N=gain * clip.target_N) for clip in clips]
        outcome = evaluate(replace(task, clips=expected), Reconstructions(codec, Horizon(block, block), estimates=True))
        rows = rows_of([outcome], "half as loud")
        assert set(rows) == {"half as loud", "half as loud: lag copy", "half as loud: one step", *ANCHORS}
        assert rows["half as loud: one step"]["loudness_db"]["value"] == pytest.approx(20 * math.log10(gain), abs=0.01)
    assert len(list(tmp_path.iterdir())) == 3, "all other anchors, and one lag copy per horizon"
    assert "anchor/lag_copy/silence_rate" in outcome.anchor_curves()
