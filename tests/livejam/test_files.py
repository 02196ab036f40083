"""Files that several processes change."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

from livejam.files import atomic_path, one_after_the_other

ROWS = 25


def add_rows(path: Path, process: int) -> None:
    """Read, change and write again, as a test does with the table of results."""
    for number in range(ROWS):
        with one_after_the_other(path):
            rows = json.loads(path.read_text()) if path.exists() else {}
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps({**rows, f"{process} {number}": 0}))


def test_no_row_of_two_processes_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=add_rows, args=(path, number)) for number in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(json.loads(path.read_text())) == 3 * ROWS
