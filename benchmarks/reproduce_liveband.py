"""LiveBand's claims at pocket size, each trained with the same budget and several seeds: `make reproduce-liveband`.

python -m benchmarks.reproduce_liveband --seeds 3 --jobs 2

Every cell is a config with overlays and options, and stands for one claim of the paper or one switch that is ours. It
is trained with `lightning fit` and tested with `lightning test`; a stopped training goes on from its checkpoint, and
what is finished is not done again, so the command can be stopped and started as often as you like. All cells with the
first seed come first. Then the models with and without an attention sink play for two minutes, with
`benchmarks.error_accumulation`. `--known docs/reproductions/liveband` takes the results that are in
docs/results_liveband.md, and trains what they lack.

After every cell `table.md` and `plot.png` in `--folder` are written again, from all seeds that are finished. Intervals
are 95 % intervals over seeds (Student's t). As long as a cell has one seed or two, with which they would say nothing,
its row is that of the first seed, with intervals over songs. The last line is one JSON object: `finished`, per cell its
number of seeds, `minutes` of each training, and `rows` of the table.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from livejam.cli.compare import joined
from livejam.errors import UserError
from livejam.files import atomic_path
from metrics.anchor_rows import ANCHORS
from metrics.cells import Rows
from metrics.headings import heading
from metrics.results import Table, as_markdown, as_text, known, read_table
from metrics.seeds import over_seeds

BASE = Path("configs/quickstart.yaml")
OVERLAYS = Path("configs/overlays")
DRAWN = ("beat_f1_drums", "chord_tone_share", "phase_lock", "fad")
SHOWN = (*DRAWN, "cocola_full", "loudness_db")
SINKS = ("τ = .1 s", "without sink")
"""The cells that also play for two minutes."""

FEWEST_SEEDS = 3
"""With two, Student's interval is 13 times the standard error."""

FADING = {"model.init_args.regression_half_life": 1.0}
"""Of cells that compare anticipations: the same weight of the L1 term everywhere would be another comparison."""


@dataclass(frozen=True)
class Cell:
    """A model of the comparison.

    Args:
        name: in the table.
        overlays: names of files in configs/overlays.
        settings: options and their values.
        tested_at: anticipations of its tests; None = its own.
    """

    name: str
    overlays: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    tested_at: tuple[int | None, ...] = (None,)

    @property
    def slug(self) -> str:
        """For the name of its folder; ASCII, which every archive and disk knows."""
        name = self.name.replace("τ", "tau").replace("λ", "lambda")
        return "".join(letter if letter.isalnum() else "_" for letter in name)

    def options(self, base: Path, seed: int) -> list[str]:
        """Of `lightning`, for its training and its tests alike."""
        configs = [base, *(OVERLAYS / f"{name}.yaml" for name in self.overlays)]
        settings = {"seed_everything": seed, "model.init_args.seed": seed, **self.settings}
        return [
            *(word for config in configs for word in ("--config", str(config))),
            *(word for name, value in settings.items() for word in (f"--{name}", json.dumps(value))),
        ]

    def rows(self) -> Iterator[tuple[str, int | None]]:
        """Name of the row and anticipation of every test."""
        for frames in self.tested_at:
            yield self.name if frames is None else f"{self.name}, δ = {frames}", frames


def switched(name: str, value: Any) -> Cell:
    """The base without one of our switches."""
    return Cell(f"without {name.removesuffix('_weight').replace('_', ' ')}", (), {f"model.init_args.{name}": value})


CELLS = (
    Cell(SINKS[0]),
    Cell("τ = 0", ("anticipation_0",), FADING),
    Cell("τ = 1 s", ("anticipation_11",), FADING),
    Cell(
        "one model for all τ",
        (),
        {
            "model.init_args.generator.init_args.anticipations": 12,
            "model.init_args.discriminator.init_args.anticipations": 12,
            **FADING,
        },
        tested_at=(0, 1, 11),
    ),
    Cell("bidirectional", ("bidirectional",)),
    Cell(SINKS[1], ("no_sink",)),
    Cell("λ = 1", ("gp_fixed_1",)),
    Cell("λ = 10", ("gp_fixed_10",)),
    Cell("full penalties", (), {"model.init_args.penalty_every": 1}),
    switched("mismatch_weight", 0.0),
    switched("regression_weight", 0.0),
    switched("reuse_fakes", False),
    switched("ema_decay", None),
)
"""The first one is what the others are compared with."""


