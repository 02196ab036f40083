"""How look-ahead models fare by hop and look-ahead (r × w; Karchkhadze and Dubnov), beside what was published.

python -m benchmarks.lookahead_sweep --checkpoint runs/r_125/checkpoints/last.ckpt \\
    --checkpoint runs/lookahead_pocket/checkpoints/last.ckpt --plot docs/lookahead_sweep.png

Every checkpoint is a model of one hop: r is its block's share of the window, and must be trained for. It plays the test
items of its data at every look-ahead w that it was trained for, which is minus its cutoff: w = -1 hears the hop that it
plays to (and cannot be played live), 0 answers at once, 1 has a hop's time to compute. Judges, anchors and folders are
those of `benchmarks.cutoff_sweep`: what is there is not measured again.

Published are their diffusion model's numbers, in brackets: of Slakh2100, by FAD of VGGish, beats by Beat This! against
the mix, and the published COCOLA, so that only the order of the cells compares. The last line is one JSON object:
`cells`, per cell its r, its w, and its columns, and `published`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from matplotlib.figure import Figure
from tqdm import tqdm

from benchmarks.cutoff_sweep import Items, Model, folder_of, model_of, sweep
from livejam.errors import UserError
from livejam.files import atomic_path
from metrics.cells import Cell
from metrics.headings import heading

COLUMNS = ("fad", "beat_f1_drums", "cocola_full", "cocola_harmonic", "cocola_percussive", "phase_lock")
PUBLISHED_COLUMNS = COLUMNS[:5]
PUBLISHED = {
    (0.125, -1): (3.17, 0.565, 60.69, 60.52, 64.50),
    (0.25, -1): (2.93, 0.621, 61.58, 62.55, 65.19),
    (0.5, -1): (2.75, 0.634, 61.93, 63.11, 65.52),
    (0.125, 0): (3.96, 0.339, 56.59, 57.06, 60.43),
    (0.25, 0): (3.76, 0.319, 57.02, 58.16, 60.70),
    (0.5, 0): (3.82, 0.261, 56.08, 57.46, 59.82),
    (0.125, 1): (4.17, 0.260, 56.02, 54.99, 58.18),
    (0.25, 1): (3.95, 0.223, 54.94, 56.24, 58.72),
}
"""(r, w) → their diffusion model's numbers, from `main/eval/sweep_data.json` of the public code, commit 582dd3b. There
is no (.5, 1): the mix would be missing from all of the window."""
NAMES = {-1: "w = −1 (hears all)", 0: "w = 0 (at once)", 1: "w = 1 (a hop ahead)"}


@dataclass(frozen=True)
class Measured:
    """A cell of the sweep.

    Args:
        hop: r, the block's share of the window.
        look_ahead: w, in hops.
        columns: column of a test's table → its cell.
    """

    hop: float
    look_ahead: int
    columns: dict[str, Cell]

    @property
    def name(self) -> str:
        """Of its row."""
        return f"r = {self.hop:g}, w = {self.look_ahead}".replace("-", "−")

    def published(self, column: str) -> float | None:
        """What was published of this cell; None if nothing was."""
        values = PUBLISHED.get((self.hop, self.look_ahead))
        return values[PUBLISHED_COLUMNS.index(column)] if values and column in PUBLISHED_COLUMNS else None


def hop_of(model: Model) -> float:
    """r: its block's share of the window."""
    network = model.accompanist.generator.transformer
    return network.block_frames / network.window_frames


def measured(models: Sequence[Model], items: Items, folder: Path) -> list[Measured]:
    """All cells, by w and then by r.

    Args:
        models: one per hop.
        items: what they play to.
        folder: holds what was measured.

    Raises:
        UserError: two models have the same hop.
    """
    hops = [hop_of(model) for model in models]
    if len(set(hops)) < len(hops):
        raise UserError(
            f"two checkpoints have the same hop ({', '.join(f'{hop:g}' for hop in hops)}); name one for each r"
        )
    cells = []
    for model in tqdm(models, desc="hops"):
        rows = sweep(model, items, folder_of(model, items, folder))
        cells += [Measured(hop_of(model), -c, rows[model.row(c)]) for c in model.cutoff_blocks if abs(c) <= 1]
    return sorted(cells, key=lambda cell: (cell.look_ahead, cell.hop))


