"""No command writes over what it reads, over another output, or over what a user made."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from livejam.cli.main import main
from livejam.errors import UserError
from livejam.outputs import require_free

PUBLISH = ["publish", "a.safetensors", "--out"]
ROUNDTRIP = ["codec", "roundtrip", "--codec", "pocket", "a.wav"]
COMPARE = ["codec", "compare", "--codec", "pocket", "a.wav", "--no-beats"]
RUNS = ["compare", "run"]
ANSWERS = ["listening-test", "analyse", "answers.csv"]
IMPORT = ["weights", "import-stable-audio", "model_config.json", "model.safetensors", "--out"]

READ_AND_WRITTEN = {
    "publish": ([*PUBLISH], "a.safetensors"),
    "average": (["average", "a.ckpt", "liveband-wide", "--out"], "a.ckpt"),
    "roundtrip": ([*ROUNDTRIP], "a.wav"),
    "roundtrip --picture": ([*ROUNDTRIP, "new.wav", "--picture"], "a.wav"),
    "roundtrip, its codec": (["codec", "roundtrip", "--codec", "c.safetensors", "a.wav"], "c.safetensors"),
    "codec compare --markdown": ([*COMPARE, "--markdown"], "a.wav"),
    "codec compare --csv": ([*COMPARE, "--csv"], "a.wav"),
    "codec compare, its codec": (["codec", "compare", "--codec", "c.yaml", "a.wav", "--csv"], "c.yaml"),
    "compare --markdown": ([*RUNS, "--markdown"], "run/results.json"),
    "compare --csv": ([*RUNS, "--csv"], "run/results.json"),
    "listening-test": ([*ANSWERS, "--markdown"], "answers.csv"),
    "import, its config": ([*IMPORT], "model_config.json"),
    "import, its weights": ([*IMPORT], "model.safetensors"),
}

TWICE = {
    "roundtrip": [*ROUNDTRIP, "new.wav", "--picture", "folder/../new.wav"],
    "codec compare": [*COMPARE, "--markdown", "new", "--csv", "new"],
    "compare": [*RUNS, "--markdown", "new", "--csv", "new"],
}

EXISTING = {
    "roundtrip": [*ROUNDTRIP, "mine.wav"],
    "roundtrip --picture": [*ROUNDTRIP, "new.wav", "--picture", "mine.wav"],
    "codec compare": [*COMPARE, "--markdown", "mine.wav"],
    "compare": [*RUNS, "--csv", "mine.wav"],
    "listening-test": [*ANSWERS, "--markdown", "mine.wav"],
    "import": [*IMPORT, "mine.wav"],
}


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the commands read: nothing that could be read, so that whoever tries is found out."""
    monkeypatch.chdir(tmp_path)
    for name in ("run", "folder", "played"):
        (tmp_path / name).mkdir()
    names = {name for _, name in READ_AND_WRITTEN.values()} | {
        "a.wav",
        "mine.wav",
        "played/accompaniment.wav",
        "played/answers.wav",
    }
    for name in names:
        (tmp_path / name).write_bytes(b"PK\x03\x04 unreadable")
    return tmp_path


def refusal(words: list[str], files: Path, capsys: pytest.CaptureFixture[str]) -> str:
    """The one line with which a command refuses, having touched nothing."""
    before = {path: path.read_bytes() for path in files.rglob("*") if path.is_file()}
    assert main(words) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert {path: path.read_bytes() for path in files.rglob("*") if path.is_file()} == before
    return err


def symbolic(source: Path, link: Path) -> None:
    link.symlink_to(source.resolve())


