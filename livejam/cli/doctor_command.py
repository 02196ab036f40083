"""`livejam doctor`: this machine, this installation, and with --config an experiment, before it runs for a week."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from livejam.cli.doctor import Finding

DESCRIPTION = """\
Versions, matching builds, extras, cores, disk and the bundled codec. With --config also an experiment, as `lightning
fit` would read it: its weights, songs and bank; memory and time of two training steps, in one process and after one to
warm up, and what they mean for the whole run; and the disk against the checkpoints and the bank. Nothing is rendered,
encoded or overwritten. Exit status 1 if something fails."""


def add_doctor(commands: Any) -> None:
    """Add the command to the parser's commands."""
    doctor = commands.add_parser(
        "doctor",
        help="check this machine, this installation, and an experiment before it runs",
        description=DESCRIPTION,
        epilog="examples:\n  livejam doctor\n  livejam doctor --config quickstart\n"
        "  livejam doctor --json --config liveband/slakh -- --data.init_args.root /data/slakh2100",
    )
    doctor.add_argument("--config", action="append", default=[], metavar="FILE", help="an experiment; may be repeated")
    doctor.add_argument("--deep", action="store_true", help="also compare every byte of the bank with its hash")
    doctor.add_argument("--json", action="store_true", help="print one JSON list instead of lines")
    doctor.add_argument("options", nargs="*", metavar="OPTION", help="after --: further options of `lightning fit`")
    doctor.set_defaults(run=_doctor)


def _doctor(options: argparse.Namespace) -> int:
    from livejam.cli.doctor import examine

    findings = []
    checks = [examine()]
    if options.config:
        checks.append(examine_experiment(options.config, options.options, options.deep))
    for finding in (finding for check in checks for finding in check):
        findings.append(finding)
        if not options.json:
            print(f"{'ok  ' if finding.good else 'FAIL'}  {finding.subject:<15} {finding.text}", flush=True)
    if options.json:
        print(json.dumps([vars(finding) for finding in findings], indent=1))
    return 0 if all(finding.good for finding in findings) else 1


def examine_experiment(configs: list[str], options: list[str], deep: bool) -> Iterator[Finding]:
    """The checks of an experiment, which a process of its own makes."""
    from livejam.cli.doctor import Finding

    words = [word for config in configs for word in ("--config", config)] + options
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "findings"
        results.touch()
        words = [str(results), "deep" if deep else "quick", "fit", *words]
        command = [sys.executable, "-m", "lightning_modules.examination", *words]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        yield from (Finding(**json.loads(line)) for line in results.read_text(encoding="utf-8").splitlines())
    if done.returncode < 0:
        yield Finding("experiment", False, f"was killed by signal {-done.returncode}, perhaps for lack of memory")
    elif done.returncode:
        last = (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
        yield Finding("experiment", False, f"fails: {last[:300]}")
