"""The scripted musician: its faults are those that were asked for, its numbers true, and its recordings play again."""

from __future__ import annotations

import json
import struct
import threading
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from osc_desk import RATE
from test_osc_server import free_port

import livejam
from livejam.cli.main import main
from livejam.cli.perform_report import beat_facts, latencies_ms, network_facts
from livejam.errors import UserError
from livejam.serving.anticipating import Anticipating
from livejam.serving.line import Line
from livejam.serving.mono_sessions import mono_session
from livejam.serving.named_references import NamedReferences
from livejam.serving.osc_musician import OscMusician
from livejam.serving.osc_server import OscServer
from livejam.serving.performing import Arrival, BadNetwork, Faults, Performance, Performer, Refusal, Rows, Terms
from livejam.serving.playout import MARGIN_SECONDS, SLACK_SECONDS
from livejam.serving.recordings import PACKET, Head, read_head, read_packets, recording
from livejam.serving.scores import Event, Score, performed

TERMS = Terms(10_000, 1000, 600, ("Bass", "Percussive"), 1, range(1, 12))
TAKES_SECONDS = 0.02


class Echo:
    """A server on a virtual clock: knows TERMS.lead_samples ahead after each block, and plays every sample's number."""

    name = "echo"

    def __init__(self) -> None:
        self.now, self.frames = 0.0, TERMS.anticipation
        self.heard, self.known = 0, TERMS.lead_samples + TERMS.block_samples
        self.answers: list[tuple[float, Arrival]] = []
        self.under_way: dict[bytes, Arrival] = {}

    def clock(self) -> float:
        return self.now

    def packet(self, sequence: int, position: int, audio_N: np.ndarray) -> bytes:
        return struct.pack("<II", position, len(audio_N))

    def anticipate(self, frames: int) -> bytes:
        return struct.pack("<I", frames)

    def send(self, packet: bytes) -> None:
        if len(packet) == 4:
            (self.frames,) = struct.unpack("<I", packet)
            return
        position, samples = struct.unpack("<II", packet)
        self.heard = max(self.heard, position + samples)
        known = self.heard // TERMS.block_samples * TERMS.block_samples + TERMS.lead_samples
        known += self.frames * TERMS.block_samples
        if known > self.known:
            numbers_N = np.arange(self.known, known, dtype=np.float32)
            for row in range(2):
                self.answers.append((self.now + TAKES_SECONDS, Arrival(self.known, row, numbers_N / 2)))
            self.known = known

    def received(self, seconds: float) -> list[bytes]:
        self.now += max(seconds, 1e-5)
        due = [arrival for at, arrival in self.answers if at <= self.now]
        self.answers = [(at, arrival) for at, arrival in self.answers if at > self.now]
        for arrival in due:
            self.under_way[struct.pack("<II", arrival.position, arrival.row)] = arrival
        return [struct.pack("<II", arrival.position, arrival.row) for arrival in due]

    def read(self, packet: bytes) -> Arrival | Refusal | None:
        return self.under_way[packet]

    def meet(self, seed: int) -> tuple[Terms, list[bytes]]:
        return TERMS, []

    def close(self) -> None:
        pass


def played(
    faults: Faults, seconds: float = 4.0, anticipating: Anticipating | None = None
) -> tuple[Performance, list[tuple[float, bytes]]]:
    echo, sent = Echo(), []

    def record(at: float, packet: bytes, _: int) -> None:
        sent.append((at, packet))

    performer = Performer(echo, TERMS, faults, 100, record, anticipating, clock=echo.clock)
    return performer.play(np.zeros(round(10_000 * seconds), dtype=np.float32)), sent


def test_a_clean_line_is_heard_in_time_and_measured() -> None:
    done, sent = played(Faults())
    np.testing.assert_array_equal(done.answer_N[2000:], np.arange(2000, 40_000))
    facts = network_facts(done, TERMS)
    assert (facts["gaps"], facts["lost_on_the_way"], facts["sent"], facts["slips"]) == (0, 0, 400, 0)
    np.testing.assert_allclose(latencies_ms(done.log, TERMS)[1:], 1000 * TAKES_SECONDS, atol=3)
    assert [at for at, _ in sent] == sorted(at for at, _ in sent)
    json.dumps(facts)


def test_losses_are_gaps_and_jitter_is_latency() -> None:
    done, sent = played(Faults(jitter_seconds=0.05, loss=0.1, drift_ppm=200, seed=3), seconds=8)
    facts = network_facts(done, TERMS)
    assert 40 < facts["lost_on_the_way"] < 120
    assert facts["sent"] - facts["lost_on_the_way"] == len(sent)
    assert facts["gaps"] > 0
    assert facts["missing_ms"] > 0
    assert 20 < facts["latency_ms"]["p50"] < 130
    heard_N = done.answer_N[done.answer_N != 0]
    assert len(heard_N) > 40_000