@pytest.mark.parametrize("link", [None, symbolic, os.link], ids=["itself", "symbolic", "hard"])
@pytest.mark.parametrize("name", READ_AND_WRITTEN)
def test_an_output_is_no_input(
    name: str, link: Callable[[Path, Path], None] | None, files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, source = READ_AND_WRITTEN[name]
    target = source
    if link is not None:
        target = f"folder/link{Path(source).suffix}"
        link(files / source, files / target)
    for switch in ([], ["--overwrite"]):
        err = refusal([*words, target, *switch], files, capsys)
        assert f"{target} is also an input; write to another file" in err


@pytest.mark.parametrize("name", TWICE)
def test_two_outputs_are_two_files(name: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "give each its own file" in refusal([*TWICE[name], "--overwrite"], files, capsys)


@pytest.mark.parametrize("name", EXISTING)
def test_what_exists_is_kept_unless_asked_for(name: str, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    err = refusal(EXISTING[name], files, capsys)
    assert "mine.wav exists; choose another name, or replace it with --overwrite" in err
    assert "exists" not in refusal([*EXISTING[name], "--overwrite"], files, capsys), "now it reads, and fails at that"


INTO_A_FOLDER = {
    "play": ["play", "--checkpoint", "liveband-pocket", "--out", "played", "--mix"],
    "delay": ["delay", "--checkpoint", "liveband-pocket", "--out", "played", "--input"],
}
"""Commands that write several files into a folder, one of which is also what they read."""


@pytest.mark.parametrize(("name", "source"), [("play", "accompaniment.wav"), ("delay", "answers.wav")])
@pytest.mark.parametrize("link", [None, symbolic, os.link], ids=["itself", "symbolic", "hard"])
def test_nothing_in_a_folder_is_an_input(
    name: str,
    source: str,
    link: Callable[[Path, Path], None] | None,
    files: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    read = f"played/{source}"
    if link is not None:
        read = "folder/link.wav"
        link(files / "played" / source, files / read)
    err = refusal([*INTO_A_FOLDER[name], read, "--overwrite"], files, capsys)
    assert f"played/{source} is also an input; write to another file" in err


def test_a_file_is_no_folder(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "folder is a folder; name a file in it" in refusal([*ROUNDTRIP, "folder"], files, capsys)


def test_overwrite_replaces(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    soundfile.write(files / "a.wav", np.zeros(22050, np.float32), 22050)
    assert main([*ROUNDTRIP, "mine.wav", "--overwrite"]) == 0
    assert soundfile.info(files / "mine.wav").frames == 22050
    cell = {"value": 0.5, "drift": 0.0, "count": 3, "interval": None, "drift_interval": None}
    (files / "run/results.json").write_text(json.dumps({"trained": {"beat_f1": cell}}))
    (files / "run/table.md").write_text("mine")
    assert main([*RUNS, "--markdown", "run/table.md", "--overwrite"]) == 0
    assert "0.50" in (files / "run/table.md").read_text()


NAMES = st.sampled_from(["a", "b", "./a", "sub/../b", "sub/a", "link", "hard"])


@given(outputs=st.lists(NAMES, max_size=3), inputs=st.lists(NAMES, max_size=2))
def test_what_is_allowed_destroys_nothing(
    outputs: list[str], inputs: list[str], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is allowed, even with `overwrite`: no output is an input's file, and no two are one file."""
    folder = tmp_path_factory.mktemp("case")
    (folder / "sub").mkdir()
    (folder / "a").touch()
    (folder / "link").symlink_to(folder / "b")
    (folder / "hard").hardlink_to(folder / "a")
    written = {f"output {i}": folder / name for i, name in enumerate(outputs)}
    read = [folder / name for name in inputs]
    try:
        require_free(written, read, overwrite=True)
    except UserError:
        return
    for path in written.values():
        path.touch()  # the file of a link, not the link
    identities = [path.stat().st_ino for path in written.values()]
    assert len(set(identities)) == len(identities)
    assert not {path.stat().st_ino for path in read if path.exists()} & set(identities)


def test_songs_are_not_rendered_into_another_data_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also not where its songs lie flat, as BabySlakh's do."""
    for name in ("Track00001", "train/Track00001"):
        root = tmp_path / name.partition("/")[0]
        metadata = tmp_path / "set" / root.name / name / "metadata.yaml"
        metadata.parent.mkdir(parents=True)
        metadata.write_text("UUID: another\n")
        out = metadata.parents[name.count("/") + 1]
        assert main(["data", "render", "--out", str(out), "--songs", "1"]) == 2
        assert "holds songs that were not rendered from seed 0" in capsys.readouterr().err
