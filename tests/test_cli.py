"""Both console scripts: what matches follows overrides, and a mistake is one readable line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from toy_recipe import InterruptedRecipe, ToyData, ToyRecipe

from lightning_modules import cli as lightning_cli
from lightning_modules.config_errors import explain
from livejam.cli import main as livejam_cli
from livejam.errors import UserError
from livejam.shipped_configs import find_shipped

Command = Callable[..., tuple[int, str]]

TOY = """
seed_everything: 1
trainer:
  default_root_dir: run
  max_epochs: 1
  accelerator: cpu
  enable_progress_bar: false
  enable_model_summary: false
  callbacks: [{class_path: callbacks.InterruptCheckpoint}]
  logger:
    class_path: lightning.pytorch.loggers.TensorBoardLogger
    init_args: {save_dir: "${trainer.default_root_dir}", name: null, version: log}
model:
  class_path: toy_recipe.ToyRecipe
  init_args:
    width: 16
    codec:
      class_path: toy_recipe.ToyCodec
      init_args: {channels: 5}
data:
  class_path: toy_recipe.ToyData
  init_args:
    width: ${model.init_args.width}
    crop: ${model.init_args.frames}
"""


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("LIVEJAM_DEBUG", raising=False)
    path = tmp_path / "toy.yaml"
    path.write_text(TOY)
    return path


def recipe() -> ToyRecipe:
    assert ToyRecipe.latest is not None
    return ToyRecipe.latest


def data() -> ToyData:
    assert ToyData.latest is not None
    return ToyData.latest


class TestLightning:
    def test_trains_and_keeps_its_config(self, toy: Path, lightning_command: Command) -> None:
        for again in ([], ["--overwrite"]):  # the second start overwrites config.yaml
            assert lightning_command("fit", "--config", toy, *again)[0] == 0
        config = yaml.safe_load((toy.parent / "run/log/config.yaml").read_text())
        assert config["model"]["init_args"]["frames"] == 3, "defaults are written out"
        path = next(toy.parent.glob("run/**/*.ckpt"))
        checkpoint = torch.load(path, weights_only=True)
        assert checkpoint["config"]["model"]["init_args"]["codec"]["init_args"] == {"channels": 5}

    def test_interpolation_and_links_follow_overrides(self, toy: Path, lightning_command: Command) -> None:
        overlay = toy.with_name("overlay.yaml")
        overlay.write_text("model: {init_args: {width: 24, codec: {init_args: {channels: 7}}}}")
        status, err = lightning_command(
            "fit", "--config", toy, "--config", overlay, "--model.init_args.frames", "11", "--trainer.fast_dev_run", "1"
        )
        assert status == 0, err
        assert data().width == recipe().width == 24
        assert data().crop == recipe().frames == 11
        assert data().codec is recipe().codec
        assert data().codec.channels == 7

    def test_overlay_replaces_a_list(self, toy: Path, lightning_command: Command, tmp_path: Path) -> None:
        first, second = tmp_path / "first.yaml", tmp_path / "second.yaml"
        timer = "{class_path: lightning.pytorch.callbacks.Timer}"
        first.write_text(f"trainer: {{callbacks: [{timer}, {timer}]}}")
        second.write_text(f"trainer: {{callbacks: [{timer}]}}")
        arguments = ("fit", "--config", toy, "--config", first, "--config", second, "--trainer.fast_dev_run", "1")
        assert lightning_command(*arguments)[0] == 0
        assert sum(type(callback).__name__ == "Timer" for callback in recipe().trainer.callbacks) == 1

    def test_a_list_as_long_as_an_earlier_one_replaces_it_too(self, toy: Path, lightning_command: Command) -> None:
        """The parser alone would leave the first timer's interval in the second one."""
        first, second = toy.with_name("first.yaml"), toy.with_name("second.yaml")
        first.write_text("trainer: {callbacks: [{class_path: Timer, init_args: {interval: epoch}}]}")
        second.write_text("trainer: {callbacks: [{class_path: Timer}]}")
        arguments = ("fit", "--config", toy, "--config", first, "--config", second, "--trainer.fast_dev_run", "1")
        assert lightning_command(*arguments)[0] == 0
        (timer,) = [callback for callback in recipe().trainer.callbacks if type(callback).__name__ == "Timer"]
        assert timer._interval == "step"

    def test_a_file_goes_on_top_of_its_base(
        self, toy: Path, lightning_command: Command, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Found beside the file, not beside who types; what is printed is complete and needs no base."""
        (toy.parent / "variants").mkdir()
        (toy.parent / "elsewhere").mkdir()
        wide = toy.parent / "variants/wide.yaml"
        wide.write_text("base: ../toy.yaml\nmodel.init_args: {width: 24}\n")
        longer = toy.parent / "variants/longer.yaml"
        longer.write_text("base: wide.yaml\ntrainer: {max_epochs: 2}\n")
        monkeypatch.chdir(toy.parent / "elsewhere")
        assert lightning_command("fit", "--config", longer, "--trainer.fast_dev_run", "1")[0] == 0
        assert (data().width, recipe().trainer.max_epochs) == (24, 1)
        monkeypatch.setattr("sys.argv", ["lightning", "fit", "--config", str(longer), "--print_config"])
        with pytest.raises(SystemExit):
            lightning_cli.main()
        printed = yaml.safe_load(capfd.readouterr().out)
        assert (printed["trainer"]["max_epochs"], printed["model"]["init_args"]["width"]) == (2, 24)
        assert "base" not in printed

    @pytest.mark.parametrize(
        ("base", "says"),
        [
            ("nowhere.yaml", "there is no file nowhere.yaml"),
            ("quickstrt", "did you mean quickstart?"),
            ("overlay.yaml", "overlay.yaml is based on itself"),
            ("[toy.yaml]", "line 1: base is one file"),
        ],
    )
    def test_a_wrong_base_is_one_line(self, toy: Path, lightning_command: Command, base: str, says: str) -> None:
        path = toy.with_name("overlay.yaml")
        path.write_text(f"base: {base}\ntrainer: {{max_epochs: 2}}\n")
        status, err = lightning_command("fit", "--config", path)
        assert (status, err.count("\n")) == (2, 1), err
        assert says in err

    def test_a_config_with_earlier_names_is_read(
        self, toy: Path, lightning_command: Command, capfd: pytest.CaptureFixture[str]
    ) -> None:
        """As a run saved it before the names changed."""
        old = toy.with_name("old.yaml")
        old.write_text("model: {init_args: {past: {class_path: livejam.past.ImposedPast}}}")
        assert lightning_command("fit", "--config", "lmdm/base_pocket", "--config", old, "--print_config") == (0, "")

    def test_shipped_configs_are_found_by_name_unless_a_file_has_it(
        self, toy: Path, lightning_command: Command
    ) -> None:
        for name in ("quickstart", "configs/lmdm/blockcausal_pocket.yaml", "liveband/pocket"):
            assert lightning_command("fit", "--config", name, "--config", "overlays/slurm", "--print_config") == (0, "")
        Path("quickstart").write_text("trainer: {max_epoch: 3}")
        assert "'trainer.max_epoch'; did you mean" in lightning_command("fit", "--config", "quickstart")[1]
        status, err = lightning_command("fit", "--config", "no_sink")
        assert (status, err.count("\n")) == (2, 1)
        assert "did you mean overlays/no_sink" in err

    def test_test_runs_untrained_and_restores_a_checkpoint(self, toy: Path, lightning_command: Command) -> None:
        assert lightning_command("test", "--config", toy)[0] == 0
        untrained = float(recipe().trainer.callback_metrics["weight"])
        assert lightning_command("fit", "--config", toy)[0] == 0
        trained = float(recipe().layer.weight.square().sum())
        (path,) = toy.parent.glob("run/**/*.ckpt")
        assert lightning_command("test", "--config", toy, "--ckpt_path", path)[0] == 0
        assert float(recipe().trainer.callback_metrics["weight"]) == pytest.approx(trained)
        assert trained != pytest.approx(untrained)

    def test_ctrl_c_keeps_a_checkpoint_to_go_on_from(self, toy: Path, lightning_command: Command) -> None:
        assert lightning_command("fit", "--config", toy)[0] == 0
        uninterrupted = recipe().layer.weight.clone()
        toy.write_text(TOY.replace("ToyRecipe", InterruptedRecipe.__name__))
        assert lightning_command("fit", "--config", toy, "--overwrite")[0] == 1
        kept = toy.parent / "run/interrupted.ckpt"
        assert lightning_command("fit", "--config", toy, "--ckpt_path", kept)[0] == 0
        assert len(recipe().seen) == 4, "the four batches that were left"
        assert torch.equal(recipe().layer.weight, uninterrupted)

    @pytest.mark.parametrize("subcommand", ["fit", "validate", "test", "predict"])
    def test_help(self, subcommand: str, lightning_command: Command) -> None:
        assert lightning_command(subcommand, "--help") == (0, "")

    @pytest.mark.parametrize(
        ("overlay", "says"),
        [
            ("trainer: {max_epoch: 3}", "'trainer.max_epoch'; did you mean 'trainer.max_epochs'?"),
            ("modle: {init_args: {width: 3}}", "did you mean 'model'?"),
            ("model: {init_args: {widht: 3}}", "has no option 'widht'; did you mean 'width'?"),
            ("model: {init_args: {width: wide}}", "model.width: expected"),
            ("model: {class_path: toy_recipe.ToyRecipes}", "did you mean 'ToyRecipe'?"),
            ("model: {class_path: lightning_module.R3GAN}", "did you mean 'lightning_modules'?"),
            ("model: {class_path: lightning_modules.R3GAM}", "did you mean 'R3GAN'?"),
            ("model: {init_args: {codec: {class_path: toy_recipe.ToyKodec}}}", "did you mean 'ToyCodec'?"),
            ("model: {init_args: {codec: {class_path: toy_recipe.ToyData}}}", "is no ToyCodec"),
            ("model: {init_args: {codec: {init_args: {channel: 3}}}}", "model.codec: toy_recipe.ToyCodec has no"),
            ("model: {init_args: {optimizer: {class_path: torch.optim.Adamm}}}", "did you mean 'Adam'?"),
            ("data: {init_args: {crop: '${model.init_args.frame}'}}", "interpolation"),
            ("trainer: {callbacks: [{class_path: callbacks.FADMonitr}]}", "did you mean 'FADMonitor'?"),
            ("trainer: [", "overlay.yaml"),
        ],
    )
    def test_a_mistake_in_a_file_is_one_line(
        self, toy: Path, lightning_command: Command, overlay: str, says: str
    ) -> None:
        path = toy.with_name("overlay.yaml")
        path.write_text(overlay)
        status, err = lightning_command("fit", "--config", toy, "--config", path)
        assert (status, err.count("\n")) == (2, 1), err
        assert says in err

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            (["fit", "--config", "toy.yml"], "no file"),
            (["fit", "--confg", "toy.yaml"], "did you mean '--config'?"),
            (["fit", "--config", "toy.yaml", "--trainer.max_epoch", "3"], "did you mean '--trainer.max_epochs'?"),
            (["fit", "--config", "toy.yaml", "--model.init_args.widht", "3"], "did you mean 'width'?"),
            (["fit", "--config", "toy.yaml", "--model", "toy_recipe.ToyRecip"], "did you mean 'ToyRecipe'?"),
            (["fit", "--config", "toy.yaml", "--ckpt_path", "run/last.ckpt"], "run/last.ckpt does not exist"),
            (["fitt", "--config", "toy.yaml"], "did you mean 'fit'?"),
            (["fit"], "needs model"),
            ([], "fit, validate, test or predict"),
        ],
    )
    def test_a_mistake_on_the_line_is_one_line(
        self, toy: Path, lightning_command: Command, arguments: list[str], says: str
    ) -> None:
        status, err = lightning_command(*arguments)
        assert (status, err.count("\n")) == (2, 1), err
        assert says in err

    def test_an_error_in_the_data_is_one_line(self, toy: Path, lightning_command: Command) -> None:
        toy.write_text(TOY.replace("ToyRecipe", "RefusingRecipe"))
        status, err = lightning_command("fit", "--config", toy)
        assert status == 2
        assert err.splitlines()[-1] == "error: the songs are missing; render some"
        assert "Traceback" not in err

    def test_a_value_that_a_constructor_refuses_is_one_line(self, toy: Path, lightning_command: Command) -> None:
        status, err = lightning_command("fit", "--config", toy, "--model.init_args.frames", "-1")
        assert status == 2
        assert err.splitlines()[-1] == "error: frames must not be negative"
        assert "Traceback" not in err

    def test_debug_shows_the_traceback(
        self, toy: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("LIVEJAM_DEBUG", "1")
        with pytest.raises(UserError, match="no file"):
            lightning_command("fit", "--config", "nope.yaml")

    def test_what_cannot_be_explained_is_still_one_short_line(self) -> None:
        assert explain("something\n  else\n" * 100).count("\n") == 0
        assert len(explain("something\n  else\n" * 100)) < 500


class TestLivejam:
    @pytest.mark.parametrize(
        "command",
        [
            [],
            ["data"],
            *(["data", action] for action in ("render", "import", "index", "download")),
            *(["codec", action] for action in ("roundtrip", "compare")),
            *(["weights", action] for action in ("list", "fetch", "verify")),
            *(["play"], ["describe"], ["doctor"], ["configs"], ["configs", "copy"]),
        ],
    )
    def test_help_has_an_example(self, command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(SystemExit) as stop:
            livejam_cli.main([*command, "--help"])
        assert stop.value.code == 0
        text = capsys.readouterr().out
        assert command == ["data"] or "\n  livejam " in text

    @pytest.mark.parametrize(
        ("arguments", "says"),
        [
            ([], "COMMAND"),
            (["plai"], "did you mean play?"),
            (["data", "rendr"], "did you mean render?"),
            (["data", "render", "--songs", "3"], "--out"),
            (["data", "render", "--out", "x", "--songs", "three"], "three"),
            (["data", "render", "--out", "x", "--songs", "0"], "at least one song"),
            (["data", "render", "--out", "x", "--songs", "1", "--sed", "3"], "did you mean --seed?"),
            (["data", "index", "nowhere"], "livejam data render"),
            (["describe", "nowhere.ckpt"], "no checkpoint nowhere.ckpt"),
            (["describe", "broken.ckpt"], "is damaged or was not copied whole"),
            (["describe", "foreign.ckpt"], "was not written by a livejam recipe"),
            (
                ["play", "--checkpoint", "x", "--mix", "y", "--instrument", "Kazoo", "--out", "z.wav"],
                "no instrument 'Kazoo'",
            ),
        ],
    )
    def test_a_mistake_is_one_line(
        self,
        arguments: list[str],
        says: str,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
    ) -> None:
        monkeypatch.chdir(tmp_path)
        Path("broken.ckpt").write_bytes(b"PK\x03\x04 no more")
        torch.save({"state_dict": {}}, "foreign.ckpt")
        assert livejam_cli.main(arguments) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert says in err

    def test_shipped_configs_are_listed_and_copied(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.chdir(tmp_path)
        assert livejam_cli.main(["configs"]) == 0
        listed = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines() if " " in line)
        assert listed["quickstart"] == "The demo: LiveBand on rendered songs, in minutes, on two CPU cores"
        assert listed["slurm/single.sbatch"].startswith("One GPU")
        assert {"lmdm/encdec_pocket", "overlays/no_sink", "defaults"} <= listed.keys()
        assert livejam_cli.main(["configs", "copy", "lmdm/encdec_pocket", "mine"]) == 0
        assert Path("mine/encdec_pocket.yaml").read_text() == find_shipped("lmdm/encdec_pocket").read_text()
        Path("mine/encdec_pocket.yaml").write_text("changed")
        assert livejam_cli.main(["configs", "copy", "lmdm/encdec_pocket", "mine"]) == 2
        assert "exists and stays as it is" in capsys.readouterr().err
        assert Path("mine/encdec_pocket.yaml").read_text() == "changed"
        assert livejam_cli.main(["configs", "copy", "encdec_pocket"]) == 2
        assert "did you mean lmdm/encdec_pocket" in capsys.readouterr().err

    def test_index_lists_what_is_there(self, rendered_songs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert livejam_cli.main(["data", "index", str(rendered_songs)]) == 0
        assert "3 songs" in capsys.readouterr().out

    def test_doctor_finds_this_machine_healthy(self, capsys: pytest.CaptureFixture[str]) -> None:
        status = livejam_cli.main(["doctor"])
        text = capsys.readouterr().out
        assert status == 0, text
        assert "stream equals offline" in text

    def test_console_scripts_are_installed(self) -> None:
        for name in ("livejam", "lightning"):
            script = Path(sys.executable).with_name(name)
            done = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stderr
            assert f"usage: {name}" in done.stdout


def test_a_reader_may_have_seen_enough() -> None:
    """As in `livejam configs | head -1`."""
    command = [sys.executable, "-c", "import sys; from livejam.cli.main import main; sys.exit(main(['configs']))"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(timeout=60) == 0
        assert process.stderr.read() == ""
