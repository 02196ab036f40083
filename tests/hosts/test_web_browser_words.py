"""Words on the page without a server in a real browser: what it plays to them is what a session plays."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from chromium import browser, installed
from commands import REPOSITORY
from jam_page import ready, start
from safetensors.numpy import save_file
from small_band import lmdm_checkpoint
from test_web_browser import complaints, runtime_options, served

import livejam
from livejam.export.directory import export
from livejam.streaming import Session

pytestmark = [pytest.mark.export, pytest.mark.skipif(installed() is None, reason="chromium is not installed")]

RATE, BLOCKS = 22050, 40


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small untrained LMDM that takes words and is guided by them."""
    return lmdm_checkpoint(tmp_path_factory.mktemp("model") / "words.ckpt")


@pytest.fixture(scope="module")
def assembled(checkpoint: Path, rendered_songs: Path) -> Path:
    """The page with it."""
    folder = checkpoint.parent
    export(checkpoint, folder / "exported")
    command = ["hosts/web/assemble.py", "--model", str(folder / "exported"), "--out", str(folder / "page")]
    command += ["--songs", str(rendered_songs), *runtime_options()]
    done = subprocess.run([sys.executable, *command], cwd=REPOSITORY, capture_output=True, text=True)
    if "npm" in done.stderr:
        pytest.skip(f"onnxruntime-web cannot be had here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    return folder / "page"


PLAY = """(async () => {
    const [{ openRuntime, readModel }, { readTensors }, { Session }, ort] = await Promise.all(
        ["./model.js", "./safetensors.js", "./session.js", "./runtime/ort.wasm.min.mjs"].map((name) => import(name)));
    ort.env.wasm.wasmPaths = new URL("runtime/", location).href;
    ort.env.wasm.numThreads = 1;
    const read = async (path) => (await fetch(path)).arrayBuffer();
    const model = await readModel((name) => read("model/" + name));
    const { mix, wanted } = readTensors(await read("played.safetensors"), "played.safetensors");
    const index = (name) => model.signature.instruments.find((known) => known.name === name).index;
    const rows = ["Percussive", "Bass"].map((name, row) => ({ index: index(name), seed: 3 + row }));
    const session = new Session(model, await openRuntime(ort, model, ["wasm"]), rows, 22050);
    const size = model.signature.block_samples, samples = wanted.shape[1];
    let worst = 0, loudest = 0, compared = 0;
    for (let block = 0; block < mix.data.length / size; block++) {
        if (block === 5) session.setNegativePrompt(1, "loud piano");
        if (block === 10) session.setPrompt(0, "jazz piano:3, bass:1", 1.0);
        if (block === 15) session.setPrompt(null, "calm strings", 0);
        if (block === 25) session.setNegativePrompt(null, null);
        session.push(mix.data.slice(block * size, (block + 1) * size));
        for (let played; (played = await session.next()); ) {
            played.rows.forEach((sound, row) => sound.forEach((sample, i) => {
                const place = played.position + i;
                if (place < 0 || place >= samples) return;
                worst = Math.max(worst, Math.abs(sample - wanted.data[row * samples + place]));
                loudest = Math.max(loudest, Math.abs(sample));
                compared++;
            }));
        }
    }
    return { worst, loudest, compared };
})()"""


def test_words_as_a_session_plays_them(assembled: Path, checkpoint: Path, tmp_path: Path) -> None:
    player = livejam.load(checkpoint)
    session = Session(player, instruments=["Percussive", "Bass"], seeds=[3, 4])
    block = session.timing.block_samples
    mix_N = (0.1 * np.random.default_rng(0).standard_normal(BLOCKS * block)).astype(np.float32)
    known: list[torch.Tensor] = [session.advance(torch.zeros(1, 0))]
    for number in range(BLOCKS):
        if number == 5:
            session.set_negative_prompt("loud piano", 1)
        if number == 10:
            session.set_prompt("jazz piano:3, bass:1", 0, fade_seconds=1.0)
        if number == 15:
            session.set_prompt("calm strings")
        if number == 25:
            session.set_negative_prompt(None)
        known.append(session.advance(torch.from_numpy(mix_N[None, number * block : (number + 1) * block])))
    wanted_BN = torch.cat(known, dim=-1)[:, 0].numpy()
    page_files = tmp_path / "page"
    shutil.copytree(assembled, page_files)
    save_file({"mix": mix_N, "wanted": np.ascontiguousarray(wanted_BN)}, page_files / "played.safetensors")
    with served(page_files) as url, browser(tmp_path / "profile") as new_page:
        page = new_page()
        page.open(f"{url}manifest.webmanifest")
        found = page.run(PLAY)
    assert found["compared"] > 1.5 * BLOCKS * block
    assert found["worst"] <= 2e-4 * max(1.0, found["loudest"])
    assert found["loudest"] > 0.01


def test_the_page_asks_and_leads_away(assembled: Path, tmp_path: Path) -> None:
    with served(assembled) as url, browser(tmp_path / "profile") as new_page:
        page = ready(new_page(), url)
        start(page)
        assert page.run("!document.querySelector('#words').hidden && !document.querySelector('#away').hidden")
        assert page.run("document.querySelector('#guidance').hidden"), "its weights are part of the graphs"

        def submit(field: str, words: str) -> str:
            page.run(f"document.querySelector('#{field}-text').value = {words!r}")
            page.click(f"#{field}-ask")
            time.sleep(1)
            return page.text("#status")

        for field in ("words", "away"):
            assert "does not know" not in submit(field, "jazz piano:0.7, strings:0.3")
        assert "does not know the prompt 'zither'" in submit("away", "zither")
        assert page.run("document.body.dataset.state") == "playing"
        submit("away", "")
        page.until("Number(document.querySelector('#musicians').textContent.split(' ')[0]) > 0")
        assert complaints(page) == []
