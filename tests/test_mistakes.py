"""What users do wrong, one line each: files of the wrong sort, numbers out of range, names of nothing."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from commands import REPOSITORY
from test_cli import TOY

from livejam.cli import main as livejam_cli

Command = Callable[..., tuple[int, str]]


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("LIVEJAM_DEBUG", raising=False)
    (tmp_path / "toy.yaml").write_text(TOY)
    return tmp_path / "toy.yaml"


def one_line(result: tuple[int, str]) -> str:
    """The line of a command that refused, after whatever it reported before."""
    status, err = result
    assert status == 2, err
    assert "Traceback" not in err
    line = err.splitlines()[-1]
    assert line.startswith("error: ")
    assert "livejam.errors" not in line
    return line


def named(part: object) -> str:
    """Of a test: what is typed."""
    return " ".join(part) if isinstance(part, list) else ""


ODD_FILES = {
    "empty": (b"", "holds no options"),
    "only a comment": (b"# later\n", "holds no options"),
    "a list": (b"- trainer\n", "holds no options"),
    "a word": (b"hello\n", "holds no options"),
    "a key twice": (b"trainer: {max_epochs: 1}\ntrainer: {devices: 1}\n", "trainer is given twice"),
    "a key twice inside": (b"trainer:\n  devices: 1\n  devices: 2\n", "line 2: devices is given twice"),
    "a tab": (b"trainer:\n\tmax_epochs: 1\n", "line 2, is not valid YAML"),
    "bytes": (b"\x00\xff\xfe", "is not a YAML file"),
    "two documents": (b"trainer: {}\n---\nmodel: {}\n", "is not valid YAML"),
    "UTF-16": ("trainer: {}".encode("utf-16"), "is not a YAML file"),
    "itself": (b"trainer: &a\n  logger: *a\n", "an alias stands for what it is a part of"),
    "too deep": (b"[" * 3000, "is nested too deeply"),
    "no trainer": (b"trainer:\n", "trainer is empty"),
    "no model": (b"model: null\n", "model is empty"),
    "an unknown section": (b"foo: 3\n", "no option 'foo'"),
    "a number as key": (b"3: 3\n", "no option '3'"),
    "a subcommand": (b"fit: {trainer: {max_epochs: 1}}\n", "did you mean 'trainer.max_epochs'"),
    "a list as model": (b"model: [1]\n", "model: Not a valid subclass"),
    "no class": (b"model: {class_path: null}\n", "class_path is no name of a class"),
    "a number as class": (b"model: {class_path: 3}\n", "class_path is no name of a class"),
    "a function as class": (b"model: {class_path: os.system}\n", "os.system is no LightningModule"),
    "a module as class": (b"model: {class_path: os}\n", "expected a dot import path"),
    "a module that lacks another": (b"model: {class_path: lacking.X}\n", "no Python module 'nowhere_to_be_found'"),
    "a module with a mistake": (b"model: {class_path: mistaken.X}\n", "model: "),
    "a codec without an encoder": (
        b"model: {init_args: {codec: {class_path: livejam.codecs.Codec}}}\n",
        "model.codec: ",
    ),
}


@pytest.mark.parametrize("name", ODD_FILES)
def test_an_odd_config(name: str, toy: Path, lightning_command: Command) -> None:
    content, says = ODD_FILES[name]
    toy.with_name("odd.yaml").write_bytes(content)
    toy.with_name("lacking.py").write_text("import nowhere_to_be_found\n")
    toy.with_name("mistaken.py").write_text("class X(:\n")
    assert says in one_line(lightning_command("fit", "--config", toy, "--config", "odd.yaml"))


def test_an_unknown_section_where_the_config_is_printed(toy: Path, lightning_command: Command) -> None:
    toy.with_name("odd.yaml").write_text("foo: 3\n")
    arguments = ("fit", "--config", toy, "--config", "odd.yaml", "--print_config")
    assert "no option 'foo'" in one_line(lightning_command(*arguments))


def test_a_merged_key_is_no_key_twice(toy: Path, lightning_command: Command) -> None:
    overlay = toy.with_name("merge.yaml")
    overlay.write_text("trainer:\n  <<: &base {max_epochs: 3}\n  max_epochs: 2\n")
    assert lightning_command("fit", "--config", toy, "--config", overlay, "--print_config") == (0, "")


ODD_OPTIONS = [
    (["--config", "."], "is a folder"),
    (["--config", "http://127.0.0.1:1/x.yaml"], "there is no file"),
    (["--config", "null"], "there is no file"),
    (["--config"], "expected one argument"),
    (["--print_config=foo"], 'Invalid option "foo"'),
    (["--seed_everything", "-1"], "not in bounds"),
    (["--seed_everything", "many"], "seed_everything: expected bool or int"),
    (["--trainer.max_epochs", "1.5"], "trainer.max_epochs: expected int"),
    (["--trainer.max_epochs", "-3"], "non-negative integer or -1"),
    (["--trainer.max_steps", "-5"], "non-negative integer or -1"),
    (["--trainer.devices", "0"], "not a valid input"),
    (["--trainer.num_nodes", "0"], "positive integer"),
    (["--trainer.accelerator", "abacus"], "invalid accelerator"),
    (["--trainer.strategy", "none"], "invalid strategy"),
    (["--trainer.precision", "8"], "16-mixed"),
    (["--trainer.deterministic", "maybe"], "expected bool or one of 'warn'"),
    (["--trainer.gradient_clip_val", "-1"], "trainer.gradient_clip_val is -1; it must be 0 or more"),
    (["--trainer.gradient_clip_val", ".nan"], "trainer.gradient_clip_val is nan"),
    (["--trainer.gradient_clip_algorithm", "scissors"], "Allowed algorithms"),
    (["--trainer.accumulate_grad_batches", "0"], "trainer.accumulate_grad_batches is 0; it must be 1 or more"),
    (["--trainer.check_val_every_n_epoch", "0"], "it must be 1 or more"),
    (["--trainer.val_check_interval", "0"], "it must be more than 0"),
    (["--trainer.val_check_interval", "1.5"], "val_check_interval"),
    (["--trainer.log_every_n_steps", "-1"], "it must be 0 or more"),
    (["--trainer.limit_train_batches", "-1"], "limit_train_batches"),
    (["--trainer.overfit_batches", "-1"], "overfit_batches"),
    (["--trainer.fast_dev_run", "-1"], "fast_dev_run"),
    (["--trainer.max_time", "soon"], "DD:HH:MM:SS"),
    (["--trainer.profiler", "eyes"], "profiler"),
    (["--trainer.callbacks", "foo"], "trainer.callbacks: "),
    (["--trainer.logger", "foo"], "trainer.logger: "),
    (["--trainer.default_root_dir", "/proc/none/run"], "/proc/none"),
    (["--trainer.default_root_dir", "toy.yaml/run"], "Not a directory"),
    (["--model.init_args.width", "-3"], "cannot be made of these options"),
    (["--model.init_args.width", "1000000000000"], "cannot be made of these options"),
    (["--model.init_args.optimizer", "{class_path: torch.optim.Adam, init_args: {lr: -1}}"], "Invalid learning rate"),
    (["--model.init_args.optimizer", "{class_path: torch.optim.Adam, init_args: {betas: [1, 2]}}"], "Invalid beta"),
    (["--ckpt_path", "."], "is a folder"),
    (["--data", "null"], "train_dataloader"),
]


@pytest.mark.parametrize(("options", "says"), ODD_OPTIONS, ids=named)
def test_an_odd_option(options: list[str], says: str, toy: Path, lightning_command: Command) -> None:
    assert says in one_line(lightning_command("fit", "--config", toy, *options))


@pytest.mark.parametrize(
    ("config", "option", "value", "says"),
    [
        ("quickstart", "data.init_args.batch_size", "0", "data.batch_size is 0; it must be 1 or more"),
        ("quickstart", "data.init_args.eval_seconds", ".nan", "data.eval_seconds is nan; it must be more than 0"),
        ("quickstart", "model.init_args.generator.init_args.width", "-8", "model.generator.width is -8"),
        (
            "quickstart",
            "model.init_args.ema_decay",
            "1",
            "ema_decay is 1.0; it must be 0 or more and less than 1",
        ),
        ("lmdm/blockcausal_pocket", "model.init_args.prompt_dropout", "1.5", "it must be from 0 to 1"),
        ("codec/pocket", "data.init_args.mix_share", "-0.5", "data.mix_share is -0.5; it must be from 0 to 1"),
        ("bank/pocket", "data.init_args.submixes_per_song", "0", "it must be 1 or more"),
        ("quickstart", "model.init_args.generator.init_args.latent_channels", "8", "but codec pocket has 96"),
        ("quickstart", "model.init_args.discriminator.init_args.classes", "18", "must be 19 or more"),
        ("codec/pocket", "data.init_args.lowest_gain_db", "9", "more than highest_gain_db"),
        ("codec/pocket", "model.init_args.code_frames", "96", "needs 112"),
        ("quickstart", "trainer.overfit_batches", "1", "drawn again in every epoch"),
        ("codec/pocket", "trainer.overfit_batches", "0.5", "drawn again in every epoch"),
    ],
)
def test_an_odd_number_in_a_shipped_config(
    config: str, option: str, value: str, says: str, lightning_command: Command
) -> None:
    path = REPOSITORY / f"configs/{config}.yaml"
    subcommand = "predict" if config.startswith("bank") else "fit"
    assert says in one_line(lightning_command(subcommand, "--config", path, f"--{option}", value))


def odd_checkpoints(trained: Path) -> dict[str, object]:
    """What a checkpoint may turn into."""
    whole = torch.load(trained, weights_only=True)
    content = trained.read_bytes()
    return {
        "empty": b"",
        "text": b"no checkpoint at all\n",
        "truncated": content[: len(content) // 2],
        "truncated at its end": content[:-100],
        "bare weights": whole["state_dict"],
        "weights in a dictionary": {"state_dict": whole["state_dict"]},
        "weights only": {name: value for name, value in whole.items() if name != "optimizer_states"},
        "other weights": {**whole, "state_dict": {"layer.weight": torch.zeros(3, 3)}},
        "no weights": {**whole, "state_dict": 3},
        "damaged callbacks": {**whole, "callbacks": 3},
        "damaged loops": {**whole, "loops": {"fit_loop": {"epoch_progress": 3}}},
        "no version": {**whole, "pytorch-lightning_version": None},
        "another optimizer": {**whole, "optimizer_states": [{"state": {}, "param_groups": []}]},
    }


@pytest.mark.filterwarnings("ignore:.*migrate.*")
def test_an_odd_checkpoint(toy: Path, lightning_command: Command) -> None:
    assert lightning_command("fit", "--config", toy)[0] == 0
    (trained,) = toy.parent.glob("run/**/*.ckpt")
    elsewhere = ("--trainer.default_root_dir", "elsewhere", "--overwrite")
    for name, content in odd_checkpoints(trained).items():
        path = toy.with_name(f"{name.replace(' ', '_')}.ckpt")
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        line = one_line(lightning_command("fit", "--config", toy, *elsewhere, "--ckpt_path", path))
        assert "the checkpoint does not fit" in line or path.name in line, (name, line)


def test_what_goes_wrong_in_the_system_is_one_line(toy: Path, lightning_command: Command) -> None:
    """A full disk and a missing package while it runs; a fault of the code is not hidden."""
    errors = {
        "full": "OSError(28, 'No space left on device', 'last.ckpt')",
        "lacking": "ModuleNotFoundError(name='gym')",
    }
    for name, error in {**errors, "faulty": "ZeroDivisionError()"}.items():
        step = f"    def training_step(self, batch, batch_idx):\n        raise {error}\n"
        toy.with_name(f"{name}.py").write_text(f"import toy_recipe\nclass M(toy_recipe.ToyRecipe):\n{step}")
    run = ("fit", "--config", toy, "--model.class_path")
    assert "last.ckpt: the disk is full" in one_line(lightning_command(*run, "full.M"))
    assert "the package gym is not installed" in one_line(lightning_command(*run, "lacking.M"))
    with pytest.raises(ZeroDivisionError):
        lightning_command(*run, "faulty.M")


def test_folders_of_the_user_do_not_stand_before_ours(toy: Path) -> None:
    """The working directory comes last, in every process; a class that is only there is found."""
    for name in ("callbacks", "metrics", "datamodules", "livejam", "lightning_modules", "torch"):
        (toy.parent / name).mkdir()
        (toy.parent / name / "__init__.py").write_text("raise SystemExit('shadowed')\n")
    shutil.copy(REPOSITORY / "tests/toy_recipe.py", toy.with_name("mine.py"))
    toy.write_text(TOY.replace("toy_recipe.", "mine."))
    lightning = Path(sys.executable).with_name("lightning")
    command = [lightning, "fit", "--config", toy, "--trainer.devices", "2", "--trainer.fast_dev_run", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, cwd=toy.parent)
    assert done.returncode == 0, done.stderr


LOGS = """
import toy_recipe

