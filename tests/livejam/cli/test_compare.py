"""`livejam compare`: several runs as one table."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from livejam.cli.compare import joined, run_names
from livejam.cli.main import main
from livejam.errors import UserError
from metrics.results import Table
from metrics.seeds import over_seeds


def row(value: float, half_width: float = 0.05, count: int = 40) -> dict[str, Any]:
    cell = {"value": value, "drift": 0.0, "count": count, "drift_interval": None}
    return {"beat_f1": {**cell, "interval": [value - half_width, value + half_width]}}


def write(folder: Path, rows: dict[str, Any]) -> Path:
    folder.mkdir(parents=True)
    (folder / "results.json").write_text(json.dumps(rows))
    return folder


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    truth = {"ground_truth": row(0.9), "silence": row(0.0)}
    one = write(tmp_path / "one", {"trained": row(0.5), "untrained": row(0.1), **truth})
    near = write(tmp_path / "near", {"trained": row(0.55), **truth})
    far = write(tmp_path / "far", {"trained": row(0.7), **truth})
    return [one, near, far]


def test_one_table_with_marks_and_anchors_once(runs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    table, page = runs[0] / "table.csv", runs[0] / "table.md"
    assert main(["compare", *map(str, runs), "--csv", str(table), "--markdown", str(page)]) == 0
    lines = {line.split("  ")[0]: line for line in capsys.readouterr().out.splitlines()}
    assert {"one", "one untrained", "near", "far", "ground truth", "silence"} <= set(lines)
    assert "0.70*" in lines["far"]
    assert "*" not in lines["near"]
    assert "0.10*" in lines["one untrained"]
    differs = {line["row"]: line["differs"] for line in csv.DictReader(table.open())}
    assert differs == {"one": "0", "one untrained": "1", "near": "0", "far": "1", "ground_truth": "1", "silence": "1"}
    assert "| far | 0.70\\* (+0.00) [0.65, 0.75] |" in page.read_text()


def test_runs_tested_on_other_items_are_not_compared_in_silence(
    runs: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    other = write(runs[0].parent / "other", {"trained": row(0.5), "ground_truth": row(0.8)})
    assert main(["compare", str(runs[0]), str(other)]) == 0
    out = capsys.readouterr().out
    assert "warning: other was tested on other items" in out
    assert "ground truth (other)" in out
    fewer = {"ground_truth": row(0.9, count=12)}
    assert joined([("one", Table({"ground_truth": row(0.9)})), ("fewer", Table(fewer))])[1]


def facts(items: str = "aaa", codec: str = "ccc", data: str = "ddd", **measures: str) -> dict[str, Any]:
    how = {"method": "madmom", "segment_seconds": 10.0, "items": 40, "sha256": items}
    return {
        "data": {"root": "data/quickstart", "songs": 24, "sha256": data},
        "codec": {"name": "pocket", "sha256": codec},
        "measures": {"beat_f1": how, **{name: {**how, "method": method} for name, method in measures.items()}},
        "models": {"trained": {"recipe": "R3GAN", "iteration": 3200, "checkpoint": "last.ckpt", "sha256": "eee"}},
    }


@pytest.mark.parametrize(
    ("other", "says"),
    [
        (facts(), ""),
        (facts(cocola="pocket"), ""),
        (facts(items="bbb"), "beat_f1: other items"),
        (facts(codec="bbb"), "codec pocket (bbb) instead of pocket (ccc)"),
        (facts(data="bbb"), "data data/quickstart (bbb) instead of data/quickstart (ddd)"),
        (facts(fad="log_mel 2"), "fad: method log_mel 2 instead of log_mel"),
    ],
)
def test_runs_say_what_they_were_measured_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], other: dict[str, Any], says: str
) -> None:
    """Also where the anchors' numbers agree by chance."""
    rows = {"trained": row(0.5), "ground_truth": row(0.9)}
    runs = [
        write(tmp_path / name, {**rows, "measured_on": said})
        for name, said in (("one", facts(fad="log_mel")), ("two", other))
    ]
    assert main(["compare", *map(str, runs), "--markdown", str(tmp_path / "table.md")]) == 0
    out = capsys.readouterr().out
    assert "one: measured on data/quickstart (ddd), codec pocket (ccc)" in out
    assert ("warning: two was tested otherwise" in out) is bool(says)
    assert says in out
    page = (tmp_path / "table.md").read_text()
    assert says in page
    assert "- one: trained: R3GAN at iteration 3200, last.ckpt (eee)" in page


def test_runs_are_named_by_the_shortest_ends_of_their_paths(tmp_path: Path) -> None:
    assert run_names([tmp_path / "a", tmp_path / "b" / "results.json"]) == ["a", "b"]
    assert run_names([tmp_path / "a" / "x", tmp_path / "b" / "x"]) == ["a/x", "b/x"]
    with pytest.raises(UserError, match="named twice"):
        run_names([tmp_path, tmp_path])


def test_a_run_without_results_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(tmp_path)]) == 2
    assert "run `lightning test` first" in capsys.readouterr().err


def test_runs_of_one_recipe_are_one_row_with_an_interval_over_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The t interval of three numbers: 0.6 ± 4.303 · 0.1 / √3."""
    truth = {"ground_truth": row(0.9)}
    seeds = [write(tmp_path / f"seed_{n}", {"trained": row(value), **truth}) for n, value in enumerate((0.5, 0.6, 0.7))]
    other = write(tmp_path / "other", {"trained": row(0.95), **truth})
    table = tmp_path / "table.csv"
    group = f"base={','.join(map(str, seeds))}"
    assert main(["compare", str(other), "--group", group, "--csv", str(table)]) == 0
    lines = list(csv.DictReader(table.open()))
    assert [line["row"] for line in lines] == ["base (3 seeds)", "other", "ground_truth"]
    assert [float(lines[0][key]) for key in ("value", "low", "high")] == pytest.approx([0.6, 0.3516, 0.8484], abs=1e-4)
    assert "0.60 (+0.00) [0.35, 0.85]" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "name at least one run"),
        (["--group", "base"], "not of the form NAME=RUN,RUN"),
        (["--group", "base=one"], "needs at least two runs"),
        (["--group", "base=one,one"], "named twice"),
        (["--group", "base=one,far", "--group", "base=near,other"], "a name of its own"),
    ],
)
def test_a_wrong_group_is_one_line(
    arguments: list[str],
    says: str,
    runs: list[Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(runs[0].parent)
    write(Path("other"), {"trained": row(0.5)})
    assert main(["compare", *arguments]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert says in err


def test_runs_in_a_group_are_of_one_recipe_and_measured_alike(tmp_path: Path) -> None:
    def table(recipe: str, sha256: str, data: str = "d") -> Table:
        model = {"recipe": recipe, "sha256": sha256, "config": "c"}
        facts = {"data": {"root": "x", "sha256": data}, "codec": {}, "measures": {}, "models": {"trained": model}}
        return Table({"trained": row(0.5)}, facts)

    one = ("one", table("R3GAN", "1"))
    assert over_seeds("g", [one, ("two", table("R3GAN", "2"))]).rows["trained"]["beat_f1"]["value"] == 0.5
    for other, says in (
        (table("R3GAN", "1"), "the same checkpoint"),
        (table("FlowMatching", "2"), "recipe FlowMatching instead of R3GAN"),
        (table("R3GAN", "2", data="e"), "does not belong in the group g"),
    ):
        with pytest.raises(UserError, match=says):
            over_seeds("g", [one, ("two", other)])
