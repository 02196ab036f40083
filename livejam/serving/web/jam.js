// One musician's sound, block by block: what is heard goes out to the model, what the model plays comes in, and both
// sound together. Nothing here knows Web Audio, so it runs in an AudioWorklet, and elsewhere.

import { Playout } from "./playout.js";

const MOST = 2048; // samples that are sent at once
const REPORT = 2048; // samples between two reports
const HOP = 512; // samples of one value of an envelope

// How loud the sharp part of a sound is, hop by hop: onsets stick out of it.
class Envelope {
  constructor() {
    this.before = 0;
    this.energy = 0;
    this.count = 0;
    this.values = [];
  }

  hear(samples) {
    for (const sample of samples) {
      const sharp = sample - 0.9 * this.before;
      this.before = sample;
      this.energy += sharp * sharp;
      if (++this.count === HOP) {
        this.values.push(Math.sqrt(this.energy / HOP));
        this.energy = this.count = 0;
      }
    }
  }

  take() {
    return this.values.splice(0);
  }
}

export class Jam {
  // options: rate in Hz; rows of the accompaniment; first and step, when the model can go on, in samples heard; ahead, samples that the device needs its sound earlier; least, the
  // shortest delay in samples; room, whether the musician is heard in the room, so that the mix is not played.
  // send(position, samples): a block for the model. lead(position, samples): a block of the voice that leads the sketch,
  // just before the mix of the same samples. report(facts): for the display, about twenty times a second.
  constructor(options, send, lead, report) {
    this.options = options;
    this.playout = new Playout(options.rows, options.rate, options.ahead, options.least);
    this.send = send;
    this.lead = lead;
    this.leading = { leading: false, heard: false };
    this.voice = new Float32Array(MOST);
    this.report = report;
    this.block = new Float32Array(MOST);
    this.filled = this.heard = this.steps = 0;
    this.envelopes = { mix: new Envelope(), played: new Envelope() };
    this.unreported = 0;
    this.recording = null;
    this.peak = 0;
  }

  put(position, rows) {
    this.playout.put(position, rows);
  }

  record(on) {
    this.recording = on ? { mix: [], rows: this.playout.rows.map(() => []) } : null;
  }

  // Hear the next samples, and fill the outputs with as many. voice: what the microphone hears beside a song.
  process(input, mixOut, playedOut, voice = null) {
    this.hear(input, this.options.room ? input : voice);
    const rows = this.playout.rows.map(() => new Float32Array(input.length));
    const { room } = this.options;
    this.playout.mix.put(this.playout.now, input);
    this.playout.read(mixOut, rows);
    const mix = room ? input : mixOut;
    this.keep(mix, rows);
    playedOut.fill(0);
    for (const row of rows) row.forEach((sample, place) => (playedOut[place] += sample));
    this.envelopes.mix.hear(mix);
    this.envelopes.played.hear(playedOut);
    for (const sample of mix) this.peak = Math.max(this.peak, Math.abs(sample));
    if (room) mixOut.fill(0);
    this.tell(input.length);
  }

  // Blocks end where the model can go on: few of them, and none that waits for the next.
  hear(input, voice) {
    const { leading, heard } = this.leading;
    const shares = this.options.room ? [leading && !heard ? 0 : 1, 0] : [1, leading && heard ? 1 : 0];
    for (let i = 0; i < input.length; i++) {
      this.voice[this.filled] = voice?.[i] ?? 0;
      this.block[this.filled] = shares[0] * input[i] + shares[1] * this.voice[this.filled];
      this.filled++;
      const due = ++this.heard >= this.options.first + this.steps * this.options.step;
      if (due) this.steps++;
      if (due || this.filled === MOST) {
        if (leading) this.lead(this.heard - this.filled, this.voice.slice(0, this.filled));
        this.send(this.heard - this.filled, this.block.slice(0, this.filled));
        this.filled = 0;
      }
    }
  }

  keep(mix, rows) {
    if (this.recording === null) return;
    this.recording.mix.push(mix.slice());
    rows.forEach((samples, row) => this.recording.rows[row].push(samples));
  }

  tell(samples) {
    this.unreported += samples;
    if (this.unreported < REPORT) return;
    this.unreported = 0;
    const { playout } = this;
    this.report({
      position: playout.now,
      delay: playout.delay,
      slack: playout.slackSeconds,
      gaps: playout.gaps,
      missed: playout.missed,
      mix: this.envelopes.mix.take(),
      played: this.envelopes.played.take(),
      peak: this.peak,
      take: this.taken(),
    });
    this.peak = 0;
  }

  taken() {
    if (this.recording === null) return null;
    const take = { mix: joined(this.recording.mix), rows: this.recording.rows.map(joined) };
    this.record(true);
    return take;
  }
}

function joined(pieces) {
  const whole = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
  pieces.reduce((at, piece) => (whole.set(piece, at), at + piece.length), 0);
  return whole;
}

// What a Jam may be told by the page: { put: … }, { record: … }, { leading: …, heard: … }.
export function tell(jam, message) {
  if (message.rows !== undefined) jam.put(message.position, message.rows);
  else if (message.record !== undefined) jam.record(message.record);
  else if (message.leading !== undefined) jam.leading = message;
}
