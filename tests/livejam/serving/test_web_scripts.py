"""The page's scripts, run by Node.js: the buffer is `Playout`'s, and everything sounds in its place.

Shapes: B rows, N audio samples.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from commands import REPOSITORY
from page_scripts import runner

from benchmarks.musicians import MOST, block_ends
from livejam.serving.anticipating import Anticipating
from livejam.serving.playout import Playout
from livejam.serving.web_frames import Heard, Played, read_heard, write_played
from livejam.streaming.rings import Audio

PAGE = REPOSITORY / "livejam/serving/web"
RATE, QUANTUM, BLOCK = 44_100, 128, 4096


@pytest.fixture
def script(tmp_path: Path, node: str) -> Any:
    """Run a script that can import the page's: what it prints as JSON."""
    play = runner(PAGE, tmp_path, node)

    def run(text: str, given: Any = None) -> Any:
        (tmp_path / "given.json").write_text(json.dumps(given))
        return play(text)

    return run


READ_GIVEN = (
    'import { readFileSync, writeFileSync } from "node:fs"; const given = JSON.parse(readFileSync("given.json"));'
)

PLAYOUT = (
    READ_GIVEN
    + """
import { Playout } from "./playout.js";
const playout = new Playout(2, given.rate, 0, 0);
const out = [0, 1].map(() => new Float32Array(given.quanta * 128)), delays = [];
const wave = (row, k) => Math.fround(Math.sin(0.01 * (row + 1) * k));
let next = 0;
for (let q = 0; q < given.quanta; q++) {
  while (next < given.puts.length && given.puts[next].quantum <= q) {
    const { position, samples } = given.puts[next++];
    const row = (number) => Float32Array.from({ length: samples }, (_, i) => wave(number, position + i));
    playout.put(position, [row(0), row(1)]);
  }
  const views = out.map((row) => row.subarray(128 * q, 128 * q + 128));
  playout.read(new Float32Array(128), views);
  delays.push(playout.delay);
}
writeFileSync("out.bin", Buffer.concat(out.map((row) => Buffer.from(row.buffer))));
console.log(JSON.stringify({ delays, gaps: playout.gaps, missed: playout.missed, moves: playout.moves,
  tooLate: playout.tooLate }));
"""
)


