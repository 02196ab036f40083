// An exported model (docs/export.md): its signature and its files, checked; and the graphs, run by ONNX Runtime.

import { readTensors } from "./safetensors.js";
import { Vocabulary } from "./vocabulary.js";

const FORMAT = 1;
const ALGORITHM = "splitmix64-box-muller";

// Read a model. readFile(name): bytes of a file of its directory, or null if there is none.
// Returns { signature, files, states, words }, words null of a model that takes none. Throws an Error with one sentence.
export async function readModel(readFile) {
  const signature = checked(await required(readFile, "signature.json"));
  const states = readTensors(await required(readFile, "state0.safetensors"), "state0.safetensors");
  for (const input of signature.graphs.flatMap(({ inputs }) => inputs)) known(signature, states, input);
  const words = signature.prompts ? await readWords(readFile, signature) : null;
  const files = {};
  for (const { file, sha256 } of signature.graphs) {
    files[file] = await required(readFile, file);
    if (((await digest(files[file])) ?? sha256) !== sha256) {
      throw new Error(`${file} is not the file that the model was exported with. Export the model again.`);
    }
  }
  return { signature, files, states, words };
}

async function readWords(readFile, { prompts, graphs }) {
  const tensors = readTensors(await required(readFile, "prompts.safetensors"), "prompts.safetensors");
  try {
    const words = new Vocabulary(prompts, tensors);
    const sizes = { prompt: words.nothing.embedding.length, prompt_mask: words.tokens };
    const misshapen = graphs.flatMap(({ inputs }) => inputs).find(({ name, shape }) => {
      const asked = name.replace(/^negative_/, "");
      return asked in sizes && count(shape) !== sizes[asked];
    });
    if (misshapen) throw new Error(misshapen.name);
    return words;
  } catch {
    throw new Error("prompts.safetensors does not fit signature.json. Export the model again.");
  }
}

async function required(readFile, name) {
  const bytes = await readFile(name);
  if (bytes === null) throw new Error(`The model's file ${name} is missing. Put the whole exported directory there.`);
  return bytes;
}

function checked(bytes) {
  let signature;
  try {
    signature = JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    throw new Error("signature.json is damaged. Export the model again.");
  }
  const format = signature?.format;
  if (format !== FORMAT) {
    throw new Error(`The model has format ${format}, but this page plays format ${FORMAT}. Export it again.`);
  }
  if (signature.noise?.algorithm !== ALGORITHM) {
    throw new Error(`This page does not know the noise ${signature.noise?.algorithm}. Use a newer livejam's page.`);
  }
  const wrong = mistake(signature);
  if (wrong) throw new Error(`signature.json is damaged (${wrong}). Export the model again.`);
  return signature;
}

// The first field that cannot be right.
function mistake({ graphs, instruments, noise, ...facts }) {
  const positive = (holder, names) => names.find((name) => !(Number.isInteger(holder[name]) && holder[name] > 0));
  const number = positive(facts, ["sample_rate_hz", "audio_channels", "block_samples"]);
  if (number) return number;
  const draws = positive(noise, ["draws", "frames", "channels"]);
  if (draws) return `noise: ${draws}`;
  if (!Array.isArray(instruments) || !instruments.length) return "instruments";
  if (!Array.isArray(graphs) || !graphs.every(({ inputs, outputs }) => inputs && outputs)) return "graphs";
  const wanted = {
    mix: facts.audio_channels * facts.block_samples,
    noise: noise.draws * noise.frames * noise.channels,
    instrument: 1,
  };
  const misshapen = graphs.flatMap(({ inputs }) => inputs).find(({ name, shape }) => {
    return name in wanted && count(shape) !== wanted[name];
  });
  return misshapen && `the input ${misshapen.name} is of another shape`;
}

const count = (shape) => shape.reduce((product, size) => product * size, 1);

// Every input must come from somewhere: the player, a state, or another graph.
function known(signature, states, { name, shape }) {
  const given = ["mix", "noise", "instrument"].includes(name) || name in states;
  if (!given && !signature.graphs.some(({ outputs }) => outputs.some(({ feeds }) => feeds === name))) {
    throw new Error(`The state ${name} is missing in state0.safetensors. Export the model again.`);
  }
  if (name in states && count(states[name].shape) !== count(shape)) {
    throw new Error(`The state ${name} in state0.safetensors is of another shape. Export the model again.`);
  }
}

// Pages that came over http have no digests.
async function digest(bytes) {
  if (!globalThis.crypto?.subtle) return null;
  const found = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(found, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

// What steps.js needs of ONNX Runtime: tensors, and the graphs of a model.
export async function openRuntime(ort, { signature, files }, providers) {
  const sessions = {};
  for (const { name, file } of signature.graphs) {
    const options = { executionProviders: providers, graphOptimizationLevel: "all" };
    sessions[name] = await ort.InferenceSession.create(new Uint8Array(files[file]), options).catch(({ message }) => {
      throw new Error(`${file} cannot be run (${message}). Export the model again.`);
    });
  }
  return {
    tensor: ({ dtype, shape, data }) => new ort.Tensor(dtype, data, shape),
    run: (graph, inputs) => sessions[graph].run(inputs),
  };
}
