// What the model sounds like: two recordings, files or what was played last, and a slider between them.

import { seldom } from "./mixer.js";

const LONGEST_SECONDS = 30; // of a file; what comes after is not sent
const HEARD_SECONDS = 6;
const NAMES = ["A", "B"];

export class Likeness {
  // find: from an id to an element; taken: whether the model takes recordings; read(bytes): a promise of the samples of a
  // file, at the page's rate; line: to the server.
  constructor(find, taken, rate, read, line) {
    Object.assign(this, { find, rate, read, line, asked: null, ready: [false, false] });
    find("like").hidden = !taken;
    if (!taken) return;
    find("like-slots").replaceChildren(...NAMES.map((name, slot) => this.slot(name, slot)));
    find("like-share").oninput = seldom(() => this.ask());
    find("like-none").onclick = () => line.send(reference(null, find("like-fade").value));
    this.show();
  }

  slot(name, slot) {
    const file = made("input", { type: "file", accept: "audio/*", ariaLabel: `Recording ${name}: a file` });
    file.onchange = () => file.files.length && this.send(slot, file.files[0]);
    const heard = made("button", { type: "button", textContent: `What I played last (${HEARD_SECONDS} s)`,
      ariaLabel: `Recording ${name}: what I played in the last ${HEARD_SECONDS} seconds` });
    heard.onclick = () => this.take({ kind: "recording", slot, seconds: HEARD_SECONDS });
    const words = made("span", { id: `like-${slot}`, className: "quiet", textContent: "nothing yet" });
    const row = made("div", { className: "row" });
    row.append(made("b", { textContent: name }), file, heard, words);
    return row;
  }

  async send(slot, file) {
    try {
      const samples = (await this.read(await file.arrayBuffer())).slice(0, LONGEST_SECONDS * this.rate);
      this.line.record(slot, samples);
      this.take({ kind: "recording", slot }, false);
    } catch {
      this.tell(slot, "the browser cannot read this file");
    }
  }

  // One recording is made ready at a time.
  take(message, say = true) {
    this.asked = message.slot;
    this.tell(message.slot, "listening…");
    if (say) this.line.send(message);
  }

  // The server has answered: whether the recording can be sounded like.
  done(sentence) {
    if (this.asked === null) return;
    const slot = this.asked;
    this.asked = null;
    this.tell(slot, sentence ?? "ready");
    this.ready[slot] = sentence === undefined || this.ready[slot];
    if (sentence === undefined) {
      if (this.ready.filter(Boolean).length === 1) this.find("like-share").value = slot;
      this.ask();
    }
    this.show();
  }

  tell(slot, sentence) {
    this.find(`like-${slot}`).textContent = sentence;
  }

  // The slider moves when there is something to move between.
  show() {
    this.find("like-share").disabled = !this.ready.every(Boolean);
    this.find("like-none").disabled = !this.ready.some(Boolean);
  }

  ask() {
    this.line.send(reference(Number(this.find("like-share").value), this.find("like-fade").value));
  }
}

// The message for a place between the recordings, or for none of them.
export function reference(share, fade) {
  const seconds = Math.min(60, Math.max(0, Number(fade) || 0));
  return { kind: "reference", share, fade_seconds: seconds };
}

function made(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
