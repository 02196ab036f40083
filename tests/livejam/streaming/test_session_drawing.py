"""A sketch that is drawn while a session plays: as one that was there from the beginning, late, and never harmful.

Shapes: T latent frames, P numbers of a packed frame of a sketch.
"""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from players import liveband, lmdm, pocket, sound
from rounding import SESSION, assert_same_up_to_rounding
from torch import Tensor

from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.networks import BlockCausal, EncoderDecoder
from livejam.sketch import CONTROLS, SketchAnalysis, unpacked
from livejam.streaming import Session, Stroke
from livejam.streaming.drawing import KEPT_FRAMES, LONGEST_SECONDS, VALUES, Drawing

ANALYSIS, BLOCK, HOP, RATE = SketchAnalysis(), 3, 2048, 22050
MASKS = {"encdec": EncoderDecoder(3 * BLOCK), "blockcausal": BlockCausal(BLOCK, 3)}
FRAME_SECONDS = HOP / RATE
NOTHING = Drawing.nothing(ANALYSIS.numbers, torch.device("cpu"))


def follower(mask: str = "encdec", cutoff: int = 0) -> Player:
    return lmdm(pocket("pocket"), MASKS[mask], cutoff, BLOCK, prompts=False, sketch=ANALYSIS)


def played(session: Session, audio_AN: Tensor, chunk: int = 5000) -> Tensor:
    return torch.cat([session.process_rows(part) for part in audio_AN.split(chunk, dim=1)], dim=-1)


def in_frames(control: str, values: list[float]) -> Stroke:
    """A value for every frame."""
    return Stroke(control, tuple(values), (len(values) - 1) * FRAME_SECONDS)


