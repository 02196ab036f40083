"""References, sketches, words and guidance on the page, in a real browser and served by the real command."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from chromium import Page, browser, installed
from jam_page import number, ready, start
from small_band import band_checkpoint, lmdm_checkpoint
from test_web_page import RATE, contrast, record, served

from livejam.reference import ReferenceAnalysis, ReferenceTraining
from livejam.sketch import SketchTraining
from metrics.embeddings import LogMel

pytestmark = [pytest.mark.live, pytest.mark.skipif(installed() is None, reason="chromium is not installed")]


def choose(page: Page, place: int, path: Path) -> None:
    """Give one of the page's fields for recordings a file."""
    root = page.call("DOM.getDocument")["root"]["nodeId"]
    found = page.call("DOM.querySelectorAll", nodeId=root, selector="#like input[type=file]")["nodeIds"]
    page.call("DOM.setFileInputFiles", nodeId=found[place], files=[str(path)])


def looked_at(page: Page, name: str) -> None:
    """It fits a telephone and a screen, can be read, and complained about nothing."""
    for look in ((390, 844, True), (1200, 860, False)):
        page.look(*look)
        time.sleep(0.5)
        assert page.run("document.documentElement.scrollWidth <= innerWidth")
        assert contrast(page) > 4.5
        if pictures := os.environ.get("LIVEJAM_PICTURES"):
            page.picture(Path(pictures) / f"{name}_{look[0]}.png", whole=False)
    assert page.complaints == []


def test_files_and_what_was_played_last_are_sounded_like(rendered_songs: Path, tmp_path: Path) -> None:
    analysis = ReferenceAnalysis(LogMel(), 1.0, 3)
    model = band_checkpoint(tmp_path / "band.ckpt", reference=ReferenceTraining(analysis))
    noise_N = 0.1 * np.random.default_rng(0).standard_normal(45 * RATE)
    soundfile.write(tmp_path / "long.wav", noise_N, RATE)
    (tmp_path / "none.wav").write_bytes(b"no sound")
    with served(rendered_songs, model=str(model)) as url, browser(tmp_path / "profile") as new_page:
        page = ready(new_page(), url)
        start(page)
        assert page.run("!document.querySelector('#like').hidden && document.querySelector('#sketch').hidden")
        choose(page, 0, tmp_path / "none.wav")
        page.until("document.querySelector('#like-0').textContent.includes('cannot read')")
        choose(page, 0, tmp_path / "long.wav")
        page.until("document.querySelector('#like-0').textContent === 'ready'")
        assert page.run("document.querySelector('#like-share').disabled"), "there is one recording"
        time.sleep(2)
        page.run("document.querySelectorAll('#like-slots button')[1].click()")
        page.until("document.querySelector('#like-1').textContent === 'ready'")
        page.run("""(() => { const range = document.querySelector("#like-share"); range.value = 0.5;
            range.dispatchEvent(new Event("input")); })()""")
        time.sleep(1)
        page.click("#like-none")
        assert record(page, 2.0)["mix.wav"].any()
        assert not page.run("document.querySelector('#status.problem')"), page.text("#status")
        looked_at(page, "like")


def test_a_sketch_is_drawn_with_the_mouse_and_let_free(rendered_songs: Path, tmp_path: Path) -> None:
    model = lmdm_checkpoint(tmp_path / "lmdm.ckpt", sketch=SketchTraining())
    with served(rendered_songs, model=str(model)) as url, browser(tmp_path / "profile") as new_page:
        page = ready(new_page(), url)
        start(page)
        assert page.run("document.querySelector('#like').hidden && !document.querySelector('#sketch').hidden")
        for step in range(12):  # the sentence above the pad grows, so the pad moves
            left, top, width, height = page.run("""(() => { const pad = document.querySelector("#sketch-pad");
                pad.scrollIntoView(); const box = pad.getBoundingClientRect();
                return [box.left, box.top, box.width, box.height]; })()""")
            kind = "mousePressed" if step == 0 else "mouseMoved"
            place = {"x": left + width * (0.1 + 0.07 * step), "y": top + height * 0.25}
            page.call("Input.dispatchMouseEvent", type=kind, button="left", buttons=1, clickCount=1, **place)
            time.sleep(0.05)
        page.call("Input.dispatchMouseEvent", type="mouseReleased", button="left", buttons=0, clickCount=1, **place)
        loudness, brightness, pitch = (f"#sketch-strips .strip:nth-child({place}) output" for place in (1, 2, 3))
        assert -24 < number(page, loudness) < -18
        assert number(page, brightness) > 3000
        assert page.text(pitch) == "free"
        page.run("document.querySelectorAll('#sketch-strips button')[0].click()")
        assert page.text(loudness) == "free"
        assert record(page, 2.0)["mix.wav"].any()
        assert not page.run("document.querySelector('#status.problem')"), page.text("#status")
        looked_at(page, "sketch")


