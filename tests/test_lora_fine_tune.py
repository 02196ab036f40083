"""LMDM's fine-tune by low-rank updates: a shipped config and its overlay, from a checkpoint to a player."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from commands import REPOSITORY, tiny_overlay
from test_configs import short_songs, tiny  # noqa: F401 (fixtures)

from livejam.checkpoints.file import part
from livejam.checkpoints.player import load_player

Command = Callable[..., tuple[int, str]]

CONFIG = REPOSITORY / "configs/lmdm/encdec_pocket.yaml"
QUICK = ("--trainer.logger", "false", "--trainer.limit_val_batches", "0")


def fit(lightning_command: Command, *arguments: str | Path) -> None:
    configs = ("--config", CONFIG, "--config", tiny_overlay(CONFIG))
    status, err = lightning_command("fit", *configs, *arguments)
    assert status == 0, err


def test_a_tuned_base_plays_as_a_plain_network(tiny: Path, lightning_command: Command) -> None:  # noqa: F811
    fit(lightning_command, *QUICK)
    base, tuned = tiny / "checkpoints/last.ckpt", tiny.parent / "tuned/checkpoints/last.ckpt"
    overlay = ("--config", REPOSITORY / "configs/overlays/lora.yaml", "--model.init_args.base_checkpoint", base)
    here = ("--trainer.default_root_dir", tiny.parent / "tuned", "--trainer.logger", "false")
    fit(lightning_command, *overlay, *here, "--model.init_args.lora.rank", "4", "--model.init_args.ema_decay", "0.5")

    saved = torch.load(tuned, weights_only=True)["state_dict"]
    before = part(torch.load(base, weights_only=True)["state_dict"], "ema_generator")  # what a training goes on from
    kept = [name for name in before if f"generator.{name}" not in saved]
    assert kept, "adapted maps have another name"
    for name in kept:
        owner, _, own = name.rpartition(".")
        assert torch.equal(saved[f"generator.{owner}.linear.{own}"], before[name])

    plain, played = (load_player(path).accompanist.generator.state_dict() for path in (base, tuned))
    assert plain.keys() == played.keys(), "nothing of the updates is left"
    moved = {name for name in plain if not torch.equal(plain[name], played[name])}
    assert {name.split(".")[-2] for name in moved} >= {"project_in", "project_out", "project_given"}
    assert all("blocks" in name or "project_given" in name for name in moved)

    again = ("--trainer.max_epochs", "2", "--ckpt_path", "last")
    fit(
        lightning_command,
        *overlay,
        *here,
        *again,
        *QUICK,
        "--model.init_args.lora.rank",
        "4",
        "--model.init_args.ema_decay",
        "0.5",
    )


def test_updates_of_nothing_are_refused(tiny: Path, lightning_command: Command) -> None:  # noqa: F811
    overlay = ("--config", REPOSITORY / "configs/overlays/lora.yaml")
    status, err = lightning_command("fit", "--config", CONFIG, "--config", tiny_overlay(CONFIG), *overlay)
    assert status == 2
    assert "name its checkpoint as base_checkpoint" in err
