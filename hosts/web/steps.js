// The steps of an exported model (docs/export.md, "A step"), for one or several instruments that hear the same mix.

import { Noise } from "./noise.js";

// Graphs that neither the instrument nor the noise reaches: they run once for all instruments. Some states differ from
// instrument to instrument at the beginning: state0 has them as name@index.
export function sharedGraphs({ graphs }, states) {
  const begun = Object.keys(states).filter((name) => name.includes("@"));
  const own = new Set(["instrument", "noise", ...begun.map((name) => name.split("@")[0])]);
  const shared = new Set(graphs.map(({ name }) => name));
  for (let before = -1; before !== own.size; ) {
    before = own.size;
    for (const { name, inputs, outputs } of graphs) {
      if (!inputs.some((input) => own.has(input.name))) continue;
      shared.delete(name);
      outputs.forEach((output) => own.add(output.feeds));
    }
  }
  return shared;
}

export class Steps {
  // runtime: of model.js. instruments: index and seed of every row, [{ index, seed }].
  constructor({ signature, states }, runtime, rows) {
    this.signature = signature;
    this.runtime = runtime;
    this.states = states;
    this.shared = sharedGraphs(signature, states);
    this.noises = rows.map(({ seed }) => new Noise(seed, signature.noise));
    this.indices = rows.map(({ index }) => index);
    this.restart();
  }

  // Begin anew: nothing heard.
  restart() {
    const begun = Object.entries(this.states).map(([name, state]) => [...name.split("@"), this.runtime.tensor(state)]);
    const named = (part) => Object.fromEntries(part.map((state) => [state[0], state.at(-1)]));
    this.memory = {
      shared: named(begun.filter((state) => state.length === 2)),
      rows: this.indices.map((index) => named(begun.filter((state) => state[1] === String(index)))),
    };
  }

  // What all steps so far leave behind; nothing in it ever changes.
  snapshot() {
    return this.memory;
  }

  restore(memory) {
    this.memory = memory;
  }

  // Hear a block (channels × block_samples), and play what every row answers, each channels × block_samples.
  // asked: what each row is asked for besides, as numbers by the names of controls.
  async step(k, mix, asked = []) {
    const heard = { ...this.memory.shared, mix: this.input("mix", mix) };
    for (const graph of this.graphs(true)) await this.run(graph, heard, heard);
    const rows = [];
    for (const [row, before] of this.memory.rows.entries()) {
      const own = { ...before, ...this.chosen(row, k), ...this.controls(asked[row]) };
      const values = { ...heard, ...own };
      for (const graph of this.graphs(false)) await this.run(graph, values, own);
      rows.push(own);
    }
    this.memory = { shared: heard, rows };
    return this.played(rows);
  }

  graphs(shared) {
    return this.signature.graphs.filter(({ name }) => this.shared.has(name) === shared);
  }

  chosen(row, k) {
    return {
      instrument: this.input("instrument", Int32Array.of(this.indices[row])),
      noise: this.input("noise", this.noises[row].step(k)),
    };
  }

  controls(asked = {}) {
    return Object.fromEntries(Object.entries(asked).map(([name, data]) => [name, this.input(name, data)]));
  }

  input(name, data) {
    const facts = this.signature.graphs.flatMap(({ inputs }) => inputs).find((input) => input.name === name);
    return facts && this.runtime.tensor({ dtype: facts.dtype, shape: facts.shape, data });
  }

  async run({ name, inputs, outputs }, values, results) {
    const given = Object.fromEntries(inputs.map((input) => [input.name, values[input.name]]));
    const found = await this.runtime.run(name, given);
    for (const output of outputs) {
      values[output.feeds || output.name] = results[output.feeds || output.name] = found[output.name];
    }
  }

  // Sound that is not finite comes from memories that are spoilt: silence, and all begins anew.
  played(rows) {
    const sounds = rows.map(({ accompaniment }) => Float32Array.from(accompaniment.data));
    if (sounds.every((sound) => sound.every(Number.isFinite))) return sounds;
    this.restart();
    return sounds.map((sound) => sound.fill(0));
  }
}
