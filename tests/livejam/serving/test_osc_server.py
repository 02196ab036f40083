"""livejam over OSC: what comes back is what a session plays to what was sent, whatever the network does to it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from commands import REPOSITORY
from osc_desk import MUSICIAN, RATE, STRANGER, Desk, placed, windows

import livejam
from livejam.checkpoints.player import Player
from livejam.cli.main import main
from livejam.serving.osc_fields import Message
from livejam.serving.osc_messages import (
    FROM_SERVER,
    BatchDropped,
    Context,
    Error,
    Hello,
    Instrument,
    Level,
    LoadModel,
    Meters,
    Mute,
    PacketTest,
    PacketTestResponse,
    Predict,
    PredictInstruments,
    Print,
    Ready,
    Reset,
    Seed,
    ServerPredicted,
    Stream,
    StreamAnswer,
    Undo,
    UpdateFade,
    UpdatePackageSize,
    UpdateR,
    Verbose,
    W,
    Welcome,
    read_message,
)
from livejam.serving.osc_wire import write_datagram
from livejam.serving.osc_word_messages import Prompt

TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def player() -> Player:
    return livejam.load("liveband-pocket")


@pytest.fixture
def desk(player: Player) -> Iterator[Desk]:
    with torch.inference_mode():
        made = Desk(player)
        assert [type(answer) for answer in made(Hello())] == [Ready, Welcome]
        yield made


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * RATE))).astype(np.float32)


def played(desk: Desk, heard_N: np.ndarray, instruments: tuple[str, ...] = ("Percussive",)) -> np.ndarray:
    """What an offline session knows after hearing all of it."""
    session = desk.session(instruments)
    opening_BAN = session.advance(torch.zeros(1, 0))
    new_BAN = session.advance(torch.from_numpy(heard_N)[None])
    return torch.cat((opening_BAN, new_BAN), dim=-1)[:, 0].numpy()


def blocks(heard_N: np.ndarray, samples: int = 512) -> list[Stream]:
    starts = range(0, len(heard_N), samples)
    return [Stream(number, start, heard_N[start : start + samples]) for number, start in enumerate(starts)]


def test_the_stream_is_what_a_session_plays(desk: Desk) -> None:
    """Blocks come in another order and twice; two rows; datagrams are no longer than the musician's."""
    names = ("Percussive", "Bass")
    desk(Instrument(names))
    heard_N = noise(1.5)
    sent = blocks(heard_N)
    order = sorted(range(len(sent)), key=lambda number: number + 3 * (number % 5 == 4))
    answers = [answer for number in order for answer in desk(sent[number])]
    answers += [answer for block in sent[-3:] for answer in desk(block)]
    wanted_BN = played(desk, heard_N, names)
    got_BN = placed(answers, 2, wanted_BN.shape[1])
    first = int(np.flatnonzero(np.isfinite(got_BN[0]))[0])
    assert first < RATE / 4
    np.testing.assert_allclose(got_BN[:, first + 64 :], wanted_BN[:, first + 64 :], atol=TOLERANCE)
    assert float(np.abs(wanted_BN).max()) > 1e-3
    stream = [answer for answer in answers if isinstance(answer, StreamAnswer)]
    assert {answer.play_at % 64 for answer in stream} == {0}
    assert max(len(answer.samples_N) for answer in stream) == 512
    assert [answer.sequence for answer in stream] == list(range(len(stream)))
    assert desk.desk.musician.line.meters().duplicates == 3


