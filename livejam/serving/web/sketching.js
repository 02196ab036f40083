// A sketch that is drawn while the model plays: a slider for each control, and a pad for loudness and brightness at once.

import { seldom } from "./mixer.js";

const SECONDS = 0.1; // in which a control goes to where it was moved
const CONTROLS = {
  loudness: { title: "Loudness", low: -70, high: -5, value: -30, words: (value) => `${value} dB` },
  brightness: { title: "Brightness", low: 40, high: 115, value: 80, words: (value) => `${hertz(value)} Hz` },
  pitch: { title: "Note", low: 28, high: 96, value: 60, words: note },
};

export class Sketching {
  // find: from an id to an element; followed: whether the model follows a sketch; send: a message to the server;
  // drawn(name): a control is drawn from now on.
  constructor(find, followed, send, drawn) {
    find("sketch").hidden = !followed;
    if (!followed) return;
    Object.assign(this, { send, drawn });
    this.values = {};
    this.strips = Object.fromEntries(Object.entries(CONTROLS).map(([name, about]) => [name, this.strip(name, about)]));
    find("sketch-strips").replaceChildren(...Object.values(this.strips).map(({ row }) => row));
    this.later = seldom(() => this.tell());
    this.listen(find("sketch-pad"));
  }

  strip(name, { title, low, high, value, words }) {
    const slider = made("input", { type: "range", min: low, max: high, step: 1, value, ariaLabel: `${title} of the sketch` });
    const on = made("button", { type: "button", textContent: "Follow", ariaLabel: `Follow the sketch's ${title.toLowerCase()}` });
    on.setAttribute("aria-pressed", "false");
    const output = made("output", { textContent: "free" });
    const row = made("div", { className: "strip" });
    row.append(made("b", { textContent: title }), on, slider, output);
    slider.oninput = () => this.move({ [name]: Number(slider.value) });
    on.onclick = () => (name in this.values ? this.free(name) : this.move({ [name]: Number(slider.value) }));
    return { row, slider, on, output, words };
  }

  // Controls go to values, and are followed from now on.
  move(values) {
    for (const [name, value] of Object.entries(values)) {
      const { slider, on, output, words } = this.strips[name];
      this.drawn(name);
      this.values[name] = value;
      slider.value = value;
      on.setAttribute("aria-pressed", "true");
      output.textContent = words(value);
      slider.setAttribute("aria-valuetext", output.textContent);
    }
    this.changed = { ...this.changed, ...values };
    this.later();
  }

  tell() {
    if (this.changed) this.send({ kind: "sketch", ...this.changed, seconds: SECONDS });
    this.changed = null;
  }

  free(name) {
    if (!(name in this.values)) return;
    delete this.values[name];
    if (this.changed) delete this.changed[name];
    this.strips[name].on.setAttribute("aria-pressed", "false");
    this.strips[name].output.textContent = "free";
    this.send({ kind: "sketch_free", control: name });
  }

  // Further right is brighter, further up louder.
  listen(pad) {
    const draw = (event) => {
      if (!event.buttons) return;
      const box = pad.getBoundingClientRect();
      const share = { x: (event.clientX - box.left) / box.width, y: 1 - (event.clientY - box.top) / box.height };
      this.move({ loudness: between(CONTROLS.loudness, share.y), brightness: between(CONTROLS.brightness, share.x) });
    };
    pad.onpointerdown = (event) => (pad.setPointerCapture(event.pointerId), draw(event));
    pad.onpointermove = draw;
  }
}

export function between({ low, high }, share) {
  return Math.round(low + (high - low) * Math.min(1, Math.max(0, share)));
}

export function hertz(value) {
  return Math.round(440 * 2 ** ((value - 69) / 12));
}

export function note(value) {
  return `${["C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B"][value % 12]}${Math.floor(value / 12) - 1}`;
}

function made(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
