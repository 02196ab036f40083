"""The driver of LiveBand's claims: what is missing is done, once, and all there is is one table and one plot."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from commands import REPOSITORY

from benchmarks.reproduce_liveband import (
    BASE,
    CELLS,
    OVERLAYS,
    Cell,
    Plan,
    play_for_long,
    report,
    reproduce,
    run_logged,
)
from livejam.errors import UserError
from metrics.anchor_rows import ANCHORS

Command = Callable[..., tuple[int, str]]

PLAIN, SWITCHED, EVERY = Cell("τ = .1 s"), Cell("no L1", (), {"x": 0.0}), Cell("one model", (), {}, (0, 11))


class Commands:
    """Stands for `lightning`: it leaves what the real one leaves, and can be stopped."""

    def __init__(self) -> None:
        self.run: list[Sequence[str]] = []
        self.fails = ""
        self.awaited: Path | None = None

    def __call__(self, command: Sequence[str], log: Path) -> None:
        self.run.append(command)
        if self.awaited is not None and len(self.run) > 2:
            wait_for(self.awaited)
        options = dict(zip(command[1::2], command[2::2], strict=False))
        root = Path(options.get("--trainer.default_root_dir", log.parent))
        root.mkdir(parents=True, exist_ok=True)
        if command[0] == "fit":
            (root / "checkpoints").mkdir(exist_ok=True)
            (root / "checkpoints/last.ckpt").touch()
        if self.fails and self.fails in str(root):
            raise UserError("out of memory")
        if command[0] == "test":
            value = float(options["--seed_everything"])
            cell = {"value": value, "drift": 0.0, "count": 9, "drift_count": 9, "interval": None}
            anchor = {"beat_f1_drums": {**cell, "value": 0.5, "drift_interval": None}}
            rows = {"trained": {"beat_f1_drums": {**cell, "drift_interval": None}}, "random_pairing": anchor}
            (root / "results.json").write_text(json.dumps(rows))

    def kinds(self) -> list[str]:
        return [command[0] for command in self.run]


def wait_for(file: Path) -> None:
    for _ in range(600):
        if file.is_file():
            return
        time.sleep(0.05)
    raise UserError(f"{file} was not written meanwhile")


def plan(folder: Path, run: Any, epochs: int = 2) -> Plan:
    return Plan(folder, BASE, (), epochs, run)


def test_what_is_finished_is_not_done_again_and_what_was_stopped_goes_on(tmp_path: Path) -> None:
    run = Commands()
    run.fails = "no_L1_seed_1"
    problems = reproduce(plan(tmp_path, run), (PLAIN, SWITCHED), (1, 2), jobs=1)
    assert problems == ["no L1, seed 1: out of memory"]
    assert run.kinds() == ["fit", "test", "fit", "fit", "test", "fit", "test"]
    assert not any("--ckpt_path" in command for command in run.run if command[0] == "fit")
    again = Commands()
    assert reproduce(plan(tmp_path, again), (PLAIN, SWITCHED), (1, 2), jobs=1) == []
    assert again.kinds() == ["fit", "test"]
    assert again.run[0][-2:] == ["--ckpt_path", "last"]
    longer = Commands()
    reproduce(plan(tmp_path, longer, epochs=4), (PLAIN,), (1,), jobs=1)
    assert longer.kinds() == ["fit", "test"], "a larger budget goes on from the smaller one, and is tested again"


def test_one_table_and_one_plot_of_all_seeds(tmp_path: Path) -> None:
    run = Commands()
    run.awaited = tmp_path / "table.md"
    assert reproduce(plan(tmp_path, run), (PLAIN, EVERY), (1, 2, 3), jobs=2) == [], "and it does not wait for the end"
    rows = report(plan(tmp_path, run), (PLAIN, EVERY), (1, 2, 3))
    assert list(rows) == ["τ = .1 s", "one model, δ = 0", "one model, δ = 11", "random_pairing"]
    assert rows["τ = .1 s"]["beat_f1_drums"]["value"] == 2.0
    assert rows["τ = .1 s"]["beat_f1_drums"]["interval"] == pytest.approx([2 - 2.484, 2 + 2.484], abs=1e-3)
    assert "one model: 3 of 3 seeds" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    asked = [dict(zip(c[1::2], c[2::2], strict=False)) for c in run.run if c[0] == "test"]
    assert [o.get("--model.init_args.anticipation_frames") for o in asked].count("11") == 3
    play_for_long(plan(tmp_path, run), (PLAIN, EVERY), (1, 2, 3), ["--songs", "4"])
    assert run.run[-1][0] == "benchmarks.error_accumulation"
    assert run.run[-1].count("--as-is") == 3
    assert run.run[-1][-2:] == ["--songs", "4"]


def test_results_of_another_machine_are_not_measured_again(tmp_path: Path) -> None:
    there, here = Commands(), Commands()
    reproduce(plan(tmp_path / "there", there), (PLAIN, EVERY), (1,), jobs=1)
    for checkpoint in (tmp_path / "there").glob("*/checkpoints/last.ckpt"):
        checkpoint.unlink()
    mine = replace(plan(tmp_path / "here", here), known=tmp_path / "there")
    assert reproduce(mine, (PLAIN, EVERY), (1, 2), jobs=1) == []
    two_seeds = report(mine, (PLAIN, EVERY), (1, 2))["τ = .1 s"]["beat_f1_drums"]
    assert two_seeds["value"] == 1.0, "two seeds allow no interval: the first one's row"
    assert reproduce(mine, (PLAIN, EVERY), (1, 2, 3), jobs=1) == []
    trained = [Path(command[command.index("--trainer.default_root_dir") + 1]) for command in here.run]
    assert {folder.relative_to(tmp_path).parts[:2] for folder in trained} == {
        ("here", f"{cell.slug}_seed_{seed}") for cell in (PLAIN, EVERY) for seed in (2, 3)
    }
    assert report(mine, (PLAIN, EVERY), (1, 2, 3))["τ = .1 s"]["beat_f1_drums"]["value"] == 2.0
    play_for_long(mine, (PLAIN, EVERY), (1, 2, 3), [])
    assert here.run[-1].count("--as-is") == 2, "only those whose checkpoint is here can play"


def test_the_documentation_says_what_the_kept_results_say(tmp_path: Path) -> None:
    kept = REPOSITORY / "docs/reproductions/liveband"
    mine = Plan(tmp_path, BASE, (), 4, Commands(), kept)
    files = {mine.table_of(cell, seed, frames) for cell in CELLS for seed in (1, 2, 3) for _, frames in cell.rows()}
    assert set(kept.glob("*/*/*")) == {file for file in files if kept in file.parents}, "of known cells alone"
    said = (REPOSITORY / "docs/results_liveband.md").read_text(encoding="utf-8")
    for row, cells in report(mine, CELLS, (1, 2, 3)).items():
        if row in {"ground_truth", "random_pairing"} or row not in ANCHORS:
            name = {"ground_truth": "true stem", "random_pairing": "another song's"}.get(row, row)
            shown = [cells[column] for column in ("beat_f1_drums", "phase_lock", "chord_tone_share", "fad")]
            numbers = (f"{c['value']:.2f} [{c['interval'][0]:.2f}, {c['interval'][1]:.2f}]" for c in shown)
            level = f"{cells['loudness_db']['value']:.1f}".replace("-0.0", "0.0")
            assert f"| {name} | {' | '.join([*numbers, level])} |".replace("-", "−") in said


def test_ctrl_c_begins_nothing_more(tmp_path: Path) -> None:
    begun: list[str] = []

    def stopped(command: Sequence[str], log: Path) -> None:
        begun.append(command[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        reproduce(plan(tmp_path, stopped), (PLAIN, SWITCHED, EVERY), (1, 2), jobs=2)
    assert begun == ["fit"]


def test_a_command_that_fails_names_its_log(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"`benchmarks.none` failed \(.*No module named.*\); all of it is in .*a/log"):
        run_logged(["benchmarks.none"], tmp_path / "a" / "log")


def test_the_cells_name_overlays_and_options_that_there_are(
    lightning_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(REPOSITORY)
    assert len({cell.slug for cell in CELLS}) == len(CELLS)
    assert all(cell.slug.isascii() for cell in CELLS)
    assert all((OVERLAYS / f"{name}.yaml").is_file() for cell in CELLS for name in cell.overlays)
    every = Cell("all options", (), {name: value for cell in CELLS for name, value in cell.settings.items()})
    assert lightning_command("fit", *every.options(BASE, 2), "--print_config") == (0, "")
