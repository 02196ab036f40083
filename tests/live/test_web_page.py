"""The page in a real browser (Debian's Chromium), served by the real command with the bundled model.

`LIVEJAM_PICTURES=DIR` keeps the screenshots.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from chromium import Page, browser, installed
from commands import REPOSITORY
from jam_page import number, ready, start

pytestmark = [pytest.mark.live, pytest.mark.skipif(installed() is None, reason="chromium is not installed")]

RATE = 44_100
MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
NAME = "jam.test"
"""A name for this machine that browsers do not take for it: as a phone sees it, http from there is not secure."""

SECONDS = float(os.environ.get("LIVEJAM_WEB_SECONDS", "600"))


@contextmanager
def served(songs: Path, *options: str, model: str = "liveband-pocket") -> Iterator[str]:
    """The page's address."""
    command = [sys.executable, "-m", "livejam.cli.main", "serve", "web", "--checkpoint", model]
    command += ["--port", "0", "--songs", str(songs), *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY)
    assert process.stdout is not None
    try:
        found = None
        while found is None:
            line = process.stdout.readline()
            assert line, "it ended before it was ready"
            found = re.search(r"https?://\S+", line)
        yield found[0]
    finally:
        process.terminate()
        process.wait()


def named(url: str) -> str:
    """An address with a name that is not this machine's own."""
    return re.sub(r"//[^:/]+", f"//{NAME}", url)


def take(page: Page) -> dict[str, np.ndarray]:
    """The files of a take, as they would be saved."""
    script = """(async () => Object.fromEntries(await Promise.all([...document.querySelectorAll('#files a')].map(
        async (link) => [link.download, [...new Int16Array((await (await fetch(link.href)).arrayBuffer()).slice(44))]]
    ))))()"""
    return {name: np.array(samples, dtype=np.float64) / 32768 for name, samples in page.run(script).items()}


def record(page: Page, seconds: float) -> dict[str, np.ndarray]:
    page.click("#record")
    time.sleep(seconds)
    page.click("#record")
    page.until("document.querySelectorAll('#files a').length")
    return take(page)


def test_a_song_is_accompanied_recorded_and_undone(rendered_songs: Path, tmp_path: Path) -> None:
    with served(rendered_songs) as url, browser(tmp_path / "profile") as new_page:
        page = ready(new_page(), url)
        page.click("[value=Bass]")
        start(page)
        time.sleep(3)
        sounds = record(page, 4)
        assert list(sounds) == ["together.wav", "mix.wav", "1-bass.wav", "2-drums.wav"]
        assert len({len(samples) for samples in sounds.values()}) == 1
        assert 3 < len(sounds["mix.wav"]) / RATE < 8
        assert all(np.abs(samples).max() > 0.01 for samples in sounds.values())
        page.click("#undo")
        page.until("document.querySelector('#status').textContent.startsWith('The model forgot the last 4')")
        page.run("document.querySelectorAll('#mixer button').forEach((button, i) => i && button.click())")
        time.sleep(2)
        muted = record(page, 1)
        assert not muted["1-bass.wav"].any()
        assert not muted["2-drums.wav"].any()
        assert np.abs(muted["mix.wav"]).max() > 0.01
        page.click("#start")
        page.until("document.body.dataset.state === 'idle'")
        assert page.complaints == []


def test_a_model_that_learnt_several_anticipations_plays_as_far_ahead_as_asked(
    rendered_songs: Path, tmp_path: Path
) -> None:
    with served(rendered_songs, model="liveband-wide") as url, browser(tmp_path) as new_page:
        page = ready(new_page(), url)
        start(page)
        page.until("!document.querySelector('#ahead').hidden")
        page.run("""(() => { const range = document.querySelector("#ahead-range"); range.value = 11;
            range.dispatchEvent(new Event("input")); range.dispatchEvent(new Event("change")); })()""")
        page.until("document.querySelector('#ahead-frames').textContent.startsWith('11 frames')")
        heard = record(page, 6.0)
        assert number(page, "#ahead-frames") == 11
        assert all(np.abs(sound[-2 * RATE :]).max() > 1e-3 for sound in heard.values()), "it plays on"
        if pictures := os.environ.get("LIVEJAM_PICTURES"):
            page.picture(Path(pictures) / "anticipation.png")
        assert not page.complaints


