"""The page's server with the bundled model: what it answers, and what it refuses."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from web_stage import BLOCK, HERE, JAM, RATE, Visitor, app_with, client_of, player, tune

from livejam.cli.demo_songs import demo_songs
from livejam.serving.web_frames import MOST_BYTES, Heard, write_heard
from livejam.serving.web_limits import Limits
from livejam.serving.web_messages import Begin, Level, Mute, Undo
from livejam.serving.web_server import open_port
from livejam.streaming import Session

TOKEN = "a-long-word"
CLOSED = pytest.raises(WebSocketDisconnect)


def offline(instruments: tuple[str, ...], seed: int, audio_N: np.ndarray) -> np.ndarray:
    seeds = range(seed, seed + len(instruments))
    session = Session(player(), sample_rate_hz=RATE, channels=1, instruments=instruments, seeds=seeds)
    return session.process_rows(torch.from_numpy(audio_N)[None]).numpy()[:, 0]


def test_answers_are_those_of_an_offline_session() -> None:
    audio_N = tune(3.0)
    with client_of(app_with(Limits())) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        begun = visitor.begin("Percussive", "Bass", seed=7)
        visitor.play(audio_N)
        answer_BN = visitor.hear(2, len(audio_N))
        meters = visitor.until("meters")
    assert begun["instruments"] == ["Percussive", "Bass"]
    assert begun["lead_samples"] > 0
    wanted_BN = offline(("Percussive", "Bass"), 7, audio_N)
    assert np.abs(wanted_BN).max() > 0.01, "it plays"
    np.testing.assert_allclose(answer_BN, wanted_BN, atol=1e-5)
    assert meters["seconds"] == pytest.approx(len(audio_N) / RATE, abs=0.1)
    assert meters["lost_ms"] == 0
    assert meters["musicians"] == 1


def test_controls_change_what_plays() -> None:
    with client_of(app_with(Limits())) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive")
        visitor.play(tune(1.0))
        first_BN = visitor.hear(1, RATE)  # so it has heard all of it
        visitor.say(Undo(0.5))
        done = visitor.until("done")
        assert done["of"] == "undo"
        assert 0.5 <= done["seconds"] <= 1.0
        visitor.say(Mute(True))
        visitor.until("done")
        visitor.play(tune(1.0), start=RATE)
        answer_BN = visitor.hear(1, 2 * RATE)
        assert np.abs(first_BN).max() > 0.001
        assert not answer_BN[:, -RATE // 4 :].any()
        visitor.say(Level(-6.0, row=3))
        assert "there is no row 3" in visitor.until("problem")["sentence"]


def test_nonsense_is_refused_in_a_sentence_and_the_jam_goes_on() -> None:
    audio_N = tune(0.5)
    nan = Heard(0, 0, np.full(8, np.nan, dtype=np.float32))
    frames = [b"", b"\x01", b"\x07" + bytes(19), write_heard(nan), write_heard(Heard(0, -5, audio_N[:8]))]
    texts = [
        *("", "[]", "{}", "[" * 4000, '{"kind": "level"}', '{"kind": "mute", "silent": 1}'),
        *('{"kind": "undo", "seconds": 1e999}', '{"kind": "level", "decibels": 0, "colour": 1}'),
        Begin(("Bass",), 0).text(),
    ]
    with client_of(app_with(Limits())) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive")
        for frame in frames:
            socket.send_bytes(frame)
            assert not visitor.until("problem")["ended"]
        for text in texts:
            socket.send_text(text)
            assert not visitor.until("problem")["ended"]
        visitor.play(audio_N)
        answer_BN = visitor.hear(1, len(audio_N))
    np.testing.assert_allclose(answer_BN, offline(("Percussive",), 0, audio_N), atol=1e-5)


def test_an_instrument_that_it_never_learnt_is_refused_and_another_may_be_chosen() -> None:
    with client_of(app_with(Limits())) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.until("welcome")
        visitor.say(Begin(("Reed",), 0))
        assert "never learnt to play Reed" in visitor.until("problem")["sentence"]
        visitor.say(Begin(("Bass",), 0))
        assert visitor.until("begun")["instruments"] == ["Bass"]


def ended(visitor: Visitor) -> str:
    """The sentence with which the server ends a connection."""
    problem = visitor.until("problem")
    assert problem["ended"]
    with CLOSED:
        while True:
            visitor.socket.receive_text()
    return str(problem["sentence"])


def test_one_more_musician_than_there_are_places_is_sent_away_and_a_place_becomes_free() -> None:
    with client_of(app_with(Limits(musicians=1))) as client:
        with client.websocket_connect(JAM) as first:
            Visitor(first).until("welcome")
            with client.websocket_connect(JAM) as second:
                assert ended(Visitor(second)).startswith("1 musician is playing already")
        with client.websocket_connect(JAM) as third:
            assert Visitor(third).until("welcome")["musicians"] == 1


def test_who_sends_too_much_or_nothing_is_sent_away() -> None:
    limits = Limits(sound_burst_seconds=1.0, controls_burst=5, idle_seconds=0.5, begin_seconds=0.3)
    with client_of(app_with(limits)) as client:
        with client.websocket_connect(JAM) as socket:
            visitor = Visitor(socket)
            visitor.begin("Percussive")
            visitor.play(np.zeros(4 * RATE, dtype=np.float32), block=4096)
            assert "more sound came" in ended(visitor)
        with client.websocket_connect(JAM) as socket:
            visitor = Visitor(socket)
            visitor.begin("Percussive")
            for _ in range(20):
                socket.send_text("nonsense")
            while not visitor.until("problem")["ended"]:
                pass
            assert "too many controls" in visitor.told[-1]["sentence"]
        with client.websocket_connect(JAM) as socket:
            socket.send_bytes(bytes(MOST_BYTES + 1))
            assert "too long" in ended(Visitor(socket))
        with client.websocket_connect(JAM) as socket:
            assert "nothing was played" in ended(Visitor(socket))
        with client.websocket_connect(JAM) as socket:
            visitor = Visitor(socket)
            visitor.begin("Percussive")
            assert "no sound came for 0.5 seconds" in ended(visitor)


def test_the_token_opens_everything_and_nothing_opens_without_it() -> None:
    with client_of(app_with(Limits(), token=TOKEN)) as client:
        assert client.get(f"/{TOKEN}/").status_code == 200
        assert client.get(f"/{TOKEN}/app.js").headers["content-type"].startswith("text/javascript")
        assert client.get(f"/{TOKEN}/facts").json()["model"] == "liveband-pocket"
        for path in ("/", "/app.js", "/facts", "/jam", f"/{TOKEN[:-1]}/", f"/{TOKEN}x/", "/é/", f"//{TOKEN}/"):
            refused = client.get(path)
            assert refused.status_code == 403
            assert "whole address" in refused.text
        with CLOSED, client.websocket_connect(JAM):
            pass
        with client.websocket_connect(f"ws://192.168.0.7:8080/{TOKEN}/jam") as socket:
            Visitor(socket).until("welcome")


def test_no_page_of_another_site_plays_here() -> None:
    with client_of(app_with(Limits())) as client:
        with client.websocket_connect(JAM, headers={"origin": HERE, "host": "127.0.0.1:8080"}) as socket:
            Visitor(socket).until("welcome")
        for origin in ("http://evil.example", "null", "http://127.0.0.1:9999", f"{HERE}.evil.example"):
            with CLOSED, client.websocket_connect(JAM, headers={"origin": origin, "host": "127.0.0.1:8080"}):
                pass
        # a name of another site that leads to this machine
        assert client.get("/", headers={"host": "evil.example:8080"}).status_code == 403


def test_the_page_has_all_its_files_and_asks_no_other_host() -> None:
    with client_of(app_with(Limits())) as client:
        page = client.get("/")
        policy = page.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        loaded = todo = {"index.html"}
        while todo:
            named = {name for path in todo for name in _named(client, path)}
            todo, loaded = named - loaded, loaded | named
    shipped = {path.name for path in (Path(__file__).parents[3] / "livejam/serving/web").iterdir()}
    assert loaded == shipped, "every shipped file is used, and every used file is shipped"


def _named(client: TestClient, path: str) -> set[str]:
    """The files that one of the page's files names."""
    import re

    got = client.get(f"/{path}")
    assert got.status_code == 200, path
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", got.text), f"{path} names another host"
    return set(re.findall(r"""["'](?:\./)?([\w-]+\.(?:js|css|svg))["']""", got.text))


