"""Draw a run's validation curves with their anchors, as they stand in docs/results_liveband.md.

python -m benchmarks.curves runs/liveband_pocket docs/liveband_pocket.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from metrics.anchor_rows import ANCHORS, BESIDE, PLAYERS, anchor_tag

CHARTS = {
    "val/beat_f1_truth/Percussive": "drums: beat F1 against the true beats",
    "val/chord_tone_share": "pitched stems: chord-tone share",
    "val/phase_lock": "phase lock of onsets on the beat grid",
    "val/fad/log_mel": "Fréchet distance (log-mel)",
    "val/loudness_db": "level against the true stem (dB)",
    "train/advantage": "discriminator's advantage",
    "train/penalty_weight": "penalty weight λ",
    "train/spread": "spread of outputs (1 = as real ones)",
}
"""Scalar in the log → title of its chart."""

COLOURS = {"ground_truth": "C2", "codec": "C1", "random_pairing": "C3", "silence": "C7"}


def read_scalars(run: Path) -> dict[str, tuple[list[float], list[float]]]:
    """Iterations and values of every scalar of a run, from all its event files; anchors' as `anchor/<row>/<name>`.

    Raises:
        SystemExit: there are none.
    """
    curves: dict[str, list[tuple[float, float]]] = {}
    for file in sorted(run.rglob("events.out.tfevents.*")):
        events = EventAccumulator(str(file), size_guidance={"scalars": 0}).Reload()
        row = file.parent.name
        for tag in events.Tags()["scalars"]:
            known = anchor_tag(row, tag.removeprefix("val/")) if row in (*ANCHORS, *BESIDE, *PLAYERS) else tag
            curves.setdefault(known, []).extend((event.step, event.value) for event in events.Scalars(tag))
    if not curves:
        raise SystemExit(f"no TensorBoard events under {run}; train first")
    return {tag: tuple(map(list, zip(*sorted(points), strict=True))) for tag, points in curves.items()}  # type: ignore[misc]


def draw(curves: dict[str, tuple[list[float], list[float]]], out: Path) -> None:
    """One chart per metric: the model's curve, and its anchors as level lines."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 4, figsize=(16, 6.4), layout="constrained")
    for axis, (tag, title) in zip(axes.flat, CHARTS.items(), strict=True):
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("iteration", fontsize=8)
        if tag in curves:
            axis.plot(*curves[tag], color="C0", lw=1.6, label="model")
        for row, colour in COLOURS.items():
            name = tag.removeprefix("val/").removesuffix("/Percussive")  # anchors have no breakdown
            values = curves.get(anchor_tag(row, name), ([], []))[1]
            if tag.startswith("val/") and values and not ("fad" in tag and row == "silence"):
                axis.axhline(values[-1], color=colour, lw=1, ls="--", label=row.replace("_", " "))
        axis.grid(alpha=0.3)
    axes.flat[0].legend(fontsize=8)
    out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(out, dpi=90)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the run's folder (trainer.default_root_dir)")
    parser.add_argument("out", type=Path, help="the PNG to write")
    arguments = parser.parse_args()
    draw(read_scalars(arguments.run), arguments.out)


if __name__ == "__main__":
    main()
