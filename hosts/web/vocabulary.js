// Words for an exported model (docs/export.md, "Words"): prompts of stored texts and of single words, mixed by weights,
// and what is asked block by block. The same as hosts/python/livejam_player/words.py.
//
// A prompt is { embedding, mask }: tokens × channels numbers, 0 where there is no token, and 1 where there is one.

const MOST_PARTS = 8;
const HEAVIEST = 10;
const WEIGHTED = /^(.*\S):([+-]?[\d.][\w.+-]*)$/s;
const SHOWN = 12; // of what is known, in a sentence

export class Vocabulary {
  // facts: `prompts` of the signature. tensors: of prompts.safetensors. Throws an Error if they do not fit.
  constructor(facts, tensors) {
    const { tokens, channels, words, texts, negative } = facts;
    const { texts: stored, texts_mask: masks, words: single } = tensors;
    Object.assign(this, { tokens, channels, words, stored, masks, single, negative: negative === true });
    this.texts = texts.map((text) => text.toLowerCase());
    const fits = (tensor, ...shape) => tensor?.dtype === "float32" && String(tensor.shape) === String(shape);
    const whole = fits(stored, texts.length, tokens, channels) && fits(masks, texts.length, tokens);
    if (!whole || (words.length && !fits(single, words.length, channels))) throw new Error("its prompts do not fit");
  }

  get nothing() {
    return { embedding: new Float32Array(this.tokens * this.channels), mask: new Float32Array(this.tokens) };
  }

  // One prompt, or several with weights: `jazz piano:0.7, strings:0.3`. Throws an Error with one sentence.
  prompt(text) {
    const parts = partsOf(text);
    if (parts.length > MOST_PARTS) throw new Error(`${parts.length} prompts cannot be mixed; use 1 to ${MOST_PARTS}.`);
    const heavy = parts.find(([, weight]) => !(weight >= 0 && weight <= HEAVIEST));
    if (heavy) throw new Error(`The weight of '${heavy[0].slice(0, 40)}' must be from 0 to ${HEAVIEST}.`);
    const total = parts.reduce((sum, [, weight]) => sum + weight, 0);
    if (!total) throw new Error("All weights of the prompts are 0; give at least one of them more.");
    const mixed = this.nothing;
    for (const [words, weight] of parts) {
      if (!weight) continue;
      const { embedding, mask } = this.one(words);
      embedding.forEach((number, place) => (mixed.embedding[place] += (weight / total) * number));
      mask.forEach((token, place) => (mixed.mask[place] = Math.max(mixed.mask[place], token)));
    }
    return mixed;
  }

  one(text) {
    const number = this.texts.indexOf(text.trim().toLowerCase());
    if (number >= 0) return this.whole(number);
    const found = new Set(text.toLowerCase().match(/\p{L}+/gu));
    if (this.words.length && found.size > this.tokens) {
      throw new Error(`The prompt '${text.slice(0, 40)}…' has ${found.size} different words; ${this.tokens} are the most.`);
    }
    const rows = [...found].map((word) => this.words.indexOf(word)).filter((row) => row >= 0);
    if (!rows.length) {
      const some = [...this.texts, ...this.words].slice(0, SHOWN).join(", ");
      throw new Error(`This model does not know the prompt '${text.slice(0, 40)}'; try some of ${some}, …`);
    }
    const prompt = this.nothing;
    rows.forEach((row, place) => {
      prompt.embedding.set(this.single.data.subarray(row * this.channels, (row + 1) * this.channels), place * this.channels);
      prompt.mask[place] = 1;
    });
    return prompt;
  }

  // One of the texts that are stored whole.
  whole(number) {
    const size = this.tokens * this.channels;
    const mask = this.masks.data.slice(number * this.tokens, (number + 1) * this.tokens);
    const embedding = this.stored.data.slice(number * size, (number + 1) * size);
    return { embedding: embedding.map((sample, place) => sample * mask[Math.floor(place / this.channels)]), mask };
  }
}

// The prompts of a text with their weights; one without a weight has 1.
function partsOf(text) {
  const pieces = text.split(",").map((piece) => piece.trim());
  const found = pieces.map((piece) => WEIGHTED.exec(piece));
  if (!found.some(Boolean)) return [[text, 1]];
  const parts = new Map();
  found.forEach((match, place) => {
    const words = match?.[1].trim();
    if (!match || parts.has(words)) {
      throw new Error(`Every part of '${text.slice(0, 60)}' needs one weight, which '${pieces[place].slice(0, 40)}' has not.`);
    }
    parts.set(words, Number(match[2]));
  });
  return [...parts];
}

function faded(before, after, share) {
  if (share === 1) return after;
  const embedding = before.embedding.map((number, place) => number + share * (after.embedding[place] - number));
  return { embedding, mask: before.mask.map((token, place) => Math.max(token, after.mask[place])) };
}

// What is asked of a row, as it changes while it plays.
export class Changes {
  constructor() {
    this.changes = [];
  }

  // Another prompt from a block on, which replaces the one before in a fade of so many blocks, whole or not.
  ask(prompt, block, fade = 0) {
    this.changes.push({ prompt, block, fade });
  }

  // The prompt of a block: the mix that is due at its end. before(): that of the beginning. null: nothing was ever asked.
  at(block, before) {
    if (!this.changes.length) return null;
    const share = (change) => Math.min(1, (block + 1 - change.block) / Math.max(change.fade, 1));
    while (this.changes.slice(1).some((later) => share(later) === 1)) this.changes.shift();
    return this.changes.reduce((prompt, change) => faded(prompt, change.prompt, share(change)), before());
  }
}