LEVELS = [-60.0 + 2 * (frame % 13) for frame in range(40)]
CENTROIDS = [50.0 + frame for frame in range(40)]
NOTES = [float(60 + frame // 3) if frame % 7 else -1.0 for frame in range(40)]


def same_curves(frames: int) -> Tensor:
    """What the three lists ask for, as curves that are there from the beginning, and hold."""
    rows = []
    for frame in range(frames):
        level, centroid, note = (values[min(frame, 39)] for values in (LEVELS, CENTROIDS, NOTES))
        rows.append([(level + 100) / 180, centroid / 127, note, -1, -1, -1, float(note >= 0), 0, 0, 0])
    return torch.tensor(rows)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize(("cutoff", "chunk"), [(0, 700), (-1, 5001), (1, 9999)])
def test_what_is_drawn_ahead_is_as_if_it_had_been_there(mask: str, cutoff: int, chunk: int) -> None:
    player, mix_AN = follower(mask, cutoff), sound(1, 4 * RATE)
    drawn, given, plain = (
        Session(player, sample_rate_hz=RATE, instruments=["Drums", "Bass"], seeds=[3, 4]) for _ in range(3)
    )
    for stroke in map(in_frames, CONTROLS, (LEVELS, CENTROIDS, NOTES)):
        drawn.draw_sketch(stroke, 0)
    first, curves_TP = max(0, player.accompanist.anticipation_frames + 1), same_curves(99)
    curves_TP[:first] = math.nan  # silence comes before the first block, and was known when all this was drawn
    drawing = drawn.snapshot().pipeline.drawing
    assert drawing is not None
    assert torch.allclose(drawing.between(0, 99), curves_TP, atol=1e-6, equal_nan=True)
    given.set_sketch(curves_TP)
    # test_session_sketch.py holds such a session equal to what is played offline
    given_BAN = played(given, mix_AN, 7777)
    assert_same_up_to_rounding(played(drawn, mix_AN, chunk), given_BAN, SESSION)
    assert (played(plain, mix_AN) - given_BAN).abs().max() > 1e-3


@pytest.mark.parametrize("chunks", [(700, 5001), (9999, 333)])
def test_what_is_drawn_while_it_plays_does_not_depend_on_chunks(chunks: tuple[int, int]) -> None:
    outputs = []
    for chunk in chunks:
        session = Session(follower(), sample_rate_hz=RATE)
        pieces = []
        for number, part_AN in enumerate(sound(1, 60 * HOP).split(12 * HOP + 5, dim=1)):
            session.draw_sketch(Stroke("loudness", (-50.0 + 10 * number,), 0.5))
            session.draw_sketch(Stroke("brightness", (40.0, 90.0, 60.0), 2.0), number * 12 * HOP + 9000)
            session.hold_notes([60, 64, 67][: number % 4])
            pieces.append(played(session, part_AN, chunk))
        outputs.append(torch.cat(pieces, dim=-1))
    assert torch.allclose(*outputs, atol=1e-5)
    plain = played(Session(follower(), sample_rate_hz=RATE), sound(1, 60 * HOP))
    assert (outputs[0] - plain).abs().max() > 1e-3


def test_it_takes_the_place_of_a_sketch_until_it_is_freed() -> None:
    session, given_TP = Session(follower(), sample_rate_hz=RATE), same_curves(200)
    session.set_sketch(given_TP)
    asked = session.snapshot()
    session.draw_sketch(Stroke("loudness", (-20.0,)))
    assert session.snapshot().pipeline.sketch_TP is asked.pipeline.sketch_TP
    changed_BAN = played(session, sound(1, 30 * HOP))
    session.restore(asked)
    session.draw_sketch(Stroke("loudness", (-20.0,)))
    session.free_sketch("loudness")
    freed_BAN = played(session, sound(1, 30 * HOP))
    session.restore(asked)
    given_BAN = played(session, sound(1, 30 * HOP))
    assert torch.equal(freed_BAN, given_BAN)
    assert (changed_BAN - given_BAN).abs().max() > 1e-4
    session.set_sketch(None)
    assert session.snapshot().pipeline.drawing is None


def test_it_survives_undo_and_a_session_that_begins_anew_holds_the_last_values() -> None:
    session = Session(follower(), sample_rate_hz=RATE)
    session.draw_sketch(Stroke("brightness", (40.0, 80.0), 1.0), 0)
    played(session, sound(1, 20 * HOP))
    before = session.snapshot().pipeline.drawing
    session.undo(1.0)
    assert session.snapshot().pipeline.drawing is before
    session.reset()
    drawing = session.snapshot().pipeline.drawing
    assert drawing is not None
    assert torch.allclose(drawing.between(0, 5)[:, 1], torch.full((5,), 80 / 127))


def test_a_line_begins_where_the_control_is() -> None:
    drawing = NOTHING.with_stroke(Stroke("loudness", (-80.0,)), 0, 0, 10.0)
    drawing = drawing.with_stroke(Stroke("loudness", (-40.0,), 1.0), 20, 0, 10.0)
    db_T = drawing.between(18, 34)[:, 0] * 180 - 100
    wanted = [-80, -80, *(-80 + 4 * step for step in range(11)), -40, -40, -40]
    assert torch.allclose(db_T, torch.tensor(wanted, dtype=torch.float32), atol=1e-3)


def test_what_comes_too_late_is_left_out_or_refused() -> None:
    curve = Stroke("brightness", (0.0, 127.0), 4.0)
    part = NOTHING.with_stroke(curve, 0, 20, 10.0)
    wanted_T = torch.tensor([*(step / 40 for step in range(20, 41)), 1, 1, 1, 1])
    assert part.between(0, 20).isnan().all()
    assert torch.allclose(part.between(20, 45)[:, 1], wanted_T)
    with pytest.raises(UserError, match=r"came 1\.00 s after its end"):
        NOTHING.with_stroke(curve, 0, 50, 10.0)
    held = NOTHING.with_stroke(Stroke("brightness", (64.0,), 1.0), -500, 50, 10.0)
    assert torch.allclose(held.between(50, 52)[:, 1], torch.full((2,), 64 / 127))
    with pytest.raises(UserError, match="ahead cannot be drawn"):
        NOTHING.with_stroke(curve, 700, 50, 10.0)


STROKES = st.one_of(
    st.tuples(st.just(control), st.lists(st.floats(values.low, values.high), min_size=1, max_size=9))
    for control, values in VALUES.items()
)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(
        st.tuples(STROKES, st.floats(0.01, 20), st.integers(-20, 300) | st.none(), st.integers(0, 400)), max_size=6
    )
)
def test_the_past_never_changes_and_all_is_in_range(
    drawn: list[tuple[tuple[str, list[float]], float, int, int]],
) -> None:
    drawing, now = NOTHING, 0
    for (control, values), seconds, ahead, passed in drawn:
        now += passed * (10 if passed > 350 else 1)
        before_TP = drawing.between(max(0, now - 64), now)
        others = [
            place for place in range(ANALYSIS.numbers) if place not in range(ANALYSIS.numbers)[drawing._slice(control)]
        ]
        ahead_TP = drawing.between(now, now + 50)
        try:
            drawing = drawing.with_stroke(Stroke(control, tuple(values), seconds), now + (ahead or 0), now, 10.0)
        except UserError:
            continue
        assert torch.equal(drawing.between(max(0, now - 64), now).nan_to_num(9), before_TP.nan_to_num(9))
        assert torch.equal(drawing.between(now, now + 50)[:, others].nan_to_num(9), ahead_TP[:, others].nan_to_num(9))
        asked = unpacked(drawing.between(now, now + 600)[None])
        assert ((asked.values_BTK >= 0) & (asked.values_BTK <= 1)).all()
        assert asked.mask_BTG[0, -1, CONTROLS.index(control)] == 1, "a last value holds"
        assert len(drawing.curves_TP) <= KEPT_FRAMES + 10 * (2 * LONGEST_SECONDS + 2), (
            "an hour of it needs no more memory"
        )


@settings(deadline=None, max_examples=12)
@given(
    st.lists(st.tuples(st.sampled_from(CONTROLS), st.lists(st.floats(), min_size=0, max_size=4), st.floats(),
                       st.none() | st.integers(-(2**31), 2**31 - 1)), max_size=5),
    st.lists(st.integers(-3, 200), max_size=6),
    st.sampled_from(sorted(MASKS)),
)  # fmt: skip
def test_no_stroke_ever_stops_a_session(
    strokes: list[tuple[str, list[float], float, int | None]], notes: list[int], mask: str
) -> None:
    session = Session(follower(mask), sample_rate_hz=RATE)
    for control, values, seconds, sample in strokes:
        for ask in (
            lambda c=control, v=values, s=seconds, at=sample: session.draw_sketch(Stroke(c, tuple(v), s), at),
            lambda: session.hold_notes(notes),
        ):
            before = session.snapshot()
            try:
                ask()
            except UserError:
                assert session.snapshot() is before, "what is refused changes nothing"
        assert played(session, sound(1, 5 * HOP)).isfinite().all()
    assert session.failures == 0


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (("volume", (0.0,)), "there is no control 'volume'"),
        (("loudness", (21.0,)), "a loudness of 21.0 cannot"),
        (("brightness", (math.nan,)), "a brightness of nan"),
        (("pitch", (math.inf,)), "a pitch of inf"),
        (("pitch", ()), "a stroke of 0 values"),
        (("pitch", (60.0, 61.0)), "2 values in 0 s"),
        (("pitch", (60.0,), 61.0), "a stroke of 61.0 s"),
    ],
)
def test_strokes_that_are_none_are_refused(wrong: tuple[object, ...], said: str) -> None:
    with pytest.raises(UserError, match=said):
        Stroke(*wrong)  # type: ignore[arg-type]


def test_who_follows_no_sketch_says_so() -> None:
    session = Session(liveband(pocket("pocket")))
    for ask in (
        lambda: session.draw_sketch(Stroke("pitch", (60.0,))), lambda: session.hold_notes([60]), session.free_sketch,
    ):  # fmt: skip
        with pytest.raises(UserError, match="follows no sketch"):
            ask()
