"""The page without a server in a real browser (Debian's Chromium): the bundled model, exported and assembled by the
real commands, and served by Python's own file server.

`LIVEJAM_PICTURES=DIR` keeps the screenshots, `LIVEJAM_WEB_SECONDS` says how long the microphone is played to, and
`LIVEJAM_WEB_RUNTIME=TGZ` names the package of ONNX Runtime where npm cannot fetch it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
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
import torch
from chromium import Page, browser, installed
from commands import REPOSITORY
from jam_page import number, ready, start
from safetensors.numpy import save_file

from livejam.checkpoints.player import load_player
from livejam.checkpoints.published import find_model
from livejam.export.model import Reference, example_mix, step_model

pytestmark = [pytest.mark.export, pytest.mark.skipif(installed() is None, reason="chromium is not installed")]

STEPS, SEED = 646, 5
"""A minute."""

MICROPHONE = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
SECONDS = float(os.environ.get("LIVEJAM_WEB_SECONDS", "300"))
LOOKS = {
    "light": (1200, 860, False),
    "dark": (1200, 860, True),
    "phone": (390, 844, False),
    "phone_dark": (390, 844, True),
}


def runtime_options() -> list[str]:
    """Where the package of ONNX Runtime is, if somebody says so."""
    return ["--runtime", os.environ["LIVEJAM_WEB_RUNTIME"]] if "LIVEJAM_WEB_RUNTIME" in os.environ else []


@pytest.fixture(scope="module")
def assembled(tmp_path_factory: pytest.TempPathFactory, rendered_songs: Path) -> Path:
    """The page, as its two commands make it."""
    folder = tmp_path_factory.mktemp("web")
    commands = [["-m", "livejam.cli.main", "export", "--checkpoint", "liveband-pocket", "--out", str(folder / "model")]]
    commands += [["hosts/web/assemble.py", "--model", str(folder / "model"), "--out", str(folder / "page")]]
    commands[0] += ["--parity-steps", "50"]  # other tests compare for longer
    commands[1] += ["--songs", str(rendered_songs)]
    commands[1] += runtime_options()
    for command in commands:
        done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True)
        if "npm" in done.stderr:
            pytest.skip(f"onnxruntime-web cannot be had here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
    return folder / "page"


@contextmanager
def served(page: Path) -> Iterator[str]:
    """The page's address, on a server that knows nothing but files."""
    command = [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(page)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    try:
        found = re.search(r"port (\d+)", process.stdout.readline())
        assert found is not None
        yield f"http://127.0.0.1:{found[1]}/"
    finally:
        process.terminate()
        process.wait()


def complaints(page: Page) -> list[str]:
    """What the page complains about, but for Chromium's note that there is no graphics processor."""
    return [words for words in page.complaints if not words.startswith("No available adapters")]


PARITY = """(async () => {
    const [{ openRuntime, readModel }, { readTensors }, { Steps }, ort] = await Promise.all(
        ["./model.js", "./safetensors.js", "./steps.js", "./runtime/ort.wasm.min.mjs"].map((name) => import(name)));
    ort.env.wasm.wasmPaths = new URL("runtime/", location).href;
    ort.env.wasm.numThreads = 1;
    const read = async (path) => (await fetch(path)).arrayBuffer();
    const model = await readModel((name) => read("model/" + name));
    const { mix, accompaniment } = readTensors(await read("minute.safetensors"), "minute.safetensors");
    const runtime = await openRuntime(ort, model, ["wasm"]);
    const steps = new Steps(model, runtime, [{ index: %d, seed: %d }]);
    const size = model.signature.block_samples;
    let worst = 0;
    const times = [];
    for (let k = 0; k < mix.data.length / size; k++) {
        const began = performance.now();
        const [sound] = await steps.step(k, mix.data.slice(k * size, (k + 1) * size));
        times.push(performance.now() - began);
        sound.forEach((sample, i) => (worst = Math.max(worst, Math.abs(sample - accompaniment.data[k * size + i]))));
    }
    times.sort((a, b) => a - b);
    return { worst, speed: 1000 * size / model.signature.sample_rate_hz / times[times.length >> 1] };
})()"""


def test_a_minute_sounds_as_in_pytorch(
    assembled: Path, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    model = step_model(load_player(find_model(Path("liveband-pocket"))))
    mix_BAN = example_mix(model, STEPS)
    reference = Reference(model.player, 14, SEED)
    with torch.no_grad():
        blocks = [reference.step(block_BAN)["accompaniment"] for block_BAN in mix_BAN.split(model.block_samples, -1)]
    sounds = {"mix": mix_BAN, "accompaniment": torch.cat(blocks, dim=-1)}
    page_files = tmp_path / "page"
    shutil.copytree(assembled, page_files)
    save_file({name: sound.numpy() for name, sound in sounds.items()}, page_files / "minute.safetensors")
    with served(page_files) as url, browser(tmp_path / "profile") as new_page:
        page = new_page()
        page.open(f"{url}manifest.webmanifest")
        found = page.run(PARITY % (14, SEED))
    record_property("facts", found)
    assert found["worst"] <= 1e-4
    assert float(sounds["accompaniment"].abs().max()) > 0.05


KEPT = """(async () => {
    const [name] = await caches.keys();
    return (await (await caches.open(name)).keys()).map(({ url }) => url);
})()"""


def test_it_is_installed_and_plays_on_without_a_network(assembled: Path, tmp_path: Path) -> None:
    with browser(tmp_path / "profile") as new_page:
        page = new_page()
        with served(assembled) as url:
            ready(page, url)
            page.run("navigator.serviceWorker.ready.then(() => true)")
            assert page.call("Page.getInstallabilityErrors")["installabilityErrors"] == []
            # what only graphics processors need is neither used nor kept here
            assert "It runs in this browser;" in page.text("footer")
            kept = page.run(KEPT)
            assert any(url.endswith("ort-wasm-simd-threaded.wasm") for url in kept)
            assert not any("webgpu" in url or "asyncify" in url for url in kept)
        ready(page, url)
        start(page)
        page.until("Number(document.querySelector('#musicians').textContent.split(' ')[0]) > 0")
        page.click("#record")
        time.sleep(4)
        page.click("#record")
        page.until("document.querySelectorAll('#files a').length")
        script = """(async () => [...new Int16Array((await (await fetch(
            document.querySelectorAll('#files a')[2].href)).arrayBuffer()).slice(44))])()"""
        assert page.text("#files li:nth-child(3) a") == "Save 1-drums.wav"
        assert np.abs(page.run(script)).max() > 300


def test_the_microphone_is_accompanied_without_a_gap(
    assembled: Path, tmp_path: Path, record_property: Callable[[str, Any], None]
) -> None:
    """Five minutes, in real time: needs a machine that has nothing else to do."""
    rng = np.random.default_rng(1)
    time_N = np.arange(20 * 44_100) / 44_100
    played_N = 0.5 * rng.standard_normal(len(time_N)) * np.exp(-20 * (2 * time_N % 1))
    soundfile.write(tmp_path / "played.wav", np.clip(played_N, -1, 1), 44_100, subtype="PCM_16")
    options = [*MICROPHONE, f"--use-file-for-fake-audio-capture={tmp_path / 'played.wav'}"]
    with served(assembled) as url, browser(tmp_path / "profile", options) as new_page:
        page = ready(new_page(), url)
        page.click("[value=microphone]")
        start(page)
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            time.sleep(min(5, SECONDS))
            assert page.run("document.body.dataset.state") == "playing", page.text("#status")
        facts = {
            name: page.text(f"#{name}") for name in ("late", "buffer", "gaps", "gaps-words", "answer", "musicians")
        }
        facts["level"] = page.run("document.querySelector('#level').value")
        record_property("facts", facts)
        assert number(page, "#gaps") == 0, facts
        assert complaints(page) == []


def test_it_fits_every_window(assembled: Path, tmp_path: Path) -> None:
    kept = Path(os.environ.get("LIVEJAM_PICTURES", tmp_path))
    with served(assembled) as url, browser(tmp_path / "profile") as new_page:
        page = ready(new_page(), url)
        start(page)
        time.sleep(6)
        for name, look in LOOKS.items():
            page.look(*look)
            time.sleep(0.5)
            page.picture(kept / f"host_{name}.png", whole=False)
            assert page.run("document.documentElement.scrollWidth <= innerWidth"), f"{name} scrolls sideways"
        assert complaints(page) == []


def test_a_model_of_another_format_is_refused(assembled: Path, tmp_path: Path) -> None:
    page_files = tmp_path / "page"
    shutil.copytree(assembled, page_files)
    signature = page_files / "model/signature.json"
    facts = json.loads(signature.read_text())
    with served(page_files) as url, browser(tmp_path / "profile") as new_page:
        signature.write_text(json.dumps({**facts, "format": 2}))
        page = new_page()
        page.open(url)
        page.until("document.querySelector('#status.problem')")
        assert page.text("#status") == "The model has format 2, but this page plays format 1. Export it again."
        assert page.run("document.querySelector('#start').disabled")
    signature.write_text(json.dumps(facts))
    (page_files / "model/decoder.onnx").unlink()
    with served(page_files) as url, browser(tmp_path / "other") as new_page:
        page = new_page()
        page.open(url)
        page.until("document.querySelector('#status.problem')")
        assert page.text("#status").startswith("The model's file decoder.onnx is missing.")


def test_without_permission_the_microphone_is_explained(assembled: Path, tmp_path: Path) -> None:
    options = ["--use-fake-device-for-media-stream", "--deny-permission-prompts"]
    with served(assembled) as url, browser(tmp_path / "profile", options) as new_page:
        page = ready(new_page(), url)
        page.click("[value=microphone]")
        page.click("#start")
        page.until("document.querySelector('#status.problem')")
        assert page.text("#status").startswith("The browser does not let this page use the microphone.")
