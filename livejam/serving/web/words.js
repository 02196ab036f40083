// What the model is asked for in words, and how slowly that replaces what it was asked for before.

export class Words {
  // find: from an id to an element; taken: whether the model takes words; playing: the instrument of every row; send: a
  // message to the server.
  constructor(find, taken, playing, send) {
    const form = find("words");
    form.hidden = !taken;
    const everyone = playing.length > 1 ? [new Option("everyone", "")] : [];
    find("words-row").replaceChildren(...everyone, ...playing.map((name, row) => new Option(name, row)));
    find("words-row").parentElement.hidden = playing.length < 2;
    form.onsubmit = (event) => {
      event.preventDefault(); // the page stays
      send(asked(find("words-text").value, find("words-row").value, find("words-fade").value));
    };
  }
}

// The message for what stands in the three fields.
export function asked(text, row, fade) {
  const seconds = Math.min(60, Math.max(0, Number(fade) || 0));
  return { kind: "prompt", words: text.trim(), row: row === "" ? null : Number(row), fade_seconds: seconds };
}