def arrivals(rng: np.random.Generator, quanta: int) -> list[dict[str, int]]:
    """Answers of a line that is steady, then slow for a while, loses some, and is steady again."""
    puts = []
    for number in range(quanta * QUANTUM // BLOCK):
        position = number * BLOCK
        worse = 6000 if 40 < number < 60 else 0
        late = int(rng.integers(0, 800) + rng.integers(0, worse + 1))
        if number not in (25, 26, 90):
            puts.append({"quantum": max(0, position - 1500 + late) // QUANTUM, "position": position, "samples": BLOCK})
    return sorted(puts, key=lambda put: put["quantum"])


def test_the_buffer_is_that_of_python(script: Any, tmp_path: Path) -> None:
    quanta = 30 * RATE // QUANTUM
    puts = arrivals(np.random.default_rng(1), quanta)
    facts = script(PLAYOUT, {"rate": RATE, "quanta": quanta, "puts": puts})
    theirs_BN = np.fromfile(tmp_path / "out.bin", np.float32).reshape(2, -1)

    playout, ours, delays, queue = Playout(2, RATE), [], [], list(puts)
    for quantum in range(quanta):
        while queue and queue[0]["quantum"] <= quantum:
            position = queue.pop(0)["position"]
            at_N = np.arange(position, position + BLOCK)
            playout.put(position, np.sin(0.01 * np.array([[1.0], [2.0]]) * at_N).astype(np.float32))
        ours.append(playout.read(QUANTUM))
        delays.append(playout.delay_samples)
    assert max(delays) > 0.05 * RATE
    assert min(delays[-1000:]) < max(delays) / 2, "the delay rises and falls"
    assert facts["delays"] == delays
    assert facts["gaps"] == playout.gaps >= 2
    assert (facts["missed"], facts["moves"]) == (playout.missing_samples, playout.moves)
    assert facts["tooLate"] == playout.too_late
    # fades that overlap are added in another order
    difference_BN = np.abs(theirs_BN - np.concatenate(ours, axis=1))
    assert difference_BN.max() < 0.02
    assert (difference_BN > 1e-5).mean() < 0.005


ANTICIPATING = (
    READ_GIVEN
    + """
import { Anticipating } from "./anticipating.js";
const { begun, heard } = given;
const chosen = new Anticipating(...begun);
console.log(JSON.stringify(heard.map(([slack, now]) => [chosen.change(slack ?? Infinity, now), chosen.frames])));
"""
)


def test_the_anticipation_is_that_of_python(script: Any) -> None:
    rng = np.random.default_rng(2)
    begun = [1, 1, 11, 0.0929]
    heard = [(round(float(rng.normal(0.05, 0.3)), 6) if rng.random() < 0.9 else None, now / 2) for now in range(400)]
    chosen = Anticipating(*begun)
    ours = [[chosen.change(math.nan if slack is None else slack, now), chosen.frames] for slack, now in heard]
    assert script(ANTICIPATING, {"begun": begun, "heard": heard}) == ours
    assert len({frames for _, frames in ours}) > 5


JAM = (
    READ_GIVEN
    + """
import { Jam } from "./jam.js";
const coded = (position) => position / 2 ** 22;
const { rate, room, ahead, least, lead, first, step } = given;
const sent = [], takes = [], facts = [];
const jam = new Jam({ rate, rows: 2, first, step, ahead, least, room },
  (position, samples) => sent.push([position, samples.length, Array.from(samples, (x) => Math.round(x * 2 ** 22))]),
  () => {},
  (fact) => { facts.push(fact); if (fact.take) takes.push(fact.take); });
const pairs = [];
jam.record(true);
let answered = 0, delivered = 0, steps = 0;
for (let now = 0; now < 8 * rate; now += 128) {
  const input = Float32Array.from({ length: 128 }, (_, i) => coded(now + i));
  // the server answers what it has heard, so many samples ahead
  for (; sent[delivered]; delivered++) {
    const heard = sent[delivered][0] + sent[delivered][1], end = heard + lead;
    if (heard < first + steps * step) continue;
    steps++;
    const one = Float32Array.from({ length: end - answered }, (_, i) => coded(answered + i));
    jam.put(answered, [one, one.map((sample) => 2 * sample)]);
    answered = end;
  }
  const mix = new Float32Array(128), played = new Float32Array(128);
  jam.process(input, mix, played);
  if (now > 4 * rate) pairs.push([now, mix[64] * 2 ** 22, played[64] * 2 ** 22 / 3]);
}
const last = takes[takes.length - 1];
console.log(JSON.stringify({ sent: sent.map(([position, length]) => [position, length]),
  whole: sent.every(([position, , samples]) => samples.every((x, i) => x === position + i)), pairs,
  delay: jam.playout.delay, gaps: jam.playout.gaps,
  take: [last.mix.length, last.rows.map((row) => row.length), Math.round(last.mix[5] * 2 ** 22),
    last.rows.map((row) => Math.round(row[5] * 2 ** 22))] }));
"""
)


@pytest.mark.parametrize("room", [False, True])
def test_a_jam_sends_every_sample_once_and_plays_every_answer_in_its_place(script: Any, room: bool) -> None:
    ahead, least, lead = (800, 0, 2500) if room else (0, 8820, 2500)
    first, step = 4159, 4458.25
    given = {"rate": RATE, "room": room, "ahead": ahead, "least": least, "lead": lead, "first": first, "step": step}
    facts = script(JAM, given)
    assert facts["whole"]
    assert [start + length for start, length in facts["sent"]] == block_ends(first, step, 8 * RATE)
    assert max(length for _, length in facts["sent"]) == MOST
    assert facts["gaps"] == 0
    for now, mix, played in facts["pairs"]:
        assert played == pytest.approx(now + 64 + ahead - facts["delay"], abs=1)
        assert mix == pytest.approx(0 if room else played, abs=1), "a song sounds with its accompaniment"
    mix_samples, row_samples, mix, (first, second) = facts["take"]
    assert row_samples == [mix_samples] * 2
    assert second == pytest.approx(2 * first, abs=1)
    assert first - mix == pytest.approx(ahead - facts["delay"] if room else 0, abs=1)


FRAMES = """
import { readFileSync } from "node:fs";
import { Answers, readPlayed, writeHeard } from "./frames.js";
const file = readFileSync("frame.bin");
const played = readPlayed(file.buffer.slice(file.byteOffset, file.byteOffset + file.length));
const answers = new Answers(2), whole = [];
for (const [sequence, row] of [[4, 0], [5, 0], [5, 1], [6, 1], [6, 0]])
  whole.push(answers.put({ sequence, row, position: sequence, samples: [row] })?.rows ?? null);
const heard = Buffer.from(writeHeard(2 ** 32 + 7, 2 ** 40 + 3, Float32Array.of(0.5, -1))).toString("hex");
const no = readPlayed(new ArrayBuffer(8));
const { row, sequence, position, samples } = played;
console.log(JSON.stringify({ heard, played: [row, sequence, position, ...samples], whole, no }));
"""


def test_frames_are_those_of_the_server(script: Any, tmp_path: Path) -> None:
    audio_N: Audio = np.array([0.25, -0.5], dtype=np.float32)
    (tmp_path / "frame.bin").write_bytes(write_played(Played(9, -4096, 3, audio_N)))
    facts = script(FRAMES)
    heard = read_heard(bytes.fromhex(facts["heard"]))
    assert (heard.sequence, heard.position_samples) == (7, 2**40 + 3)
    np.testing.assert_array_equal(heard.audio_N, [0.5, -1.0])
    assert isinstance(heard, Heard)
    assert facts["played"] == [3, 9, -4096, 0.25, -0.5]
    assert facts["whole"] == [None, None, [[0], [1]], None, [[0], [1]]]
    assert facts["no"] is None


TAKE = """
import { writeFileSync } from "node:fs";
import { Take } from "./take.js";
const take = new Take(44100, ["Drums", "Bass"], 3);
const rows = [Float32Array.of(0.9, 0, 0.5, 0, 0, 0), new Float32Array(6)];
take.add({ mix: Float32Array.of(0.9, 0.9, 0, -2, 0, 0), rows });
for (const { name, blob } of take.files()) writeFileSync(name, Buffer.from(await blob.arrayBuffer()));
console.log(JSON.stringify(take.files().map(({ name }) => name)));
"""


def test_a_take_is_sound_files_in_which_rows_begin_when_they_sounded(script: Any, tmp_path: Path) -> None:
    names = script(TAKE)
    assert names == ["together.wav", "mix.wav", "1-drums.wav", "2-bass.wav"]
    sounds = {name: soundfile.read(tmp_path / name) for name in names}
    assert {rate for _, rate in sounds.values()} == {RATE}
    np.testing.assert_allclose(sounds["mix.wav"][0], [0.9, 0.9, 0, -1, 0, 0], atol=1e-4)
    np.testing.assert_allclose(sounds["1-drums.wav"][0], [0, 0, 0, 0.9, 0, 0.5], atol=1e-4)
    np.testing.assert_allclose(sounds["2-bass.wav"][0], 0, atol=1e-4)
    together_N, sum_N = sounds["together.wav"][0], sounds["mix.wav"][0] + sounds["1-drums.wav"][0]
    np.testing.assert_allclose(together_N / np.abs(together_N).max(), sum_N / np.abs(sum_N).max(), atol=1e-3)


ONSETS = """
import { Onsets, byChance, together } from "./onsets.js";
const onsets = new Onsets(), found = [];
for (let i = 0; i < 400; i++) if (onsets.hear(i % 43 === 20 ? 0.3 : 0.02 + 0.002 * Math.sin(i))) found.push(i);
const silent = new Onsets();
const noise = Array.from({ length: 99 }, (_, i) => silent.hear(0.001 * (i % 2))).some((onset) => onset);
console.log(JSON.stringify({ found, noise,
  share: together([1, 2, 3, 4], [1.04, 2.2, 3, 9], 0.05), few: together([1], [1], 0.05),
  chance: byChance([1, 1.05, 5], 0.05, 0, 10) }));
"""


def test_onsets_are_sudden_rises_and_chance_is_what_they_cover(script: Any) -> None:
    facts = script(ONSETS)
    assert facts["found"] == list(range(20, 400, 43))
    assert not facts["noise"]
    assert facts["share"] == 0.5
    assert facts["few"] is None  # JSON's NaN
    assert facts["chance"] == pytest.approx((0.15 + 0.1) / 10)
