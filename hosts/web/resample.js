// Sound of one rate at another, piece by piece: sample j that comes out belongs to the moment of sample j · from / to
// that went in. A windowed sinc, one set of weights for every place between two samples.

const ZEROS = 24; // crossings of the sinc on either side
const PASSED = 0.94; // of the band

const divisor = (a, b) => (b ? divisor(b, a % b) : a);

// { push(samples) → samples }; what comes out is later than what went in by `delay` samples of the rate `from`.
export function resampler(from, to) {
  return from === to ? { delay: 0, push: (samples) => samples } : new Resampler(from, to);
}

class Resampler {
  constructor(from, to) {
    const common = divisor(from, to);
    [this.down, this.up] = [from / common, to / common];
    const band = PASSED * Math.min(1, to / from);
    this.delay = Math.ceil(ZEROS / band);
    this.weights = Array.from({ length: this.up }, (_, phase) => weights(phase / this.up, band, this.delay));
    this.waiting = new Float32Array(this.delay - 1); // silence before the first sample
    this.phase = 0; // of the next sample, in parts of a sample that went in
  }

  push(samples) {
    const all = new Float32Array(this.waiting.length + samples.length);
    all.set(this.waiting);
    all.set(samples, this.waiting.length);
    const found = [];
    let first = 0;
    while (first + 2 * this.delay <= all.length) {
      found.push(weighted(all, first, this.weights[this.phase]));
      this.phase += this.down;
      first += Math.floor(this.phase / this.up);
      this.phase %= this.up;
    }
    this.waiting = all.slice(first);
    return Float32Array.from(found);
  }
}

function weighted(all, first, row) {
  let sum = 0;
  for (let i = 0; i < row.length; i++) sum += row[i] * all[first + i];
  return sum;
}

// For a moment between the samples delay - 1 and delay of 2 · delay; their sum is 1, so that silence stays silence.
function weights(fraction, band, delay) {
  const row = Float64Array.from({ length: 2 * delay }, (_, i) => {
    const distance = i - (delay - 1) - fraction;
    const window = Math.abs(distance) < delay ? 0.5 + 0.5 * Math.cos((Math.PI * distance) / delay) : 0;
    const angle = Math.PI * band * distance;
    return window * (angle === 0 ? 1 : Math.sin(angle) / angle);
  });
  const sum = row.reduce((total, weight) => total + weight, 0);
  return row.map((weight) => weight / sum);
}
