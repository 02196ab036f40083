"""The scripts of the page without a server, run by Node.js: noise, steps, rates and positions.

Shapes: B rows, T frames, C channels, N audio samples.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import REPOSITORY
from page_scripts import runner
from safetensors.numpy import save_file

from livejam.noise import seeded_noise

SCRIPTS = REPOSITORY / "hosts/web"


@pytest.fixture
def script(tmp_path: Path, node: str) -> Any:
    """Run a script that can import the page's: what it prints as JSON."""
    play = runner(SCRIPTS, tmp_path, node)

    def run(text: str, given: Any = None) -> Any:
        return play(f"const given = {json.dumps(given)};\n{text}")

    return run


@pytest.mark.parametrize("path", sorted(SCRIPTS.glob("*.js")), ids=lambda path: path.name)
def test_every_script_parses(path: Path, node: str) -> None:
    command = [node, "--check", "--input-type=module", "-"]
    done = subprocess.run(command, input=path.read_text(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


NOISE = """
import { Noise } from "./noise.js";
console.log(JSON.stringify(given.map(({ seed, step, ...facts }) => [...new Noise(BigInt(seed), facts).step(step)])));
"""


def test_noise_is_pytorchs(script: Any) -> None:
    """Odd channels, several draws, positions below 0, and seeds and steps beyond 32 and 53 bits."""
    rng = np.random.default_rng(3)
    cases = [
        {"seed": 0, "step": 0, "channels": 1, "frames": 1, "draws": 1, "first_position": 0},
        {"seed": 2**63 - 1, "step": 2**31 + 5, "channels": 33, "frames": 3, "draws": 2, "first_position": -4},
    ]
    for seed in rng.integers(0, 2**63, 40):
        sizes = {name: int(rng.integers(1, most)) for name, most in (("channels", 70), ("frames", 5), ("draws", 4))}
        cases.append({"seed": int(seed), "step": int(rng.integers(2**20)), "first_position": 0, **sizes})
    for case in cases:
        case |= {"positions_per_step": case["frames"], "draw_stride": 1 << 40}
    found = script(NOISE, [{**case, "seed": str(case["seed"])} for case in cases])
    for case, numbers in zip(cases, found, strict=True):
        first = case["first_position"] + case["step"] * case["positions_per_step"]
        position_BT = first + torch.arange(case["frames"]) + (1 << 40) * torch.arange(case["draws"])[:, None]
        seed_B = torch.full((case["draws"],), case["seed"])
        wanted_BTC = seeded_noise(seed_B, position_BT, case["channels"])
        np.testing.assert_allclose(np.array(numbers, dtype=np.float32), wanted_BTC.flatten().numpy(), atol=4e-6)


TOY = """
import { Session } from "./session.js";
import { sharedGraphs } from "./steps.js";

// A model whose accompaniment is the mix of the last block times the instrument's number; its generator counts steps.
const dtype = (name) => (name === "instrument" ? "int32" : "float32");
const tensor = (name, shape, feeds = "") => ({ name, dtype: dtype(name), shape, feeds });
const size = given.block;
const signature = {
  sample_rate_hz: 22050, audio_channels: 1, block_samples: size, first_output_sample: given.first,
  noise: { algorithm: "splitmix64-box-muller", draws: 1, frames: 1, channels: 2, first_position: 0,
    positions_per_step: 1, draw_stride: 0 },
  graphs: [
    { name: "encoder", inputs: [tensor("mix", [1, 1, size]), tensor("past", [1, 1, size])],
      outputs: [tensor("latents", [1, 1, size], "latents"), tensor("next_past", [1, 1, size], "past")] },
    { name: "generator", inputs: [tensor("latents", [1, 1, size]), tensor("instrument", [1]), tensor("count", [1])],
      outputs: [tensor("chosen", [1, 1, size], "chosen"), tensor("next_count", [1], "count")] },
    { name: "decoder", inputs: [tensor("chosen", [1, 1, size])], outputs: [tensor("accompaniment", [1, 1, size])] },
  ],
};
const zeros = (length) => ({ dtype: "float32", shape: [length], data: new Float32Array(length) });
const model = { signature, states: { past: zeros(size), count: zeros(1) } };
const runs = { encoder: 0, generator: 0, decoder: 0 };
let counts = [];
const graphs = {
  encoder: ({ mix, past }) => ({ latents: past, next_past: mix }),
  generator: ({ latents, instrument, count }) => (counts.push(count.data[0]), {
    chosen: { data: latents.data.map((sample) => sample * instrument.data[0]) },
    next_count: { data: Float32Array.of(count.data[0] + 1) },
  }),
  decoder: ({ chosen }) => ({ accompaniment: chosen }),
};
const runtime = {
  tensor: (facts) => facts,
  run: async (graph, inputs) => (runs[graph]++, graphs[graph](inputs)),
};
const session = new Session(model, runtime, given.rows.map((index, seed) => ({ index, seed })), given.rate);
const sound = (i) => Math.sin((2 * Math.PI * 440 * i) / given.rate);
const out = given.rows.map(() => new Array(given.samples).fill(null));
const facts = {};
async function play(samples) {
  session.push(samples);
  for (let played; (played = await session.next()); ) {
    played.rows.forEach((row, place) => row.forEach((sample, i) => (out[place][played.position + i] = sample)));
  }
}
async function playAll() {
  for (let at = 0; at < given.samples; at += given.piece) {
    await play(Float32Array.from({ length: given.piece }, (_, i) => sound(at + i)));
  }
}
"""

GIVEN = {"block": 512, "first": 700, "rows": [2, 3], "rate": 22050, "samples": 40 * 512, "piece": 128}


@pytest.mark.parametrize("rate", [22050, 44100, 48000])
def test_answers_sound_where_they_are_due(script: Any, rate: int) -> None:
    """The toy repeats what it heard a block ago, so its sound is the mix, 512 + 700 samples late, at every rate."""
    given = {**GIVEN, "rate": rate}
    found = script(TOY + "await playAll(); console.log(JSON.stringify(out));", given)
    late = (512 + 700) * rate / 22050
    for index, row in zip(GIVEN["rows"], found, strict=True):  # type: ignore[arg-type]
        known = np.array([place for place, sample in enumerate(row) if sample is not None])
        assert np.array_equal(known, np.arange(known[0], known[-1] + 1))
        sounding = known[known > late + 200]
        assert len(sounding) > 5000
        played_N = np.array([row[place] for place in sounding])
        np.testing.assert_allclose(played_N, index * np.sin(2 * np.pi * 440 * (sounding - late) / rate), atol=2e-3)


def test_a_control_that_nobody_uses_keeps_its_value(script: Any) -> None:
    """States that no output feeds are controls; those in the file ask for nothing, for every row and after an undo."""
    control = """
signature.graphs[1].inputs.push(tensor("control", [1]));
model.states.control = { dtype: "float32", shape: [1], data: Float32Array.of(7) };
const seen = [];
const generate = graphs.generator;
graphs.generator = (inputs) => (seen.push(inputs.control.data[0]), generate(inputs));
session.steps.restart();
await playAll();
session.undo(0.1);
await playAll();
console.log(JSON.stringify(seen));
"""
    assert set(script(TOY + control, GIVEN)) == {7}


def test_what_instruments_share_runs_once(script: Any) -> None:
    text = """
await playAll();
const shared = [...sharedGraphs(signature, model.states)];
console.log(JSON.stringify({ shared, runs, counts }));
"""
    found = script(TOY + text, GIVEN)
    assert found["shared"] == ["encoder"]
    assert found["runs"] == {"encoder": 40, "generator": 80, "decoder": 80}
    assert found["counts"] == [step for step in range(40) for _ in range(2)]


def test_an_instrument_begins_with_its_own_state(script: Any) -> None:
    begun = 'model.states["count@3"] = { dtype: "float32", shape: [1], data: Float32Array.of(100) };'
    text = TOY.replace("const runs =", f"{begun}\nconst runs =")
    found = script(text + "await playAll(); console.log(JSON.stringify(counts.slice(0, 6)));", GIVEN)
    assert found == [0, 100, 1, 101, 2, 102]


def test_undo_levels_instruments_and_what_is_no_number(script: Any) -> None:
    text = """
await playAll();
facts.undone = session.undo(10 * 512 / 22050);
counts = [];
session.setLevel(0, { silent: true });
session.setInstrument(1, 7);
await play(new Float32Array(512).fill(NaN));
facts.counts = [...counts];
facts.absurd = session.absurd;
await play(new Float32Array(1024).fill(0.5));
facts.last = out.map((row) => row.at(-1));
session.push(new Float32Array(512 * 100));
facts.skipped = session.skip();
facts.position = (await session.next()).position;
console.log(JSON.stringify(facts));
"""
    found = script(TOY + text, GIVEN)
    assert found["undone"] == pytest.approx(10 * 512 / 22050)
    assert found["counts"] == [30, 30]
    assert found["absurd"] is True
    assert found["last"] == [0, 3.5]
    waiting = (22050 + 512) // 512
    assert found["skipped"] == 100 - waiting
    assert found["position"] == 700 + 512 * (43 + found["skipped"])


WRONG = {
    '{"block_samples": 1024}': "the input mix is of another shape",
    '{"block_samples": 0}': "block_samples",
    '{"sample_rate_hz": "22050"}': "sample_rate_hz",
    '{"noise": {"algorithm": "splitmix64-box-muller", "draws": 1}}': "noise: frames",
    '{"instruments": []}': "instruments",
    '{"graphs": null}': "graphs",
}


def test_a_model_that_cannot_be_played_is_one_sentence(script: Any, tmp_path: Path) -> None:
    text = """
import { existsSync, readFileSync } from "node:fs";
import { readModel } from "./model.js";
const read = async (name) => {
  if (!existsSync(`model/${name}`)) return null;
  const file = readFileSync(`model/${name}`);
  return file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);
};
console.log(JSON.stringify(await readModel(read).then(() => "", (error) => error.message)));
"""
    folder = tmp_path / "model"
    folder.mkdir()
    assert script(text).startswith("The model's file signature.json is missing.")
    (folder / "signature.json").write_text("{")
    assert script(text) == "signature.json is damaged. Export the model again."
    (folder / "signature.json").write_text('{"format": 2}')
    assert script(text) == "The model has format 2, but this page plays format 1. Export it again."
    noise = {"algorithm": "splitmix64-box-muller", "draws": 1, "frames": 2, "channels": 4}
    inputs = [{"name": "mix", "shape": [1, 1, 512]}, {"name": "past", "shape": [3]}]
    graph = {"name": "g", "file": "g.onnx", "sha256": "0", "inputs": inputs, "outputs": []}
    facts = {"format": 1, "noise": noise, "graphs": [graph], "instruments": [{"name": "Any", "index": 0}]}
    facts |= {"sample_rate_hz": 22050, "audio_channels": 1, "block_samples": 512}
    for change, wrong in WRONG.items():
        (folder / "signature.json").write_text(json.dumps(facts | json.loads(change)))
        assert script(text) == f"signature.json is damaged ({wrong}). Export the model again."
    (folder / "signature.json").write_text(json.dumps(facts))
    assert script(text).startswith("The model's file state0.safetensors is missing.")
    (folder / "state0.safetensors").write_bytes(b"\xff" * 20)
    assert script(text) == "state0.safetensors is damaged. Export the model again."
    save_file({"other": np.zeros(3, dtype=np.float32)}, folder / "state0.safetensors")
    assert script(text) == "The state past is missing in state0.safetensors. Export the model again."
    save_file({"past": np.zeros(4, dtype=np.float32)}, folder / "state0.safetensors")
    assert script(text) == "The state past in state0.safetensors is of another shape. Export the model again."
    save_file({"past": np.zeros(3, dtype=np.float32)}, folder / "state0.safetensors")
    assert script(text).startswith("The model's file g.onnx is missing.")
    (folder / "g.onnx").write_bytes(b"other")
    assert script(text).startswith("g.onnx is not the file that the model was exported with.")
