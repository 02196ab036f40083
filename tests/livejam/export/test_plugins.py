"""The C++ player inside Pure Data and an LV2 host: both play what livejam-wav plays."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from plugin_hosts import RATE, bundles, delay_of, hosted, lv2_played, pd_played, pure_data

from livejam.checkpoints.player import load_player
from livejam.export.model import example_mix, step_model

pytestmark = pytest.mark.export
SAMPLES = 200_000
PLUGIN = "urn:livejam:liveband-pocket"


@pytest.fixture(scope="module")
def song(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("song") / "song.wav"
    mix = example_mix(step_model(load_player("liveband-pocket")), 98)[0, 0].numpy()
    soundfile.write(path, mix[:SAMPLES], RATE, subtype="FLOAT")
    return path


@pytest.fixture(scope="module")
def wanted(programs: Path, exported: Path, song: Path) -> np.ndarray:
    """What livejam-wav plays."""
    out = song.with_name("wanted.wav")
    command = [programs / "livejam-wav", "--model", exported, "--mix", song, "--out", out]
    subprocess.run([*command, "--instrument", "drums", "--seed", "3"], check=True, capture_output=True)
    return soundfile.read(out, dtype="float32")[0]


def test_pure_data(programs: Path, exported: Path, song: Path, wanted: np.ndarray) -> None:
    played, latency, said = pd_played(programs, exported, song, "drums")
    assert "livejam: missed 0" in said
    assert np.abs(wanted).max() > 0.05
    assert np.abs(played[latency : latency + SAMPLES] - wanted).max() <= 1e-6


def test_pure_data_with_no_model(programs: Path, tmp_path: Path) -> None:
    """One sentence in Pd's window, and silence."""
    patch = tmp_path / "wrong.pd"
    text = "#N canvas 0 0 9 9 12;\n#X obj 9 9 livejam_player~ nothing drums;\n#X obj 9 50 loadbang;\n"
    patch.write_text(
        text + "#X msg 9 90 \\; pd dsp 1;\n#X obj 9 130 del 100;\n#X msg 9 170 \\; pd quit;\n"
        "#X connect 1 0 2 0;\n#X connect 1 0 3 0;\n#X connect 3 0 4 0;\n"
    )
    assert f"livejam_player~: {tmp_path}/nothing has no signature.json" in pure_data(programs, patch)


