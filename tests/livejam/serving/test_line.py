"""A musician over a network hears what the session plays offline, at the positions at which it should sound."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from players import liveband, pocket, sound

import livejam
from livejam.serving.line import Answer, Line
from livejam.streaming import Session
from livejam.streaming.clocks import VirtualClock

RATE, BLOCK = 22050, 256


def offline(audio_AN: torch.Tensor) -> np.ndarray:
    """What a session plays: rows and samples, from position 0 on."""
    session = Session(liveband(pocket()), instruments=["Percussive", "Bass"])
    with torch.inference_mode():
        return session.advance(audio_AN).numpy()[:, 0]


def placed(answers: list[Answer], start: int, samples: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers at their positions, and how many there are for each sample."""
    audio_BN, times_N = np.zeros((2, samples), dtype=np.float32), np.zeros(samples, dtype=int)
    for answer in answers:
        for i in range(answer.audio_BAN.shape[2]):
            place = answer.position_samples - start + i
            if 0 <= place < samples:
                audio_BN[:, place] = answer.audio_BAN[:, 0, i]
                times_N[place] += 1
    return audio_BN, times_N


def on_line(audio_AN: torch.Tensor, arriving: list[tuple[float, int]]) -> tuple[list[Answer], Line]:
    """What is answered to blocks that arrive at some times, in two rows."""
    clock, answers = VirtualClock(), list[Answer]()
    session = Session(liveband(pocket()), instruments=["Percussive", "Bass"])
    line = Line(session, answers.append, clock=clock, say=lambda _: None)
    heard_AN = audio_AN.numpy()
    for seconds, position in arriving:
        block_AN = heard_AN[:, position : position + BLOCK]
        clock.at(seconds, lambda position=position, block_AN=block_AN: line.hear(1000 + position, block_AN))
    clock.run(line.engine)
    return answers, line


def test_shuffled_and_doubled_blocks_change_nothing() -> None:
    audio_AN = sound(1, RATE)[:, : 80 * BLOCK]
    rng = np.random.default_rng(0)
    delays = rng.uniform(0, 0.04, 80)
    delays[0] = 0
    arriving = [(i * BLOCK / RATE + delays[i], i * BLOCK) for i in range(80)]
    arriving += [(seconds + 0.001, position) for seconds, position in arriving[10:20]]
    answers, line = on_line(audio_AN, arriving)
    expected_BN = offline(audio_AN)
    meters = line.meters()
    assert (meters.gaps, meters.late, meters.duplicates) == (0, 0, 10)
    audio_BN, times_N = placed(answers, 1000, expected_BN.shape[1])
    first = answers[0].position_samples - 1000
    assert (times_N[first:] == 1).all()
    np.testing.assert_allclose(audio_BN[:, first:], expected_BN[:, first:], atol=1e-5)


def test_a_lost_block_is_silence_for_the_model_and_moves_nothing() -> None:
    audio_AN = sound(1, RATE)[:, : 80 * BLOCK]
    answers, line = on_line(audio_AN, [(i * BLOCK / RATE, i * BLOCK) for i in range(80) if i != 30])
    lost_AN = audio_AN.clone()
    lost_AN[:, 30 * BLOCK : 31 * BLOCK] = 0
    expected_BN = offline(lost_AN)
    audio_BN, times_N = placed(answers, 1000, expected_BN.shape[1])
    first = answers[0].position_samples - 1000
    assert (times_N[first:] == 1).all()
    np.testing.assert_allclose(audio_BN[:, first:], expected_BN[:, first:], atol=1e-5)
    assert (line.meters().gaps, line.meters().lost_ms) == (1, pytest.approx(1000 * BLOCK / RATE))


def test_positions_that_begin_anew_move_the_answers_with_them() -> None:
    audio_AN = sound(1, RATE)[:, : 80 * BLOCK]
    clock, answers = VirtualClock(), list[Answer]()
    session = Session(liveband(pocket()), instruments=["Percussive", "Bass"])
    line = Line(session, answers.append, clock=clock, say=lambda _: None)
    elsewhere = 40 * BLOCK + 100 * RATE
    for i in range(80):
        position = i * BLOCK + (elsewhere if i >= 40 else 0)
        block_AN = audio_AN.numpy()[:, i * BLOCK : (i + 1) * BLOCK]
        clock.at(i * BLOCK / RATE, lambda position=position, block_AN=block_AN: line.hear(position, block_AN))
    clock.run(line.engine)
    assert line.meters().beginnings == 1
    expected_BN = offline(audio_AN)
    end = expected_BN.shape[1]
    before_BN, _ = placed(answers, 0, 40 * BLOCK)
    after_BN, times_N = placed(answers, elsewhere, end)
    first = answers[0].position_samples
    np.testing.assert_allclose(before_BN[:, first:], expected_BN[:, first : 40 * BLOCK], atol=1e-5)
    # what was known ahead had been sent before anybody knew of the jump
    ahead = int(times_N.argmax())
    assert 40 * BLOCK < ahead <= 40 * BLOCK + session.timing.lead_samples + session.timing.block_samples
    np.testing.assert_allclose(after_BN[:, ahead:], expected_BN[:, ahead:], atol=1e-5)
    assert (times_N[ahead:] == 1).all()


def test_the_bundled_model_answers_ahead_of_time() -> None:
    """In its own thread, on the machine's clock, with controls in between."""
    session = Session(livejam.load("liveband-pocket"), instruments=["drums", "bass"], sample_rate_hz=44100)
    answers: list[Answer] = []
    audio_AN = sound(1, 2 * 44100).numpy()
    with Line(session, answers.append, say=lambda _: None) as line:
        for position in range(0, audio_AN.shape[1], 441):
            line.hear(position, audio_AN[:, position : position + 441])
        while line.meters().queue_ms or not answers:
            time.sleep(0.01)
        assert line.post(lambda played: played.undo(0.5)).result(20) >= 0.5
    assert answers[0].audio_BAN.shape[:2] == (2, 1)
    ends = [answer.position_samples + answer.audio_BAN.shape[2] for answer in answers]
    assert ends[-1] == session.known_samples > audio_AN.shape[1]
    assert all(answer.position_samples == end for answer, end in zip(answers[1:], ends, strict=False))
