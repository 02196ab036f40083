"""`livejam-player` with words and sketches: it plays what a session plays, and no control ever stops it."""

from __future__ import annotations

import json
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import livejam
from livejam.cli.prompts import read_timeline
from livejam.export.directory import OPTIONAL, export
from livejam.export.signature import SIGNATURE, STATES, read_signature
from livejam.sketch import unpacked
from livejam.streaming import Session, sketch_of

pytestmark = pytest.mark.export

HOST = Path(__file__).parents[3] / "hosts" / "python"
sys.path.insert(0, str(HOST))

import livejam_player  # noqa: E402
from livejam_player import ModelError, Player  # noqa: E402
from livejam_player.cli import main as play  # noqa: E402
from livejam_player.words import Vocabulary  # noqa: E402

RATE = 22050
CHANGES = [
    {"seconds": 0.2, "words": "Bass"},
    {"seconds": 1.0, "words": {"jazz piano": 3, "calm strings": 1}, "fade_seconds": 0.7, "negative": "bass"},
    {"seconds": 2.0, "words": "warm unheard-of piano", "fade_blocks": 2, "negative": {"bass": 1, "loud": 2}},
]


def sound(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    noise_1N = 0.1 * np.random.default_rng(seed).standard_normal((1, round(seconds * rate)))
    return noise_1N.astype(np.float32)


def processed(player: Player, mix_AN: np.ndarray, chunk: int) -> np.ndarray:
    return np.concatenate(
        [player.process(part) for part in np.split(mix_AN, range(chunk, mix_AN.shape[1], chunk), 1)], 1
    )


def session(sketch_checkpoint: Path, folder: Path, voice_AN: np.ndarray | None) -> Session:
    """What PyTorch plays with the timeline and a sketch."""
    held = Session(livejam.load(sketch_checkpoint), instruments=["Percussive"], seeds=[3])
    (folder / "words.json").write_text(json.dumps(CHANGES))
    held.set_prompts(read_timeline(folder / "words.json"))
    if voice_AN is not None:
        held.set_sketch(sketch_of(held.player, [torch.from_numpy(voice_AN)], RATE))
    return held


@pytest.mark.parametrize("chunk", [700, 20_000])
def test_words_and_a_sketch_as_a_session_plays_them(
    sketch_model: Path, sketch_checkpoint: Path, chunk: int, tmp_path: Path
) -> None:
    mix_AN, voice_AN = sound(4.0), sound(2.5, seed=1)
    wanted_AN = session(sketch_checkpoint, tmp_path, voice_AN).process(torch.from_numpy(mix_AN)).numpy()
    player = Player(sketch_model, "drums", seed=3)
    player.set_prompts(tmp_path / "words.json")
    player.set_sketch(livejam_player.sketch_of(sketch_model, voice_AN[0]))
    played_AN = processed(player, mix_AN, chunk)
    loudest = max(1.0, np.abs(wanted_AN).max())
    assert np.abs(played_AN - wanted_AN).max() <= 2e-4 * loudest
    player.reset()
    assert np.array_equal(processed(player, mix_AN, chunk), played_AN)
    player.reset()
    player.set_sketch(None)
    assert np.abs(processed(player, mix_AN, chunk) - played_AN).max() > 1e-3


@pytest.mark.parametrize("seconds", [0.01, 0.7, 2.5])
def test_the_curves_are_those_of_a_session(sketch_model: Path, sketch_checkpoint: Path, seconds: float) -> None:
    voice_AN = sound(seconds, seed=2)
    wanted = unpacked(sketch_of(livejam.load(sketch_checkpoint), [torch.from_numpy(voice_AN)], RATE))
    made = unpacked(torch.from_numpy(livejam_player.sketch_of(sketch_model, voice_AN[0])))
    assert made.values_BTK.shape == wanted.values_BTK.shape
    assert (made.values_BTK - wanted.values_BTK).abs().max() < 2e-3


def test_the_command_plays_them(
    sketch_model: Path, sketch_checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mix_AN, voice_AN = sound(3.0), sound(4.0, seed=1, rate=16_000)
    soundfile.write(tmp_path / "song.wav", mix_AN.T, RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "voice.wav", np.tile(voice_AN, (2, 1)).T, 16_000, subtype="FLOAT")
    wanted = session(sketch_checkpoint, tmp_path, None)
    wanted.set_sketch(sketch_of(wanted.player, [torch.from_numpy(voice_AN)], 16_000))
    wanted_AN = wanted.process(torch.from_numpy(np.pad(mix_AN, ((0, 0), (0, RATE // 10))))).numpy()[
        :, : mix_AN.shape[1]
    ]
    out = tmp_path / "out.wav"
    given = ["--model", str(sketch_model), "--mix", str(tmp_path / "song.wav"), "--instrument", "drums", "--seed", "3"]
    asked = ["--prompts", str(tmp_path / "words.json"), "--sketch", str(tmp_path / "voice.wav"), "--out", str(out)]
    assert play([*given, *asked]) == 0, capsys.readouterr().err
    played_AN = soundfile.read(out, dtype="float32", always_2d=True)[0].T
    assert np.abs(played_AN - wanted_AN.clip(-1, 1)).max() <= 2e-4 * max(1.0, np.abs(wanted_AN).max())


def test_whoever_asks_for_nothing_plays_as_ever(sketch_model: Path, sketch_checkpoint: Path) -> None:
    """The states hold the defaults, so that a player that knows no controls plays as well."""
    mix_AN = sound(3.0)
    plain = (
        Session(livejam.load(sketch_checkpoint), instruments=["Bass"], seeds=[1])
        .process(torch.from_numpy(mix_AN))
        .numpy()
    )
    played_AN = processed(Player(sketch_model, "bass", seed=1), mix_AN, 5000)
    assert np.abs(played_AN - plain).max() <= 2e-4 * max(1.0, np.abs(plain).max())
    held = livejam_player.model.read_tensors(sketch_model / STATES)
    controls = Player(sketch_model).model.controls
    words = {"prompt", "prompt_mask", "negative_prompt", "negative_prompt_mask"}
    assert set(controls) == words | {"sketch", "sketch_mask"}
    assert not any(held[name].any() for name in controls)


def test_the_signature_says_what_can_be_asked(sketch_model: Path) -> None:
    signature = read_signature(sketch_model)
    assert signature.prompts is not None
    assert signature.sketch is not None
    assert signature.prompts.texts == ("Bass", "Percussive", "Jazz Piano")
    assert (signature.prompts.tokens, signature.prompts.reencodes, "piano" in signature.prompts.words) == (
        12,
        True,
        True,
    )
    assert (signature.sketch.frames, signature.sketch.numbers, signature.sketch.frames_per_step) == (12, 10, 3)
    assert signature.sketch.first_frame == 3 - 9
    inputs = {tensor.name: tensor.shape for tensor in signature.graphs[1].inputs}
    assert (inputs["prompt"], inputs["prompt_mask"]) == ((1, 12, 8), (1, 12))
    assert (inputs["sketch"], inputs["sketch_mask"]) == ((1, 12, 10), (1, 12, 3))


def test_an_older_directory_is_read_and_nothing_of_a_newer_one_is_left(sketch_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "older"
    shutil.copytree(sketch_model, folder)
    export("liveband-pocket", folder)
    assert not any((folder / name).exists() for name in OPTIONAL)
    held = json.loads((folder / SIGNATURE).read_text())
    assert (held.pop("prompts"), held.pop("sketch")) == (None, None)
    (folder / SIGNATURE).write_text(json.dumps(held))
    assert (read_signature(folder).prompts, read_signature(folder).sketch) == (None, None)
    player = Player(folder)
    away = player.set_negative_prompt
    for ask in (
        lambda: player.set_prompt("jazz"),
        lambda: away("jazz"),
        lambda: player.set_sketch(np.zeros((3, 10), np.float32)),
    ):
        with pytest.raises(ModelError, match=r"takes no words|follows no sketch"):
            ask()
    assert player.process(sound(0.5)).shape == (1, RATE // 2)


@pytest.mark.parametrize("chunk", [700, 20_000])
def test_a_negative_prompt_as_a_session_plays_it(sketch_model: Path, sketch_checkpoint: Path, chunk: int) -> None:
    mix_AN, plain = sound(3.0), Player(sketch_model, "drums", seed=3)
    held = Session(livejam.load(sketch_checkpoint), instruments=["Percussive"], seeds=[3])
    held.set_negative_prompt("jazz piano:2, bass:1")
    wanted_AN = held.process(torch.from_numpy(mix_AN)).numpy()
    player = Player(sketch_model, "drums", seed=3)
    player.set_negative_prompt("jazz piano:2, bass:1")
    played_AN = processed(player, mix_AN, chunk)
    assert np.abs(played_AN - wanted_AN).max() <= 2e-4 * max(1.0, np.abs(wanted_AN).max())
    plain_AN = processed(plain, mix_AN, chunk)
    assert np.abs(played_AN - plain_AN).max() > 1e-3
    player.reset()
    player.set_negative_prompt(None)
    assert np.array_equal(processed(player, mix_AN, chunk), plain_AN)
    with pytest.raises(ModelError, match="does not know the prompt 'zither'"):
        player.set_negative_prompt("zither")


def test_who_was_exported_without_guidance_of_the_prompt_is_not_led_away(
    sketch_checkpoint: Path, tmp_path: Path
) -> None:
    export(sketch_checkpoint, tmp_path, guidance=1.0)
    player, mix_AN = Player(tmp_path), sound(0.5)
    (tmp_path / "words.json").write_text('[{"seconds": 0, "words": "bass", "negative": "piano"}]')
    for ask in (lambda: player.set_negative_prompt("piano"), lambda: player.set_prompts(tmp_path / "words.json")):
        with pytest.raises(ModelError, match="exported without guidance of the prompt"):
            ask()
    assert np.isfinite(processed(player, mix_AN, 5000)).all()


@settings(deadline=None, max_examples=20)
@given(
    numbers=st.lists(st.floats(), min_size=10, max_size=200),
    dtype=st.sampled_from([np.float16, np.float32, np.float64]),
)
def test_no_curve_ever_stops_a_player(sketch_model: Path, numbers: list[float], dtype: type) -> None:
    player, frames = Player(sketch_model), len(numbers) // 10
    with np.errstate(over="ignore"):
        player.set_sketch(np.array(numbers[: 10 * frames]).reshape(frames, 10).astype(dtype))
    assert np.isfinite(processed(player, sound(1.2), 9000)).all()


@pytest.mark.parametrize(
    "wrong", [np.zeros((4, 9), np.float32), np.zeros(10, np.float32), np.zeros((4, 10), np.int64), np.zeros((1, 4, 10))]
)
def test_curves_of_another_form_are_refused_and_it_plays_on(sketch_model: Path, wrong: np.ndarray) -> None:
    player, mix_AN = Player(sketch_model), sound(1.5)
    wanted_AN = processed(player, mix_AN, 5000)
    player.reset()
    with pytest.raises(ModelError, match="a sketch of shape"):
        player.set_sketch(wrong)
    assert np.array_equal(processed(player, mix_AN, 5000), wanted_AN)


BAD = {
    "": "cannot be read|neither JSON nor YAML|is no list",
    "{": "neither JSON nor YAML",
    "[]": "is no list",
    '[{"seconds": 1}]': "is no change",
    '[{"seconds": -1, "words": "piano"}]': "seconds is '-1'",
    '[{"seconds": NaN, "words": "piano"}]': "seconds is 'nan'",
    '[{"seconds": 1, "words": "zither"}]': "does not know the prompt 'zither'",
    '[{"seconds": 1, "words": {"piano": -1}}]': "the weight of 'piano'",
    '[{"seconds": 1, "words": 3}]': "words is '3'",
    '[{"seconds": 1, "words": "bass", "negative": 3}]': "negative is '3'",
    '[{"seconds": 1, "words": "bass", "negative": "zither"}]': "does not know the prompt 'zither'",
    '[{"seconds": 1, "words": "piano", "eject_blocks": 1}]': "forgets nothing",
    '[{"seconds": 1, "words": "piano", "loud": 1}]': "there is no 'loud'",
    '[{"seconds": 1, "words": "piano", "fade_blocks": 0.5}]': "whole blocks",
    '[{"seconds": 2, "words": "piano"}, {"seconds": 1, "words": "bass"}]': "sort them by time",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_a_broken_timeline_is_one_sentence(sketch_model: Path, tmp_path: Path, text: str) -> None:
    (tmp_path / "words.json").write_text(text)
    with pytest.raises(ModelError, match=BAD[text]) as caught:
        Player(sketch_model).set_prompts(tmp_path / "words.json")
    assert "\n" not in str(caught.value)


@pytest.fixture(scope="module")
def vocabulary(sketch_model: Path) -> Vocabulary:
    return Player(sketch_model).vocabulary


@settings(deadline=None, max_examples=200)
@given(
    text=st.text(max_size=40) | st.sampled_from(["piano:nan", "piano:inf", "piano:1e99", "a:1,b", "piano:0", ":1,:2"])
)
def test_any_words_are_a_prompt_or_one_sentence(vocabulary: Vocabulary, text: str) -> None:
    with suppress(ModelError):
        assert np.isfinite(vocabulary.prompt(text).embedding_PD).all()
