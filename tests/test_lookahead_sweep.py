"""Cells of hop and look-ahead, from models of one hop each."""

from __future__ import annotations

import itertools
import shutil
from functools import partial
from pathlib import Path

import pytest
from small_band import lmdm_checkpoint

from benchmarks import lookahead_sweep
from benchmarks.cutoff_sweep import Items, model_of, sweep
from benchmarks.lookahead_sweep import COLUMNS, PUBLISHED, Measured, draw, measured, table
from callbacks.harmony_monitor import HarmonyMonitor
from livejam.errors import UserError


def test_every_look_ahead_of_a_hop_is_a_cell(
    rendered_songs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lookahead_sweep, "sweep", partial(sweep, judges=[HarmonyMonitor(segment_seconds=2.0)]))
    model = model_of(str(lmdm_checkpoint(tmp_path / "lmdm.ckpt", cutoff_blocks=(0, 1, -1, -2))))
    items = Items(str(shutil.copytree(rendered_songs, tmp_path / "songs")), 1, 4.0)
    cells = measured([model], items, tmp_path / "sweep")
    assert [(cell.hop, cell.look_ahead) for cell in cells] == [(0.25, -1), (0.25, 0), (0.25, 1)]
    draw(cells, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(UserError, match="two checkpoints have the same hop"):
        measured([model, model], items, tmp_path / "sweep")


def test_what_was_published_stands_in_brackets() -> None:
    cell = {"value": -1.5, "interval": [-2.0, -1.0]}
    lines = table(
        [Measured(0.125, -1, {"fad": cell, "phase_lock": cell}), Measured(0.3, 1, {"fad": cell})]
    ).splitlines()
    assert lines[2].startswith("| r = 0.125, w = −1 | −1.50 [−2.00, −1.00] (3.17) | – |")
    assert lines[2].endswith("| −1.50 [−2.00, −1.00] |")
    assert lines[3].startswith("| r = 0.3, w = 1 | −1.50 [−2.00, −1.00] | – |")


def test_the_published_numbers_fall_as_the_paper_says() -> None:
    """The further ahead, the worse: at every hop, in every column."""
    assert len(COLUMNS) - 1 == len(next(iter(PUBLISHED.values())))
    for hop in (0.125, 0.25, 0.5):
        values = [PUBLISHED[hop, w] for w in (-1, 0, 1) if (hop, w) in PUBLISHED]
        for nearer, further in itertools.pairwise(values):
            assert nearer[0] < further[0]
            assert all(one > other for one, other in zip(nearer[1:], further[1:], strict=True))