def table(cells: Sequence[Measured]) -> str:
    """Markdown: value, interval, and in brackets what was published."""
    lines = [f"| cell | {' | '.join(map(heading, COLUMNS))} |", "|---" * (len(COLUMNS) + 1) + "|"]
    for cell in cells:
        shown = [_shown(cell.columns.get(column), cell.published(column)) for column in COLUMNS]
        lines.append(f"| {cell.name} | {' | '.join(shown)} |")
    return "\n".join(lines)


def _shown(cell: Cell | None, published: float | None) -> str:
    if not cell or cell["value"] is None:
        return "–"
    text = f"{cell['value']:.2f}"
    if cell.get("interval"):
        text += " [{:.2f}, {:.2f}]".format(*cell["interval"])
    return (text if published is None else f"{text} ({published:g})").replace("-", "−")


def draw(cells: Sequence[Measured], out: Path) -> None:
    """One chart per column: over r, a line with intervals per w, and the published one dashed."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    for axes, column in zip(figure.subplots(2, 3).flat, COLUMNS, strict=True):
        for place, (look_ahead, name) in enumerate(NAMES.items()):
            own = [
                c for c in cells if c.look_ahead == look_ahead and c.columns.get(column, {}).get("value") is not None
            ]
            hops = [c.hop for c in own]
            axes.plot(hops, [c.columns[column]["value"] for c in own], "o-", color=f"C{place}", label=name)
            for c in own:
                interval = c.columns[column].get("interval") or []
                axes.plot([c.hop] * len(interval), interval, color=f"C{place}", alpha=0.6)
            if column in PUBLISHED_COLUMNS:
                index = PUBLISHED_COLUMNS.index(column)
                theirs = [(hop, values[index]) for (hop, w), values in PUBLISHED.items() if w == look_ahead]
                axes.plot(*zip(*theirs, strict=True), "x--", color=f"C{place}", alpha=0.5, label=f"{name}, published")
        axes.set(title=heading(column), xlabel="r: hop, as a share of the window")
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def main() -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", action="append", required=True, help="a model of one hop; once for each")
    parser.add_argument("--root", help="data set; default: that of the trainings")
    parser.add_argument("--items", type=int, default=48, help="of the test split, at least 1 (default: 48)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each, at least 20 for drifts (default: 20)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch, at least 1 (default: 1)")
    parser.add_argument("--folder", type=Path, default=Path("runs/lookahead_sweep"), help="where rows are kept")
    parser.add_argument("--plot", type=Path, help="where to draw the charts (PNG)")
    parser.add_argument("--markdown", type=Path, help="where to write the table")
    given = parser.parse_args()
    if min(given.items, given.threads) < 1 or given.seconds <= 0:
        parser.error("items and threads must be 1 or more, seconds above 0")
    torch.set_num_threads(given.threads)
    models = [model_of(checkpoint) for checkpoint in given.checkpoint]
    cells = measured(models, Items(given.root, given.items, given.seconds), given.folder)
    print(table(cells))
    if given.markdown is not None:
        given.markdown.write_text(table(cells) + "\n", encoding="utf-8")
    if given.plot is not None:
        draw(cells, given.plot)
    published = {f"r = {hop:g}, w = {w}": values for (hop, w), values in PUBLISHED.items()}
    found = {cell.name: {"r": cell.hop, "w": cell.look_ahead, "columns": cell.columns} for cell in cells}
    print(json.dumps({"cells": found, "published": published}))


if __name__ == "__main__":
    main()