def test_demo_songs_leave_out_what_the_model_plays(rendered_songs: Path) -> None:
    offered = demo_songs(rendered_songs)
    with client_of(app_with(Limits(), songs=offered)) as client:
        listed = client.get("/songs").json()
        assert [song["title"] for song in listed] == [song.title for song in offered]
        instruments = listed[0]["instruments"]
        whole, without = (_sound(client, f"/songs/0{query}") for query in ("", f"?without={instruments[0]}"))
        stem_N, rate = soundfile.read(offered[0].stems[0].path, dtype="float32")
        assert rate == RATE
        assert offered[0].instruments[0] == instruments[0]
        several = sum(stem.instrument == instruments[0] for stem in offered[0].stems) > 1
        middle = slice(RATE, 2 * RATE)
        if not several:
            np.testing.assert_allclose((whole - without)[middle], stem_N[middle], atol=1e-3)
        assert client.get("/songs/99").status_code == 404
        assert client.get("/songs/x").status_code == 404


def _sound(client: TestClient, path: str) -> np.ndarray:
    import io

    got = client.get(path)
    assert got.headers["content-type"] == "audio/flac"
    audio_N, rate = soundfile.read(io.BytesIO(got.content), dtype="float32")
    assert rate == RATE
    return np.asarray(audio_N)


def test_blocks_may_be_of_any_length_and_twice() -> None:
    audio_N = tune(1.0)
    with client_of(app_with(Limits())) as client, client.websocket_connect(JAM) as socket:
        visitor = Visitor(socket)
        visitor.begin("Percussive")
        visitor.play(audio_N[:BLOCK])
        visitor.play(audio_N, block=777)
        answer_BN = visitor.hear(1, len(audio_N))
    np.testing.assert_allclose(answer_BN, offline(("Percussive",), 0, audio_N), atol=1e-5)


def test_answers_do_not_wait_for_acknowledgements() -> None:
    """asyncio lets small packets go at once only where it knows that a socket is TCP."""

    async def no_delay() -> int:
        told: asyncio.Future[int] = asyncio.get_running_loop().create_future()

        async def welcome(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            told.set_result(writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            writer.close()

        with open_port("127.0.0.1", 0) as listening:
            async with await asyncio.start_server(welcome, sock=listening):
                _, writer = await asyncio.open_connection(*listening.getsockname())
                answer = await told
                writer.close()
        return answer

    assert asyncio.run(no_delay()) != 0
