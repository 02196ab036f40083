"""An hour of music through the real-time engine, and ten minutes of it in real time."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest
from commands import REPOSITORY

from datamodules.pocket_slakh.render import render_songs

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the benchmark says of the bundled model."""
    root = REPOSITORY / "data" / "quickstart"
    if not root.is_dir():
        root = tmp_path_factory.mktemp("songs") / "pocket"
        render_songs(root, 60, seed=0, workers=2)
    command = [sys.executable, "-m", "benchmarks.live_hour", "--root", str(root)]
    run = subprocess.run(command, cwd=REPOSITORY, text=True, capture_output=True, check=False)
    assert run.returncode == 0, run.stderr
    facts: dict[str, Any] = json.loads(run.stdout.splitlines()[-1])
    return facts


@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("clock", "minutes"), [("accelerated clock", 60), ("true clock", 10)])
def test_nothing_is_missed_nothing_grows_and_nothing_drifts(report: dict[str, Any], clock: str, minutes: float) -> None:
    facts = report[clock]
    assert facts["seconds"] >= 0.99 * 60 * minutes
    assert (facts["misses"], facts["overruns"], facts["refused"], facts["failures"]) == (0, 0, 0, 0)
    assert facts["latency_p99_ms"] < facts["budget_ms"]
    assert facts["late_ms"] == 0
    assert facts["played_differs_from_known"] == 0
    assert facts["rss_growth_mb"] < 20


def test_the_last_set_is_as_good_as_the_first(report: dict[str, Any]) -> None:
    for measure, entry in report["accelerated clock"]["music"].items():
        assert entry["within"], (measure, entry)