class M(toy_recipe.ToyRecipe):
    def validation_step(self, batch, batch_idx):
        self.log("val/loss", 1.0)


class D(toy_recipe.ToyData):
    val_dataloader = toy_recipe.ToyData.train_dataloader
"""


def test_names_that_are_not_logged_are_answered_with_those_that_are(toy: Path, lightning_command: Command) -> None:
    toy.with_name("logs.py").write_text(LOGS)
    for name in ("EarlyStopping", "ModelCheckpoint"):
        callbacks = f"[{{class_path: lightning.pytorch.callbacks.{name}, init_args: {{monitor: val/fad}}}}]"
        arguments = (
            "--model.class_path",
            "logs.M",
            "--data.class_path",
            "logs.D",
            "--data.init_args.width",
            "16",
            "--trainer.callbacks",
            callbacks,
        )
        line = one_line(lightning_command("fit", "--config", toy, *arguments, "--overwrite"))
        assert "val/fad" in line
        assert "val/loss" in line


ODD_LIVEJAM = [
    (["describe", "text"], "something else than tensors"),
    (["describe", "."], "there is no checkpoint"),
    (["describe", "facts.ckpt"], "lacks what a livejam recipe writes"),
    (["describe", "weights.ckpt"], "lacks what a livejam recipe writes"),
    (["data", "render", "--out", "x", "--songs", "1", "--seed", "-1"], "--seed is -1; it must be 0 or more"),
    (["data", "render", "--out", "x", "--songs", "1", "--workers", "0"], "--workers is 0; it must be 1 or more"),
    (["data", "render", "--out", "x", "--songs", "-1"], "at least one song"),
    (["data", "render", "--out", "text/x", "--songs", "1", "--workers", "1"], "Not a directory"),
    (["data", "render", "--out", "x", "--songs", "1", "--soundfont", "text"], "no SoundFont"),
    (["data", "index", "text"], "no Slakh data set"),
    (["compare", "text"], "Not a directory"),
    (["compare", "words.json"], "not a table of results"),
    (["compare", "interval.json"], "not a table of results"),
    (["compare", "good.json", "--markdown", "text/table.md"], "text"),
    (["compare", "good.json", "--markdown", "/proc/none/table.md"], "/proc/none"),
    (["listening-test", "analyse", "text"], "not a file of answers"),
    (["codec", "roundtrip", "--codec", "pocket", "short.wav", "out.wav"], "too short for a single sample"),
    (["codec", "roundtrip", "--codec", "pocket", "empty.wav", "out.wav"], "cannot be read as audio"),
    (["codec", "roundtrip", "--codec", "pocket", "nan.wav", "out.wav"], "not finite"),
    (["codec", "roundtrip", "--codec", "pocket", "mix.wav", "text/out.wav"], "text"),
    (["codec", "roundtrip", "--codec", "width.yaml", "mix.wav", "out.wav"], "codec.width is -3; it must be 1 or more"),
    (["codec", "roundtrip", "--codec", "hop.yaml", "mix.wav", "out.wav"], "a hop that is a multiple of 16"),
    (["codec", "compare", "--codec", "pocket", "mix.wav", "--no-beats", "--seconds", "inf"], "--seconds is inf"),
    (["codec", "compare", "--codec", "pocket", "mix.wav", "--no-beats", "--seconds", "nan"], "--seconds is nan"),
    (["weights", "import-stable-audio", "text", "text", "--out", "x.ckpt"], "not a model_config.json"),
    (["weights", "import-stable-audio", "keys.json", "plain.ckpt", "--out", "x.ckpt"], "lacks 'embed_dim'"),
    (["compare", "good.json", "--markdown", "pipe", "--overwrite"], "pipe is not a file"),
    (["weights", "import-stable-audio", "number.json", "plain.ckpt", "--out", "x.ckpt"], "not a model_config.json"),
    (["weights", "import-stable-audio", "types.json", "plain.ckpt", "--out", "x.ckpt"], "describes no network"),
    (["weights", "import-stable-audio", "rate.json", "plain.ckpt", "--out", "x.ckpt"], "lacks 'pretransform'"),
    (["play", "--checkpoint", "text", "--mix", "mix.wav", "--instrument", "Bass", "--out", "x"], "something else"),
    (["play", "--checkpoint", "x", "--mix", "y", "--out", "z", "--seed", "-1"], "--seed is -1"),
]


def test_a_full_disk_under_a_sound_file(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Wherever one is written; soundfile says no more of it than this."""

    def full(options: object) -> int:
        raise soundfile.LibsndfileError(2)

    monkeypatch.setattr("livejam.cli.codec._compare", full)
    result = livejam_cli.main(["codec", "compare", "--codec", "pocket", "song.wav"]), capfd.readouterr().err
    assert "the disk may be full" in one_line(result)