SPY = """(() => {
    const code = `import "${new URL("network.js", location)}";
        let frames = 0, loudest = 0;
        const send = WebSocket.prototype.send;
        WebSocket.prototype.send = function (data) {
            if (data instanceof ArrayBuffer && new Uint8Array(data)[0] === 4) {
                frames++;
                for (const sample of new Float32Array(data.slice(16))) loudest = Math.max(loudest, Math.abs(sample));
            }
            return send.call(this, data);
        };
        setInterval(() => postMessage({ kind: "spied", frames, loudest }), 100);`;
    const Real = Worker;
    window.spied = { frames: 0, loudest: 0 };
    window.Worker = class extends Real {
        constructor() {
            super(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), { type: "module" });
            this.addEventListener("message", ({ data }) => data.kind === "spied" && (window.spied = data));
        }
    };
})()"""
"""Lets the thread of the line count what it sends of the sound that leads."""


def test_the_microphone_leads_beside_a_song(rendered_songs: Path, tmp_path: Path) -> None:
    model = lmdm_checkpoint(tmp_path / "lmdm.ckpt", sketch=SketchTraining())
    time_N = np.arange(20 * 44_100) / 44_100
    hum_N = 0.3 * np.sin(2 * np.pi * 220 * time_N) * np.abs(np.sin(3 * time_N))
    soundfile.write(tmp_path / "hum.wav", hum_N, 44_100, subtype="PCM_16")
    options = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    options.append(f"--use-file-for-fake-audio-capture={tmp_path / 'hum.wav'}")
    with served(rendered_songs, model=str(model)) as url, browser(tmp_path / "profile", options) as new_page:
        page = new_page()
        page.call("Page.setBypassCSP", enabled=True)  # the page lets nobody count
        ready(page, url).run(SPY)
        start(page)
        assert page.run("!document.querySelector('#lead').hidden")
        assert page.text("#lead-refusal") == ""
        time.sleep(1)
        assert page.run("window.spied.frames") == 0
        for name in ("loudness", "pitch", "heard"):
            page.click(f"#lead-{name}")
        page.until("window.spied.frames > 20 && window.spied.loudest > 0.1")
        assert record(page, 2.0)["mix.wav"].any()
        assert not page.run("document.querySelector('#status.problem')"), page.text("#status")
        looked_at(page, "lead")
        page.run("document.querySelectorAll('#sketch-strips button')[2].click()")
        assert not page.run("document.querySelector('#lead-pitch').checked"), "what is drawn is not led"
        page.click("#lead-pitch")
        assert page.text("#sketch-strips .strip:nth-child(3) output") == "free", "what is led is not drawn"
        for name in ("loudness", "pitch"):
            page.click(f"#lead-{name}")
        time.sleep(1)
        frames = page.run("window.spied.frames")
        time.sleep(1)
        assert page.run("window.spied.frames") == frames, "nothing is sent that leads nothing"
        assert not page.run("document.querySelector('#status.problem')"), page.text("#status")


def test_it_is_led_away_from_words_and_what_is_not_trained_goes_back(rendered_songs: Path, tmp_path: Path) -> None:
    model = lmdm_checkpoint(tmp_path / "lmdm.ckpt", prompt_dropout=0.1)
    with served(rendered_songs, model=str(model)) as url, browser(tmp_path / "profile") as new_page:
        page = ready(new_page(), url)
        start(page)
        assert page.run("!document.querySelector('#away').hidden && !document.querySelector('#guidance').hidden")
        strips = [f"#guidance-strips .strip:nth-child({place})" for place in (1, 2, 3, 4)]
        mix, past, prompt, level = strips
        assert [page.text(f"{strip} output") for strip in strips] == ["2.0", "1.0", "2.0", "0 %"]

        def submit(words: str) -> None:
            page.run(f"document.querySelector('#away-text').value = {words!r}")
            page.click("#away-ask")
            time.sleep(1)

        def move(strip: str, weight: float) -> None:
            page.run(f"""(() => {{ const range = document.querySelector({strip + " input"!r}); range.value = {weight};
                range.dispatchEvent(new Event("input")); }})()""")
            time.sleep(1)

        submit("loud trumpet")
        move(prompt, 3.5)
        submit("")
        move(level, 0.7)
        assert page.text(f"{prompt} output") == "3.5"
        assert page.text(f"{level} output") == "70 %"
        assert not page.run("document.querySelector('#status.problem')"), page.text("#status")
        move(past, 1.5)
        assert page.text(f"{past} output") == "1.5"
        move(mix, 6)
        assert page.text(f"{mix} output") == "2.0", "it was never trained without the mix alone"
        assert page.text(f"{level} output") == "70 %"
        assert "training windows" in page.text("#status")
        submit("zzz")
        assert "no word that the tag encoder knows" in page.text("#status")
        assert record(page, 2.0)["mix.wav"].any()
        looked_at(page, "words")