def test_on_a_slow_line_it_asks_to_play_further_ahead_and_is_in_time_again() -> None:
    """Packets take up to 250 ms, both ways; a frame is 100 ms."""
    late, _ = played(Faults(jitter_seconds=0.25, seed=1), seconds=30)
    done, _ = played(Faults(jitter_seconds=0.25, seed=1), seconds=30, anticipating=TERMS.anticipating)
    assert late.log.delays[-1][1] > 3000
    assert done.log.delays[-1][1] == 0
    (first, *_), frames = done.log.anticipations, [frames for _, frames in done.log.anticipations]
    assert first[0] == 30_000
    assert 4 <= frames[-1] <= 6


@given(needed=st.floats(0, 1.5), frames=st.integers(0, 11), seconds=st.floats(0.02, 0.2))
def test_the_anticipation_is_the_smallest_with_which_nothing_is_late(
    needed: float, frames: int, seconds: float
) -> None:
    """`needed` is how late answers would be if nothing was played ahead."""
    chosen, steps = Anticipating(frames, 0, 11, seconds), 0
    while chosen.change(chosen.frames * seconds - needed, 100.0 * (steps + 1)):
        steps += 1
    assert steps <= 2
    assert not chosen.change(-1.0, 100.0 * steps + 1) or not steps, "a buffer remembers for ten seconds"
    chosen = Anticipating(frames, 0, 11, seconds)
    assert not chosen.change(-1.0, 1.0)
    assert not chosen.change(float("nan"), 100.0)
    while chosen.change(chosen.frames * seconds - needed, 1e9):
        chosen = Anticipating(chosen.frames, 0, 11, seconds)
    spare = chosen.frames * seconds - needed - MARGIN_SECONDS
    assert spare >= -1e-9 or chosen.frames == 11
    assert spare <= seconds + SLACK_SECONDS + 1e-9 or chosen.frames == 0


def test_a_bad_network_is_as_bad_as_asked_for() -> None:
    network = BadNetwork(0.02, 0.1, np.random.default_rng(0))
    for number in range(2000):
        network.put(struct.pack("<I", number), 0.01 * number)
    arrived = list(network.due(1e9))
    assert network.lost == 2000 - len(arrived)
    assert 140 < network.lost < 260
    late = [at - 0.01 * struct.unpack("<I", packet)[0] for at, packet in arrived]
    assert 0 <= min(late) < 0.001
    assert 0.019 < max(late) <= 0.02
    numbers = [struct.unpack("<I", packet)[0] for _, packet in arrived]
    assert numbers != sorted(numbers)


def test_rows_are_added_when_all_are_there() -> None:
    rows = Rows(2)
    one_N, two_N = np.ones(3, dtype=np.float32), np.full(3, 2, dtype=np.float32)
    assert not rows.add(Arrival(0, 0, one_N))
    assert not rows.add(Arrival(3, 1, one_N))
    (sum_N,) = rows.add(Arrival(0, 1, two_N))
    assert sum_N.tolist() == [3, 3, 3]
    for position in range(1000):
        rows.add(Arrival(10 * position, 0, one_N))
    assert len(rows._parts) <= 256