@dataclass(frozen=True)
class Plan:
    """What is to be done.

    Args:
        folder: holds everything.
        base: config of all cells.
        more: further options of all trainings and tests.
        epochs: of every training.
        run: runs a command in a log, and raises a UserError if it fails.
        known: another such folder, perhaps of another machine: what is tested there is neither trained nor tested.
    """

    folder: Path
    base: Path
    more: tuple[str, ...]
    epochs: int
    run: Callable[[Sequence[str], Path], None]
    known: Path | None = None

    def place(self, cell: Cell, seed: int) -> Path:
        """The folder of a training."""
        return self.folder / f"{cell.slug}_seed_{seed}"

    def checkpoint(self, cell: Cell, seed: int) -> Path:
        """What a training leaves."""
        return self.place(cell, seed) / "checkpoints" / "last.ckpt"

    def train(self, cell: Cell, seed: int) -> None:
        """Train as far as is missing."""
        place, done = self.place(cell, seed), self.progress(cell, seed)
        if done["epochs"] >= self.epochs or self.finished(cell, [seed]):
            return
        options = [*cell.options(self.base, seed), *self.more]
        options += ["--trainer.default_root_dir", str(place), "--trainer.max_epochs", str(self.epochs)]
        # `last` is also the checkpoint of a training that was interrupted within an epoch
        known = self.checkpoint(cell, seed).is_file() or (place / "interrupted.ckpt").is_file()
        began = time.monotonic()
        try:
            self.run(["fit", *options, *(["--ckpt_path", "last"] if known else [])], place / "fit.log")
            done = {**done, "epochs": self.epochs}
        finally:
            seconds = done["seconds"] + time.monotonic() - began
            with atomic_path(place / "progress.json") as temporary:
                temporary.write_text(json.dumps({**done, "seconds": seconds}), encoding="utf-8")

    def progress(self, cell: Cell, seed: int) -> dict[str, Any]:
        """Epochs that are finished, and the seconds of this machine that they took."""
        file = self.place(cell, seed) / "progress.json"
        found = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        return {"epochs": 0, "seconds": 0.0, **found}

    def table_of(self, cell: Cell, seed: int, frames: int | None) -> Path:
        """What a test writes, or has written where results are known."""
        own = self.place(cell, seed) / f"test_{self.epochs}{'' if frames is None else f'_at_{frames}'}" / "results.json"
        if self.known is None or own.is_file():
            return own
        elsewhere = self.known / own.relative_to(self.folder)
        return elsewhere if elsewhere.is_file() else own

    def test(self, cell: Cell, seed: int) -> None:
        """Test what has not been tested."""
        for _, frames in cell.rows():
            out = self.table_of(cell, seed, frames)
            if out.is_file():
                continue
            options = [*cell.options(self.base, seed), *self.more, "--trainer.default_root_dir", str(out.parent)]
            if frames is not None:
                options += ["--model.init_args.anticipation_frames", str(frames)]
            self.run(["test", *options, "--ckpt_path", str(self.checkpoint(cell, seed))], out.parent / "test.log")

    def finished(self, cell: Cell, seeds: Sequence[int]) -> list[int]:
        """The seeds that are trained and tested."""
        return [s for s in seeds if all(self.table_of(cell, s, frames).is_file() for _, frames in cell.rows())]


def tables_of(plan: Plan, cells: Sequence[Cell], seeds: Sequence[int]) -> list[tuple[str, Table]]:
    """Name and table of every test that is finished with any seed: over seeds, or of the first of fewer than three."""
    tables: list[tuple[str, Table]] = []
    for cell in cells:
        done = plan.finished(cell, seeds)
        for name, frames in cell.rows() if done else ():
            runs = [(f"{name}, seed {seed}", read_table(plan.table_of(cell, seed, frames))) for seed in done]
            tables.append((name, over_seeds(name, runs) if len(runs) >= FEWEST_SEEDS else runs[0][1]))
    return tables


def report(plan: Plan, cells: Sequence[Cell], seeds: Sequence[int]) -> Rows:
    """Write table and plot of what is finished."""
    tables = tables_of(plan, cells, seeds)
    rows, warnings = joined(tables) if tables else ({}, [])
    if rows:
        shown = {row: {name: columns[name] for name in SHOWN if name in columns} for row, columns in rows.items()}
        counts = [f"{cell.name}: {len(plan.finished(cell, seeds))} of {len(seeds)} seeds" for cell in cells]
        measured_on = known(*(table.measured_on for _, table in tables))
        text = as_markdown(shown, next(iter(shown)), [*counts, *warnings], measured_on)
        with atomic_path(plan.folder / "table.md") as temporary:
            temporary.write_text(text, encoding="utf-8")
        draw(rows, plan.folder / "plot.png")
    return rows


def draw(rows: Rows, out: Path) -> None:
    """One chart per metric: a dot with its interval per model, and the true stem and that of another song as lines."""
    from matplotlib.figure import Figure

    models = [row for row in rows if row not in ANCHORS][::-1]
    names = [name for name in DRAWN if any(name in rows[row] for row in models)]
    figure = Figure(figsize=(3 + 3 * max(1, len(names)), 1.5 + 0.3 * len(models)), layout="constrained")
    for axes, name in zip(figure.subplots(1, max(1, len(names)), sharey=True, squeeze=False)[0], names, strict=False):
        for place, row in enumerate(models):
            cell = rows[row].get(name, {})
            if cell.get("value") is not None:
                axes.plot(cell["value"], place, "o", color="C0")
                axes.plot(cell.get("interval") or [], [place] * len(cell.get("interval") or []), color="C0")
        for row, colour in (("ground_truth", "C2"), ("random_pairing", "C3")):
            value = rows.get(row, {}).get(name, {}).get("value")
            if value is not None:
                axes.axvline(value, color=colour, ls="--", lw=1, label=row.replace("_", " "))
        axes.set(title=heading(name), yticks=range(len(models)), yticklabels=models)
        axes.grid(alpha=0.3)
    if figure.axes:
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, dpi=90, format="png")


