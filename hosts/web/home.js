// Where the model is: in this browser. This file takes the place of livejam/serving/web/home.js.

import { Line, load } from "./line.js";

const MOST_ROWS = 4;
// A function of two SIMD instructions.
const SIMD = [
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
];

export const words = {
  microphone: "Open its https address.",
  rate: "This browser's sound has no rate that the model can hear. Use a newer browser.",
  lost: "The model ended the jam. Start again.",
};

// Whether the model hears sound of any rate.
export const anyRate = true;

let songs = [];

// What there is to play with: { facts, songs }.
export async function arrive() {
  rearrange();
  if (!globalThis.WebAssembly?.validate(Uint8Array.from(SIMD))) {
    throw new Error("This browser is too old to run the model: it needs WebAssembly SIMD. Use a newer one.");
  }
  const [signature, list] = await Promise.all([load(), read("songs/songs.json")]);
  songs = list;
  const { model, sample_rate_hz, instruments, licences, runs, prompts } = signature;
  const names = instruments.map(({ name }) => name);
  const words = { prompts: Boolean(prompts), negative_prompts: prompts?.negative === true };
  return { facts: { model, licences, sample_rate_hz, instruments: names, most_rows: MOST_ROWS, runs, ...words }, songs };
}

async function read(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`A file of this page is missing: ${path}. Assemble the page again.`);
  return answer.json();
}

// What is said of a server is not true here.
function rearrange() {
  const say = (id, sentence) => (document.getElementById(id).textContent = sentence);
  say("file-words", "It stays in this browser, as all sound does.");
  say("status", "The model is loading…");
  say("answer-words", "to compute what it plays next: median, longest");
  say("musicians-name", "Speed");
  say("musicians-words", "times as fast as the music");
  keepOffline();
}

// Once loaded, everything is kept, so that the page works without a network, and can be installed.
function keepOffline() {
  navigator.serviceWorker?.register("service_worker.js").catch(() => {});
}

// A song without some instruments: the files whose sum it is.
export async function song(number, instruments) {
  const { folder, files } = songs[number];
  const others = Object.entries(files).filter(([name]) => !instruments.includes(name));
  const chosen = others.length ? others : Object.entries(files);
  return Promise.all(chosen.map(async ([, file]) => {
    const answer = await fetch(`songs/${folder}/${file}`);
    if (!answer.ok) throw new Error("The song did not come. Load this page again.");
    return answer.arrayBuffer();
  }));
}

export const connect = (hears) => new Line(hears);

const PLACES = { wasm: "in this browser", webgpu: "in this browser, on the graphics processor" };

export const foot = ({ model, licences, runs }) =>
  `Model: ${model}${licences.model ? ` (${licences.model})` : ""}. It runs ${PLACES[runs]}; no sound leaves it.`;

// The last of the model's meters.
export const meter = ({ speed }) => `${speed.toFixed(1)} ×`;
