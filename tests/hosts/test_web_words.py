"""Words on the page without a server: the prompts are those of `livejam-player`, block by block and row by row.

Shapes: S stored prompts, W words, P prompt tokens, D channels of an embedding.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import REPOSITORY
from page_scripts import runner
from safetensors.numpy import save_file

HOST = REPOSITORY / "hosts/python"
sys.path.insert(0, str(HOST))

from livejam_player.model import ModelError  # noqa: E402
from livejam_player.words import Change, Timeline, Vocabulary  # noqa: E402

SCRIPTS = REPOSITORY / "hosts/web"
FACTS = {
    "tokens": 3, "channels": 2, "texts": ["Bass", "Percussive", "jazz, Piano"], "negative": True,
    "words": ["piano", "bass", "warm", "é", "strings"],
}  # fmt: skip


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    texts_SPD, words_WD = rng.standard_normal((3, 3, 2)), rng.standard_normal((5, 2))
    mask_SP = np.array([[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    held = {"texts": texts_SPD, "texts_mask": mask_SP, "words": words_WD}
    return {name: tensor.astype(np.float32) for name, tensor in held.items()}


@pytest.fixture
def script(tmp_path: Path, node: str, tensors: dict[str, np.ndarray]) -> Any:
    """Run a script that knows the vocabulary, and what was given: what it prints as JSON."""
    play = runner(SCRIPTS, tmp_path, node)
    save_file(tensors, tmp_path / "prompts.safetensors")

    def run(text: str, given: Any) -> Any:
        begin = f"""
import {{ readFileSync }} from "node:fs";
import {{ readTensors }} from "./safetensors.js";
import {{ Changes, Vocabulary }} from "./vocabulary.js";
const given = {json.dumps(given)};
const file = readFileSync("prompts.safetensors");
const bytes = file.buffer.slice(file.byteOffset, file.byteOffset + file.byteLength);
const vocabulary = new Vocabulary({json.dumps(FACTS)}, readTensors(bytes, "prompts.safetensors"));
const listed = ({{ embedding, mask }}) => [[...embedding], [...mask]];
"""
        return play(begin + text)

    return run


TEXTS = [
    "bass", "BASS ", "Jazz, piano", "jazz piano", "warm piano, warm strings", "piano:3, bass:1", "É:0.5, warm bass:2e0",
    "piano:0, bass:0", "piano:1, bass", "piano:1, piano:2", "piano:11, bass:1", "piano:-1, bass:1", "piano:x", "zither",
    "piano:.5", "a:1, b:1", "", " ", "piano bass warm strings", ",".join(f"{word}:1" for word in "abcdefghi"),
    "percussive:1, strings:1", "piano:+1, strings:0", "piano:1.2.3, bass:1",
]  # fmt: skip


def test_prompts_are_those_of_the_player(script: Any, tensors: dict[str, np.ndarray]) -> None:
    """What the player makes of a text, or a refusal where it refuses."""
    found = script(
        """console.log(JSON.stringify(given.map((text) => {
            try { return listed(vocabulary.prompt(text)); } catch ({ message }) { return message; }
        })));""",
        TEXTS,
    )
    vocabulary, refused = Vocabulary({"prompts": FACTS}, tensors), 0
    for text, made in zip(TEXTS, found, strict=True):
        try:
            wanted = vocabulary.prompt(text)
        except ModelError:
            assert isinstance(made, str), text
            assert made.endswith((".", "…"))
            refused += 1
            continue
        assert not isinstance(made, str), (text, made)
        np.testing.assert_allclose(made[0], wanted.embedding_PD.ravel(), atol=1e-6, err_msg=text)
        np.testing.assert_array_equal(made[1], wanted.mask_P)
    assert 10 <= refused < len(TEXTS) - 8


def test_changes_fade_like_a_timeline(script: Any, tensors: dict[str, np.ndarray]) -> None:
    """Changes at random blocks, of which some begin before others are over, in blocks of 3 frames."""
    rng, vocabulary = np.random.default_rng(1), Vocabulary({"prompts": FACTS}, tensors)
    known, frames = ["bass", "piano", "warm strings", "percussive", "piano:1, bass:3"], 3
    for _ in range(20):
        places = sorted(rng.integers(0, 20, 5).tolist())
        asked = [[str(rng.choice(known)), block, int(rng.integers(0, 25))] for block in places]
        found = script(
            """const changes = new Changes(), left = [...given.asked], out = [];
            for (let block = 0; block < 30; block++) {
              while (left.length && left[0][1] === block) {
                const [text, at, fade] = left.shift();
                changes.ask(vocabulary.prompt(text), at, fade / given.frames);
              }
              const prompt = changes.at(block, () => vocabulary.prompt("percussive"));
              out.push(prompt && listed(prompt));
            }
            console.log(JSON.stringify(out));""",
            {"asked": asked, "frames": frames},
        )
        line = Timeline([Change(block * frames, fade, vocabulary.prompt(text)) for text, block, fade in asked])
        for block, made in enumerate(found):
            if block < places[0]:
                assert made is None, "nothing was asked yet"
                continue
            wanted = line.at(block * frames, frames, vocabulary.prompt("percussive"))
            np.testing.assert_allclose(made[0], wanted.embedding_PD.ravel(), atol=1e-6)
            np.testing.assert_array_equal(made[1], wanted.mask_P)


SESSION = """
import { Session } from "./session.js";
const dtype = (name) => (name === "instrument" ? "int32" : "float32");
const tensor = (name, shape) => ({ name, dtype: dtype(name), shape, feeds: "" });
const asked = (name) => [tensor(name, [1, 3, 2]), tensor(`${name}_mask`, [1, 3])];
const prompts = [...asked("prompt"), ...asked("negative_prompt")];
const inputs = [tensor("mix", [1, 1, 4]), tensor("instrument", [1]), tensor("noise", [1, 1, 2]), ...prompts];
const signature = {
  sample_rate_hz: 22050, audio_channels: 1, block_samples: 4, block_frames: 3, first_output_sample: 0,
  instruments: [{ name: "Bass", index: 7 }, { name: "Percussive", index: 9 }],
  noise: { draws: 1, frames: 1, channels: 2, first_position: 0, positions_per_step: 1, draw_stride: 0 },
  graphs: [{ name: "all", inputs, outputs: [tensor("accompaniment", [1, 1, 4])] }],
};
const states = Object.fromEntries(prompts.map(({ name, shape }) => {
  return [name, { dtype: "float32", shape, data: new Float32Array(shape.reduce((one, other) => one * other)) }];
}));
const seen = [];
const runtime = {
  tensor: (facts) => facts,
  run: async (_, given) => (seen.push([given.prompt.data, given.negative_prompt.data].map((data) => [...data])),
    { accompaniment: { data: new Float32Array(4) } }),
};
const rows = [{ index: 7, seed: 0 }, { index: 9, seed: 1 }];
const session = new Session({ signature, states, words: vocabulary }, runtime, rows, 22050);
const block = async () => (session.push(new Float32Array(4)), await session.next());
const refused = (call) => { try { call(); return null; } catch ({ message }) { return message; } };
"""


def test_every_row_is_asked_for_its_own(script: Any, tensors: dict[str, np.ndarray]) -> None:
    text = """