@pytest.fixture
def odd_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    noise_NA = 0.1 * np.random.default_rng(0).standard_normal((22050, 2))
    soundfile.write("mix.wav", noise_NA, 44100)
    soundfile.write("nan.wav", np.full((22050, 2), np.nan, np.float32), 44100, subtype="FLOAT")
    soundfile.write("short.wav", noise_NA[:1], 384_000)
    Path("text").write_text("some words\n")
    Path("empty.wav").touch()
    os.mkfifo("pipe")
    torch.save({"state_dict": {}, "livejam": {}}, "facts.ckpt")
    torch.save({"state_dict": 3, "livejam": {"codec_spec": {}}}, "weights.ckpt")
    torch.save({"a": torch.zeros(1)}, "plain.ckpt")
    cell = {"value": 1.0, "drift": None, "count": 1}
    for name, change in {"good": {}, "words": {"value": "x"}, "interval": {"interval": 3}}.items():
        Path(f"{name}.json").write_text(json.dumps({"trained": {"beat_f1": {**cell, **change}}}))
    sizes = {"io_channels": 4, "embed_dim": 8, "depth": 1, "num_heads": 2}
    for name, config in {
        "keys": {"io_channels": 4},
        "types": {**sizes, "attn_kwargs": 3},
        "rate": sizes,
        "number": 3,
    }.items():
        described = {"model": {"diffusion": {"type": "dit", "config": config}}}
        Path(f"{name}.json").write_text(json.dumps(described))
    for name, option in {"width": "width: -3", "hop": "hop_samples: 7"}.items():
        Path(f"{name}.yaml").write_text(f"class_path: livejam.codecs.CausalCodec\ninit_args: {{{option}}}\n")


@pytest.mark.usefixtures("odd_files")
@pytest.mark.parametrize(("arguments", "says"), ODD_LIVEJAM, ids=named)
def test_an_odd_file_or_number_given_to_livejam(
    arguments: list[str], says: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert says in one_line((livejam_cli.main(arguments), capfd.readouterr().err))


@pytest.mark.usefixtures("odd_files")
def test_the_end_of_a_recording_takes_no_longer_than_its_beginning(capfd: pytest.CaptureFixture[str]) -> None:
    """A last piece of one sample is followed by as little silence as any other."""
    noise_NA, _ = soundfile.read("mix.wav")
    soundfile.write("one.wav", noise_NA[:1], 22050)
    assert livejam_cli.main(["codec", "roundtrip", "--codec", "pocket", "one.wav", "out.wav", "--stream"]) == 0
    assert soundfile.info("out.wav").frames == 1
