"""What `livejam perform` reports: how long answers took, what was missing, and whether it stayed on the beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from livejam.serving.performing import Log, Performance, Terms
from livejam.serving.scores import Event

ON_THE_BEAT_SECONDS = 0.07
STEADY_BEATS = 4
"""So many beats in a row on the beat of the mix, and the accompaniment has recovered."""

GRID_SAMPLES = 64
"""By how much an answer may begin before what is new in it."""

Times = npt.NDArray[np.float64]


def latencies_ms(log: Log, terms: Terms) -> Times:
    """From the last sample that an answer needed to its arrival, for every block of the model.

    What is known after n samples ends at n + lead or later, so the first part of an answer that begins at p needs the
    samples before p - lead.
    """
    if not log.arrivals:
        return np.zeros(0)
    arrived, position = np.array(log.arrivals).T
    waited = arrived - (position - terms.lead_samples)
    block = ((position + GRID_SAMPLES - position.min()) // terms.block_samples).astype(int)
    longest = np.full(block.max() + 1, -np.inf)
    np.maximum.at(longest, block, waited)
    return longest[np.isfinite(longest)] * 1000 / terms.sample_rate_hz


def network_facts(done: Performance, terms: Terms) -> dict[str, Any]:
    """Latency, losses and gaps."""
    ms, rate = latencies_ms(done.log, terms), terms.sample_rate_hz
    quantiles = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}
    delays = np.array([delay for _, delay, _ in done.log.delays]) * 1000 / rate
    return {
        "latency_ms": {name: float(np.quantile(ms, share)) if len(ms) else None for name, share in quantiles.items()},
        "lead_ms": 1000 * terms.lead_samples / rate,
        "sent": done.outward.packets,
        "lost_on_the_way": done.outward.lost,
        "answers": done.inward.packets,
        "lost_on_the_way_back": done.inward.lost,
        "late_answers": done.playout.too_late,
        "gaps": done.playout.gaps,
        "missing_ms": 1000 * done.playout.missing_samples / rate,
        "buffer_ms": {"last": float(delays[-1]), "max": float(delays.max()), "moves": done.playout.moves},
        "slips": done.slips,
        "refused": done.log.refusals,
    }


def beat_facts(mix_beats: Times, answer_beats: Times, events: Sequence[Event]) -> dict[str, Any]:
    """How far the accompaniment's beats are from the mix's, and how many beats it needs after an event.

    Args:
        mix_beats: in seconds.
        answer_beats: in seconds.
        events: that an accompanist has to react to.
    """
    if len(mix_beats) < 2 or not len(answer_beats):
        return {"beats": len(answer_beats), "error_ms": None, "on_the_beat": None, "events": []}
    off = np.abs(answer_beats[:, None] - mix_beats).min(axis=1)
    return {
        "beats": len(answer_beats),
        "error_ms": float(1000 * np.median(off)),
        "on_the_beat": float((off <= ON_THE_BEAT_SECONDS).mean()),
        "events": [
            {
                "seconds": event.seconds,
                "what": event.words,
                "recovery_beats": recovery_beats(mix_beats, answer_beats, off, event.seconds),
            }
            for event in events
        ],
    }


def recovery_beats(mix_beats: Times, answer_beats: Times, off: Times, since: float) -> float | None:
    """Beats of the mix from a moment to the first of several beats in a row that are on the beat; None = never.

    Args:
        mix_beats: in seconds.
        answer_beats: in seconds.
        off: distance of every answer's beat from the nearest of the mix.
        since: the moment.
    """
    later = (answer_beats >= since) & (off <= ON_THE_BEAT_SECONDS)
    steady = [start for start in range(len(later) - STEADY_BEATS + 1) if later[start : start + STEADY_BEATS].all()]
    if not steady:
        return None
    after = mix_beats[mix_beats >= since]
    period = float(np.median(np.diff(after))) if len(after) > 1 else float(np.median(np.diff(mix_beats)))
    return float((answer_beats[steady[0]] - since) / period)


def report_text(report: dict[str, Any]) -> str:
    """The report for people."""
    network, beats = report["network"], report["beats"]
    latency = network["latency_ms"]
    lines = [
        f"  server     {report['server']} plays {', '.join(report['instruments'])}, {network['lead_ms']:.0f} ms ahead",
        f"  played     {report['seconds']:.1f} s in {network['sent']} packets, of which {network['lost_on_the_way']} "
        f"were lost; {network['lost_on_the_way_back']} of {network['answers']} answers were lost",
        "  latency    no answer came"
        if latency["p50"] is None
        else "  latency    "
        + ", ".join(f"{name} {ms:.1f} ms" for name, ms in latency.items())
        + " from the last sample that an answer needs to its arrival",
        f"  gaps       {network['gaps']}, {network['missing_ms']:.0f} ms in all; {network['late_answers']} parts of "
        f"answers came too late",
        f"  buffer     {network['buffer_ms']['last']:.1f} ms at the end, {network['buffer_ms']['max']:.1f} ms at most",
    ]
    if beats:
        lines += _beat_lines(beats)
    if network["slips"]:
        lines.append(f"  slips      {network['slips']} blocks were sent late, because this machine was busy")
    lines += [f"  refused    {sentence}" for sentence in dict.fromkeys(network["refused"])]
    return "\n".join(lines)


def _beat_lines(beats: dict[str, Any]) -> list[str]:
    if beats["error_ms"] is None:
        return [f"  beats      the accompaniment has {beats['beats']}: too few to compare"]
    lines = [
        f"  beats      {100 * beats['on_the_beat']:.0f} % of {beats['beats']} within "
        f"{1000 * ON_THE_BEAT_SECONDS:.0f} ms of the mix's; median distance {beats['error_ms']:.0f} ms"
    ]
    for event in beats["events"]:
        recovery = event["recovery_beats"]
        said = "did not recover" if recovery is None else f"recovered after {recovery:.1f} beats"
        lines.append(f"  {event['what']} at {event['seconds']:.1f} s: {said}")
    return lines