def test_a_score_stops_goes_on_and_changes() -> None:
    song_N = np.sin(2 * np.pi * 440 * np.arange(4 * RATE) / RATE).astype(np.float32)
    stopped_N, events = performed(song_N, RATE, Score(stop_at=1, restart_at=1.5))
    assert events == [Event(1.5, "restart")]
    np.testing.assert_array_equal(stopped_N, np.concatenate((song_N[:RATE], np.zeros(RATE // 2), song_N[RATE:])))
    silent_N, events = performed(song_N, RATE, Score(stop_at=1))
    assert (len(silent_N), events, float(np.abs(silent_N[RATE:]).max())) == (4 * RATE, [], 0.0)
    changed_N, events = performed(song_N, RATE, Score(change_at=2, tempo=0.25, transpose=12, stop_at=1, restart_at=2))
    assert events == [Event(2, "restart"), Event(3, "tempo +25 %, +12 semitones")]
    assert len(changed_N) == pytest.approx((3 + 2 / 1.25) * RATE, abs=RATE // 50)
    spectrum = np.abs(np.fft.rfft(changed_N[-RATE:]))
    assert int(np.argmax(spectrum)) == pytest.approx(880, abs=3)
    wrong: list[dict[str, Any]] = [{"stop_at": 9}, {"restart_at": 1}, {"stop_at": 2, "restart_at": 1},
                                   {"tempo": 0.1, "change_at": 4}]  # fmt: skip
    for told in wrong:
        with pytest.raises(UserError):
            performed(song_N, RATE, Score(**told))


def test_beats_are_compared() -> None:
    mix = np.arange(0, 20, 0.5)
    answer = np.concatenate((mix[:20] + 0.01, mix[20:26] + 0.2, mix[26:] - 0.03))
    facts = beat_facts(mix, answer, [Event(10.0, "restart"), Event(19.9, "end")])
    assert facts["on_the_beat"] == pytest.approx(34 / 40)
    assert [event["recovery_beats"] for event in facts["events"]] == [pytest.approx(5.94), None]
    assert beat_facts(mix, np.zeros(0), [])["error_ms"] is None


HEAD = Head("osc", RATE, ("Percussive", "Bass"), 7, True)


def test_a_recording_is_read_as_it_was_written(tmp_path: Path) -> None:
    packets = [(0.0, b"/hello\0\0", 0), (0.5, b"", 999), (0.5, bytes(60_000), 0)]
    with recording(tmp_path / "a.performance", HEAD) as record:
        for packet in packets:
            record(*packet)
    assert read_head(tmp_path / "a.performance") == HEAD
    assert list(read_packets(tmp_path / "a.performance")) == packets


@settings(max_examples=25, deadline=None)
@given(cut=st.integers(0, 180), noise=st.binary(max_size=20))
def test_a_damaged_recording_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes) -> None:
    path = tmp_path_factory.mktemp("damaged") / "a.performance"
    with recording(path, HEAD) as record:
        record(1.0, b"/hello\0\0", 0)
    path.write_bytes(path.read_bytes()[:cut] + noise)
    try:
        assert all(len(packet) < 30 for _, packet, _ in read_packets(path))
    except UserError:
        return


@pytest.mark.parametrize("start", [(float("nan"), 4), (-1.0, 4), (1e9, 4), (0.0, 1 << 31)])
def test_a_hostile_recording_asks_for_nothing(tmp_path: Path, start: tuple[float, int]) -> None:
    path = tmp_path / "a.performance"
    with recording(path, HEAD):
        pass
    path.write_bytes(path.read_bytes() + PACKET.pack(*start, 0) + b"1234")
    with pytest.raises(UserError, match="is damaged after"):
        list(read_packets(path))
    for head in (b"", b"[" * 9000, b'{"kind": "other"}\n', b"1\n", b"RIFF"):
        path.write_bytes(head)
        with pytest.raises(UserError):
            read_head(path)


def test_the_command_plays_to_a_server_and_the_recording_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    noise_N = 0.1 * np.random.default_rng(0).standard_normal(2 * RATE)
    soundfile.write("song.wav", noise_N, RATE)
    make_session, port = partial(mono_session, livejam.load("liveband-pocket"), RATE, False, seed=0), free_port()

    def make_line(session: Any, send: Any) -> Line:
        line = Line(session, send)
        line.start()
        return line

    server = OscServer(
        lambda reply: OscMusician(make_session, make_line, ["bass", "drums"], reply, print, NamedReferences()),
        "127.0.0.1",
        0,
        port,
        print,
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        command = ["perform", "--server", f"osc://127.0.0.1:{server.port}", "--reply-port", str(port), "--seed", "4"]
        assert main([*command, "--mix", "song.wav", "--out", "out", "--no-beats"]) == 0
        assert main([*command, "--mix", "song.wav", "--out", "out", "--no-beats"]) == 2, "nothing is overwritten"
    finally:
        server.stop()
        thread.join(20)
    names = ("answer.wav", "mix.wav", "picture.png", "report.json", "sent.performance", "together.wav")
    assert tuple(sorted(path.name for path in Path("out").iterdir())) == names
    report = json.loads(Path("out/report.json").read_text())
    assert (report["instruments"], report["network"]["sent"]) == (["Bass", "Percussive"], -(-2 * RATE // 512))
    assert report["network"]["answers"] > 100
    for out in ("again", "once_more"):
        assert (
            main(["perform", "--replay", "out/sent.performance", "--checkpoint", "liveband-pocket", "--out", out]) == 0
        )
    again_N, once_more_N = (soundfile.read(f"{out}/answer.wav", dtype="float32")[0] for out in ("again", "once_more"))
    np.testing.assert_array_equal(again_N, once_more_N)
    session = make_session(["bass", "drums"])
    for row in (0, 1):
        session.set_seed(4 + row, row)
    heard_N = soundfile.read("out/mix.wav", dtype="float32")[0]
    wanted_N = session.process(torch.from_numpy(heard_N))[0].numpy()
    got_N = again_N[: len(wanted_N)]
    np.testing.assert_allclose(got_N[RATE // 2 :], wanted_N[RATE // 2 :], atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--mix", "song.wav"], "perform needs --server to play to, or --replay"),
        (["--server", "127.0.0.1:7000", "--mix", "song.wav"], "write osc://HOST:PORT"),
        (["--server", "ftp://127.0.0.1:7000", "--mix", "song.wav"], "the protocol ftp is not known"),
        (["--server", "osc://127.0.0.1:7000"], "perform needs --mix"),
        (
            ["--server", "osc://127.0.0.1:7000", "--mix", "a.wav", "--loss", "200%"],
            "--loss is 200.0; it must be from 0 to",
        ),
        (["--server", "osc://127.0.0.1:7000", "--mix", "a.wav", "--like", "a=b.wav"], "--like is for --replay"),
        (["--replay", "song.wav"], "--replay needs --checkpoint"),
        (["--replay", "song.wav", "--checkpoint", "liveband-pocket"], "there is no recording song.wav"),
    ],
)
def test_a_mistake_is_one_sentence(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["perform", *arguments, "--out", "out"]) == 2
    assert said in capfd.readouterr().err
    assert not Path("out").exists()
