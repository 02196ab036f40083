// Levels, mutes and instruments: one strip for the mix, and one for every row of the accompaniment.

const SOFTEST_DB = -40;
const LOUDEST_DB = 12;
const PATIENCE_MS = 80; // between two controls of one slider

export class Mixer {
  // to: control(message) for the server, mixGain(gain) for the mix, which is only in this browser.
  constructor(place, learnt, playing, title, room, to) {
    const strips = playing.map((name, row) => rowStrip(name, row, learnt, title, to));
    place.replaceChildren(...(room ? [] : [mixStrip(to)]), ...strips);
  }
}

function mixStrip({ mixGain }) {
  let [level, silent] = [0, false];
  const apply = () => mixGain(silent ? 0 : 10 ** (level / 20));
  const name = document.createElement("b");
  name.textContent = "Mix";
  return strip("the mix", name, (decibels) => ((level = decibels), apply()), (mute) => ((silent = mute), apply()));
}

function rowStrip(playing, row, learnt, title, { control }) {
  const name = document.createElement("select");
  name.setAttribute("aria-label", `Instrument ${row + 1}`);
  name.append(...learnt.map((known) => new Option(title(known), known, known === playing, known === playing)));
  name.onchange = () => control({ kind: "instrument", name: name.value, row });
  const setLevel = seldom((decibels) => control({ kind: "level", decibels, row }));
  return strip(`instrument ${row + 1}`, name, setLevel, (silent) => control({ kind: "mute", silent, row }));
}

function strip(words, name, setLevel, setMute) {
  const mute = document.createElement("button");
  Object.assign(mute, { type: "button", textContent: "Mute", ariaLabel: `Mute ${words}` });
  mute.setAttribute("aria-pressed", "false");
  mute.onclick = () => {
    const silent = mute.getAttribute("aria-pressed") !== "true";
    mute.setAttribute("aria-pressed", String(silent));
    setMute(silent);
  };
  const slider = document.createElement("input");
  Object.assign(slider, { type: "range", min: SOFTEST_DB, max: LOUDEST_DB, step: 1, value: 0, ariaLabel: `Level of ${words} in decibels` });
  const output = document.createElement("output");
  output.textContent = "0 dB";
  slider.oninput = () => {
    output.textContent = `${slider.value} dB`;
    slider.setAttribute("aria-valuetext", output.textContent);
    setLevel(Number(slider.value));
  };
  const made = document.createElement("div");
  made.className = "strip";
  made.append(name, mute, slider, output);
  return made;
}

// Calls at most every few milliseconds, the last one always.
export function seldom(call) {
  let [timer, value] = [null, null];
  return (next) => {
    value = next;
    timer ??= setTimeout(() => ((timer = null), call(value)), PATIENCE_MS);
  };
}
