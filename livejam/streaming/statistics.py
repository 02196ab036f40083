"""What a real-time engine counts, in constant memory."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

SHORTEST_SECONDS, LONGEST_SECONDS, BINS_PER_DECADE = 1e-6, 100.0, 200


class Histogram:
    """Durations in bins of equal ratio, 1.2 % wide, from a microsecond to 100 s; others are clipped."""

    def __init__(self) -> None:
        decades = np.log10(LONGEST_SECONDS / SHORTEST_SECONDS)
        self._counts = np.zeros(round(decades * BINS_PER_DECADE) + 1, dtype=np.int64)
        self.longest_seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one duration."""
        clipped = min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)
        self._counts[round(np.log10(clipped / SHORTEST_SECONDS) * BINS_PER_DECADE)] += 1
        self.longest_seconds = max(self.longest_seconds, seconds)

    @property
    def count(self) -> int:
        return int(self._counts.sum())

    def quantile_ms(self, share: float) -> float:
        """The duration in ms that this share of all does not exceed; 0 of none."""
        cumulative = np.cumsum(self._counts)
        if cumulative[-1] == 0:
            return 0.0
        found = int(np.searchsorted(cumulative, max(1, np.ceil(share * cumulative[-1]))))
        seconds = min(SHORTEST_SECONDS * 10 ** (found / BINS_PER_DECADE), self.longest_seconds)
        return float(1000 * seconds)


@dataclass(frozen=True)
class Statistics:
    """An engine's account of what has happened so far.

    Args:
        seconds: of audio captured.
        steps: pieces of input that made output known.
        latency_p50_ms: from the capture of a piece to its output being known, median over the steps.
        latency_p95_ms: 95 % of them took no longer.
        latency_p99_ms: 99 % of them.
        latency_max_ms: the longest one.
        budget_ms: what a step may take before sound is missing.
        misses: how often sound was missing when it was due.
        missed_ms: how long, in all.
        skipped_ms: output that became known too late to be played.
        overruns: how often the worker was so late that input was lost.
        lost_ms: input that silence replaced for that reason.
        refused: pieces of input that silence replaced because the session refused them or failed.
        failures: blocks that the model failed on; the session silenced them and let it begin anew.
        queue_ms: input that waits for the worker now.
        late_ms: how much later than the input the output sounds, because the device needs more time than there is.
        drift_ppm: the input's clock against the output's, in parts per million; 0 where there is only one.
        callback_p99_ms: 99 % of the sound card's calls were answered within this time.
        callback_max_ms: the slowest answer.
        gap_max_ms: the longest time between two calls of the sound card.
        problem: the last thing that went wrong, in a sentence; empty = nothing.
    """

    seconds: float
    steps: int
    latency_p50_ms: float
    latency_p95_ms: float
    latency_p99_ms: float
    latency_max_ms: float
    budget_ms: float
    misses: int
    missed_ms: float
    skipped_ms: float
    overruns: int
    lost_ms: float
    refused: int
    failures: int
    queue_ms: float
    late_ms: float
    drift_ppm: float
    callback_p99_ms: float
    callback_max_ms: float
    gap_max_ms: float
    problem: str

    def __str__(self) -> str:
        """Three lines for people."""
        lines = [
            f"{self.seconds:.1f} s heard in {self.steps} steps: latency p50 {self.latency_p50_ms:.1f}, "
            f"p95 {self.latency_p95_ms:.1f}, p99 {self.latency_p99_ms:.1f}, max {self.latency_max_ms:.1f} ms "
            f"of {self.budget_ms:.1f} ms",
            f"missed deadlines: {self.misses} ({self.missed_ms:.0f} ms of silence); lost input: {self.lost_ms:.0f} ms "
            f"in {self.overruns} overruns; refused input: {self.refused} pieces; failures: {self.failures}",
            f"output late by {self.late_ms:.1f} ms; clocks apart by {self.drift_ppm:+.1f} ppm; "
            f"sound card's calls: p99 {self.callback_p99_ms:.2f}, max {self.callback_max_ms:.2f} ms",
        ]
        return "\n".join([*lines, f"last problem: {self.problem}"] if self.problem else lines)