def test_lv2_describes_itself(programs: Path) -> None:
    files = sorted(bundles(programs).rglob("*.ttl"))
    run = subprocess.run(["lv2_validate", *files], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    assert len(files) == 6
    assert "Found 0 errors" in run.stdout + run.stderr


def test_lv2_plays_what_livejam_wav_plays(programs: Path, song: Path, wanted: np.ndarray) -> None:
    played = lv2_played(programs, song, PLUGIN, instrument=3, level=-6)
    late = delay_of(played, wanted)
    # the gains begin at 0, and are there within a moment
    assert np.abs(played[late + 5000 :] - 10 ** (-6 / 20) * wanted[5000 : SAMPLES - late]).max() <= 1e-5


def wav_played(programs: Path, model: Path, song: Path, *words: str) -> np.ndarray:
    """What livejam-wav plays to words."""
    out = song.with_name("words.wav")
    out.unlink(missing_ok=True)  # nothing is written over
    command = [programs / "livejam-wav", "--model", model, "--mix", song, "--out", out, "--instrument", "drums"]
    subprocess.run([*command, "--seed", "3", *words], check=True, capture_output=True)
    return soundfile.read(out, dtype="float32")[0]


WORDS = [(0, 0), (3, 0), (0, 1), (3, 1)]
"""Numbers of the prompt and of the negative prompt, 0 for none."""
TEXTS = "", "Bass", "Percussive", "Jazz Piano"


@pytest.fixture(scope="module")
def short(song: Path) -> Path:
    path = song.with_name("short.wav")
    soundfile.write(path, soundfile.read(song, dtype="float32")[0][:60_000], RATE, subtype="FLOAT")
    return path


@pytest.mark.parametrize("numbers", WORDS)
def test_prompts_in_pure_data_and_lv2(
    programs: Path, sketch_model: Path, short: Path, numbers: tuple[int, int]
) -> None:
    """Both ask for words, and are led away from some, as livejam-wav is."""
    texts = [TEXTS[number] for number in numbers]
    options = [word for name, text in zip(("--prompt", "--negative-prompt"), texts, strict=True) if text
               for word in (name, text)]  # fmt: skip
    wanted = wav_played(programs, sketch_model, short, *options)
    samples = len(wanted)
    asked = [f"{name} {text.lower()}" for name, text in zip(("prompt", "negative_prompt"), texts, strict=True)]
    played, latency, said = pd_played(programs, sketch_model, short, "drums", *asked)
    assert "livejam_player~:" not in said
    lost = latency + samples - len(played)
    assert lost < samples // 2
    kept = samples - max(0, lost)
    assert np.abs(played[latency : latency + kept] - wanted[:kept]).max() <= 1e-6 * max(1.0, np.abs(wanted).max())
    bundle = next(bundles(programs).glob("*sketch*"))
    heard = np.pad(soundfile.read(short, dtype="float32")[0], (0, 40_000))
    played, latency = hosted(bundle, heard, tuple(map(float, numbers)))
    kept = min(samples, len(played) - latency)
    assert kept > samples // 2
    difference = np.abs(played[latency + 5000 : latency + kept] - wanted[5000:kept])
    assert difference.max() <= 1e-5 * max(1.0, np.abs(wanted).max())


def test_prompts_change_what_is_played(programs: Path, sketch_model: Path, short: Path) -> None:
    plain, *others = (
        wav_played(programs, sketch_model, short, *(("--prompt", "jazz piano") if number else ()),
                   *(("--negative-prompt", "bass") if avoided else ()))
        for number, avoided in WORDS
    )  # fmt: skip
    assert all(np.abs(other - plain).max() > 1e-3 for other in others)


def test_pure_data_refuses_a_prompt_in_a_sentence_and_plays_on(
    programs: Path, sketch_model: Path, exported: Path, short: Path
) -> None:
    for model, said in ((sketch_model, "there are Bass, Percussive, Jazz Piano"), (exported, "takes no words")):
        asked = "prompt zither", "negative_prompt zither"
        played, _, heard = pd_played(programs, model, short, "drums", *asked)
        assert heard.count(said) == 2
        assert np.isfinite(played).all()
        assert np.abs(played).max() > 0.01


def test_lv2_survives_numbers_that_are_no_prompts(programs: Path, short: Path) -> None:
    bundle = next(bundles(programs).glob("*sketch*"))
    heard = soundfile.read(short, dtype="float32")[0]
    for numbers in ((float("nan"), float("nan")), (1e30, -1e30), (-5.0, 99.0)):
        assert np.isfinite(hosted(bundle, heard, numbers)[0]).all()


def test_lv2_delays_the_dry_sound_with_the_wet(programs: Path, song: Path) -> None:
    mix = soundfile.read(song, dtype="float32")[0]
    dry = lv2_played(programs, song, PLUGIN, instrument=3, mix=0)
    late = delay_of(dry, mix)
    assert np.abs(dry[late + 5000 :] - mix[5000 : SAMPLES - late]).max() <= 1e-5


def test_lv2_reports_by_how_much_it_is_late(programs: Path, song: Path, wanted: np.ndarray) -> None:
    mix = soundfile.read(song, dtype="float32")[0]
    played, latency = hosted(bundles(programs) / "livejam-liveband-pocket.lv2", mix)
    assert latency > 0
    assert np.abs(played[latency + 5000 :] - wanted[5000 : SAMPLES - latency]).max() <= 1e-5


def test_lv2_survives_what_is_no_number(programs: Path, song: Path) -> None:
    """In the sound and in every control: what comes out are numbers, and later the sound is what it would have been."""
    mix = soundfile.read(song, dtype="float32")[0][:40_000]
    spoilt = mix.copy()
    spoilt[1000:1003] = np.nan, np.inf, -np.inf
    bundle = bundles(programs) / "livejam-liveband-pocket.lv2"
    assert np.isfinite(hosted(bundle, spoilt)[0]).all()
    dry, latency = hosted(bundle, spoilt, mix=0.0)
    silenced = np.where(np.isfinite(spoilt), mix, 0.0)
    assert np.abs(dry[latency + 5000 :] - silenced[5000 : len(mix) - latency]).max() <= 1e-5
    nothing = dict.fromkeys(("instrument", "seed", "mix", "level", "freewheel"), float("nan"))
    assert np.isfinite(hosted(bundle, mix, **nothing)[0]).all()