await block();
session.setPrompt(1, "piano");
session.setNegativePrompt(null, "bass");
await block();
session.setNegativePrompt(0, null);
session.setPrompt(0, "piano", 6 * 4 / 3 / 22050);
await block();
session.undo(1);
await block();
const sentences = [
  refused(() => session.setPrompt(0, "zither")), refused(() => session.setNegativePrompt(0, "zither")),
  (vocabulary.negative = false, refused(() => session.setNegativePrompt(0, "bass"))),
  (session.words = null, refused(() => session.setPrompt(0, "bass"))),
];
session.words = vocabulary;
await block();
console.log(JSON.stringify({ seen, sentences }));
"""
    found, vocabulary = script(SESSION + text, None), Vocabulary({"prompts": FACTS}, tensors)
    bass, piano, nothing = vocabulary.prompt("bass"), vocabulary.prompt("piano"), vocabulary.nothing
    fading = bass.faded(piano, 0.5)
    wanted = [
        (nothing, nothing), (nothing, nothing), (nothing, bass), (piano, bass), (fading, nothing), (piano, bass),
        (piano, nothing), (piano, bass), (piano, nothing), (piano, bass),
    ]  # fmt: skip
    for made, (prompt, avoided) in zip(found["seen"], wanted, strict=True):
        np.testing.assert_allclose(made[0], prompt.embedding_PD.ravel(), atol=1e-6)
        np.testing.assert_allclose(made[1], avoided.embedding_PD.ravel(), atol=1e-6)
    ends = ["does not know the prompt 'zither'", "does not know", "without guidance of the prompt", "takes no words"]
    for sentence, end in zip(found["sentences"], ends, strict=True):
        assert end in sentence


def test_prompts_that_do_not_fit_are_refused(script: Any) -> None:
    text = """
const wrong = [{ tokens: 4 }, { channels: 3 }, { texts: ["a"] }, { words: ["a"] }].map((change) => {
  try { new Vocabulary({ ...given, ...change }, readTensors(bytes, "")); return "taken"; } catch { return "refused"; }
});
console.log(JSON.stringify(wrong));
"""
    assert set(script(text, FACTS)) == {"refused"}
