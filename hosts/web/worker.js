// The model, in a thread of its own: it loads once, and plays one session after the other.

import * as ort from "./runtime/ort.wasm.min.mjs";

import { openRuntime, readModel } from "./model.js";
import { Session } from "./session.js";
import { Speed } from "./speed.js";

const MOST_THREADS = 4;
const REPORT_MS = 1000;

let model = null;
let runtime = null;
let session = null;
let audio = null; // the port of the Jam
let speed = null;
let busy = false;

async function load() {
  ort.env.wasm.wasmPaths = new URL("./runtime/", import.meta.url).href;
  // Threads need shared memory, which browsers give to isolated pages alone; one core is left to the sound.
  ort.env.wasm.numThreads = crossOriginIsolated ? Math.max(1, Math.min(MOST_THREADS, navigator.hardwareConcurrency - 1)) : 1;
  model = await readModel(async (name) => {
    const answer = await fetch(new URL(`./model/${name}`, import.meta.url));
    return answer.ok ? answer.arrayBuffer() : null;
  });
  runtime = await openRuntime(ort, model, ["wasm"]);
  const { signature } = model;
  // The first step is slow: it makes room in memory.
  const first = new Session(model, runtime, [{ index: signature.default_instrument, seed: 0 }], signature.sample_rate_hz);
  first.push(new Float32Array(signature.block_samples));
  await first.next();
  postMessage({ kind: "loaded", signature });
}

const index = (name) => model.signature.instruments.find((known) => known.name === name).index;

function begin({ instruments, seed, rate }) {
  session = new Session(model, runtime, instruments.map((name, row) => ({ index: index(name), seed: seed + row })), rate);
  speed = new Speed(model.signature.block_samples / model.signature.sample_rate_hz);
  const { firstStep, stepSamples } = session;
  postMessage({ kind: "begun", instruments, first_step_samples: firstStep, step_samples: stepSamples });
}

function heard({ samples }) {
  session?.push(samples);
  if (!busy) answer().catch(({ message }) => postMessage({ kind: "problem", sentence: message, ended: true }));
}

async function answer() {
  busy = true;
  try {
    for (let playing = session; playing && playing === session; ) {
      const skipped = playing.skip();
      const began = performance.now();
      const played = await playing.next();
      if (played === null) break;
      speed.add(performance.now() - began, skipped);
      if (playing === session) audio?.postMessage(played, played.rows.map((row) => row.buffer));
      report(playing);
    }
  } finally {
    busy = false;
  }
}

function report(playing) {
  const facts = speed.report(REPORT_MS, performance.now());
  if (facts === null) return;
  if (playing.absurd) facts.problem = "This sound has samples that are no numbers; the model hears silence there.";
  playing.absurd = false;
  postMessage({ kind: "meters", ...facts });
}

function control({ kind, row, ...message }) {
  if (kind === "level") session.setLevel(row, { decibels: message.decibels });
  else if (kind === "mute") session.setLevel(row, { silent: message.silent });
  else if (kind === "instrument") session.setInstrument(row, index(message.name));
  else if (kind === "undo") postMessage({ kind: "done", of: "undo", seconds: session.undo(message.seconds) });
}

onmessage = ({ data }) => {
  if (data.load) load().catch(({ message }) => postMessage({ kind: "unloaded", sentence: message }));
  else if (data.begin) begin(data.begin);
  else if (data.audio) {
    audio = data.audio;
    audio.onmessage = (event) => heard(event.data);
  } else if (data.send && session) control(data.send);
  else if (data.close) {
    audio?.close();
    session = audio = null;
  }
};
