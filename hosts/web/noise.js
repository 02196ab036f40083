// The noise by which a model chooses: a pure function of a seed and a position (docs/export.md, "Noise").
// Unsigned 64-bit numbers are two halves of 32 bits: BigInt is ten times as slow.

const STEP = 0x9e3779b97f4a7c15n;
const WRAP = (1n << 64n) - 1n;

// Halves of the last product or scrambled number.
let high = 0;
let low = 0;

function multiply(aHigh, aLow, bHigh, bLow) {
  const [a0, a1, b0, b1] = [aLow & 0xffff, aLow >>> 16, bLow & 0xffff, bLow >>> 16];
  const bottom = a0 * b0;
  const middle = Math.floor(bottom / 65536) + a0 * b1 + a1 * b0; // below 2^34, so exact
  high = (a1 * b1 + Math.floor(middle / 65536) + Math.imul(aHigh, bLow) + Math.imul(aLow, bHigh)) >>> 0;
  low = ((middle << 16) | (bottom & 0xffff)) >>> 0;
}

// x = x xor (x >> bits), then times a constant
function stir(bits, factorHigh, factorLow) {
  const mixedLow = low ^ ((low >>> bits) | (high << (32 - bits)));
  multiply((high ^ (high >>> bits)) >>> 0, mixedLow >>> 0, factorHigh, factorLow);
}

function scramble(fromHigh, fromLow) {
  [high, low] = [fromHigh, fromLow];
  stir(30, 0xbf58476d, 0x1ce4e5b9);
  stir(27, 0x94d049bb, 0x133111eb);
  low = (low ^ ((low >>> 31) | (high << 1))) >>> 0;
  high = (high ^ (high >>> 31)) >>> 0;
}

const halves = (number) => [Number((number >> 32n) & 0xffffffffn), Number(number & 0xffffffffn)];
const [STEP_HIGH, STEP_LOW] = halves(STEP);

export class Noise {
  // seed: a whole number, 0 … 2^63 - 1; as a BigInt where it exceeds 2^53. facts: `noise` of the signature.
  constructor(seed, facts) {
    this.facts = facts;
    this.pairs = (facts.channels + 1) >> 1;
    scramble(...halves((BigInt(seed) * STEP + 1n) & WRAP));
    this.base = (BigInt(high) << 32n) | BigInt(low);
  }

  // The input `noise` of step k: draws × frames × channels.
  step(k) {
    const { draws, frames, channels, first_position, positions_per_step, draw_stride } = this.facts;
    const noise = new Float32Array(draws * frames * channels);
    const first = BigInt(first_position) + BigInt(k) * BigInt(positions_per_step);
    for (let draw = 0; draw < draws; draw++) {
      for (let frame = 0; frame < frames; frame++) {
        const position = first + BigInt(frame) + BigInt(draw) * BigInt(draw_stride);
        this.fill(position, noise.subarray((draw * frames + frame) * channels).subarray(0, channels));
      }
    }
    return noise;
  }

  fill(position, numbers) {
    const { pairs } = this;
    const before = (this.base + position * BigInt(pairs) * STEP) & WRAP;
    let [atHigh, atLow] = halves(before);
    for (let p = 0; p < pairs; p++) {
      const sum = atLow + STEP_LOW;
      atHigh = (atHigh + STEP_HIGH + (sum > 0xffffffff ? 1 : 0)) >>> 0;
      atLow = sum >>> 0;
      scramble(atHigh, atLow);
      // rounded to float32, as PyTorch does: near 1, the radius would show the difference
      const radius = Math.sqrt(-2 * Math.log(Math.fround((high >>> 8) + 0.5) / 2 ** 24));
      const angle = (2 * Math.PI * (low >>> 8)) / 2 ** 24;
      numbers[p] = radius * Math.cos(angle);
      if (pairs + p < numbers.length) numbers[pairs + p] = radius * Math.sin(angle);
    }
  }
}
