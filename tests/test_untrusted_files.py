"""Nothing that the commands load is unpickled: a pickle that leaves a mark is put everywhere, and leaves none."""

from __future__ import annotations

import ast
import http.server
import json
import pickle
import shutil
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import REPOSITORY, relative
from slakh_tree import write_tree
from test_cli import TOY
from test_imports import MODULES

from datamodules.latent_bank import read_manifest, read_song
from livejam.cli import main as livejam_cli
from livejam.errors import UserError
from metrics.beats import BeatThis
from metrics.cocola_weights import pretrained_cocola
from metrics.embeddings import VGGish
from metrics.evaluation.evaluate import load_states
from metrics.scores import MeanScore

Command = Callable[..., tuple[int, str]]


class Trap:
    """Leaves a mark when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (eval, (f"open({str(self.mark)!r}, 'w').close()",))


KINDS = ("zip", "legacy", "pickle", "zipped")
"""How PyTorch writes today, how it once wrote, a bare pickle, and a pickle in a zip of another kind."""


def set_trap(path: Path, mark: Path, kind: str = "zip") -> Path:
    """A file that would be a whole checkpoint if it did not also hold a trap."""
    held = {
        "state_dict": {"x": torch.zeros(1)},
        "livejam": {},
        "pytorch-lightning_version": "2.6.0",
        "gen_state_dict": {},
        "more": Trap(mark),
    }
    if kind == "pickle":
        path.write_bytes(pickle.dumps(held, protocol=2))
    elif kind == "zipped":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("weights.pth", pickle.dumps(held, protocol=2))
    else:
        torch.save(held, path, _use_new_zipfile_serialization=kind == "zip")
    return path


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[Path]:
    """What a sprung trap would leave; a test ends with its absence."""
    path = tmp_path / "sprung"
    yield path
    assert not path.exists(), "the trap was sprung"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "toy.yaml").write_text(TOY)
    return tmp_path / "toy.yaml"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """The test's folder over http, on this machine."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *args: object) -> None:
            super().__init__(*args, directory=str(tmp_path))  # type: ignore[arg-type]

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_address[1]}"
        running.shutdown()


def refused(result: tuple[int, str]) -> str:
    """The one line of a command that refused; it does not say how to run the code all the same."""
    status, err = result
    line = err.splitlines()[-1] if err else ""
    assert status == 2, err
    assert line.startswith("error: ")
    assert "Traceback" not in err
    assert "to `False`" not in err
    return line


def test_the_trap_works(tmp_path: Path) -> None:
    for kind in ("zip", "legacy"):
        torch.load(set_trap(tmp_path / "trap", tmp_path / kind, kind), weights_only=False)
        assert (tmp_path / kind).exists()
    pickle.loads(set_trap(tmp_path / "trap", tmp_path / "pickle", "pickle").read_bytes())
    assert (tmp_path / "pickle").exists()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("subcommand", ["fit", "test"])
def test_checkpoints_on_a_disk(kind: str, subcommand: str, toy: Path, mark: Path, lightning_command: Command) -> None:
    set_trap(toy.with_name("evil.ckpt"), mark, kind)
    for path in ("evil.ckpt", toy.with_name("evil.ckpt").as_uri()):
        line = refused(lightning_command(subcommand, "--config", toy, "--ckpt_path", path))
        assert "evil.ckpt" in line
        assert "No such file" not in line


@pytest.mark.parametrize("kind", KINDS)
def test_checkpoints_on_a_server(
    kind: str, toy: Path, mark: Path, server: str, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(toy.parent / "hub"))
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    set_trap(toy.with_name("evil.ckpt"), mark, kind)
    for url in (f"{server}/evil.ckpt", f"simplecache::{server}/evil.ckpt"):
        assert "evil.ckpt" in refused(lightning_command("fit", "--config", toy, "--ckpt_path", url))
    assert not (toy.parent / "hub").exists(), "nothing is kept of what was fetched"


def test_a_sound_checkpoint_on_a_server_is_resumed(toy: Path, server: str, lightning_command: Command) -> None:
    assert lightning_command("fit", "--config", toy)[0] == 0
    (path,) = toy.parent.glob("run/**/*.ckpt")
    url = f"{server}/{path.relative_to(toy.parent)}"
    elsewhere = ("--trainer.default_root_dir", "elsewhere", "--trainer.max_epochs", "2")
    status, err = lightning_command("fit", "--config", toy, "--ckpt_path", url, *elsewhere)
    assert status == 0, err
    missing = ("--ckpt_path", f"{server}/no.ckpt", *elsewhere)
    assert "cannot be fetched" in refused(lightning_command("fit", "--config", toy, *missing, "--overwrite"))