def test_the_microphone_is_heard(rendered_songs: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    time_N = np.arange(20 * RATE) / RATE
    played_N = 0.5 * rng.standard_normal(len(time_N)) * np.exp(-20 * (2 * time_N % 1))
    soundfile.write(tmp_path / "played.wav", np.clip(played_N, -1, 1), RATE, subtype="PCM_16")
    options = [*MICROPHONE, f"--use-file-for-fake-audio-capture={tmp_path / 'played.wav'}"]
    with served(rendered_songs) as url, browser(tmp_path / "profile", options) as new_page:
        page = ready(new_page(), url)
        page.click("[value=microphone]")
        start(page)
        time.sleep(3)
        sounds = record(page, 5)
        assert np.abs(sounds["1-drums.wav"]).max() > 0.01
        # half a second apart: what was recorded beats as what was played
        envelope_N = np.abs(sounds["mix.wav"])[: 4 * RATE].reshape(-1, 441).mean(axis=1)
        turned_N = envelope_N - envelope_N.mean()
        assert np.dot(turned_N[:-50], turned_N[50:]) > 0.5 * np.dot(turned_N, turned_N) * len(turned_N[50:]) / len(
            turned_N
        )
        assert page.text("#late-words").startswith("how late the accompaniment sounds")
        assert page.complaints == []


def test_from_another_machine_http_plays_songs_and_https_the_microphone(rendered_songs: Path, tmp_path: Path) -> None:
    elsewhere = f"--host-resolver-rules=MAP {NAME} 127.0.0.1"
    plain = ("--host", "0.0.0.0")
    fake = [elsewhere, *MICROPHONE]
    with served(rendered_songs, *plain) as url, browser(tmp_path / "http", fake) as new_page:
        page = ready(new_page(), named(url))
        assert page.run("isSecureContext") is False
        assert page.run("document.querySelector('[value=microphone]').disabled")
        assert "only over https" in page.text("#microphone-words")
        start(page)
        time.sleep(3)
        assert np.abs(record(page, 3)["1-drums.wav"]).max() > 0.01
        assert all("deprecated" in words.lower() for words in page.complaints), page.complaints
    pair = [tmp_path / "cert.pem", tmp_path / "key.pem"]
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=livejam"]
    subprocess.run([*make, "-keyout", str(pair[1]), "-out", str(pair[0])], check=True, capture_output=True)
    secure = ("--host", "0.0.0.0", "--certificate", str(pair[0]), "--key", str(pair[1]))
    warned = [*fake, "--ignore-certificate-errors"]
    with served(rendered_songs, *secure) as url, browser(tmp_path / "https", warned) as new_page:
        assert url.startswith("https://")
        page = ready(new_page(), named(url))
        page.click("[value=microphone]")
        start(page)
        time.sleep(3)
        assert number(page, "#buffer") > 0


def test_one_musician_too_many_reads_why(rendered_songs: Path, tmp_path: Path) -> None:
    with served(rendered_songs, "--musicians", "1") as url, browser(tmp_path / "profile") as new_page:
        first, second = ready(new_page(), url), ready(new_page(), url)
        start(first)
        second.click("#start")
        second.until("document.querySelector('#status.problem')")
        assert second.text("#status").startswith("1 musician is playing already")
        first.click("#start")
        first.until("document.body.dataset.state === 'idle'")
        time.sleep(1)
        start(second)


def test_everything_works_with_the_keyboard_and_has_a_name(rendered_songs: Path, tmp_path: Path) -> None:
    with served(rendered_songs) as url, browser(tmp_path / "profile") as new_page:
        page = ready(new_page(), url)
        walk(page, until="start")
        page.press("Enter", 13)
        page.until("document.body.dataset.state === 'playing'")
        seen = walk(page, until="record")
        mixer = {
            "Mute the mix",
            "Mute instrument 1",
            "Level of the mix in decibels",
            "Level of instrument 1 in decibels",
        }
        assert mixer | {"undo", "undo-range"} <= set(seen)
        page.press(" ", 32)
        page.until("document.querySelector('#record').getAttribute('aria-pressed') === 'true'")
        controls = {"button", "checkbox", "radio", "slider", "combobox", "link", "meter", "image", "img", "group"}
        nameless = [role for role, name in page.tree() if role.lower() in controls and not name.strip()]
        assert nameless == []


def walk(page: Page, until: str) -> list[str]:
    """Press Tab until an element has the focus; every stop on the way can be seen."""
    stops: list[str] = []
    for _ in range(40):
        page.press("Tab", 9)
        stop = page.run("""(() => { const at = document.activeElement, box = at.closest('.choice, .chip') ?? at;
            return [at.id || at.ariaLabel || at.value || at.tagName, getComputedStyle(box).outlineStyle]; })()""")
        assert stop[1] != "none", f"the focus cannot be seen on {stop[0]}"
        stops.append(stop[0])
        if stops[-1] == until:
            return stops
    raise AssertionError(f"Tab never came to {until}: {stops}")


LOOKS = {
    "light": (1200, 860, False),
    "dark": (1200, 860, True),
    "phone": (390, 844, False),
    "phone_dark": (390, 844, True),
}


def test_it_fits_every_window(rendered_songs: Path, tmp_path: Path) -> None:
    kept = Path(os.environ.get("LIVEJAM_PICTURES", tmp_path))
    with served(rendered_songs) as url, browser(tmp_path / "profile") as new_page:
        page = ready(new_page(), url)
        page.look(390, 844, False)
        page.picture(kept / "web_phone_idle.png", whole=False)
        start(page)
        time.sleep(7)
        for name, look in LOOKS.items():
            page.look(*look)
            time.sleep(0.5)
            page.picture(kept / f"web_{name}.png", whole=False)
            assert page.run("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"
            assert contrast(page) > 4.5, name


def contrast(page: Page) -> float:
    """The smallest contrast of a text with what is behind it (WCAG 2.1)."""
    script = """(() => {
        const rgb = (colour) => colour.match(/[\\d.]+/g).map(Number);
        const light = (colour) => rgb(colour).slice(0, 3).map((v) => v / 255)
            .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
            .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
        const behind = (node) => {
            for (let at = node; at; at = at.parentElement) {
                const colour = getComputedStyle(at).backgroundColor;
                if (rgb(colour)[3] !== 0) return colour;
            }
            return "rgb(255, 255, 255)";
        };
        const kinds = "p, b, dt, dd, small, h1, h2, legend, button:enabled, output, label";
        const texts = [...document.querySelectorAll(kinds)];
        return Math.min(...texts.filter((node) => node.offsetParent && node.textContent.trim()
            && !node.closest("fieldset:disabled")).map((node) => {
            const [one, two] = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => b - a);
            return (one + 0.05) / (two + 0.05);
        }));
    })()"""
    return float(page.run(script))


def test_minutes_without_a_gap(
    rendered_songs: Path, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    """Ten minutes in real time (`LIVEJAM_WEB_SECONDS` says how many): needs a machine that has nothing else to do."""
    with served(rendered_songs) as url, browser(tmp_path / "profile") as new_page:
        page = ready(new_page(), url)
        start(page)
        began = time.monotonic()
        while time.monotonic() < began + SECONDS:
            time.sleep(min(5, SECONDS))
            assert page.run("document.body.dataset.state") == "playing", page.text("#status")
        facts = {name: page.text(f"#{name}") for name in ("late", "buffer", "gaps", "gaps-words", "answer")}
        record_property("facts", facts)
        assert number(page, "#gaps") == 0, facts
        assert page.complaints == []
