// A musician's sound in, the model's answers out, each with the position in the mix at which it is due. The rate may be
// another one than the model's. Nothing here knows browsers.

import { resampler } from "./resample.js";
import { Steps } from "./steps.js";
import { Changes } from "./vocabulary.js";

const LOUDEST = 10; // what the graphs may hear
const RAMP_SECONDS = 0.02; // of a change of level
const MOST_WAITING_SECONDS = 1; // and one block, of sound that was heard and not answered
const KEPT_SECONDS = 30; // that can be undone
const KEPT_BYTES = 128e6;

export class Session {
  // rows: index and seed of each, as in steps.js. rate: of the sound, in Hz.
  constructor(model, runtime, rows, rate) {
    const { signature } = model;
    this.facts = signature;
    this.steps = new Steps(model, runtime, rows);
    this.ratio = rate / signature.sample_rate_hz;
    this.heard = resampler(rate, signature.sample_rate_hz);
    this.answers = rows.map(() => resampler(signature.sample_rate_hz, rate));
    this.levels = rows.map(() => ({ decibels: 0, silent: false, gain: 1 }));
    this.words = model.words ?? null;
    this.asked = rows.map(() => ({ prompt: new Changes(), negative_prompt: new Changes() }));
    this.waiting = new Float32Array(0);
    this.step = 0;
    this.absurd = false;
    this.memories = [];
    this.kept = Math.min(this.blocks(KEPT_SECONDS), Math.floor(KEPT_BYTES / bytes(model.states) / rows.length));
    this.place(signature.first_output_sample);
  }

  // The answers begin at this sample of the mix. A multiple of the ratio's parts is a whole sample at either rate.
  place(first) {
    const [{ down = 1, up = 1 }] = this.answers;
    const whole = Math.floor(first / down);
    this.position = whole * up;
    this.answer(this.answers.map(() => new Float32Array(first - whole * down)));
  }

  blocks(seconds) {
    return Math.round((seconds * this.facts.sample_rate_hz) / this.facts.block_samples);
  }

  // Samples of the sound after which step 0 can run, and between two steps.
  get firstStep() {
    return Math.ceil(this.facts.block_samples * this.ratio + this.heard.delay);
  }

  get stepSamples() {
    return this.facts.block_samples * this.ratio;
  }

  // By how many samples of the sound an answer is later than its position, if a step takes so long.
  delaySamples(seconds) {
    const late = seconds * this.facts.sample_rate_hz + this.heard.delay / this.ratio - this.facts.lead_samples;
    return Math.round(late * this.ratio + this.answers[0].delay * this.ratio);
  }

  // Hear what follows.
  push(samples) {
    const fit = this.heard.push(samples.map((sample) => this.sound(sample)));
    const all = new Float32Array(this.waiting.length + fit.length);
    all.set(this.waiting);
    all.set(fit, this.waiting.length);
    this.waiting = all;
  }

  // The graphs remember: a sample that is no number would spoil them for ever.
  sound(sample) {
    if (Number.isFinite(sample)) return Math.min(LOUDEST, Math.max(-LOUDEST, sample));
    this.absurd = true;
    return 0;
  }

  // { position, rows } of the next block; null where less than a block waits.
  async next() {
    const { block_samples: size, audio_channels: channels } = this.facts;
    if (this.waiting.length < size) return null;
    const mix = new Float32Array(channels * size);
    for (let channel = 0; channel < channels; channel++) mix.set(this.waiting.subarray(0, size), channel * size);
    this.waiting = this.waiting.slice(size);
    this.remember();
    const asked = this.asked.map((_, row) => this.askedOf(row, this.step));
    const rows = await this.steps.step(this.step++, mix, asked);
    return this.answer(rows.map((sound, row) => this.levelled(mono(sound, channels), this.levels[row])));
  }

