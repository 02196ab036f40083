"""Every shipped YAML is read by the real parser, and every training YAML trains."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from commands import (
    REPOSITORY,
    commands_in,
    commands_of,
    effective,
    experiments,
    overlays,
    relative,
    tiny_overlay,
    without_checkpoint,
)
from memory_layout import unusual_layouts
from slakh_tree import write_tree

from lightning_modules.cli import LivejamCLI
from livejam.checkpoints.player import load_player
from livejam.checkpoints.published import bundled_names
from livejam.config_files import merged
from livejam.networks import Unconditional
from livejam.shipped_configs import how_to_train

Command = Callable[..., tuple[int, str]]

SONG_SECONDS = 15.0
"""Longer than the longest training crop, 140 frames."""


@pytest.fixture(scope="session")
def short_songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tree(tmp_path_factory.mktemp("short") / "songs", train=2, seconds=SONG_SECONDS)


@pytest.fixture
def tiny(short_songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the overlays in tests/tiny read and write, with shared banks and anchors; returns the trainer's root."""
    monkeypatch.chdir(REPOSITORY)
    anchors = short_songs.parent / "anchors"
    anchors.mkdir(exist_ok=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "cache").symlink_to(anchors)
    monkeypatch.setenv("TINY_SONGS", str(short_songs))
    monkeypatch.setenv("TINY_CACHE", str(short_songs.parent / "cache"))
    monkeypatch.setenv("TINY_ROOT", str(tmp_path / "run"))
    return tmp_path / "run"


def fit_command(overlay: Path) -> list[str]:
    """The arguments with which an overlay says that it is trained; empty if it does not."""
    fits = [words for words in commands_of(overlay) if words[1] == "fit" and relative(overlay) in words]
    return without_checkpoint(fits[0][1:]) if fits else []


def trains(config: Path) -> bool:
    return "bank" not in config.parts


