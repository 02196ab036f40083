"""Nothing is lost: a run destroys no other run, a dry run leaves nothing, and what is saved can be moved."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from commands import REPOSITORY, effective, overlays, relative
from test_cli import TOY
from test_configs import short_songs, tiny, tiny_overlay  # noqa: F401 (fixtures)
from toy_recipe import InterruptedRecipe, WholeRecipe

from lightning_modules import cli, run_folder

Command = Callable[..., tuple[int, str]]

SAME_RUN = (
    "untrained",
    "track_chords",
    "adaptation",
    "published",
    "published_metrics",
    "best",
    "export",
    "logger_csv",
    "logger_wandb",
    "logger_mlflow",
)
"""Overlays that change only how a run is tested, or what is kept of it, and where."""

TRAINED = [path for path in overlays() if path.stem not in (*SAME_RUN, "slurm")]

SUBCOMMANDS = ("fit", "validate", "test", "predict")

LAST = """
    - class_path: lightning.pytorch.callbacks.ModelCheckpoint
      init_args: {dirpath: "${trainer.default_root_dir}/checkpoints", filename: last, enable_version_counter: false}
"""

INTERRUPT = "  callbacks:\n    - class_path: callbacks.InterruptCheckpoint"


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A recipe that every subcommand runs and that keeps its last checkpoint as the shipped ones do."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "toy.yaml"
    whole = TOY.replace("ToyRecipe", "WholeRecipe").replace("ToyData", "WholeData").replace("    width: 16\n", "")
    whole = whole.replace("width: ${model.init_args.width}", "width: 8").replace("${model.init_args.frames}", "3")
    path.write_text(
        whole.replace("  callbacks: [{class_path: callbacks.InterruptCheckpoint}]\n", f"  callbacks:{LAST}")
    )
    return path


def contents(folder: Path) -> dict[str, str]:
    """Digest per file."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def seen() -> int:
    """Batches that the latest recipe was trained on."""
    assert WholeRecipe.latest is not None
    return len(WholeRecipe.latest.seen)


