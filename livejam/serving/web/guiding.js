// How closely the model keeps to what it is told: a slider for each weight of guidance, and one for what guidance does to
// the level.

import { seldom } from "./mixer.js";

const WEIGHT = { high: 8, step: 0.1, off: 1, words: (weight) => weight.toFixed(1) };
const SHARE = { high: 1, step: 0.05, off: 0, words: (share) => `${Math.round(100 * share)} %` };
const TITLES = { mix: "The mix", past: "Its own past", prompt: "The words", sketch: "The sketch", share: "Keep the level" };

// From "mix=1,prompt=3" to { mix: 1, prompt: 3 }.
export function weightsOf(text) {
  const pairs = (text || "").split(",").filter(Boolean).map((pair) => pair.split("="));
  return Object.fromEntries(pairs.map(([name, weight]) => [name, Number(weight)]));
}

// The message for a slider's new value; share: of what guidance does to the level.
export function guided(name, value) {
  return { kind: name === "share" ? "guidance_rescale" : "guidance", [name]: value };
}

export class Guiding {
  // find: from an id to an element; text: what can have a weight, with the one it has; share: of what guidance does to
  // the level that is taken back, null where none can be; send: a message to the server.
  constructor(find, text, share, send) {
    const weights = weightsOf(text);
    const some = Object.keys(weights).length > 0;
    this.held = some && Number.isFinite(share) ? { ...weights, share } : weights; // what the server has taken
    this.asked = []; // what it has not answered yet, in its order
    this.send = send;
    find("guidance").hidden = !some;
    find("guidance-level").hidden = !("share" in this.held);
    this.strips = Object.fromEntries(Object.keys(this.held).map((name) => [name, this.strip(name)]));
    find("guidance-strips").replaceChildren(...Object.values(this.strips).map(({ row }) => row));
    this.show();
  }

  strip(name) {
    const title = TITLES[name] ?? name;
    const { high: max, step, off: least, words } = name === "share" ? SHARE : WEIGHT;
    const slider = made("input", { type: "range", min: 0, max, step, ariaLabel: `Guidance: ${title}` });
    const off = made("button", { type: "button", textContent: String(least), ariaLabel: `${title}: back to ${least}` });
    const output = made("output", {});
    const row = made("div", { className: "strip" });
    row.append(made("b", { textContent: title }), off, slider, output);
    const later = seldom((value) => this.ask(name, value));
    slider.oninput = () => (this.tell(name, Number(slider.value)), later(Number(slider.value)));
    off.onclick = () => (this.tell(name, least), this.ask(name, least));
    return { row, slider, output, words };
  }

  ask(name, value) {
    this.asked.push({ [name]: value });
    this.send(guided(name, value));
  }

  // The server has answered: what was asked for is so, or nothing has changed.
  answered(taken) {
    const asked = this.asked.shift();
    if (taken) Object.assign(this.held, asked);
    else if (!this.asked.length) this.show();
  }

  show() {
    for (const [name, value] of Object.entries(this.held)) this.tell(name, value);
  }

  tell(name, value) {
    const { slider, output, words } = this.strips[name];
    slider.value = value;
    output.textContent = words(value);
    slider.setAttribute("aria-valuetext", output.textContent);
  }
}

function made(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
