// How long steps take, for the meters.

const KEPT = 100; // steps

export class Speed {
  // blockSeconds: of sound that a step plays.
  constructor(blockSeconds) {
    this.blockSeconds = blockSeconds;
    this.times = [];
    this.skipped = 0;
    this.said = -Infinity;
  }

  add(milliseconds, skipped) {
    this.times.push(milliseconds);
    if (this.times.length > KEPT) this.times.shift();
    this.skipped += skipped;
  }

  // Facts of the last steps; null if the last report is not so long ago.
  report(every, now) {
    if (now < this.said + every) return null;
    this.said = now;
    const sorted = [...this.times].sort((a, b) => a - b);
    const median = sorted[sorted.length >> 1];
    const problem = this.skipped
      ? "This machine is too slow for the model: blocks of the accompaniment are left out. Choose fewer instruments."
      : "";
    this.skipped = 0;
    return {
      latency_p50_ms: median,
      latency_max_ms: sorted[sorted.length - 1],
      speed: (1000 * this.blockSeconds) / median,
      problem,
    };
  }
}