class TestAnotherRun:
    def test_is_not_overwritten_without_a_word(self, toy: Path, lightning_command: Command) -> None:
        assert lightning_command("fit", "--config", toy)[0] == 0
        before = contents(toy.parent / "run")
        status, err = lightning_command("fit", "--config", toy)
        assert status == 2
        assert err.splitlines()[-1] == (
            "error: run/checkpoints/last.ckpt is another run's: continue from it with --ckpt_path last, choose another "
            "folder with --trainer.default_root_dir, or start again in its place with --overwrite"
        )
        assert contents(toy.parent / "run") == before
        (toy.parent / "elsewhere").mkdir()
        kept = (toy.parent / "run/checkpoints/last.ckpt").rename(toy.parent / "elsewhere/last.ckpt")
        assert lightning_command("fit", "--config", toy, "--trainer.max_epochs", "2")[0] == 0
        status, err = lightning_command("fit", "--config", toy, "--ckpt_path", kept)
        assert status == 2, "it would go on from one run and overwrite another"
        assert "run/checkpoints/last.ckpt is another run's" in err

    def test_the_three_ways_out(self, toy: Path, lightning_command: Command) -> None:
        assert lightning_command("fit", "--config", toy)[0] == 0
        two = ("fit", "--config", toy, "--trainer.max_epochs", "2")
        assert (lightning_command(*two, "--ckpt_path", "last")[0], seen()) == (0, 8)
        own = toy.parent / "run/checkpoints/last.ckpt"
        assert lightning_command(*two, "--ckpt_path", own)[0] == 0
        assert (lightning_command(*two, "--overwrite")[0], seen()) == (0, 16)
        assert (lightning_command(*two, "--trainer.default_root_dir", "new")[0], seen()) == (0, 16)

    @pytest.mark.parametrize(
        "name", ["interrupted.ckpt", "hpc_ckpt_3.ckpt", "checkpoints/epoch=7.ckpt", "w.safetensors"]
    )
    def test_whatever_it_left(self, name: str, toy: Path, lightning_command: Command) -> None:
        """Also what was interrupted, what SLURM requeued, and exported weights."""
        left = toy.parent / "run" / name
        left.parent.mkdir(parents=True)
        left.touch()
        export = ("--model.init_args.export_path", "run/w.safetensors")
        status, err = lightning_command("fit", "--config", toy, *export)
        assert status == 2
        assert f"run/{name} is another run's" in err
        assert ("--ckpt_path run/" in err) == (left.suffix == ".ckpt")

    def test_where_its_config_keeps_checkpoints(self, toy: Path, lightning_command: Command) -> None:
        """In the run's folder itself, or anywhere else."""
        for folder in ("${trainer.default_root_dir}", "kept"):
            toy.write_text(toy.read_text().replace("${trainer.default_root_dir}/checkpoints", folder))
            root = ("--trainer.default_root_dir", toy.parent / f"run {folder[:1]}")
            assert lightning_command("fit", "--config", toy, *root)[0] == 0
            status, err = lightning_command("fit", "--config", toy, *root)
            assert status == 2
            assert "last.ckpt is another run's" in err
            toy.write_text(toy.read_text().replace(f'"{folder}"', '"${trainer.default_root_dir}/checkpoints"'))

    @pytest.mark.parametrize("config", ["quickstart", "codec/pocket", "cocola/pocket"])
    def test_is_noticed_before_songs_are_rendered(
        self, config: str, tmp_path: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The shipped configs, with their checkpoints and their exported weights."""
        monkeypatch.chdir(REPOSITORY)
        path = REPOSITORY / f"configs/{config}.yaml"
        exported = effective(path)["model"]["init_args"].get("export_path")
        left = tmp_path / "run" / (Path(exported).name if exported else "checkpoints/last.ckpt")
        left.parent.mkdir(parents=True)
        left.touch()
        root, songs = ("--trainer.default_root_dir", tmp_path / "run"), ("--data.init_args.root", tmp_path / "songs")
        status, err = lightning_command("fit", "--config", path, *root, *songs)
        assert status == 2
        assert f"{left} is another run's" in err
        assert [path for path in tmp_path.rglob("*") if path.is_file()] == [left]

    def test_a_requeued_job_goes_on(
        self, toy: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It types the same command again, and its newest checkpoint counts."""
        assert lightning_command("fit", "--config", toy)[0] == 0
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        assert (lightning_command("fit", "--config", toy, "--trainer.max_epochs", "3")[0], seen()) == (0, 16)

    def test_the_furthest_that_can_be_read_counts(
        self,
        toy: Path,
        lightning_command: Command,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        """Whatever its kind and its date: an older one is touched last, and the newest was cut short by a full disk."""
        toy.write_text(toy.read_text().replace("  callbacks:", INTERRUPT))
        run = toy.parent / "run"
        four = ("fit", "--config", toy, "--trainer.max_epochs", "4")
        last = run / "checkpoints/last.ckpt"
        assert lightning_command("fit", "--config", toy)[0] == 0
        older = shutil.copy(last, run.parent / "older.ckpt")
        assert lightning_command(*four[:3], "--trainer.max_epochs", "2", "--ckpt_path", "last")[0] == 0
        last.rename(run / "hpc_ckpt_1.ckpt")
        shutil.copy(older, last)
        content = (run / "hpc_ckpt_1.ckpt").read_bytes()
        (run / "interrupted.ckpt").write_bytes(content[: len(content) // 2])
        (run / "checkpoints/last-v1.ckpt").touch()
        (run / "checkpoints/.last.ckpt.x.ckpt").touch()
        before = {path: path.read_bytes() for path in run.rglob("*.ckpt")}
        status, err = lightning_command(*four, "--ckpt_path", "last")
        assert (status, seen()) == (0, 16), err
        assert f"left out: {run}/interrupted.ckpt is damaged or was not copied whole" in caplog.text
        assert not (run / "hpc_ckpt_1.ckpt").exists(), "superseded"
        assert (run / "interrupted.ckpt").exists(), "nobody knows what it is"
        for path, bytes_ in before.items():
            path.write_bytes(bytes_)
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        assert (lightning_command(*four)[0], seen()) == (0, 16)

    def test_a_job_told_to_overwrite_goes_on_from_its_own_alone(
        self, toy: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """It was requeued before it had saved anything: what lies there is the run that it takes the place of."""
        assert lightning_command("fit", "--config", toy, "--trainer.max_epochs", "2")[0] == 0
        left = [toy.parent / "run" / name for name in ("interrupted.ckpt", "hpc_ckpt_1.ckpt")]
        for path in left:
            shutil.copy(toy.parent / "run/checkpoints/last.ckpt", path)
        task = {"RESTART_COUNT": "1", "JOB_ID": "7", "NTASKS": "1", "NTASKS_PER_NODE": "1", "NODEID": "0"}
        for name, value in (task | {"PROCID": "0", "LOCALID": "0"}).items():
            monkeypatch.setenv(f"SLURM_{name}", value)
        assert (lightning_command("fit", "--config", toy, "--overwrite")[0], seen()) == (0, 8)
        assert not any(path.exists() for path in left), "a later run would go on from them"

    def test_a_job_that_gets_no_further_comes_to_an_end(
        self, toy: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Ten restarts from one checkpoint, or from none; what another job saved is not its progress."""
        toy.write_text(toy.read_text().replace("  callbacks:", INTERRUPT))
        task = {"JOB_ID": "7", "NTASKS": "1", "NTASKS_PER_NODE": "1", "NODEID": "0", "PROCID": "0", "LOCALID": "0"}

        def fit(job: str, restarts: int, epochs: int) -> tuple[int, str]:
            for name, value in (task | {"JOB_ID": job, "RESTART_COUNT": str(restarts)}).items():
                monkeypatch.setenv(f"SLURM_{name}", value)
            return lightning_command("fit", "--config", toy, "--trainer.max_epochs", str(epochs))

        status, err = fit("7", 11, 1)
        assert status == 2
        assert "this job has been restarted 11 times, and has saved no checkpoint at all; submit it again" in err
        assert fit("7", 10, 1)[0] == 0
        assert fit("7", 20, 2)[0] == 0, "it saved one at the tenth restart"
        status, err = fit("7", 31, 3)
        assert status == 2
        assert f"restarted 11 times, and has saved no checkpoint since {toy.parent}/run/checkpoints/last.ckpt" in err
        assert fit("8", 11, 3)[0] == 2

    def test_a_run_that_took_the_place_of_a_further_one_goes_on_from_its_own(
        self, toy: Path, lightning_command: Command
    ) -> None:
        """The best of the old run stay until the new one has better ones; each resume is of the same run."""
        toy.write_text(toy.read_text().replace("  callbacks:", INTERRUPT))
        last = toy.parent / "run/checkpoints/last.ckpt"
        assert lightning_command("fit", "--config", toy, "--trainer.max_epochs", "3")[0] == 0
        old = shutil.copy(last, last.with_name("best.ckpt"))
        elsewhere = shutil.copy(last, toy.parent / "elsewhere.ckpt")
        assert lightning_command("fit", "--config", toy, "--overwrite")[0] == 0
        for epochs in ("2", "3"):
            os.utime(old)
            goes_on = ("fit", "--config", toy, "--ckpt_path", "last", "--trainer.max_epochs", epochs)
            assert (lightning_command(*goes_on)[0], seen()) == (0, 8)
        fork = ("fit", "--config", toy, "--trainer.max_epochs", "4", "--overwrite", "--ckpt_path", elsewhere)
        assert (lightning_command(*fork)[0], seen()) == (0, 8)
        goes_on = ("fit", "--config", toy, "--ckpt_path", "last", "--trainer.max_epochs", "5")
        assert (lightning_command(*goes_on)[0], seen()) == (0, 8)

    def test_none_that_can_be_read_is_one_sentence(
        self, toy: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        last = toy.parent / "run/checkpoints/last.ckpt"
        last.parent.mkdir(parents=True)
        last.write_bytes(b"PK")
        for asked in ("last", last):
            status, err = lightning_command("fit", "--config", toy, "--ckpt_path", asked)
            assert status == 2
            assert "Traceback" not in err
            assert "last.ckpt" in err.splitlines()[-1]
        monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
        status, err = lightning_command("fit", "--config", toy)
        assert (status, last.read_bytes()) == (2, b"PK")
        assert "no checkpoint of this run can be read" in err

    def test_last_without_a_checkpoint_callback_does_not_start_again(
        self, toy: Path, lightning_command: Command
    ) -> None:
        toy.write_text(toy.read_text().replace(LAST, "\n    - class_path: callbacks.InterruptCheckpoint\n"))
        for keep in ("true", "false"):
            status, err = lightning_command(
                "fit", "--config", toy, "--ckpt_path", "last", "--trainer.enable_checkpointing", keep
            )
            assert status == 2
            assert "--ckpt_path last stands for no checkpoint" in err

    def test_only_the_first_process_decides(
        self, toy: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The others run the same command when the first one has begun."""
        assert lightning_command("fit", "--config", toy)[0] == 0
        monkeypatch.setattr(run_folder.rank_zero_only, "rank", 1)
        assert not run_folder.in_charge()
        monkeypatch.setattr(run_folder.rank_zero_only, "rank", 0)
        assert run_folder.in_charge()
        monkeypatch.setenv("NODE_RANK", "1")
        assert not run_folder.in_charge()
        assert lightning_command("fit", "--config", toy)[0] == 0

    def test_help_names_the_switch(self, lightning_command: Command, capfd: pytest.CaptureFixture[str]) -> None:
        from lightning_modules.cli import ConfigParser

        shown: list[str] = []
        original = ConfigParser.print_help
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                ConfigParser, "print_help", lambda self, *a: shown.append(self.format_help()) or original(self)
            )
            assert lightning_command("fit", "--help")[0] == 0
        assert "--overwrite" in shown[0]
        assert "--variant" in shown[0]


@pytest.fixture
def training(toy: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that trains in the folder `run`, for as long as the test takes."""
    code = (
        "import pathlib, time; from lightning_modules.run_folder import one_run_at_a_time\n"
        "with one_run_at_a_time(pathlib.Path('run')):\n    print('training', flush=True)\n    time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "training\n"
        yield process
        process.kill()


def test_two_runs_at_once_are_refused_until_the_first_dies(
    toy: Path, training: subprocess.Popen[str], lightning_command: Command
) -> None:
    assert lightning_command("test", "--config", toy)[0] == 0, "who only looks is let in"
    for switch in ([], ["--overwrite"]):
        status, err = lightning_command("fit", "--config", toy, *switch)
        assert status == 2
        assert "another process is training in run; wait for it, or choose another folder" in err
    training.kill()
    training.wait()
    assert lightning_command("fit", "--config", toy)[0] == 0


class TestSavedConfigs:
    def test_every_one_can_be_given_to_every_subcommand(self, toy: Path, lightning_command: Command) -> None:
        """They lie beside each other, and name neither a checkpoint nor a way to run."""
        last = toy.parent / "run/checkpoints/last.ckpt"
        for subcommand in SUBCOMMANDS:
            on = () if subcommand == "fit" else ("--ckpt_path", last)
            assert lightning_command(subcommand, "--config", toy, *on)[0] == 0
        log = toy.parent / "run/log"
        saved = {name: log / f"config{'' if name == 'fit' else f'_{name}'}.yaml" for name in SUBCOMMANDS}
        for name, path in saved.items():
            assert not {"ckpt_path", "overwrite"} & yaml.safe_load(path.read_text()).keys()
            assert path.read_text().startswith(f"# lightning {name} --config ")
        for path, subcommand in itertools.product(saved.values(), SUBCOMMANDS):
            assert lightning_command(subcommand, "--config", path, "--print_config") == (0, ""), (path, subcommand)
        assert lightning_command("test", "--config", saved["predict"], "--ckpt_path", "last")[0] == 0
        new = ("--trainer.default_root_dir", "new")
        assert lightning_command("fit", "--config", saved["test"], *new)[0] == 0

    def test_what_test_printed_can_be_fitted(
        self, toy: Path, lightning_command: Command, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for subcommand, other in itertools.permutations(("fit", "test", "predict"), 2):
            monkeypatch.setattr("sys.argv", ["lightning", subcommand, "--config", str(toy), "--print_config"])
            with pytest.raises(SystemExit):
                cli.main()
            Path("printed.yaml").write_text(capfd.readouterr().out)
            assert lightning_command(other, "--config", "printed.yaml", "--print_config") == (0, "")

    def test_a_copy_with_another_folder_leaves_the_old_one_alone(
        self,
        tiny: Path,  # noqa: F811
        lightning_command: Command,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """The shipped codec recipe: logs, checkpoints and exported weights."""
        config = REPOSITORY / "configs/codec/pocket.yaml"
        status, err = lightning_command("fit", "--config", config, "--config", tiny_overlay(config))
        assert status == 0, err
        before = contents(tiny)
        assert "pocket.safetensors" in before
        saved = (tiny / "tensorboard/config.yaml").read_text()
        assert saved.count(str(tiny)) - saved.splitlines()[0].count(str(tiny)) == 1, "only default_root_dir names it"
        copy = tmp_path / "copy.yaml"
        copy.write_text(saved.replace(f"default_root_dir: {tiny}", f"default_root_dir: {tmp_path / 'moved'}"))
        status, err = lightning_command("fit", "--config", copy)
        assert status == 0, err
        assert contents(tiny) == before
        moved = {name for name in contents(tmp_path / "moved") if "events" not in name}
        assert moved == {name for name in before if "events" not in name}


class TestOverlays:
    """An overlay that changes the experiment gives it a folder of its own."""

    @pytest.mark.parametrize("overlay", TRAINED, ids=relative)
    def test_adds_its_name(self, overlay: Path) -> None:
        content = yaml.safe_load(overlay.read_text())
        (name,) = content["variant+"]
        assert overlay.stem.endswith(name)
        assert "default_root_dir" not in content.get("trainer", {})

    def test_no_two_have_one_name(self) -> None:
        names = [name for path in TRAINED for name in yaml.safe_load(path.read_text())["variant+"]]
        assert len(set(names)) == len(names)

    def test_two_together_have_a_third_folder(
        self, lightning_command: Command, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(REPOSITORY)
        folder = "runs/liveband_pocket"
        assert self.root(capfd, monkeypatch) == folder
        assert self.root(capfd, monkeypatch, "no_sink") == f"{folder}_no_sink"
        assert self.root(capfd, monkeypatch, "no_sink", "untrained") == f"{folder}_no_sink"
        assert self.root(capfd, monkeypatch, "no_sink", "gp_fixed_1") == f"{folder}_no_sink_gp_fixed_1"

    def root(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *names: str) -> Any:
        configs = ["configs/liveband/pocket.yaml", *(f"configs/overlays/{name}.yaml" for name in names)]
        words = [word for config in configs for word in ("--config", config)]
        monkeypatch.setattr("sys.argv", ["lightning", "fit", *words, "--print_config"])
        capfd.readouterr()
        with pytest.raises(SystemExit):
            cli.main()
        return yaml.safe_load(capfd.readouterr().out)["trainer"]["default_root_dir"]

    def test_on_a_config_without_names_it_is_refused_where_the_base_was_trained(
        self, toy: Path, lightning_command: Command
    ) -> None:
        assert lightning_command("fit", "--config", toy)[0] == 0
        Path("overlay.yaml").write_text("variant+: [slow]\ntrainer: {max_epochs: 2}")
        status, err = lightning_command("fit", "--config", toy, "--config", "overlay.yaml")
        assert status == 2
        assert "is another run's" in err


def test_an_interrupted_run_is_offered_by_its_path(toy: Path, lightning_command: Command) -> None:
    text = toy.read_text().replace("WholeRecipe", InterruptedRecipe.__name__)
    toy.write_text(text.replace("  callbacks:", INTERRUPT))
    assert lightning_command("fit", "--config", toy)[0] == 1
    status, err = lightning_command("fit", "--config", toy)
    assert status == 2
    assert "--ckpt_path run/interrupted.ckpt" in err
    assert lightning_command("fit", "--config", toy, "--ckpt_path", "run/interrupted.ckpt")[0] == 0


def test_the_last_checkpoint_knows_whether_its_validation_was_the_best(toy: Path, lightning_command: Command) -> None:
    """The YAML names it first; a run that is killed right after it must not forget the best."""
    both = """
    - class_path: callbacks.LastCheckpoint
      init_args: {folder: "${trainer.default_root_dir}/checkpoints", every_n_iterations: 4}
    - class_path: callbacks.BestCheckpoints
      init_args: {metric: weight, mode: min, folder: "${trainer.default_root_dir}/checkpoints/best"}
"""
    toy.write_text(toy.read_text().replace(LAST, both))
    assert lightning_command("fit", "--config", toy)[0] == 0
    last = torch.load(toy.parent / "run/checkpoints/last.ckpt", weights_only=True)
    kept = [callback for name, callback in last["callbacks"].items() if name.startswith("BestCheckpoints")]
    assert [Path(callback["best_model_path"]).name for callback in kept] == ["iteration_000008.ckpt"]
