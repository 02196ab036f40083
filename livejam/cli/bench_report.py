"""What `livejam bench` says and draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from livejam.checkpoints.player import Player
from livejam.streaming.measuring import Measured, latencies, misses, quantiles_ms, smallest_anticipation

STAGES = ("encode", "generate", "decode", "total")
SHARES = ("mean", "p50", "p95", "p99", "max")
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#999999")
"""Of Okabe and Ito: told apart by colour-blind people as well."""

DRAWN_STEPS = 2000


def facts(measured: Measured, player: Player, buffer_seconds: float) -> dict[str, Any]:
    """One row of the report in plain values."""
    spec, timing = player.codec.spec, measured.timing
    needed = smallest_anticipation(
        measured,
        player.accompanist.anticipation_frames,
        player.accompanist.block_frames,
        spec.frame_seconds,
        buffer_seconds,
    )
    return {
        "steps": len(measured.total),
        "stages_ms": {stage: quantiles_ms(getattr(measured, stage)) for stage in STAGES},
        "latency_ms": quantiles_ms(latencies(measured.total, measured.block_seconds)),
        "real_time_factor": measured.real_time_factor,
        "block_ms": 1000 * measured.block_seconds,
        "anticipation_ms": timing.milliseconds(timing.anticipation_samples),
        "codec_delay_ms": timing.milliseconds(timing.codec_delay_samples),
        "resampling_delay_ms": timing.milliseconds(timing.resampling_delay_samples),
        "lead_ms": timing.milliseconds(timing.lead_samples),
        "budget_ms": 1000 * (timing.budget_seconds - buffer_seconds),
        "misses": misses(measured, buffer_seconds),
        "smallest_anticipation_frames": needed,
        "smallest_anticipation_ms": None if needed is None else 1000 * spec.seconds_in(needed),
        "step_ms": (1000 * measured.total[:DRAWN_STEPS]).round(3).tolist(),
    }


def report(result: Mapping[str, Any]) -> list[str]:
    """The report for people; its first block is LiveBand's table of latencies (table 5), in ms."""
    rows = result["measured"]
    one = next(iter(rows.values()))
    head = f"{result['model']} on {result['machine']}, {_count(result['threads'], 'thread')}"
    lines = [head + (", while other programs compute" if result["busy"] else ""), ""]
    lines += [f"{'ms a step':<10}{'model':>10}{'decoder':>10}{'both':>10}{'median':>10}{'× real time':>13}"]
    for name, row in rows.items():
        model, decoder = (row["stages_ms"][stage]["mean"] for stage in ("generate", "decode"))
        median = row["stages_ms"]["total"]["p50"]
        numbers = "".join(f"{number:10.2f}" for number in (model, decoder, model + decoder, median))
        lines.append(f"{name:<10}{numbers}{row['real_time_factor']:13.2f}")
    for name, row in rows.items():
        lines += ["", f"{name:<10}" + "".join(f"{share:>10}" for share in SHARES)]
        for stage in (*STAGES, "latency"):
            quantiles = row["latency_ms"] if stage == "latency" else row["stages_ms"][stage]
            lines.append(f"{stage:<10}" + "".join(f"{quantiles[share]:10.2f}" for share in SHARES))
        lines.append(_judgement(row))
    delays = f"codec {one['codec_delay_ms']:.1f} ms, resampling {one['resampling_delay_ms']:.1f} ms"
    lines += [
        "",
        f"model's delay: {delays}; buffers and sound card: {result['buffer_ms']:g} ms; anticipation: "
        f"{one['anticipation_ms']:.1f} ms; left for a step: {one['budget_ms']:.1f} ms",
    ]
    return lines


def block_rows(blocks: Sequence[Mapping[str, Any]]) -> list[str]:
    """The table of block lengths."""
    if not blocks:
        return []
    lines = ["", "block: frames, s    time, s   × real time   steps that fit   context that fits, frames"]
    for row in blocks:
        factor = row["block_seconds"] / row["latency_seconds"]
        lines.append(
            f"{row['block_frames']:13d}{row['block_seconds']:5.2f}{row['latency_seconds']:11.3f}{factor:14.2f}"
            f"{row['steps']:17d}{row['context_frames']:28d}"
        )
    return lines


def _judgement(row: Mapping[str, Any]) -> str:
    """Whether it can be played here."""
    if row["smallest_anticipation_frames"] is None:
        return "too slow for this machine: steps pile up, whatever the anticipation"
    missed = f"{row['misses']} of {row['steps']} steps would be too late"
    smallest = f"{_count(row['smallest_anticipation_frames'], 'frame')} ({row['smallest_anticipation_ms']:.0f} ms)"
    return f"{missed}; the smallest anticipation that this machine sustained: {smallest}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def draw(result: Mapping[str, Any], path: Path) -> None:
    """The time of every step against the time there is, and where it goes."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = result["measured"]
    figure, (above, below) = pyplot.subplots(2, 1, figsize=(11, 7), layout="constrained", height_ratios=(3, 2))
    for (name, row), colour in zip(rows.items(), (*COLOURS, "#CC79A7"), strict=False):
        above.plot(
            row["step_ms"], lw=0.8, color=colour, label=f"{name} (p99 {row['stages_ms']['total']['p99']:.1f} ms)"
        )
    one = next(iter(rows.values()))
    if one["budget_ms"] > 0:
        above.axhline(
            one["budget_ms"], color="black", ls="--", lw=1, label=f"time there is ({one['budget_ms']:.0f} ms)"
        )
    above.set(xlabel="step", ylabel="ms", title=f"{result['model']}: time of every step", yscale="log")
    above.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8)
    left = [0.0] * len(rows)
    for stage, colour in zip(STAGES[:3], COLOURS, strict=False):
        widths = [row["stages_ms"][stage]["mean"] for row in rows.values()]
        below.barh(list(rows), widths, left=left, color=colour, label=stage)
        left = [before + width for before, width in zip(left, widths, strict=True)]
    rest = [max(0.0, row["stages_ms"]["total"]["mean"] - done) for row, done in zip(rows.values(), left, strict=True)]
    below.barh(list(rows), rest, left=left, color=COLOURS[3], label="resampling, bookkeeping")
    below.set(xlabel="mean ms per step")
    below.invert_yaxis()
    below.legend(loc="upper left", bbox_to_anchor=(1.01, 1), fontsize=8)
    figure.savefig(path, dpi=120, format="png")
    pyplot.close(figure)