def play_for_long(plan: Plan, cells: Sequence[Cell], seeds: Sequence[int], more: Sequence[str]) -> None:
    """Two minutes with and without an attention sink."""
    models = [(cell, seed) for cell in cells if cell.name in SINKS for seed in plan.finished(cell, seeds)]
    models = [(cell, seed) for cell, seed in models if plan.checkpoint(cell, seed).is_file()]
    if models:
        words = [
            word
            for cell, seed in models
            for word in ("--as-is", f"{cell.name}, seed {seed}", str(plan.checkpoint(cell, seed)))
        ]
        folder = plan.folder / "two_minutes"
        outputs = ["--folder", str(folder), "--plot", str(folder / "plot.png"), "--markdown", str(folder / "table.md")]
        plan.run(["benchmarks.error_accumulation", *words, *outputs, *more], folder / "log")


def run_logged(command: Sequence[str], log: Path) -> None:
    """Run a command of `lightning`, or a benchmark, in this environment; what it says goes to a file.

    Raises:
        UserError: it failed; names the log.
    """
    first = [sys.executable, "-m", command[0]]
    if not command[0].startswith("benchmarks."):
        first = [str(Path(sys.executable).with_name("lightning")), command[0]]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:
        status = subprocess.run([*first, *command[1:]], stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if status:
        last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1:] or ["nothing was said"]
        raise UserError(f"`{command[0]}` failed ({last[0][:300]}); all of it is in {log}")


def reproduce(plan: Plan, cells: Sequence[Cell], seeds: Sequence[int], jobs: int) -> list[str]:
    """Train and test every cell with every seed; a cell that fails does not stop the others.

    Returns:
        What went wrong, one sentence each.
    """

    def work(place: tuple[int, Cell]) -> str | None:
        seed, cell = place
        try:
            plan.train(cell, seed)
            plan.test(cell, seed)
        except UserError as error:
            return f"{cell.name}, seed {seed}: {error}"
        print(f"{cell.name}, seed {seed}: finished", flush=True)
        return None

    places = [(seed, cell) for seed in seeds for cell in cells]
    problems = []
    with ThreadPoolExecutor(jobs) as pool:
        try:
            # the first one renders and encodes the songs of all
            first = pool.submit(work, places[0]).result()
            for found in itertools.chain([first], pool.map(work, places[1:])):
                problems += [found] if found else []
                report(plan, cells, seeds)
        except BaseException:
            # Ctrl-C reaches the trainings as well, which save a checkpoint: wait for them, and begin no other
            pool.shutdown(cancel_futures=True)
            raise
    return problems


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, default=BASE, help=f"config of all cells (default: {BASE})")
    parser.add_argument("--folder", type=Path, default=Path("runs/reproduce_liveband"), help="holds everything")
    parser.add_argument("--known", type=Path, help="such a folder, whose results are taken instead of training again")
    parser.add_argument("--epochs", type=int, default=4, help="of every training (default: 4, the demo's)")
    parser.add_argument("--seeds", type=int, default=3, help="seeds of every cell, 1, 2, … (default: 3)")
    parser.add_argument("--jobs", type=int, default=1, help="trainings at the same time (default: 1)")
    parser.add_argument("--cells", nargs="+", default=[cell.name for cell in CELLS], help="names (default: all)")
    parser.add_argument("--without-long", action="store_true", help="nothing plays for two minutes")
    parser.add_argument("--long", nargs=argparse.REMAINDER, default=[], help="options of benchmarks.error_accumulation")
    parser.add_argument("--more", default="", help="options of all trainings and tests, as one text")
    given = parser.parse_args()
    unknown = set(given.cells) - {cell.name for cell in CELLS}
    if unknown or min(given.epochs, given.seeds, given.jobs) < 1:
        parser.error(f"unknown cells: {', '.join(unknown)}" if unknown else "epochs, seeds and jobs must be 1 or more")
    if given.known is not None and not given.known.is_dir():
        parser.error(f"{given.known} is no folder; name one that an earlier run has written")
    cells, seeds = [cell for cell in CELLS if cell.name in given.cells], range(1, given.seeds + 1)
    plan = Plan(given.folder, given.config, tuple(given.more.split()), given.epochs, run_logged, given.known)
    problems = reproduce(plan, cells, seeds, given.jobs)
    if not given.without_long:
        play_for_long(plan, cells, seeds, given.long)
    rows = report(plan, cells, seeds)
    print(as_text({row: {name: c[name] for name in SHOWN if name in c} for row, c in rows.items()}) if rows else "")
    print("\n".join(problems), file=sys.stderr)
    minutes = {cell.name: [plan.progress(cell, seed)["seconds"] / 60 for seed in seeds] for cell in cells}
    finished = {cell.name: len(plan.finished(cell, seeds)) for cell in cells}
    print(json.dumps({"finished": finished, "minutes": minutes, "rows": rows}))
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
