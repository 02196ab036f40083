// An exported model (docs/export.md): its signature and its files, checked; and the graphs, run by ONNX Runtime.

import { readTensors } from "./safetensors.js";

const FORMAT = 1;
const ALGORITHM = "splitmix64-box-muller";

// Read a model. readFile(name): bytes of a file of its directory, or null if there is none.
// Returns { signature, files, states }. Throws an Error with one sentence.
export async function readModel(readFile) {
  const signature = checked(await required(readFile, "signature.json"));
  const states = readTensors(await required(readFile, "state0.safetensors"), "state0.safetensors");
  for (const { name } of signature.graphs.flatMap(({ inputs }) => inputs)) known(signature, states, name);
  const files = {};
  for (const { file, sha256 } of signature.graphs) {
    files[file] = await required(readFile, file);
    if (((await digest(files[file])) ?? sha256) !== sha256) {
      throw new Error(`${file} is not the file that the model was exported with. Export the model again.`);
    }
  }
  return { signature, files, states };
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
  if (signature.format !== FORMAT) {
    throw new Error(`The model has format ${signature.format}, but this page plays format ${FORMAT}. Export it again.`);
  }
  if (signature.noise.algorithm !== ALGORITHM) {
    throw new Error(`This page does not know the noise ${signature.noise.algorithm}. Use a newer livejam's page.`);
  }
  return signature;
}

// Every input must come from somewhere: the player, a state, or another graph.
function known(signature, states, name) {
  const given = ["mix", "noise", "instrument"].includes(name) || name in states;
  if (!given && !signature.graphs.some(({ outputs }) => outputs.some(({ feeds }) => feeds === name))) {
    throw new Error(`The state ${name} is missing in state0.safetensors. Export the model again.`);
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
    sessions[name] = await ort.InferenceSession.create(new Uint8Array(files[file]), {
      executionProviders: providers,
      graphOptimizationLevel: "all",
    });
  }
  return {
    tensor: ({ dtype, shape, data }) => new ort.Tensor(dtype, data, shape),
    run: (graph, inputs) => sessions[graph].run(inputs),
  };
}
