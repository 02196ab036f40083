// Sound in binary frames: 16 bytes that say what it is, then float32 samples, little-endian.
// The server's side of this is livejam/serving/web_frames.py.

export const HEADER_BYTES = 16;
const HEARD = 1;
const PLAYED = 2;
const RECORDED = 3;
const LEADING = 4;
export const MOST_SAMPLES = 4096; // of a frame
const little = true;

// A block of the musician's sound as a frame.
export function writeHeard(sequence, position, samples) {
  return written(HEARD, 0, sequence, position, samples);
}

// A piece of one of two recordings as a frame; position: its first sample, from the recording's beginning on.
export function writeRecorded(slot, position, samples) {
  return written(RECORDED, slot, 0, position, samples);
}

// A block of the voice that leads the sketch as a frame.
export function writeLeading(position, samples) {
  return written(LEADING, 0, 0, position, samples);
}

function written(kind, row, sequence, position, samples) {
  const frame = new ArrayBuffer(HEADER_BYTES + 4 * samples.length);
  const view = new DataView(frame);
  view.setUint8(0, kind);
  view.setUint8(1, row);
  view.setUint32(4, sequence >>> 0, little);
  view.setBigInt64(8, BigInt(position), little);
  samples.forEach((sample, place) => view.setFloat32(HEADER_BYTES + 4 * place, sample, little));
  return frame;
}

// One row of an answer, or null for a frame that is none.
export function readPlayed(frame) {
  const view = new DataView(frame);
  if (frame.byteLength < HEADER_BYTES || view.getUint8(0) !== PLAYED) return null;
  const samples = new Float32Array((frame.byteLength - HEADER_BYTES) >> 2);
  for (let place = 0; place < samples.length; place++) {
    samples[place] = view.getFloat32(HEADER_BYTES + 4 * place, little);
  }
  return {
    row: view.getUint8(1),
    sequence: view.getUint32(4, little),
    position: Number(view.getBigInt64(8, little)),
    samples,
  };
}

// Rows of an answer arrive one after the other; they are handed on together.
export class Answers {
  constructor(rows) {
    this.rows = rows;
    this.sequence = -1;
    this.found = [];
  }

  // The whole answer, once its last row is there; else null.
  put(played) {
    if (played.sequence !== this.sequence) {
      this.sequence = played.sequence;
      this.found = [];
    }
    this.found[played.row] = played.samples;
    const whole = Object.keys(this.found).length === this.rows;
    return whole ? { position: played.position, rows: this.found } : null;
  }
}