def test_a_lost_block_is_heard_as_silence(desk: Desk) -> None:
    heard_N = noise(1.0)
    sent = blocks(heard_N)
    answers: list[Message] = []
    for number, block in enumerate(sent):
        desk.clock.sleep(512 / RATE)
        answers += desk(block) if number != 40 else []
    heard_N[40 * 512 : 41 * 512] = 0
    wanted_BN = played(desk, heard_N)
    np.testing.assert_allclose(placed(answers, 1, RATE)[:, RATE // 2 :], wanted_BN[:, RATE // 2 : RATE], atol=TOLERANCE)
    meters = next(answer for answer in desk.later(1.0) if isinstance(answer, Meters))
    assert (meters.gaps, round(meters.lost_ms, 1)) == (1, 11.6)
    desk(sent[40])
    assert desk.desk.musician.line.meters().late == 1


def batches(heard_N: np.ndarray, hop: int, first: int = 1, package: int = 5120) -> list[list[Context]]:
    """The chunks of every whole hop."""
    made = []
    for number in range(len(heard_N) // hop):
        part_N = heard_N[number * hop : (number + 1) * hop]
        starts = range(0, hop, package)
        made.append([Context(first + number, start, len(starts), part_N[start : start + package]) for start in starts])
    return made


@pytest.mark.parametrize(("share", "w", "fade"), [(0.1, -1.0, 0.02), (0.005, 0.0, 0.0), (0.004, 1.0, 0.002)])
def test_a_window_is_the_hop_that_w_says(desk: Desk, share: float, w: float, fade: float) -> None:
    desk(PredictInstruments((1, 1, 0, 0)))
    for message in (UpdateR(share), UpdateFade(fade), UpdatePackageSize(4000), W(w)):
        assert not desk(message)
    hop, before = int(6 * RATE * share), round(fade * RATE)
    heard_N = noise(max(1.3, 0.5))
    answers = [answer for batch in batches(heard_N, hop) for chunk in batch[::-1] for answer in desk(chunk)]
    found = windows(answers)
    count = len(heard_N) // hop
    wanted_BN = np.pad(played(desk, heard_N[: count * hop], ("Bass", "Percussive")), ((0, 0), (before, 0)))
    assert set(found) == {(stem, batch) for stem in ("/bass", "/drums") for batch in range(1, count + 1)}
    ramp_N = np.ones(hop + before, dtype=np.float32)
    ramp_N[:before] = np.linspace(0, 1, before)
    for row, stem in enumerate(("/bass", "/drums")):
        for batch in range(
            max(1, count // 2), count + 1
        ):  # the first ones hold what was known before anything was heard
            start = int((batch + w) * hop)
            np.testing.assert_allclose(
                found[stem, batch], ramp_N * wanted_BN[row, start : start + hop + before], atol=TOLERANCE
            )
    assert sum(isinstance(answer, ServerPredicted) for answer in answers) == count


def test_a_window_that_is_not_known_is_refused_with_what_is(desk: Desk) -> None:
    (error,) = desk(W(0.0))
    assert isinstance(error, Error)
    assert error.sentence.endswith("but this model plays 0.055 s ahead; /w -1, or /update_r 0.0091 or less")
    desk.clock.sleep(1)
    (batch,) = batches(noise(1.5), round(1.5 * RATE))
    answers = [answer for chunk in batch for answer in desk(chunk)]
    assert {type(answer) for answer in answers} == {Error, BatchDropped}
    assert not desk(UpdateR(0.009))


def test_a_batch_that_finds_the_model_at_work_is_dropped_and_heard_later(desk: Desk) -> None:
    desk(UpdateR(0.05))
    hop = int(6 * RATE * 0.05)
    heard_N = noise(1.0)
    first, second, third = batches(heard_N, hop)
    desk.busy = True
    dropped = [answer for batch in (first, second) for chunk in batch for answer in desk(chunk)]
    assert dropped == [BatchDropped(2)]
    desk.busy = False
    desk.work()
    found = windows([answer for chunk in third for answer in desk(chunk)])
    fade = round(0.02 * RATE)
    wanted_N = played(desk, heard_N[: 3 * hop])[0, 2 * hop - fade : 3 * hop]
    np.testing.assert_allclose(found["/drums", 3][fade:], wanted_N[fade:], atol=TOLERANCE)


def test_missing_chunks_and_batches_are_silence_and_late_ones_are_counted(desk: Desk) -> None:
    desk(UpdateR(0.05))
    hop, heard_N = int(6 * RATE * 0.05), noise(1.0)
    sent = batches(heard_N, hop, package=2000)
    answers: list[Message] = []
    for chunk in sent[0]:
        desk.clock.sleep(0.02)
        answers += [] if chunk.start == 4000 else desk(chunk)
    assert not answers
    assert not desk.later(0.11), "the watchdog waits five mean gaps"
    answers += desk.later(0.02)
    desk(sent[0][2])
    desk(sent[2][0])
    desk(sent[2][0])
    answers += [answer for chunk in sent[2][1:] for answer in desk(chunk)]
    heard_N[4000:6000] = 0
    heard_N[hop : 2 * hop] = 0
    wanted_N = played(desk, heard_N[: 3 * hop])[0]
    found, fade = windows(answers), round(0.02 * RATE)
    assert set(found) == {("/drums", 1), ("/drums", 3)}
    np.testing.assert_allclose(found["/drums", 3][fade:], wanted_N[2 * hop : 3 * hop], atol=TOLERANCE)
    counts = desk.desk.musician.windows.counts
    assert (counts.incomplete, counts.late, counts.duplicates, counts.batches) == (1, 1, 1, 2)
    (error,) = desk(Predict())
    assert isinstance(error, Error)
    desk(sent[1][0])  # older than the last one: late
    desk(Reset())
    assert not [answer for answer in desk(sent[0][0]) if isinstance(answer, Error)]
    assert windows(desk(Predict()))
    desk.clock.sleep(1)
    (error,) = desk(Context(9, hop - 5, 2, np.zeros(10, dtype=np.float32)))
    assert isinstance(error, Error)
    assert "outside of the hop" in error.sentence
    assert not [answer for answer in desk.later(60) if not isinstance(answer, Meters)]
    assert windows([answer for chunk in sent[0] for answer in desk(replace(chunk, batch=2))])
    assert not desk.desk.counts.failed


def test_controls_reach_the_session_or_are_refused_with_a_sentence(desk: Desk) -> None:
    (welcome,) = desk(Hello())
    assert isinstance(welcome, Welcome)
    assert (welcome.sample_rate_hz, welcome.rows, welcome.instruments) == (RATE, 1, "Percussive")
    for message in (Level(-6.0, 0), Mute(1), Mute(0, 0), Undo(2.0), Seed(7), Reset(), Verbose(1), Verbose(0)):
        assert not desk(message)
    (changed,) = desk(Instrument(("bass",)))
    assert isinstance(changed, Welcome)
    assert changed.instruments == "Bass"
    (two,) = desk(Instrument(("bass", "drums")))
    assert isinstance(two, Welcome)
    assert (two.rows, two.instruments) == (2, "Bass, Percussive")
    assert desk(LoadModel()) == [Ready(True)]
    assert not desk(Print())
    assert "WindowSettings" in desk.printed[-1]
    numbers = np.arange(5, dtype=np.float32)
    (back,) = desk(PacketTest(5, numbers))
    assert isinstance(back, PacketTestResponse)
    assert (back.count, back.samples_N.tolist()) == (5, numbers.tolist())
    wrong = (Level(0.0, 9), Prompt("loud"), Instrument(("vocal",)), Instrument(("kazoo",)))
    for message in (*wrong, PredictInstruments((0, 0, 0, 0)), write_datagram("/level", []), write_datagram("/no", [])):
        desk.clock.sleep(0.2)
        (error,) = desk(message)
        assert isinstance(error, Error)
        assert "Traceback" not in error.sentence


def test_one_musician_plays_at_a_time(desk: Desk) -> None:
    heard_N = noise(0.3)
    for block in blocks(heard_N):
        desk(block)
    before = len(desk.sent)
    (error,) = desk(Hello(), STRANGER)
    assert isinstance(error, Error)
    assert desk.sent[before:] == [((STRANGER[0], 8000), error)]
    assert not desk(Level(-60.0), STRANGER), "errors to strangers are rare"
    assert not desk(Level(-6.0), (MUSICIAN[0], 9)), "another program of the same machine"
    assert len(desk.later(1.0)) == 1
    assert not [m for m in desk.later(11.0) if isinstance(m, Meters)], "nobody is there"
    assert [type(answer) for answer in desk(Hello(), STRANGER)] == [Ready, Welcome]
    desk.clock.sleep(0.2)
    assert [type(answer) for answer in desk(Hello())] == [Error]
    assert desk.desk.counts.strangers == 3
    again = [answer for block in blocks(heard_N) for answer in desk(block, STRANGER)]
    wanted_N = played(desk, heard_N)[0]
    got_N = placed(again, 1, len(wanted_N))[0]
    first = int(np.flatnonzero(np.isfinite(got_N))[0]) + 64
    np.testing.assert_allclose(got_N[first:], wanted_N[first:], atol=TOLERANCE)


def mutated(rng: np.random.Generator) -> bytes:
    """Noise, or a message that is damaged, cut, or in order."""
    samples_N = noise(0.003)
    good: tuple[Message, ...] = (
        Stream(int(rng.integers(99)), int(rng.integers(2**31)), samples_N),
        Stream(int(rng.integers(99)), int(rng.integers(9999)), samples_N),
        Context(int(rng.integers(-9, 9)), int(rng.integers(999)), int(rng.integers(1, 4)), samples_N),
        Level(float(rng.uniform(-120, 24)), int(rng.integers(3))), Undo(3.0), Reset(), Hello(), W(-1.0), Predict(),
        UpdateR(0.01), PacketTest(3, samples_N[:3]), Mute(0), Seed(3), Prompt("x"),
    )  # fmt: skip
    data = bytearray(good[rng.integers(len(good))].datagram() if rng.random() < 0.9 else rng.bytes(rng.integers(400)))
    for _ in range(rng.integers(3) if data else 0):
        data[rng.integers(len(data))] = rng.integers(256)
    return bytes(data[: rng.integers(1, len(data) + 1)] if data and rng.random() < 0.2 else data)


def test_garbage_does_no_harm(desk: Desk) -> None:
    rng = np.random.default_rng(0)
    for _ in range(800):
        desk.clock.sleep(0.001)
        desk(mutated(rng), MUSICIAN if rng.random() < 0.9 else STRANGER)
        desk.desk.tick(desk.clock.now())
    assert desk.desk.counts.malformed > 30
    assert desk.desk.counts.failed == 0
    desk(Reset())
    desk(Instrument(("drums",)))
    answers = [answer for block in blocks(noise(0.5)) for answer in desk(block)]
    assert any(isinstance(answer, StreamAnswer) for answer in answers)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_the_command_plays_over_a_real_socket_until_ctrl_c(player: Player, tmp_path: Path) -> None:
    port, reply_port = free_port(), free_port()
    command = ["serve", "osc", "--checkpoint", "liveband-pocket", "--instrument", "drums", "--seed", "5"]
    command += ["--port", str(port), "--reply-port", str(reply_port), "--record", str(tmp_path / "a.performance")]
    heard_N = noise(1.5)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.bind(("127.0.0.1", reply_port))
        client.settimeout(60)
        environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
        server = subprocess.Popen(
            [sys.executable, "-m", "livejam.cli.main", *command], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        answers: list[Message] = []
        try:
            assert read_message(client.recv(65_536), FROM_SERVER) == Ready(True)
            client.settimeout(0.02)
            for block in blocks(heard_N, 1024):
                client.sendto(block.datagram(), ("127.0.0.1", port))
                with suppress(TimeoutError):
                    while True:
                        answers.append(read_message(client.recv(65_536), FROM_SERVER))
            client.settimeout(3)
            while not answers or not _reaches(answers[-1], len(heard_N)):
                answers.append(read_message(client.recv(65_536), FROM_SERVER))
        finally:
            server.send_signal(signal.SIGINT)
            out, err = server.communicate(timeout=60)
    assert server.returncode == 0, err
    assert "Percussive 55 ms ahead at 44100 Hz" in out
    assert "heard 1.5 s in 65 blocks; 0 ms in 0 gaps" in out
    with torch.inference_mode():
        wanted_N = played(Desk(player), heard_N)[0]
    got_N = placed(answers, 1, len(heard_N))[0]
    first = int(np.flatnonzero(np.isfinite(got_N))[0]) + 64
    np.testing.assert_allclose(got_N[first:], wanted_N[first : len(heard_N)], atol=TOLERANCE)
    again = ["perform", "--replay", str(tmp_path / "a.performance"), "--checkpoint", "liveband-pocket"]
    assert main([*again, "--out", str(tmp_path / "again")]) == 0
    again_N = soundfile.read(tmp_path / "again" / "answer.wav", dtype="float32")[0]
    np.testing.assert_allclose(again_N[first : len(heard_N)], wanted_N[first : len(heard_N)], atol=TOLERANCE)


def _reaches(message: Message, samples: int) -> bool:
    return isinstance(message, StreamAnswer) and message.play_at + len(message.samples_N) >= samples
