// Where the model is: here, a server. hosts/web/home.js takes this file's place where the browser itself plays.

import { Line } from "./line.js";

export const words = {
  microphone: "Start livejam with --certificate and --key.",
  rate: "This browser cannot listen at the server's rate. Start livejam with --sample-rate 48000.",
  lost: "The server ended the jam. Start again.",
};

// Whether the model hears sound of any rate.
export const anyRate = false;

// What there is to play with: { facts, songs }.
export async function arrive() {
  try {
    const [facts, songs] = await Promise.all(["facts", "songs"].map(async (path) => (await fetch(path)).json()));
    return { facts, songs };
  } catch {
    throw new Error("The server does not answer. Is it still running? Load this page again.");
  }
}

// A song without some instruments: the files whose sum it is.
export async function song(number, instruments) {
  const without = instruments.map((name) => `without=${encodeURIComponent(name)}`).join("&");
  const answer = await fetch(`songs/${number}?${without}`);
  if (!answer.ok) throw new Error("The song did not come. Load this page again.");
  return [await answer.arrayBuffer()];
}

export const connect = (hears) => new Line(new URL("jam", location).href.replace(/^http/, "ws"), hears);

export const foot = ({ model, most_musicians }) =>
  `Model: ${model}. Up to ${most_musicians} musicians play at once.`;

// The last of the model's meters.
export const meter = ({ musicians }, { most_musicians }) => `${musicians} of ${most_musicians}`;
