// Onsets: moments at which a sound suddenly becomes louder. Most beats begin with one, but not every onset is a beat.

const RISE = 1.8; // times louder than the average of the last values
const FLOOR = 0.004; // softer rises are noise
const AVERAGED = 16; // values
const REST = 6; // values between two onsets

export class Onsets {
  constructor() {
    this.recent = [];
    this.rest = 0;
  }

  // Whether an onset begins with this value of an envelope.
  hear(value) {
    const known = this.recent.length === AVERAGED;
    const average = this.recent.reduce((sum, other) => sum + other, 0) / AVERAGED;
    this.recent.push(value);
    if (this.recent.length > AVERAGED) this.recent.shift();
    this.rest = Math.max(0, this.rest - 1);
    if (!known || this.rest || value < FLOOR || value < RISE * average) return false;
    this.rest = REST;
    return true;
  }
}

// Of the onsets of one sound, the share that has one of the other within a tolerance; NaN of too few.
export function together(times, others, tolerance) {
  if (times.length < 4) return NaN;
  return times.filter((time) => others.some((other) => Math.abs(other - time) <= tolerance)).length / times.length;
}

// The share that a sound with onsets at random moments would have: how much of a stretch the tolerances cover.
export function byChance(others, tolerance, from, to) {
  let [covered, until] = [0, from];
  for (const other of others) {
    const [start, end] = [Math.max(until, other - tolerance), Math.min(to, other + tolerance)];
    covered += Math.max(0, end - start);
    until = Math.max(until, end);
  }
  return to > from ? covered / (to - from) : NaN;
}
