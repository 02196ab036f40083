// A take: what sounded, kept in the browser, and written as WAV files of 16 bits.

const HEADER_BYTES = 44;
export const LONGEST_SECONDS = 600;

// Samples of any number, in 16 bits; what is beyond full scale is clipped, as a sound card would.
class Recorded {
  constructor() {
    this.pieces = [];
    this.samples = 0;
    this.clipped = 0;
  }

  add(audio) {
    const piece = Int16Array.from(audio, (sample) => Math.round(32767 * Math.min(1, Math.max(-1, sample))));
    for (const sample of audio) this.clipped += Math.abs(sample) > 1;
    this.pieces.push(piece);
    this.samples += piece.length;
  }

  whole() {
    const whole = new Int16Array(this.samples);
    this.pieces.reduce((at, piece) => (whole.set(piece, at), at + piece.length), 0);
    return whole;
  }
}

export class Take {
  // ahead: samples by which the accompaniment was read before it sounded.
  constructor(rate, names, ahead) {
    this.rate = rate;
    this.names = names;
    this.mix = new Recorded();
    this.rows = names.map(() => new Recorded());
    if (ahead) this.rows.forEach((row) => row.add(new Float32Array(ahead)));
  }

  get seconds() {
    return this.mix.samples / this.rate;
  }

  add({ mix, rows }) {
    this.mix.add(mix);
    rows.forEach((samples, row) => this.rows[row].add(samples));
  }

  // Every file: { name, blob, words }.
  files() {
    const length = this.mix.samples;
    const mix = this.mix.whole();
    const rows = this.rows.map((row) => fitted(row.whole(), length));
    const stems = rows.map((row, place) => ({
      name: `${place + 1}-${this.names[place].toLowerCase().replace(/\W+/g, "-")}.wav`,
      words: `${this.names[place]} alone`,
      blob: wav(row, this.rate),
    }));
    return [
      { name: "together.wav", words: "Mix and accompaniment together", blob: wav(summed([mix, ...rows]), this.rate) },
      { name: "mix.wav", words: "The mix alone", blob: wav(mix, this.rate) },
      ...stems,
    ];
  }
}

function fitted(samples, length) {
  const fit = new Int16Array(length);
  fit.set(samples.subarray(0, length));
  return fit;
}

// The sum, softer as a whole if it would clip.
function summed(parts) {
  const sum = new Float64Array(parts[0].length);
  for (const part of parts) part.forEach((sample, place) => (sum[place] += sample));
  const peak = sum.reduce((most, sample) => Math.max(most, Math.abs(sample)), 1);
  const gain = Math.min(1, 32000 / peak);
  return Int16Array.from(sum, (sample) => Math.round(gain * sample));
}

export function wav(samples, rate) {
  const bytes = new ArrayBuffer(HEADER_BYTES + 2 * samples.length);
  const view = new DataView(bytes);
  const words = (at, text) => [...text].forEach((letter, place) => view.setUint8(at + place, letter.charCodeAt(0)));
  words(0, "RIFF");
  view.setUint32(4, bytes.byteLength - 8, true);
  words(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, 2 * rate, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  words(36, "data");
  view.setUint32(40, 2 * samples.length, true);
  samples.forEach((sample, place) => view.setInt16(HEADER_BYTES + 2 * place, sample, true));
  return new Blob([bytes], { type: "audio/wav" });
}
