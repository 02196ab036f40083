// What runs the graphs: WebAssembly everywhere, or the graphics processor through WebGPU, where that is faster.

import { openRuntime } from "./model.js";
import { Session } from "./session.js";

const MOST_THREADS = 4;
const [WARM_UP_STEPS, WARM_UP_MS] = [20, 2000];
const APART = 0.001; // by which the sound of both may differ
const TRIAL_MS = 10000; // of the graphics processor, its files included
const HERE = new URL("./runtime/", import.meta.url).href;

// The faster one, ready to play: { name, runtime, slowestMs, medianMs }.
export async function fastest(model) {
  const wasm = await tried("wasm", model);
  // Its files are large, so that they come only where they may be used; whatever goes wrong with them, there is the other.
  const gpu = (await hasGpu()) && (await Promise.race([tried("webgpu", model).catch(() => null), later(TRIAL_MS)]));
  return gpu && gpu.medianMs < wasm.medianMs && apart(gpu.played, wasm.played) <= APART ? gpu : wasm;
}

const later = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds, null));

// An adapter that is computed by the processor itself is none.
async function hasGpu() {
  const adapter = await navigator.gpu?.requestAdapter().catch(() => null);
  return Boolean(adapter) && !adapter.info?.isFallbackAdapter;
}

const PACKAGES = { wasm: "ort.wasm.min.mjs", webgpu: "ort.webgpu.min.mjs" };

async function tried(name, model) {
  const ort = await import(HERE + PACKAGES[name]);
  ort.env.wasm.wasmPaths = HERE;
  // Threads need shared memory, which browsers give to isolated pages alone; one core is left to the sound.
  const spare = Math.max(1, navigator.hardwareConcurrency - 1);
  ort.env.wasm.numThreads = crossOriginIsolated ? Math.min(MOST_THREADS, spare) : 1;
  const runtime = await openRuntime(ort, model, [name]);
  return { name, runtime, ...(await warmUp(model, runtime)) };
}

// The first steps are slow: they make room in memory, and the browser learns. How long the others took, and the sound.
async function warmUp(model, runtime) {
  const { default_instrument, sample_rate_hz, block_samples } = model.signature;
  const playing = new Session(model, runtime, [{ index: default_instrument, seed: 0 }], sample_rate_hz);
  const [times, played] = [[], []];
  const end = performance.now() + WARM_UP_MS;
  do {
    playing.push(Float32Array.from({ length: block_samples }, (_, i) => Math.sin(i / 9) / 4));
    const began = performance.now();
    const { rows } = await playing.next();
    times.push(performance.now() - began);
    played.push(rows[0]);
  } while (times.length < WARM_UP_STEPS && performance.now() < end);
  const settled = times.slice(times.length >> 1).sort((a, b) => a - b);
  return { slowestMs: settled.at(-1), medianMs: settled[settled.length >> 1], played };
}

// The largest difference of the blocks that both played.
function apart(one, other) {
  let largest = 0;
  for (let block = 0; block < Math.min(one.length, other.length); block++) {
    one[block].forEach((sample, i) => (largest = Math.max(largest, Math.abs(sample - other[block][i]))));
  }
  return largest;
}