@pytest.mark.parametrize("config", experiments() + overlays(), ids=relative)
def test_says_how_it_is_run(config: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands in the comment at the top are real, and one of them names the file itself."""
    monkeypatch.chdir(REPOSITORY)
    commands = [without_checkpoint(words) for words in commands_of(config)]
    assert any(relative(config) in words for words in commands)
    # the same options of another subcommand are read by the same parser
    for options in {tuple(words[2:]): words[1:] for words in commands}.values():
        assert lightning_command(*options, "--print_config") == (0, ""), options


def test_every_experiment_has_its_own_root() -> None:
    """Lightning picks up checkpoints in a root that another experiment left there."""
    roots = [effective(config)["trainer"]["default_root_dir"] for config in experiments()]
    assert len(set(roots)) == len(roots)


def test_who_lacks_what_a_config_starts_from_is_told_which_one_trains_it() -> None:
    named = [effective(config)["model"]["init_args"] for config in experiments()]
    starts = {value for options in named for name, value in options.items() if value and name.endswith("_checkpoint")}
    assert len(starts) > 3
    for start in starts - set(bundled_names()):
        assert re.fullmatch(r"the first lines of configs/\S+\.yaml say how to train it", how_to_train(Path(start)))
    for unknown in ("x.ckpt", "runs/mine/checkpoints/last.ckpt", "runs/lmdm/checkpoints/last.ckpt"):
        assert "lightning fit" in how_to_train(Path(unknown))


@pytest.mark.parametrize("config", [config for config in experiments() if trains(config)], ids=relative)
def test_ctrl_c_loses_nothing_and_the_logs_say_how_it_goes(config: Path) -> None:
    callbacks = [callback["class_path"] for callback in effective(config)["trainer"]["callbacks"]]
    assert "callbacks.InterruptCheckpoint" in callbacks
    assert callbacks[:2] == ["callbacks.TrainingProgress", "callbacks.TrainingSpeed"]


def test_progress_is_told_unless_it_is_not_wanted(
    tiny: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    monkeypatch.setattr("callbacks.training_progress._write", lines.append)
    quickstart = REPOSITORY / "configs/quickstart.yaml"
    dry = ("--config", tiny_overlay(quickstart), "--trainer.fast_dev_run", "1", "--trainer.limit_val_batches", "0")
    for wanted in ("false", "true"):
        assert not lines
        status, err = lightning_command("fit", "--config", quickstart, *dry, "--trainer.enable_progress_bar", wanted)
        assert status == 0, err
    assert lines[0] == "epoch 1 of 1, iteration 1 of 1"
    assert lines[-1].startswith("trained for 0:")


def test_a_bank_built_beforehand_is_the_one_that_training_looks_for() -> None:
    """What a bank's content and place depend on is the same in both configs."""

    def settings(path: str) -> dict[str, object]:
        config = merged(path)
        data = config["data"]["init_args"]
        defaults = {"targets": None, "full_mix": False, "threshold_dbfs": -60.0, "bank_root": None, "seed": 0}
        defaults["render_if_missing"] = None
        names = (*defaults, "root", "submixes_per_song")
        return {**defaults, **{name: data[name] for name in names if name in data}}

    for size in ("pocket", "slakh"):
        assert settings(f"configs/bank/{size}.yaml") == settings(f"configs/liveband/{size}.yaml")


@pytest.mark.parametrize("config", [config for config in experiments() if trains(config)], ids=relative)
def test_fast_dev_run(config: Path, tiny: Path, lightning_command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """It trains and validates, and what DDP would broadcast of it is dense."""
    run = LivejamCLI._run_subcommand

    def run_dense(cli: LivejamCLI, subcommand: str) -> None:
        assert not unusual_layouts(cli.model)
        run(cli, subcommand)

    monkeypatch.setattr(LivejamCLI, "_run_subcommand", run_dense)
    overlay = ("--config", tiny_overlay(config), "--trainer.fast_dev_run", "1")
    status, err = lightning_command("fit", "--config", config, *overlay)
    assert status == 0, err
    left = [path for path in tiny.rglob("*") if path.is_file() and tiny / "cache" not in path.parents]
    assert not left, "a dry run leaves caches only"


ELSEWHERE = ("slurm", "lora", "fsdp", "logger_wandb", "logger_mlflow")
"""Overlays whose command needs more than songs; tests of their own run them."""

TRAINING_OVERLAYS = [path for path in overlays() if path.stem not in ELSEWHERE and fit_command(path)]


@pytest.mark.parametrize("overlay", TRAINING_OVERLAYS, ids=relative)
def test_fast_dev_run_of_overlays(overlay: Path, tiny: Path, lightning_command: Command) -> None:
    """The command in the overlay's comment, in miniature."""
    words = fit_command(overlay)
    base = REPOSITORY / words[words.index("--config") + 1]
    quick = ("--config", tiny_overlay(base), "--trainer.fast_dev_run", "1", "--trainer.callbacks", "[]")
    if "initial_weights" in overlay.read_text():  # written by an earlier, longer run
        quick += ("--model.init_args.initial_weights", "null")
    status, err = lightning_command(*words, *quick)
    assert status == 0, err


def test_the_papers_protocol_without_their_weights_names_the_command(
    tiny: Path, lightning_command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path))
    config, overlay = (REPOSITORY / "configs" / name for name in ("liveband/pocket.yaml", "overlays/published.yaml"))
    status, err = lightning_command("test", "--config", config, "--config", tiny_overlay(config), "--config", overlay)
    assert status == 2, err
    assert re.fullmatch(r"error: .* run `livejam weights fetch \w+` .*", err.splitlines()[-1])


def test_bank_is_built(
    tiny: Path, lightning_command: Command, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = REPOSITORY / "configs/bank/pocket.yaml"
    command = ("predict", "--config", config, "--config", tiny_overlay(config), "--data.init_args.cache_root", tmp_path)
    status, err = lightning_command(*command, "--trainer.fast_dev_run", "1")
    assert status == 0, err
    assert "fast_dev_run: a dry run" in caplog.text
    assert not list(tmp_path.rglob("songs/*")), "a dry run builds no bank"
    status, err = lightning_command(*command)
    assert status == 0, err
    assert list(tmp_path.rglob("songs/*"))


def test_slurm_overlay_takes_the_jobs_size(
    monkeypatch: pytest.MonkeyPatch, lightning_command: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(REPOSITORY)
    job = {"JOB_ID": "77", "JOB_NAME": "jam", "NNODES": "2", "NTASKS_PER_NODE": "4"}
    for name, value in job.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    from lightning_modules import cli

    names = ("configs/quickstart.yaml", "configs/overlays/slurm.yaml")
    monkeypatch.setattr("sys.argv", ["lightning", "fit", "--config", names[0], "--config", names[1], "--print_config"])
    with pytest.raises(SystemExit):
        cli.main()
    trainer = yaml.safe_load(capfd.readouterr().out)["trainer"]
    assert (trainer["num_nodes"], trainer["devices"]) == (2, 4)
    assert trainer["default_root_dir"] == "runs/jam-77"
    assert trainer["logger"]["init_args"]["save_dir"] == "${trainer.default_root_dir}"
    checkpoints = [c for c in trainer["callbacks"] if c["class_path"].endswith("ModelCheckpoint")]
    dirpaths = [c["init_args"]["dirpath"] for c in checkpoints]
    assert dirpaths == ["${trainer.default_root_dir}/checkpoints"], "paths follow the root"


@pytest.mark.parametrize("name", ["single", "multi"])
def test_batch_file_asks_for_a_signal_and_a_requeue(name: str) -> None:
    text = (REPOSITORY / f"configs/slurm/{name}.sbatch").read_text()
    for option in ("--signal=SIGUSR1@", "--requeue", "--open-mode=append", "--ntasks-per-node="):
        assert f"#SBATCH {option}" in text
    assert re.search(r'srun .*lightning fit "\$@" --config overlays/slurm', text)
    assert re.search(r"\|\| status=\$\?$", text, re.MULTILINE)
    assert 'scontrol requeue "$SLURM_JOB_ID"' in text
    assert text.rstrip().endswith('exit "$status"')


def test_the_demo_in_miniature(
    tiny: Path,
    lightning_command: Command,
    capfd: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Untrained row, training, trained row, then a stem from the checkpoint: what `make demo` and README promise."""
    from livejam.cli import main as livejam_cli

    quickstart = REPOSITORY / "configs/quickstart.yaml"
    configs = ("--config", quickstart, "--config", tiny_overlay(quickstart))
    configs += ("--data.init_args.targets", "[Percussive, Piano]")  # the quickstart's own
    untrained = ("--config", REPOSITORY / "configs/overlays/untrained.yaml")
    checkpoint = tiny / "checkpoints/last.ckpt"
    assert lightning_command("test", *configs, *untrained)[0] == 0
    kept = ("--config", REPOSITORY / "configs/overlays/best.yaml", "--trainer.check_val_every_n_epoch", "1")
    assert lightning_command("fit", *configs, *kept)[0] == 0
    assert lightning_command("test", *configs, "--ckpt_path", checkpoint)[0] == 0
    rows = yaml.safe_load((tiny / "results.json").read_text())
    assert {"trained", "untrained", "ground_truth", "codec", "random_pairing", "silence"} <= rows.keys()
    assert list((tiny / "audio").rglob("*.wav"))
    models = rows["measured_on"]["models"]
    _check_provenance(models, checkpoint)
    distances = {"fad/log_mel", "kad/log_mel", "apa/log_mel"}
    assert {"chord_tone_share", "beat_f1", "cocola/full", *distances} == set(rows["measured_on"]["measures"])
    _check_that_nothing_is_lost(tiny, lightning_command, *configs)

    mix = _recording(tmp_path)
    monkeypatch.chdir(tmp_path)
    _type_what_readme_says(checkpoint, mix)
    card = checkpoint.with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| the codec, pretrained_codec with the weights pocket | Apache-2.0 |" in card
    assert "chord tones ↑" in card
    assert f"{checkpoint} ({models['trained']['sha256']})" in card
    text = capfd.readouterr().out
    assert "lightning_modules.R3GAN" in text
    assert "instruments  Piano, Percussive\n" in text
    assert f": {tiny}/checkpoints/best/iteration_000002.ckpt\n" in text[text.index("  best  val/fad/log_mel ") :]
    assert "plays Percussive; seeds 0" in text
    _check_stem(mix, tmp_path / "played/accompaniment.wav", checkpoint)

    bass = ("--data.init_args.targets", "[Bass]")
    play = ["play", "--checkpoint", str(checkpoint), "--mix", str(mix), "--no-beats", "--out", "other"]
    assert livejam_cli.main([*play, "--instrument", "Bass"]) == 2
    assert "never learnt to play Bass; it learnt Piano, Percussive" in capfd.readouterr().err
    assert livejam_cli.main([*play, "--instrument", "Any"]) == 2
    assert not Path("other").exists()
    assert livejam_cli.main(play) == 0
    assert "plays Piano; " in capfd.readouterr().out
    poisoned = _poisoned(checkpoint)
    assert livejam_cli.main([*play[:2], str(poisoned), *play[3:-1], "silence"]) == 2
    assert "holds weights that are not finite (" in capfd.readouterr().err
    assert not Path("silence").exists()
    assert "not finite" in lightning_command("test", *configs, "--ckpt_path", poisoned)[1]
    with pytest.warns(UserWarning, match="never learnt to play Bass"):
        assert lightning_command("validate", *configs, "--ckpt_path", checkpoint, *bass)[0] == 0


def _type_what_readme_says(checkpoint: Path, mix: Path) -> None:
    """README's commands for a trained model and for the bundled one, with files that are there."""
    from livejam.cli import main as livejam_cli

    replaced = {"runs/quickstart/checkpoints/last.ckpt": str(checkpoint), "song.wav": str(mix)}
    replaced["data/songs/train/Track00001/mix.flac"] = str(mix)
    said = commands_in((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    for words in (words[1:] for words in said if words[1] in ("play", "describe", "card", "publish")):
        folder = {"played": "bundled"} if "liveband-pocket" in words else {}
        assert livejam_cli.main([{**replaced, **folder}.get(word, word) for word in words]) == 0
    assert Path("bundled/together.wav").is_file()


def _check_provenance(models: dict[str, dict[str, Any]], checkpoint: Path) -> None:
    assert (models["trained"]["iteration"], models["untrained"]["iteration"]) == (2, 0)
    assert models["trained"]["checkpoint"] == str(checkpoint)
    assert models["untrained"]["checkpoint"] is None
    assert models["trained"]["config"] == models["untrained"]["config"]


def _check_that_nothing_is_lost(root: Path, lightning_command: Command, *configs: str | Path) -> None:
    """A second training is refused, dry runs leave nothing, and a validation adds nothing to the training's curves."""

    def files(*names: str) -> dict[Path, bytes]:
        found = [path for name in names for path in root.rglob(name) if path.is_file()]
        return {path: path.read_bytes() for path in found if root / "cache" not in path.parents}

    before = files("*")
    assert lightning_command("fit", *configs)[0] == 2
    for dry in ("fit", "test", "predict"):
        status, err = lightning_command(dry, *configs, "--trainer.fast_dev_run", "1")
        assert status == 0, err
    assert files("*") == before
    curves = files("metrics*.csv", "config.yaml")
    assert lightning_command("validate", *configs, "--ckpt_path", "last")[0] == 0
    assert files("metrics*.csv", "config.yaml") == curves


@pytest.mark.parametrize("name", ["lmdm/encdec_pocket", "lookahead/pocket"])
def test_diffusion_models_are_fitted_validated_tested_and_heard(
    name: str, tiny: Path, lightning_command: Command
) -> None:
    config = REPOSITORY / f"configs/{name}.yaml"
    configs = ("--config", config, "--config", tiny_overlay(config))
    status, err = lightning_command("fit", *configs)
    assert status == 0, err
    for command in ("validate", "test", "predict"):
        status, err = lightning_command(command, *configs, "--ckpt_path", tiny / "checkpoints/last.ckpt")
        assert status == 0, (command, err)
    rows = yaml.safe_load((tiny / "results.json").read_text())
    assert {"trained", "ground_truth", "random_pairing", "silence"} <= rows.keys()
    assert {path.stem.rpartition("_")[2] for path in (tiny / "predictions").glob("*.wav")} == {"generated", "both"}
    _check_published(tiny / "checkpoints/last.ckpt")


def _check_published(checkpoint: Path) -> None:
    """The published model has the numbers of the test, and the weights in half precision."""
    from livejam.cli import main as livejam_cli

    small = checkpoint.with_name("small.safetensors")
    assert livejam_cli.main(["publish", str(checkpoint), "--out", str(small)]) == 0
    assert "Fréchet log-mel" in small.with_suffix(".md").read_text(encoding="utf-8")
    original, published = (load_player(path).accompanist.generator for path in (checkpoint, small))
    for (name, weight), (_, kept) in zip(original.named_parameters(), published.named_parameters(), strict=True):
        assert torch.equal(kept, weight.half().float()), name
    for (name, buffer), (_, kept) in zip(original.named_buffers(), published.named_buffers(), strict=True):
        assert torch.equal(kept, buffer), name


def _recording(folder: Path) -> Path:
    import numpy as np
    import soundfile

    path = folder / "mix.wav"
    rng = np.random.default_rng(0)
    soundfile.write(path, 0.1 * rng.standard_normal((44100 * 3 + 17, 2)), 44100)
    return path


def _poisoned(checkpoint: Path) -> Path:
    """A copy of which one number of the network that plays is not finite."""
    contents = torch.load(checkpoint, weights_only=True)
    name = next(name for name in contents["state_dict"] if name.startswith("ema_generator."))
    contents["state_dict"][name].view(-1)[0] = float("nan")
    path = checkpoint.with_name("poisoned.ckpt")
    torch.save(contents, path)
    return path


def _check_stem(mix: Path, stem: Path, checkpoint: Path) -> None:
    """As long as the mix, finite, not silent, and the same again; the player restores what was trained."""
    import soundfile

    from livejam.checkpoints.player import load_player
    from livejam.streaming import Session

    audio_NA, rate = soundfile.read(stem)
    mix_NA, mix_rate = soundfile.read(mix, dtype="float32")
    assert (audio_NA.shape, rate) == (mix_NA.shape, mix_rate)
    player = load_player(checkpoint)
    session = Session(player, sample_rate_hz=rate, channels=2, instruments=["Drums"])
    assert session.process(torch.from_numpy(mix_NA.T)).numpy().T.clip(-1, 1) == pytest.approx(audio_NA, abs=1e-4)
    assert abs(audio_NA).max() > 0
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    name, value = next(iter(player.accompanist.generator.state_dict().items()))
    assert torch.equal(saved[f"ema_generator.{name}"], value)


def monitors(path: str) -> dict[str, dict[str, object]]:
    """What a config's test measures, and how."""
    callbacks = yaml.safe_load((REPOSITORY / path).read_text(encoding="utf-8"))["trainer"]["callbacks"]
    validation_only = ("every_n_validations", "max_items")
    return {
        c["class_path"]: {k: v for k, v in c.get("init_args", {}).items() if k not in validation_only}
        for c in callbacks
        if c["class_path"].endswith("Monitor")
    }


def test_untrained_row_is_measured_like_the_trained_one() -> None:
    assert monitors("configs/quickstart.yaml") == monitors("configs/overlays/untrained.yaml")


def test_tracked_chords_are_all_that_their_overlay_adds() -> None:
    tracked = {"callbacks.HarmonyMonitor": {"track_chords": True}}
    assert monitors("configs/overlays/track_chords.yaml") == monitors("configs/defaults.yaml") | tracked


def test_a_checkpoint_keeps_what_guidance_drops(tiny: Path, lightning_command: Command) -> None:
    """One that was written before there was a choice plays as it did: away from neither prompt nor mix."""
    config = REPOSITORY / "configs/lmdm/encdec_sao_small.yaml"
    saves = ("--trainer.callbacks", "[{class_path: ModelCheckpoint, init_args: {dirpath: null}}]")
    quick = ("--trainer.limit_val_batches", "0", "--trainer.logger", "false")
    assert lightning_command("fit", "--config", config, "--config", tiny_overlay(config), *saves, *quick)[0] == 0
    path = next(tiny.rglob("*.ckpt"))
    assert load_player(path).accompanist._unconditional == Unconditional(without_prompt=True, without_mix=False)
    checkpoint = torch.load(path, weights_only=True)
    del checkpoint["config"]["model"]["init_args"]["unconditional"], checkpoint["livejam"]["player"]
    torch.save(checkpoint, path)
    assert load_player(path).accompanist._unconditional == Unconditional(without_prompt=True, without_mix=True)
