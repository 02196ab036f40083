// The line to the server, in a thread of its own: the page may be busy drawing, and no block waits for it.

import { Answers, MOST_SAMPLES, readPlayed, writeHeard, writeLeading, writeRecorded } from "./frames.js";

const MOST_WAITING_BYTES = 400_000; // about two seconds of sound

const MOST_WAITING_RECORDED = 100_000; // what is played now goes first
const PAUSE_MS = 20;

let socket = null;
let audio = null; // the port of the Jam
let answers = null;
let sequence = 0;
let unsent = 0;

function connect(address) {
  socket = new WebSocket(address);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => postMessage({ kind: "open" });
  socket.onmessage = ({ data }) => (typeof data === "string" ? told(JSON.parse(data)) : answered(data));
  socket.onclose = ({ code }) => postMessage({ kind: "closed", code });
}

function told(message) {
  if (message.kind === "begun") answers = new Answers(message.instruments.length);
  if (message.kind === "meters") message.unsentBlocks = unsent;
  postMessage(message);
}

function answered(frame) {
  const played = readPlayed(frame);
  const whole = played && answers?.put(played);
  if (whole && audio) audio.postMessage(whole, whole.rows.map((row) => row.buffer));
}

function heard({ position, samples, leading }) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  if (socket.bufferedAmount > MOST_WAITING_BYTES) unsent += leading ? 0 : 1;
  else if (leading) socket.send(writeLeading(position, samples));
  else socket.send(writeHeard(sequence++, position, samples));
}

// A recording goes out in pieces, and only as long as nothing else has to wait for them.
function record({ slot, samples }, position = 0) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  while (position < samples.length && socket.bufferedAmount < MOST_WAITING_RECORDED) {
    socket.send(writeRecorded(slot, position, samples.subarray(position, position + MOST_SAMPLES)));
    position += MOST_SAMPLES;
  }
  if (position < samples.length) setTimeout(record, PAUSE_MS, { slot, samples }, position);
  else socket.send(JSON.stringify({ kind: "recording", slot }));
}

onmessage = ({ data }) => {
  if (data.connect) connect(data.connect);
  else if (data.audio) {
    audio = data.audio;
    audio.onmessage = (event) => heard(event.data);
  } else if (data.send) socket?.readyState === WebSocket.OPEN && socket.send(JSON.stringify(data.send));
  else if (data.record) record(data.record);
  else if (data.close) socket?.close();
};