def test_there_is_no_switch_that_unpickles(toy: Path, lightning_command: Command) -> None:
    assert "no option" in refused(lightning_command("fit", "--config", toy, "--weights_only", "false"))
    toy.write_text(f"weights_only: false\n{TOY}")
    assert "no option" in refused(lightning_command("fit", "--config", toy))


@pytest.mark.parametrize("kind", KINDS)
def test_caches_of_songs(
    kind: str, rendered_songs: Path, tmp_path: Path, mark: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A bank's songs, its manifest, the index and the anchors' states: refused, or made again."""
    metrics = {"beats": MeanScore()}
    assert not load_states(set_trap(tmp_path / "anchor.safetensors", mark, kind), metrics)
    for read, name in ((read_song, "Track00001.safetensors"), (read_manifest, "manifest.json")):
        path = set_trap(tmp_path / name, mark, kind)
        with pytest.raises(UserError, match=name):
            read(path if read is read_song else tmp_path)
    songs = shutil.copytree(rendered_songs, tmp_path / "songs")
    (songs / ".livejam").mkdir(exist_ok=True)
    set_trap(songs / ".livejam/slakh_index.json", mark, kind)
    assert livejam_cli.main(["data", "index", str(songs)]) == 0
    assert "3 songs" in capfd.readouterr().out


QUICKSTART, BASE = "configs/quickstart.yaml", "configs/lmdm/blockcausal_pocket.yaml"
CODEC = "--model.init_args.codec"


@pytest.mark.parametrize("kind", ["zip", "pickle"])
@pytest.mark.parametrize(
    ("config", "file", "options"),
    [
        (QUICKSTART, "codec.safetensors", ["--model.init_args.codec.init_args.weights", "{}"]),
        (
            QUICKSTART,
            "codec.pt",
            [CODEC, '{{class_path: livejam.codecs.Music2Latent.from_weights, init_args: {{weights: "{}"}}}}'],
        ),
        (BASE, "base.ckpt", ["--model.init_args.base_checkpoint", "{}"]),
        ("configs/codec/pocket.yaml", "codec.safetensors", ["--model.init_args.initial_weights", "{}"]),
        (
            QUICKSTART,
            "cocola.ckpt",
            ["--trainer.callbacks", '[{{class_path: callbacks.COCOLAMonitor, init_args: {{weights: "{}"}}}}]'],
        ),
        (
            QUICKSTART,
            "cocola.safetensors",
            ["--trainer.callbacks", '[{{class_path: callbacks.COCOLAMonitor, init_args: {{weights: "{}"}}}}]'],
        ),
    ],
)
def test_weights_in_a_config(
    config: str, file: str, options: list[str], kind: str, tmp_path: Path, mark: Path, lightning_command: Command
) -> None:
    path = set_trap(tmp_path / file, mark, kind)
    options = [option.format(path) for option in options]
    root = ("--trainer.default_root_dir", tmp_path / "run", "--data.init_args.root", tmp_path / "none")
    assert str(path) in refused(lightning_command("fit", "--config", REPOSITORY / config, *options, *root))


@pytest.mark.parametrize("kind", KINDS)
def test_weights_of_metrics(kind: str, tmp_path: Path, mark: Path) -> None:
    path = set_trap(tmp_path / "weights.ckpt", mark, kind)
    for load in (BeatThis, VGGish, pretrained_cocola):
        with pytest.raises(UserError) as refusal:
            load(str(path))
        assert "`False`" not in str(refusal.value)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("file", "arguments"),
    [
        ("evil.ckpt", ["describe", "{}"]),
        ("evil.ckpt", ["play", "--checkpoint", "{}", "--mix", "x.wav", "--instrument", "Bass", "--out", "y"]),
        ("evil.safetensors", ["play", "--checkpoint", "{}", "--mix", "x.wav", "--out", "y"]),
        ("evil.safetensors", ["publish", "{}", "--out", "y.safetensors"]),
        ("evil.ckpt", ["average", "{}", "liveband-wide", "--out", "y.ckpt"]),
        ("evil.safetensors", ["codec", "roundtrip", "--codec", "{}", "x.wav", "y.wav"]),
        ("evil.ckpt", ["codec", "roundtrip", "--codec", "livejam.codecs.Music2Latent.from_weights", "--codec.weights"]),
        ("evil.yaml", ["codec", "roundtrip", "--codec", "{}", "x.wav", "y.wav"]),
        ("evil.ckpt", ["weights", "import-stable-audio", "config.json", "{}", "--out", "z.ckpt"]),
        ("evil.safetensors", ["weights", "import-stable-audio", "config.json", "{}", "--out", "z.ckpt"]),
        ("results.json", ["compare", "{}"]),
        ("answers.csv", ["listening-test", "analyse", "{}"]),
        ("evil.wav", ["codec", "roundtrip", "--codec", "pocket", "{}", "y.wav"]),
    ],
)
def test_files_given_to_livejam(
    file: str, arguments: list[str], kind: str, tmp_path: Path, mark: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = set_trap(tmp_path / file, mark, kind)
    diffusion = {"type": "dit", "config": {"io_channels": 4, "embed_dim": 8, "depth": 1, "num_heads": 2}}
    (tmp_path / "config.json").write_text(json.dumps({"model": {"diffusion": diffusion}}))
    words = [word.replace("config.json", str(tmp_path / "config.json")).format(path) for word in arguments]
    if words[-1] == "--codec.weights":
        words += [str(path), "x.wav", "y.wav"]
    refused((livejam_cli.main(words), capfd.readouterr().err))


SOME_CODE = "!!python/object/apply:builtins.eval [\"open({mark!r}, 'w').close()\"]"


@pytest.mark.parametrize("place", ["seed_everything: {}", "trainer: {{max_epochs: {}}}", "model: {}", "data: {}"])
def test_yaml_of_the_lightning_command(place: str, toy: Path, mark: Path, lightning_command: Command) -> None:
    overlay = toy.with_name("overlay.yaml")
    overlay.write_text(place.format(SOME_CODE.format(mark=str(mark))))
    refused(lightning_command("fit", "--config", toy, "--config", overlay))
    code = SOME_CODE.format(mark=str(mark))
    for option in ("--seed_everything", "--trainer.max_epochs", "--model", "--model.init_args.width"):
        refused(lightning_command("fit", "--config", toy, option, code))


def test_yaml_beside_songs_and_of_a_codec(tmp_path: Path, mark: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code = SOME_CODE.format(mark=str(mark))
    song = tmp_path / "songs/train/Track00001"
    (song / "stems").mkdir(parents=True)
    (song / "metadata.yaml").write_text(f"stems: {code}\n")
    (tmp_path / "codec.yaml").write_text(f"class_path: {code}\n")
    for words in (
        ["data", "index", str(tmp_path / "songs")],
        ["codec", "roundtrip", "--codec", str(tmp_path / "codec.yaml"), "x.wav", "y.wav"],
    ):
        refused((livejam_cli.main(words), capfd.readouterr().err))


LOADERS = {
    "torch.load": {"livejam/checkpoints/file.py"},
    "torch.hub.load_state_dict_from_url": set(),
    "torch.jit.load": set(),
    "pickle.load": set(),
    "pickle.loads": set(),
    "pickle.Unpickler": set(),
    "joblib.load": set(),
    "yaml.unsafe_load": set(),
    "yaml.full_load": set(),
    "yaml.load": {"datamodules/foreign_files.py"},  # with CSafeLoader
    "np.load": {"datamodules/stem_audio.py"},  # which refuses objects unless it is told otherwise
}
"""Whatever may unpickle → the files that call it, each of which is tried above or below."""


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_what_could_unpickle_is_called_in_known_places_only(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            assert relative(path) in LOADERS.get(ast.unparse(node.func), {relative(path)})
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
            assert "allow_pickle" not in keywords
            if ast.unparse(node.func).endswith(".from_pretrained") and "Tokenizer" not in ast.unparse(node.func):
                assert keywords.get("use_safetensors") == "True"
            assert keywords.get("weights_only", "True") in ("True", "weights_only") or "save" in ast.unparse(node.func)


def test_decoded_songs(tmp_path: Path, mark: Path) -> None:
    from datamodules.stem_audio import StemAudioDataModule

    data = StemAudioDataModule(str(write_tree(tmp_path / "songs", train=1)), str(tmp_path / "cache"))
    cached = data._cached(data._songs("train")[0])
    cached.parent.mkdir(parents=True)
    np.save(cached, np.array([Trap(mark)], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"Track00001-\w+\.npy.*delete"):
        data._open("train")
