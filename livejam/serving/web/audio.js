// Sound of the browser: what is heard, the Jam, and what sounds.

import { Jam, tell } from "./jam.js";

const SCRIPT_SAMPLES = 512; // per call where there is no AudioWorklet
const UNKNOWN_INPUT_SECONDS = 0.01;
const LONGEST_AHEAD_SECONDS = 0.15;
const SONG_DELAY_SECONDS = 0.5;

export const secure = window.isSecureContext;

// Whether this page may use the microphone; a reason in words if not. advice: how to bring the page over https.
export function microphoneRefusal(advice) {
  if (navigator.mediaDevices?.getUserMedia) return "";
  return secure
    ? "This browser has no microphone for pages."
    : `Browsers let a page use the microphone only over https. ${advice}`;
}

export function makeContext(rate) {
  return new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
}

// A source node that sounds when it is started, with `ended`, a promise; and whether the musician is heard in the room.
// A song is the sum of its files.
export async function openSong(context, files, repeat) {
  const buffer = summed(await Promise.all(files.map((bytes) => context.decodeAudioData(bytes))));
  const node = new AudioBufferSourceNode(context, { buffer, loop: repeat });
  const ended = new Promise((resolve) => (node.onended = resolve));
  return { node, ended, room: false, start: () => node.start(), stop: () => node.stop(), seconds: buffer.duration };
}

function summed(buffers) {
  const [longest, ...others] = buffers.sort((one, other) => other.length - one.length);
  const sum = longest.getChannelData(0);
  for (const other of others) other.getChannelData(0).forEach((sample, i) => (sum[i] += sample));
  return longest;
}

// The samples of a sound file, all its channels together, at the context's rate.
export async function samplesOf(context, bytes) {
  const buffer = await context.decodeAudioData(bytes);
  const sum = new Float32Array(buffer.length);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    buffer.getChannelData(channel).forEach((sample, i) => (sum[i] += sample / buffer.numberOfChannels));
  }
  return sum;
}

export async function openMicrophone(context) {
  const plain = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: { ...plain, channelCount: 1 } });
  const [track] = stream.getAudioTracks();
  const node = microphoneNode(context, stream, track);
  const ended = new Promise((resolve) => (track.onended = resolve));
  const input = track.getSettings().latency ?? UNKNOWN_INPUT_SECONDS;
  return { node, ended, room: true, inputSeconds: input, start() {}, stop: () => track.stop() };
}

// Some browsers refuse a context of another rate than the microphone's.
function microphoneNode(context, stream, track) {
  try {
    return new MediaStreamAudioSourceNode(context, { mediaStream: stream });
  } catch (error) {
    track.stop();
    throw error;
  }
}

// By how many samples sound must leave the Jam before it is due, so that it is in time in the room.
export function aheadSamples(context, source) {
  if (!source.room) return 0;
  const seconds = source.inputSeconds + (context.outputLatency || context.baseLatency || 0);
  return Math.round(Math.min(seconds, LONGEST_AHEAD_SECONDS) * context.sampleRate);
}

// The shortest delay in samples. A song waits for its accompaniment, so a steady line costs nothing there. late: of
// answers that are as slow as can be expected, where that is known.
export function leastSamples(context, source, ahead, late = -Infinity) {
  return source.room ? Math.max(0, ahead + late) : Math.round(SONG_DELAY_SECONDS * context.sampleRate);
}

// Lets sound begin. Returns { tell, setMixGain, openVoice, end }.
export async function beginJam(context, source, options, line, report) {
  const mixGain = new GainNode(context, { gain: source.room ? 0 : 1 });
  const node = context.audioWorklet
    ? await workletNode(context, options, line, report)
    : scriptNode(context, options, line, report);
  source.node.connect(node.input);
  node.mix.connect(mixGain).connect(context.destination);
  node.played.connect(context.destination);
  source.start();
  let microphone = null;
  return {
    tell: node.tell,
    // Let the microphone be heard beside a song, as a voice that leads the sketch.
    async openVoice() {
      microphone = await openMicrophone(context);
      microphone.node.connect(node.voice, 0, 1);
    },
    setMixGain: (gain) => mixGain.gain.setTargetAtTime(gain, context.currentTime, 0.02),
    end() {
      microphone?.stop();
      source.stop();
      source.node.disconnect();
      node.end();
    },
  };
}

async function workletNode(context, options, line, report) {
  await context.audioWorklet.addModule("processor.js");
  const node = new AudioWorkletNode(context, "jam", {
    numberOfInputs: 2, // what is played, and a voice that leads the sketch
    numberOfOutputs: 2,
    outputChannelCount: [1, 1],
    channelCount: 1,
    channelCountMode: "explicit",
    processorOptions: options,
  });
  node.port.onmessage = ({ data }) => report(data);
  node.port.postMessage({ line }, [line]);
  const played = new GainNode(context);
  node.connect(played, 1);
  return {
    input: node,
    voice: node, // its second input
    mix: node, // connect() takes the first output
    played,
    tell: (message) => node.port.postMessage(message),
    end: () => (node.port.postMessage({ end: true }), node.disconnect()),
  };
}

// The old way, in the page's own thread: the only one where a page comes over http from another machine.
function scriptNode(context, options, line, report) {
  const node = context.createScriptProcessor(SCRIPT_SAMPLES, 1, 2);
  const send = (position, samples) => line.postMessage({ position, samples }, [samples.buffer]);
  const jam = new Jam(options, send, () => {}, report);
  line.onmessage = ({ data }) => tell(jam, data);
  node.onaudioprocess = ({ inputBuffer, outputBuffer }) =>
    jam.process(inputBuffer.getChannelData(0), outputBuffer.getChannelData(0), outputBuffer.getChannelData(1));
  const splitter = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
  node.connect(splitter);
  const [mix, played] = [new GainNode(context), new GainNode(context)];
  splitter.connect(mix, 0);
  splitter.connect(played, 1);
  return { input: node, mix, played, tell: (message) => tell(jam, message), end: () => node.disconnect() };
}
