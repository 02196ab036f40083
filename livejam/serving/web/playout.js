// What the page does with answers: keep them until they are due, and play as little late as the line allows.
// The same as livejam/serving/playout.py.
//
// An answer that arrives before its position sounds exactly with it. If answers arrive later than that, everything
// sounds later, by as much as they were late during the last ten seconds and a little more: the delay rises at once,
// and falls only after ten seconds in which less was needed.

const KEPT_SECONDS = 8;
export const MARGIN_SECONDS = 0.003; // what the delay exceeds the need by
export const SLACK_SECONDS = 0.01; // what it must exceed the need by to fall
const LONGEST_DELAY_SECONDS = 2;
const FADE_SECONDS = 0.005;
const BUCKET_SECONDS = 0.5;
const BUCKETS = 20;

// The smallest of the values of the last ten seconds, kept as the smallest of half seconds.
export class Smallest {
  constructor() {
    this.buckets = [];
  }

  add(value, now) {
    const last = this.buckets[this.buckets.length - 1];
    if (last === undefined || now >= last.since + BUCKET_SECONDS) this.buckets.push({ since: now, value });
    else last.value = Math.min(last.value, value);
    while (this.buckets[0].since < now - BUCKETS * BUCKET_SECONDS) this.buckets.shift();
  }

  get value() {
    return this.buckets.reduce((least, bucket) => Math.min(least, bucket.value), Infinity);
  }
}

// Sound by position, read without clicks: where samples are missing, what sounded last goes on, mirrored in time, and
// fades away; sound that is there again fades in.
export class Track {
  constructor(rate) {
    this.size = Math.round(KEPT_SECONDS * rate);
    this.samples = new Float32Array(this.size);
    this.known = new Uint8Array(this.size);
    this.fade = Math.round(FADE_SECONDS * rate);
    this.weights = Float32Array.from({ length: this.fade }, (_, place) =>
      0.5 - 0.5 * Math.cos((Math.PI * (place + 1)) / (this.fade + 1)));
    this.last = new Float32Array(this.fade); // what sounded last, a ring
    this.tail = new Float32Array(this.fade);
    this.lastAt = 0;
    this.tailAt = this.weightAt = this.fade;
    this.missing = true;
    this.first = Infinity; // nothing is missing before the first answer
    this.gaps = 0;
    this.missed = 0;
  }

  place(position) {
    return ((position % this.size) + this.size) % this.size;
  }

  put(position, samples) {
    this.first = Math.min(this.first, position);
    for (let i = 0, at = this.place(position); i < samples.length; i++, at = at + 1 === this.size ? 0 : at + 1) {
      this.samples[at] = samples[i];
      this.known[at] = 1;
    }
  }

  // What follows has nothing to do with what sounded last.
  cut() {
    this.startTail();
    this.weightAt = 0;
  }

  startTail() {
    for (let i = 0; i < this.fade; i++) {
      this.tail[i] = this.last[(this.lastAt + this.fade - 1 - i) % this.fade] * (1 - this.weights[i]);
    }
    this.tailAt = 0;
  }

  read(position, out) {
    let at = this.place(position);
    for (let i = 0; i < out.length; i++) {
      let sample = 0;
      if (this.known[at]) {
        if (this.missing) this.weightAt = 0;
        this.missing = false;
        sample = this.samples[at];
      } else if (position + i >= this.first) {
        if (!this.missing) {
          this.gaps++;
          this.startTail();
        }
        this.missing = true;
        this.missed++;
      }
      if (this.weightAt < this.fade) sample *= this.weights[this.weightAt++];
      if (this.tailAt < this.fade) sample += this.tail[this.tailAt++];
      this.last[this.lastAt] = out[i] = sample;
      this.lastAt = this.lastAt + 1 === this.fade ? 0 : this.lastAt + 1;
      at = at + 1 === this.size ? 0 : at + 1;
    }
    this.forget(position - Math.round(this.size / 16), out.length);
  }

  // Make room: what sounded half a second ago may be overwritten by what will sound seconds later.
  forget(position, count) {
    for (let i = 0, at = this.place(position); i < count; i++, at = at + 1 === this.size ? 0 : at + 1) this.known[at] = 0;
  }
}

export class Playout {
  // ahead: samples by which the device needs its sound earlier than it is due. least: the shortest delay in samples; if
  // the mix waits as long, a delay harms nobody.
  constructor(rows, rate, ahead, least) {
    this.rate = rate;
    this.ahead = ahead;
    this.least = least / rate;
    this.rows = Array.from({ length: rows }, () => new Track(rate));
    this.mix = new Track(rate);
    this.slack = new Smallest();
    this.now = 0;
    this.delay = least;
    this.moves = 0;
    this.tooLate = 0;
  }

  get gaps() {
    return this.rows[0].gaps;
  }

  get missed() {
    return this.rows[0].missed;
  }

  get slackSeconds() {
    return this.slack.value;
  }

  get position() {
    return this.now + this.ahead - this.delay;
  }

  put(position, rows) {
    const due = this.now + this.ahead;
    if (Math.abs(position - this.now) + rows[0].length > (KEPT_SECONDS * this.rate) / 2) return;
    this.slack.add((position - due) / this.rate, this.now / this.rate);
    if (position < due - this.delay) this.tooLate++;
    rows.forEach((samples, row) => this.rows[row]?.put(position, samples));
  }

  // What sounds next; the mix as late as the accompaniment.
  read(mixOut, rowsOut) {
    const moved = this.settle();
    const tracks = [this.mix, ...this.rows];
    if (moved) tracks.forEach((track) => track.cut());
    tracks.forEach((track, place) => track.read(this.position, place ? rowsOut[place - 1] : mixOut));
    this.now += mixOut.length;
  }

  // Choose the delay, and say whether it has changed.
  settle() {
    if (this.slackSeconds === Infinity) return false;
    const needed = Math.min(Math.max(this.least, MARGIN_SECONDS - this.slackSeconds), LONGEST_DELAY_SECONDS);
    const delay = this.delay / this.rate;
    if (delay - SLACK_SECONDS <= needed && needed <= delay && !(needed === this.least && delay > needed)) return false;
    const before = this.delay;
    this.delay = Math.round(needed * this.rate);
    if (this.delay !== before) this.moves++;
    return this.delay !== before;
  }
}
