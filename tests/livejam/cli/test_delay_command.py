"""`livejam delay`: a recording goes in; it and the answers to it come out, or one sentence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from small_band import band_checkpoint, lmdm_checkpoint

import livejam
from livejam.cli.main import main
from livejam.cli.prompts import read_timeline
from livejam.cli.together import CEILING
from livejam.sketch import SketchTraining
from livejam.streaming import DelayGains, GenerativeDelay, Session, answering, sketch_of

RATE, SAMPLES = 48_000, 100_001


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of checkpoints: an LMDM, one that never heard the block that it plays to, one that never played without
    prompt and mix, one that follows sketches, and LiveBand."""
    folder = tmp_path_factory.mktemp("models")
    lmdm_checkpoint(folder / "lmdm.ckpt")
    lmdm_checkpoint(folder / "ahead.ckpt", (0, -1))
    lmdm_checkpoint(folder / "conditional.ckpt", unconditional_dropout=0.0)
    lmdm_checkpoint(folder / "sketch.ckpt", sketch=SketchTraining())
    band_checkpoint(folder / "band.ckpt")
    return folder


Delay = Callable[..., tuple[int, str, str]]


@pytest.fixture
def delay(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Delay:
    """Run the command in a folder with a recording: further arguments → (status, output, standard error)."""
    monkeypatch.chdir(tmp_path)
    soundfile.write("song.wav", 0.02 * np.random.default_rng(0).standard_normal((SAMPLES, 2)), RATE)

    def command(*arguments: str, model: str = "lmdm.ckpt", out: str = "delayed") -> tuple[int, str, str]:
        capfd.readouterr()
        given = ["delay", "--checkpoint", str(models / model), "--input", "song.wav", "--out", out, *arguments]
        return main(given), *capfd.readouterr()

    return command


def read(path: str) -> np.ndarray:
    return soundfile.read(path, dtype="float32", always_2d=True)[0].T


def test_the_command_writes_what_sounds(delay: Delay, models: Path) -> None:
    # the model is untrained and loud: with more feedback, its answers to itself amplify differences of rounding
    gains = ("--dry", "0.8", "--wet", "0.5", "--feedback", "0.01")
    asked = ("--instrument", "drums", "--prompt", "bass", "--guidance", "1.5", "--seed", "3")
    asked += ("--negative-prompt", "loud trumpet", "--guidance-rescale", "0.5")
    status, out, errors = delay(*gains, *asked, "--tail", "1.5")
    assert (status, errors) == (0, "")
    assert "delayed/delayed.wav\n" in out
    assert sorted(path.name for path in Path("delayed").iterdir()) == [
        "answers.wav", "delayed.wav", "picture.png", "report.json"
    ]  # fmt: skip
    player = answering(livejam.load(models / "lmdm.ckpt"))
    session = Session(player, sample_rate_hz=RATE, channels=2, instruments=["drums"], prompts=["bass"], seeds=[3])
    session.set_guidance(1.5)
    session.set_negative_prompt("loud trumpet")
    session.set_guidance_rescale(0.5)
    machine = GenerativeDelay(session, DelayGains(0.8, 0.5, 0.01))
    heard_AN = torch.nn.functional.pad(torch.from_numpy(read("song.wav")), (0, round(1.5 * RATE)))
    sounding_AN, answers_AN = (part.numpy() for part in machine.process_parts(heard_AN))
    assert np.abs(answers_AN).max() > 0.1
    report = json.loads(Path("delayed/report.json").read_text())
    for name, expected_AN in (("answers", answers_AN), ("delayed", sounding_AN)):
        peak = np.abs(expected_AN).max()
        gain = CEILING / peak if peak > 1 else 1.0
        np.testing.assert_allclose(read(f"delayed/{name}.wav"), gain * expected_AN, atol=1e-4)
        assert report["levels"][f"{name}_gain_db"] == pytest.approx(20 * np.log10(gain), abs=1e-3)
    assert report["delay_ms"] == pytest.approx(1000 * machine.delay_samples / RATE)
    assert Path("delayed/picture.png").read_bytes().startswith(b"\x89PNG")
    info = soundfile.info("delayed/delayed.wav")
    assert (info.samplerate, info.channels, info.subtype) == (RATE, 2, "PCM_24")


@pytest.mark.parametrize("asked", [("--follow-input",), ("--sketch", "voice.wav")], ids=["input", "voice"])
def test_it_follows_a_sketch_and_a_timeline_of_words(delay: Delay, models: Path, asked: tuple[str, ...]) -> None:
    soundfile.write("voice.wav", 0.1 * np.random.default_rng(1).standard_normal(SAMPLES), 16_000)
    Path("words.yaml").write_text(
        "- {seconds: 0, words: bass}\n- {seconds: 1, words: {piano: 2, bass: 1}, fade_blocks: 2}\n"
    )
    status, _, errors = delay("--prompts", "words.yaml", *asked, "--wet", "0.5", model="sketch.ckpt")
    assert (status, errors) == (0, "")
    report = json.loads(Path("delayed/report.json").read_text())
    assert (report["prompts"], report["follow_input"]) == ("words.yaml", asked[0] == "--follow-input")
    assert report["sketch"] == (None if len(asked) == 1 else "voice.wav")
    player = answering(livejam.load(models / "sketch.ckpt"))
    answers = []
    for source, rate in (("song.wav", RATE), ("voice.wav", 16_000)):
        session = Session(player, sample_rate_hz=RATE, channels=2)
        session.set_prompts(read_timeline(Path("words.yaml")))
        session.set_sketch(sketch_of(player, [torch.from_numpy(read(source))], rate))
        answers.append(GenerativeDelay(session).process_parts(torch.from_numpy(read("song.wav")))[1].numpy())
    wanted_AN, other_AN = answers if asked[0] == "--follow-input" else answers[::-1]
    gain = 10 ** (report["levels"]["answers_gain_db"] / 20)
    np.testing.assert_allclose(read("delayed/answers.wav")[:, :SAMPLES], gain * wanted_AN, atol=1e-4)
    assert np.abs(wanted_AN - other_AN).max() > 1e-2


def test_without_wet_the_input_comes_out_and_nothing_is_overwritten(delay: Delay) -> None:
    assert delay("--wet", "0", "--tail", "0")[0] == 0
    np.testing.assert_array_equal(read("delayed/delayed.wav"), read("song.wav"))
    status, _, errors = delay()
    assert (status, "exists" in errors) == (2, True)
    assert delay("--overwrite")[0] == 0
    assert read("delayed/delayed.wav").shape[1] > SAMPLES


@pytest.mark.parametrize(
    ("arguments", "model", "sentence"),
    [
        (("--feedback", "1"), "lmdm.ckpt", "feedback is 1.0; it must be 0 or more and less than 1"),
        (("--wet", "-0.1"), "lmdm.ckpt", "wet is -0.1; it must be from 0 to 1"),
        (("--tail", "1e9"), "lmdm.ckpt", "--tail"),
        (("--instrument", "Piano"), "lmdm.ckpt", "never learnt to play Piano"),
        (("--prompt", "zither"), "lmdm.ckpt", "zither"),
        (("--guidance", "-3"), "lmdm.ckpt", "guidance"),
        (("--follow-input",), "lmdm.ckpt", "this model follows no sketch"),
        (("--sketch", "song.wav"), "lmdm.ckpt", "this model follows no sketch"),
        (("--sketch", "song.wav", "--follow-input"), "sketch.ckpt", "leave it or --sketch out"),
        (("--sketch", "nothing.wav"), "sketch.ckpt", "there is no recording"),
        (("--prompts", "nothing.yaml"), "lmdm.ckpt", "there is no file nothing.yaml"),
        (("--guidance", "mix=2,beat=3"), "lmdm.ckpt", "no weight of 'beat'"),
        (("--negative-prompt", "zither"), "lmdm.ckpt", "zither"),
        (("--guidance-rescale", "-0.5"), "lmdm.ckpt", "--guidance-rescale is -0.5; it must be from 0 to 1"),
        (("--negative-prompt", "piano", "--guidance", "1"), "lmdm.ckpt", "prompt is not guided"),
        (("--guidance", "3"), "conditional.ckpt", "a weight of 3 guides away from a model without prompt and mix"),
        ((), "band.ckpt", "a generative delay needs an LMDM"),
        ((), "nobody.ckpt", "there is no checkpoint"),
        (("--out", "x.wav"), "lmdm.ckpt", "name a folder"),
    ],
)
def test_mistakes_are_one_sentence(delay: Delay, arguments: tuple[str, ...], model: str, sentence: str) -> None:
    status, out, errors = delay(*arguments, model=model)
    assert (status, out, errors.count("\n")) == (2, "", 1)
    assert errors.startswith("error: ")
    assert sentence in errors
    assert not Path("delayed").exists()


def test_guidance_of_one_needs_no_unconditional_side(delay: Delay) -> None:
    assert delay("--guidance", "1", model="conditional.ckpt")[0] == 0


def test_a_model_that_never_heard_the_block_it_plays_to_is_named(delay: Delay) -> None:
    status, _, errors = delay(model="ahead.ckpt")
    assert status == 0
    assert "note: this model was trained with cutoff_blocks 0, -1, never to hear the block" in errors
