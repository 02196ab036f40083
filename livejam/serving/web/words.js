// What the model is asked for in words, what it is led away from, and how slowly the former replaces what was asked before.

export class Words {
  // find: from an id to an element; taken: whether the model takes words; guided: whether it can be led away from some;
  // playing: the instrument of every row; send: a message to the server.
  constructor(find, taken, guided, playing, send) {
    rows(find, "words", taken, playing);
    rows(find, "away", taken && guided, playing);
    find("words").onsubmit = (event) => {
      event.preventDefault(); // the page stays
      send(asked(find("words-text").value, find("words-row").value, find("words-fade").value));
    };
    find("away").onsubmit = (event) => {
      event.preventDefault();
      send(avoided(find("away-text").value, find("away-row").value));
    };
  }
}

// Show a form or not, and whom it is for.
function rows(find, name, shown, playing) {
  find(name).hidden = !shown;
  const everyone = playing.length > 1 ? [new Option("everyone", "")] : [];
  find(`${name}-row`).replaceChildren(...everyone, ...playing.map((instrument, row) => new Option(instrument, row)));
  find(`${name}-row`).parentElement.hidden = playing.length < 2;
}

const numbered = (row) => (row === "" ? null : Number(row));

// The message for what stands in the three fields.
export function asked(text, row, fade) {
  const seconds = Math.min(60, Math.max(0, Number(fade) || 0));
  return { kind: "prompt", words: text.trim(), row: numbered(row), fade_seconds: seconds };
}

// The message for what is to be avoided; an empty field ends it.
export function avoided(text, row) {
  return { kind: "negative_prompt", words: text.trim() || null, row: numbered(row) };
}
