"""What continuous integration reads: pytest's closing line comes last, and no failed run hides behind another."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from commands import REPOSITORY

ALL, SOME = "12 passed, 1 skipped in 9.00s", "=== 5 passed in 3.00s ==="
NONE = "5 skipped, 20 deselected in 1.00s"
FAILED, LINT = "1 failed, 11 passed in 9.00s", "lint says no"


@pytest.mark.parametrize(
    ("ends", "last", "status"),
    [
        (((ALL, 0), (SOME, 0), (SOME, 0)), ALL, 0),
        (((FAILED, 2), (SOME, 0), (SOME, 0)), FAILED, 2),
        (((ALL, 0), (FAILED, 2), (SOME, 0)), FAILED, 2),
        (((ALL, 0), (SOME, 0), (FAILED, 2)), FAILED, 2),
        (((LINT, 2), (SOME, 0), (SOME, 0)), "", 1),
        (((ALL, 0), (LINT, 0), (SOME, 0)), "", 1),
        (((NONE, 0), (SOME, 0), (SOME, 0)), "", 1),
        (((ALL, 0), (SOME, 0), (NONE, 0)), ALL, 0),
    ],
    ids=[
        "all pass",
        "the first fails",
        "the second fails",
        "the third fails",
        "no tests in the first",
        "no tests in the second",
        "the first skips all",
        "no Slurm here",
    ],
)
def test_closing_line(tmp_path: Path, ends: tuple[tuple[str, int], ...], last: str, status: int) -> None:
    """`make` is played: what each of the three targets says, and its status."""
    cases = dict(zip(("test", "test-portable", "test-slurm-short"), ends, strict=True))
    said = [
        f'[ "$1" = {name} ] && {{ echo "{line}"; echo done; exit {code}; }}' for name, (line, code) in cases.items()
    ]
    make = tmp_path / "make"
    make.write_text("\n".join(["#!/bin/bash", *said, "exit 99"]))
    make.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    run = subprocess.run([REPOSITORY / ".ci" / "run"], env=environment, capture_output=True, text=True)
    assert (run.stdout.splitlines()[-1], run.returncode) == (last, status)
