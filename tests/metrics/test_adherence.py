"""Normalised adherence: 0 is another song's stem, 1 the true one, and what flatters cheats does not count."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from livejam.codecs import pretrained_codec
from metrics.adherence import MARK, cheats_that_win, honest_columns, normalised, notes_on_columns, with_summary
from metrics.anchor_rows import CHEATS
from metrics.cells import Cell, Rows
from metrics.chroma import chroma, chroma_agreement
from metrics.evaluation.anchors import Reconstructions, anchor_stems
from metrics.evaluation.clips import Clip
from metrics.intervals import jackknife_interval
from metrics.results import as_csv, as_markdown, as_text

RATE = 22_050
JOINT = [0.5 + sign * (0.05**2 + 2 * 0.025**2) ** 0.5 / 0.6 for sign in (-1, 1)]
"""The interval of a half, where all three numbers are known to 0.05 and the anchors are 0.6 apart."""


def cell(value: float | None, half_width: float | None = None) -> Cell:
    ends = None if half_width is None or value is None else [value - half_width, value + half_width]
    return {"value": value, "drift": None, "count": 9, "drift_count": 0, "interval": ends, "drift_interval": None}


def row(phase_lock: float, cocola: float, chroma_value: float, half_width: float = 0.05) -> dict[str, Cell]:
    return {
        "phase_lock": cell(phase_lock, half_width),
        "cocola_full": cell(cocola, half_width),
        "chroma_agreement": cell(chroma_value, half_width),
        "loudness_db": cell(-3.0, half_width),
    }


def table() -> Rows:
    """COCOLA flatters an echo, and chroma cannot tell the true stem from another one."""
    return {
        "trained": row(0.5, 54.0, 0.7),
        "ground_truth": row(0.8, 57.0, 0.72),
        "random_pairing": row(0.2, 48.0, 0.7),
        "echo": row(0.6, 62.0, 0.6),
        "noise": row(0.0, 50.0, 0.0),
    }


def test_another_songs_stem_is_0_and_the_true_one_1() -> None:
    rows = table()
    shares = {name: normalised(rows, name, "phase_lock") for name in rows}
    assert {name: share and share["value"] for name, share in shares.items()} == pytest.approx(
        {"trained": 0.5, "ground_truth": 1.0, "random_pairing": 0.0, "echo": 2 / 3, "noise": -1 / 3}
    )
    assert shares["trained"]
    assert shares["trained"]["interval"] == pytest.approx(JOINT)
    assert shares["ground_truth"]["interval"] is None


def test_joint_intervals_contain_the_true_share_where_those_with_fixed_anchors_do_not() -> None:
    rng, joint, fixed = np.random.default_rng(0), 0, 0
    for _ in range(400):
        rows = {}
        for name, mean in (("trained", 0.6), ("ground_truth", 0.8), ("random_pairing", 0.2)):
            scores_U = rng.normal(mean, 0.15, 12)
            value = float(scores_U.mean())
            left_out_U = (scores_U.sum() - scores_U) / 11
            interval = jackknife_interval(value, left_out_U)
            rows[name] = {"phase_lock": {**cell(value), "interval": list(interval)}}
        share = normalised(rows, "trained", "phase_lock")
        assert share is not None
        low, high = share["interval"]
        joint += low <= 2 / 3 <= high
        half_width = (rows["trained"]["phase_lock"]["interval"][1] - rows["trained"]["phase_lock"]["value"]) / (
            rows["ground_truth"]["phase_lock"]["value"] - rows["random_pairing"]["phase_lock"]["value"]
        )
        fixed += abs(share["value"] - 2 / 3) <= half_width
    assert joint >= 0.93 * 400
    assert fixed < joint


@given(st.floats(-100, 100), st.floats(0.1, 10), st.floats(-50, 50))
def test_units_do_not_matter(value: float, scale: float, offset: float) -> None:
    values = {"a": value, "ground_truth": 3.0, "random_pairing": 1.0}
    rows = {name: {"phase_lock": cell(number)} for name, number in values.items()}
    other = {name: {"phase_lock": cell(scale * number + offset)} for name, number in values.items()}
    one, two = normalised(rows, "a", "phase_lock"), normalised(other, "a", "phase_lock")
    assert one is not None
    assert two is not None
    assert one["value"] == pytest.approx(two["value"], abs=1e-6)


def test_columns_that_tell_nothing_or_flatter_do_not_count() -> None:
    rows = table()
    assert normalised(rows, "trained", "chroma_agreement") is None, "the intervals of true stem and stranger overlap"
    assert normalised(rows, "trained", "loudness_db") is None, "no column of adherence"
    assert cheats_that_win(rows, "cocola_full") == ["echo"]
    assert cheats_that_win(rows, "loudness_db") == []
    assert honest_columns(rows) == ["phase_lock"]
    summed = with_summary(rows)
    assert summed["trained"]["adherence"]["value"] == pytest.approx(0.5)
    assert with_summary(summed) == summed
    assert notes_on_columns(rows, ["cocola_full", "loudness_db"]) == [
        f"{MARK} cocola_full: echo scores as the true stem does",
        "adherence: mean of phase_lock, each with 0 for random pairing and 1 for ground truth",
    ]


def test_the_summary_has_an_interval_that_holds_however_columns_err_together() -> None:
    rng = np.random.default_rng(1)
    means, together, held = {"trained": 0.6, "ground_truth": 0.8, "random_pairing": 0.2}, 0.7, 0
    for _ in range(200):
        rows: Rows = {name: {"phase_lock": cell(0.0), "chord_tone_share": cell(0.0)} for name in CHEATS}
        for name, mean in means.items():
            shared_U, rows[name] = rng.normal(0, 0.15 * together, 12), {}
            for column in ("phase_lock", "chord_tone_share"):
                scores_U = mean + shared_U + rng.normal(0, 0.15 * (1 - together**2) ** 0.5, 12)
                left_out_U = (scores_U.sum() - scores_U) / 11
                interval = list(jackknife_interval(float(scores_U.mean()), left_out_U))
                rows[name][column] = {**cell(float(scores_U.mean())), "interval": interval}
        low, high = with_summary(rows)["trained"]["adherence"]["interval"]
        held += low <= 2 / 3 <= high
    assert held >= 0.93 * 200
    assert with_summary(rows)["ground_truth"]["adherence"]["interval"] is None


def test_tables_show_it() -> None:
    rows = table()
    for shown in (as_text(rows, width=200), as_markdown(rows)):
        assert f"COCOLA full ↑ {MARK}" in shown
        assert "phase lock ↑ ‡" not in shown
        assert "{0.50}" in shown
        assert "adherence: mean of phase_lock" in shown
    assert "adherence: mean of phase_lock" in as_text(rows, ["adherence"]), "also of a column that is not shown"
    line = next(line for line in as_csv(rows).splitlines() if line.startswith("trained,phase_lock"))
    assert [float(number) for number in line.split(",")[-3:]] == pytest.approx([0.5, *JOINT])


def test_an_older_table_without_cheats_has_no_summary() -> None:
    rows = {name: cells for name, cells in table().items() if name not in CHEATS}
    assert with_summary(rows) == rows
    assert "{0.50}" in as_text(rows, width=200)
    assert MARK not in as_markdown(rows)


def test_a_row_without_an_honest_column_has_no_summary() -> None:
    rows = table()
    rows["other"] = {"loudness_db": cell(0.0)}
    assert "adherence" not in with_summary(rows)["other"]


def clip(level: float) -> Clip:
    rng = np.random.default_rng(3)
    mix_N, target_N = (level * rng.standard_normal((2, RATE))).astype(np.float32)
    return Clip(mix_N, target_N, 0 * target_N, RATE, 0, "Track00001", 0.0, None)


def test_cheats_are_the_mix_and_noise_as_loud_as_the_true_stem() -> None:
    clips, reconstructions = [clip(0.1), clip(0.0)], Reconstructions(pretrained_codec("pocket"))
    echoes, noises = (anchor_stems(name, clips, reconstructions) for name in CHEATS)
    for one, echo, noise in zip(clips, echoes, noises, strict=True):
        assert echo is not None
        assert noise is not None
        np.testing.assert_array_equal(echo.audio_N, one.mix_N)
        assert np.std(noise.audio_N) == pytest.approx(np.std(one.target_N), rel=0.05)
    again = anchor_stems("noise", clips, reconstructions)[0]
    assert again is not None
    assert noises[0] is not None
    np.testing.assert_array_equal(again.audio_N, noises[0].audio_N)


def test_noise_agrees_with_no_chord() -> None:
    """It sounds all pitch classes, so that the cosine of plain chroma was .8."""
    time_N = np.arange(8 * RATE) / RATE
    chord_WP = chroma(sum(np.sin(2 * np.pi * f * time_N) for f in (220.0, 277.2, 329.6)), RATE)
    noise_WP = chroma(0.1 * np.random.default_rng(0).standard_normal(8 * RATE), RATE)
    assert abs(chroma_agreement(noise_WP, chord_WP, chord_WP)) < 0.15
