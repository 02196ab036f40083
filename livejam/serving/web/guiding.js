// How closely the model keeps to what it is told: a slider for each weight of guidance.

import { seldom } from "./mixer.js";

const HIGHEST = 8;
const TITLES = { mix: "The mix", past: "Its own past", prompt: "The words", sketch: "The sketch" };

// From "mix=1,prompt=3" to { mix: 1, prompt: 3 }.
export function weightsOf(text) {
  const pairs = (text || "").split(",").filter(Boolean).map((pair) => pair.split("="));
  return Object.fromEntries(pairs.map(([name, weight]) => [name, Number(weight)]));
}

export class Guiding {
  // find: from an id to an element; text: what can have a weight, with the one it has; send: a message to the server.
  constructor(find, text, send) {
    this.held = weightsOf(text); // what the server has taken
    this.asked = []; // what it has not answered yet, in its order
    this.send = send;
    const names = Object.keys(this.held);
    find("guidance").hidden = !names.length;
    this.strips = Object.fromEntries(names.map((name) => [name, this.strip(name)]));
    find("guidance-strips").replaceChildren(...Object.values(this.strips).map(({ row }) => row));
    this.show();
  }

  strip(name) {
    const title = TITLES[name] ?? name;
    const slider = made("input", { type: "range", min: 0, max: HIGHEST, step: 0.1, ariaLabel: `Guidance: ${title}` });
    const off = made("button", { type: "button", textContent: "1", ariaLabel: `${title}: back to a weight of 1` });
    const output = made("output", {});
    const row = made("div", { className: "strip" });
    row.append(made("b", { textContent: title }), off, slider, output);
    const later = seldom((weight) => this.ask(name, weight));
    slider.oninput = () => (this.tell(name, Number(slider.value)), later(Number(slider.value)));
    off.onclick = () => (this.tell(name, 1), this.ask(name, 1));
    return { row, slider, output };
  }

  ask(name, weight) {
    this.asked.push({ [name]: weight });
    this.send({ kind: "guidance", [name]: weight });
  }

  // The server has answered: what was asked for is so, or nothing has changed.
  answered(taken) {
    const asked = this.asked.shift();
    if (taken) Object.assign(this.held, asked);
    else if (!this.asked.length) this.show();
  }

  show() {
    for (const [name, weight] of Object.entries(this.held)) this.tell(name, weight);
  }

  tell(name, weight) {
    const { slider, output } = this.strips[name];
    slider.value = weight;
    output.textContent = weight.toFixed(1);
    slider.setAttribute("aria-valuetext", output.textContent);
  }
}

function made(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