  // What came out is due at this position, and what follows after it.
  answer(sounds) {
    const position = this.position;
    const rows = sounds.map((sound, row) => this.answers[row].push(sound));
    this.position += rows[0].length;
    return { position, rows };
  }

  // Leave out what a slow machine cannot answer in time. Returns how many blocks.
  skip() {
    const { block_samples: size } = this.facts;
    let skipped = 0;
    while (this.waiting.length > size + MOST_WAITING_SECONDS * this.facts.sample_rate_hz) {
      this.waiting = this.waiting.slice(size);
      this.answer(this.answers.map(() => new Float32Array(size)));
      this.step++;
      skipped++;
    }
    return skipped;
  }

  remember() {
    this.memories.push(this.steps.snapshot());
    if (this.memories.length > this.kept) this.memories.shift();
  }

  // Forget what was heard and played in the last seconds; returns how many they were.
  undo(seconds) {
    const blocks = Math.min(this.blocks(seconds), this.memories.length);
    if (blocks) this.steps.restore(this.memories.splice(-blocks)[0]);
    return (blocks * this.facts.block_samples) / this.facts.sample_rate_hz;
  }

  setInstrument(row, index) {
    this.steps.indices[row] = index;
  }

  // Describe what a row, or all (null), plays from the next block on. Throws an Error with one sentence.
  setPrompt(row, text, fadeSeconds = 0) {
    this.requireWords();
    const { sample_rate_hz: rate, block_frames: frames, block_samples: size } = this.facts;
    const fade = Math.ceil((fadeSeconds * rate * frames) / size) / frames;
    this.ask("prompt", row, this.words.prompt(text), fade);
  }

  // Lead a row, or all, away from these words from the next block on; null: from nothing. Throws an Error with one sentence.
  setNegativePrompt(row, text) {
    this.requireWords();
    if (!this.words.negative) {
      throw new Error("This model was exported without guidance of the prompt, so it cannot lead away from words.");
    }
    this.ask("negative_prompt", row, text === null ? this.words.nothing : this.words.prompt(text), 0);
  }

  requireWords() {
    if (this.words === null) throw new Error("This model takes no words.");
  }

  ask(name, row, prompt, fade) {
    const asked = row === null ? this.asked : [this.asked[row]];
    for (const changes of asked) changes[name].ask(prompt, this.step, fade);
  }

  // What a row is asked for in a block, by the names of the graphs' inputs; what was never asked for is left out.
  askedOf(row, block) {
    const before = { prompt: () => this.ownPrompt(row), negative_prompt: () => this.words.nothing };
    const found = Object.entries(this.asked[row]).map(([name, changes]) => [name, changes.at(block, before[name])]);
    const controls = found.filter(([, prompt]) => prompt !== null).map(([name, { embedding, mask }]) => {
      return { [name]: embedding, [`${name}_mask`]: mask };
    });
    return Object.assign({}, ...controls);
  }

  // The prompt of the instrument that a row plays.
  ownPrompt(row) {
    return this.words.prompt(this.facts.instruments.find(({ index }) => index === this.steps.indices[row]).name);
  }

  setLevel(row, change) {
    Object.assign(this.levels[row], change);
  }

  levelled(sound, level) {
    const goal = level.silent ? 0 : 10 ** (level.decibels / 20);
    const ramp = Math.min(sound.length, Math.round(RAMP_SECONDS * this.facts.sample_rate_hz));
    const from = level.gain;
    level.gain = goal;
    return sound.map((sample, i) => sample * (i < ramp ? from + ((goal - from) * i) / ramp : goal));
  }
}

const bytes = (states) => Object.values(states).reduce((sum, { data }) => sum + data.byteLength, 1);

function mono(sound, channels) {
  const size = sound.length / channels;
  return Float32Array.from({ length: size }, (_, i) => {
    let sum = 0;
    for (let channel = 0; channel < channels; channel++) sum += sound[channel * size + i];
    return sum / channels;
  });
}
