"""What `livejam play` reports: delays, the time of every stage, and whether all of it was in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import numpy.typing as npt

from livejam.cli.together import TARGET_LUFS, Loudness
from livejam.streaming import StepTimes, Timing
from livejam.streaming.statistics import Statistics

STAGES = ("encode", "generate", "decode", "total")
QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


def stage_times_ms(steps: Sequence[StepTimes]) -> dict[str, npt.NDArray[np.float64]]:
    """The time of every step in ms, by stage."""
    return {stage: np.array([1000 * getattr(step, stage) for step in steps]) for stage in STAGES}


def timing_facts(timing: Timing) -> dict[str, float]:
    """A session's delays in ms."""
    return {
        "block_ms": timing.milliseconds(timing.block_samples),
        "anticipation_ms": timing.milliseconds(timing.anticipation_samples),
        "codec_delay_ms": timing.milliseconds(timing.codec_delay_samples),
        "resampling_delay_ms": timing.milliseconds(timing.resampling_delay_samples),
        "lead_ms": timing.milliseconds(timing.lead_samples),
        "late_ms": timing.milliseconds(timing.late_samples),
        "budget_ms": 1000 * timing.budget_seconds,
    }


def speed_facts(steps: Sequence[StepTimes], timing: Timing, seconds: float) -> dict[str, Any]:
    """Quantiles of every stage in ms, the real-time factor, and how many steps took longer than there is time.

    Args:
        steps: the times of all steps.
        timing: of the session.
        seconds: duration of what was played.
    """
    times = stage_times_ms(steps)
    if not steps:  # shorter than a block of the model
        return {"steps": 0, "stages_ms": {}, "real_time_factor": None, "too_slow": 0}
    stages = {
        stage: {name: float(np.quantile(ms, share)) for name, share in QUANTILES.items()} for stage, ms in times.items()
    }
    return {
        "steps": len(steps),
        "stages_ms": stages,
        "real_time_factor": seconds / (times["total"].sum() / 1000),
        "too_slow": int((times["total"] > 1000 * timing.budget_seconds).sum()),
    }


def report_text(report: Mapping[str, Any], statistics: Statistics | None) -> str:
    """A report for people, with the engine's own lines if there was one."""
    lines = [
        f"  model      {report['model']} plays {', '.join(report['instruments'])}; seeds "
        f"{', '.join(map(str, report['seeds']))}",
        f"  recording  {report['seconds']:.2f} s at {report['sample_rate_hz']} Hz, "
        f"{count(report['channels'], 'channel')}",
        f"  time       {_time(report['timing'])}",
        *stage_table(report["speed"]),
        f"  speed      {_speed(report['speed'], report['timing'])}",
        *[f"  engine     {line}" for line in str(statistics or "").splitlines()],
        f"  loudness   {_loudness(report['loudness'])}",
    ]
    if report["clipped_samples"]:
        clipped = count(report["clipped_samples"], "sample")
        lines.append(f"  clipped    {clipped} of the accompaniment; lower it with --level")
    if report["failed_blocks"]:
        lines.append(f"  failures   the model gave no finite output in {count(report['failed_blocks'], 'block')}")
    return "\n".join(lines)


def engine_facts(statistics: Statistics | None) -> dict[str, Any] | None:
    """What the engine counted, if there was one."""
    return None if statistics is None else asdict(statistics)


def loudness_facts(loudness: Loudness) -> dict[str, Any]:
    """How loud both are together."""
    return {"target_lufs": TARGET_LUFS, **asdict(loudness)}


def _time(timing: Mapping[str, float]) -> str:
    parts = f"codec {timing['codec_delay_ms']:.0f} ms, resampling {timing['resampling_delay_ms']:.0f} ms"
    if timing["late_ms"]:
        return f"the model cannot be played ahead: it sounds {timing['late_ms']:.0f} ms late ({parts})"
    return (
        f"plays {timing['anticipation_ms']:.0f} ms ahead in blocks of {timing['block_ms']:.0f} ms ({parts}); "
        f"{timing['lead_ms']:.0f} ms are left for computing, buffers and sound card"
    )


def stage_table(speed: Mapping[str, Any]) -> list[str]:
    """The quantiles of `speed_facts` in lines; none if nothing was played."""
    if not speed["steps"]:
        return []
    rows = [f"  {'ms a step':<10}" + "".join(f"{name:>9}" for name in QUANTILES)]
    for stage, quantiles in speed["stages_ms"].items():
        rows.append(f"  {stage:<10}" + "".join(f"{quantiles[name]:9.2f}" for name in QUANTILES))
    return rows


def _speed(speed: Mapping[str, Any], timing: Mapping[str, float]) -> str:
    if not speed["steps"]:
        return "the recording is shorter than a block of the model, which played nothing"
    judged = f"{speed['too_slow']} of {speed['steps']} took longer than the {timing['budget_ms']:.0f} ms that there are"
    return f"{speed['real_time_factor']:.1f} × real time" + (f"; {judged}" if timing["budget_ms"] > 0 else "")


def _loudness(loudness: Mapping[str, Any]) -> str:
    if loudness["lufs"] is None:
        return f"silent, or too short to be measured; written with {loudness['gain_db']:+.1f} dB"
    why = f", because louder peaks would be clipped ({TARGET_LUFS:g} is wanted)" if loudness["held_by_peaks"] else ""
    return f"mix and accompaniment together have {loudness['lufs']:.1f} LUFS{why}"


def count(number: int, what: str) -> str:
    """A number of things, which may be one."""
    return f"{number} {what}{'' if number == 1 else 's'}"
