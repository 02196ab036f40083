"""The table of results: what is shown, what is marked, what is written, what is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from livejam.errors import UserError
from metrics.cells import separate
from metrics.results import as_csv, as_markdown, as_text, columns_of, read_rows, sorted_rows, write_table


def cell(value: float | None, drift: float | None = 0.0, count: int = 9, interval: Any = None) -> dict[str, Any]:
    return {"value": value, "drift": drift, "count": count, "interval": interval, "drift_interval": None}


ROWS = {
    "trained": {"fad": cell(12.345, None), "f1": cell(None, None, 0)},
    "silence": {"fad": cell(1.0, -0.5)},
}


def test_text_shows_what_is_undefined() -> None:
    lines = as_text(ROWS).splitlines()
    assert lines[2].split() == ["trained", "12.3", "–"]
    assert lines[3].split() == ["silence", "1.00", "(-0.50)", "–"]
    assert lines[5].split() == ["items", "9", "0"]
    assert len(set(map(len, lines))) == 1


def test_cells_of_older_tables_have_no_interval() -> None:
    rows = {"trained": {"fad": {"value": 1.0, "drift": 0.25, "count": 3}}}
    assert "1.00 (+0.25)" in as_text(rows)
    assert as_csv(rows).splitlines()[1] == "trained,fad,1.0,,,0.25,,,3,,,,,"


def test_a_drift_of_fewer_items_says_so() -> None:
    rows = {"trained": {"fad": cell(1.0) | {"drift_count": 2}, "beat_f1": cell(1.0) | {"drift_count": 9}}}
    assert as_markdown(rows).splitlines()[-1] == "| items | 9 (2) | 9 |"
    assert as_csv(rows).splitlines()[1].endswith(",9,2,,,,")


def test_narrow_screens_get_several_blocks_with_all_columns() -> None:
    rows = {"trained": {f"column_{i}": cell(float(i), interval=[i - 0.5, i + 0.5]) for i in range(9)}}
    blocks = as_text(rows, width=100).split("\n\n")
    assert len(blocks) > 1
    assert all(len(line) <= 100 for block in blocks for line in block.splitlines())
    assert all(block.splitlines()[2].startswith("trained") for block in blocks)
    assert sum(block.count("[") for block in blocks) == 9 + len(blocks)


def test_papers_columns_come_first_in_their_order() -> None:
    rows = {"trained": dict.fromkeys(["phase_lock", "cocola_full", "beat_f1", "fad_other", "fad_vggish"], cell(1.0))}
    assert columns_of(rows) == ["fad_vggish", "fad_other", "beat_f1", "cocola_full", "phase_lock"]
    assert list(sorted_rows({"silence": {}, "mine": {}, "ground_truth": {}, "trained": {}})) == [
        "trained",
        "mine",
        "ground_truth",
        "silence",
    ]


def test_only_intervals_that_do_not_touch_are_marked() -> None:
    one, near, far = (cell(v, interval=[v - 1, v + 1]) for v in (1.0, 2.5, 9.0))
    assert separate(one, far)
    assert not separate(one, near)
    assert not separate(one, cell(9.0))
    assert not separate(one, None)
    rows = {"one": {"x": one}, "near": {"x": near}, "far": {"x": far}}
    text = as_text(rows, against="one")
    assert "9.00* (+0.00)" in text
    assert text.count("*") == 1
    assert as_markdown(rows, against="one").count("\\*") == 1
    lines = list(csv.DictReader(as_csv(rows, against="one").splitlines()))
    assert [line["differs"] for line in lines] == ["0", "0", "1"]


def test_files_hold_the_same_numbers(tmp_path: Path) -> None:
    rows = {"trained": {"fad": cell(1.5, 0.25, 4, [1.0, 2.0])}}
    write_table(rows, tmp_path / "results.json")
    assert read_rows(tmp_path / "results.json") == rows
    line = next(csv.DictReader((tmp_path / "results.csv").open()))
    assert (line["value"], line["low"], line["high"], line["drift"], line["count"]) == (
        "1.5",
        "1.0",
        "2.0",
        "0.25",
        "4",
    )
    markdown = (tmp_path / "results.md").read_text()
    assert "| trained | 1.50 (+0.25) [1.00, 2.00] |" in markdown
    assert len({text.count("|") for text in markdown.splitlines()}) == 1


@pytest.mark.parametrize(
    "content",
    ["[1]", "{", '{"trained": 1}', '{"trained": {"fad": {"value": 1}}}', '{"measured_on": 3}', '{"measured_on": {}}'],
)
def test_other_files_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "results.json").write_text(content)
    with pytest.raises(UserError, match="move it away"):
        read_rows(tmp_path / "results.json")
    assert read_rows(tmp_path / "none.json") == {}
    assert json.dumps(read_rows(tmp_path / "none.json")) == "{}"
