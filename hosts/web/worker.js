// The model, in a thread of its own: it loads once, and plays one session after the other.

import { readModel } from "./model.js";
import { fastest } from "./runtimes.js";
import { Session } from "./session.js";
import { Speed } from "./speed.js";

const REPORT_MS = 1000;
const JITTER = 2; // times longer than in the warm-up a step may take, beside sound and drawing

let model = null;
let runtime = null;
let session = null;
let audio = null; // the port of the Jam
let speed = null;
let busy = false;
let slowestMs = 0;

async function load() {
  model = await readModel(async (name) => {
    const answer = await fetch(new URL(`./model/${name}`, import.meta.url));
    return answer.ok ? answer.arrayBuffer() : null;
  });
  const chosen = await fastest(model);
  ({ runtime, slowestMs } = chosen);
  postMessage({ kind: "loaded", signature: model.signature, runs: chosen.name });
}

const index = (name) => model.signature.instruments.find((known) => known.name === name).index;

function begin({ instruments, seed, rate }) {
  const rows = instruments.map((name, row) => ({ index: index(name), seed: seed + row }));
  session = new Session(model, runtime, rows, rate);
  speed = new Speed(model.signature.block_samples / model.signature.sample_rate_hz);
  const { firstStep, stepSamples } = session;
  const late = session.delaySamples((JITTER * instruments.length * slowestMs) / 1000);
  const facts = { first_step_samples: firstStep, step_samples: stepSamples, late_samples: late };
  postMessage({ kind: "begun", instruments, ...facts });
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

function asked({ kind, row, ...message }) {
  try {
    if (kind === "prompt") session.setPrompt(row, message.words, message.fade_seconds);
    else session.setNegativePrompt(row, message.words);
    postMessage({ kind: "done", of: kind });
  } catch ({ message: sentence }) {
    postMessage({ kind: "problem", sentence, ended: false });
  }
}

function control({ kind, row, ...message }) {
  if (kind === "level") session.setLevel(row, { decibels: message.decibels });
  else if (kind === "mute") session.setLevel(row, { silent: message.silent });
  else if (kind === "instrument") session.setInstrument(row, index(message.name));
  else if (kind === "undo") postMessage({ kind: "done", of: "undo", seconds: session.undo(message.seconds) });
  else if (kind === "prompt" || kind === "negative_prompt") asked({ kind, row, ...message });
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
