// The display of the last seconds: loudness and onsets of the mix above, of the accompaniment below.

import { Onsets, byChance, together } from "./onsets.js";

const SECONDS = 6;
const HOP = 512; // samples per value, as in jam.js
const TOLERANCE_SECONDS = 0.05;
const RATED_SECONDS = 12;

export class Beats {
  constructor(canvas, words, rate) {
    this.canvas = canvas;
    this.words = words;
    this.rate = rate;
    this.kept = Math.ceil((SECONDS * rate) / HOP);
    this.lanes = ["mix", "played"].map((name) => ({ name, onsets: new Onsets(), values: [], times: [], heard: 0 }));
    this.colours = getComputedStyle(canvas);
    this.calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.drawn = 0;
  }

  hear(facts) {
    for (const lane of this.lanes) {
      for (const value of facts[lane.name]) {
        const onset = lane.onsets.hear(value);
        const seconds = (lane.heard++ * HOP) / this.rate;
        if (onset) lane.times.push(seconds);
        lane.values.push({ value, onset });
        if (lane.values.length > this.kept) lane.values.shift();
        while (lane.times[0] < seconds - RATED_SECONDS) lane.times.shift();
      }
    }
    const now = performance.now();
    if (now - this.drawn < (this.calm ? 1000 : 40)) return;
    this.drawn = now;
    this.draw();
    this.describe();
  }

  draw() {
    const { canvas } = this;
    const scale = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
    if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
    const pen = canvas.getContext("2d");
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, width, height);
    this.lanes.forEach((lane, place) => this.drawLane(pen, lane, place, width, height / 2));
  }

  drawLane(pen, lane, place, width, height) {
    const middle = height;
    const step = width / this.kept;
    const loudest = Math.max(0.02, ...lane.values.map(({ value }) => value));
    const up = place === 0 ? -1 : 1;
    const left = width - lane.values.length * step;
    pen.fillStyle = this.colours.getPropertyValue(place === 0 ? "--mix" : "--accent");
    lane.values.forEach(({ value, onset }, number) => {
      const x = left + number * step;
      const size = (value / loudest) ** 0.7 * (height - 12);
      pen.globalAlpha = 0.45;
      pen.fillRect(x, up < 0 ? middle - size : middle, Math.max(1, step - 0.5), size);
      if (!onset) return;
      pen.globalAlpha = 1;
      pen.fillRect(x, up < 0 ? 6 : middle, 2, height - 6);
      pen.beginPath();
      pen.arc(x + 1, up < 0 ? 5 : 2 * height - 5, 4, 0, 2 * Math.PI);
      pen.fill();
    });
    pen.globalAlpha = 1;
  }

  describe() {
    const [mix, played] = this.lanes.map((lane) => lane.times);
    const now = (this.lanes[0].heard * HOP) / this.rate;
    const share = together(played, mix, TOLERANCE_SECONDS);
    const chance = byChance(mix, TOLERANCE_SECONDS, Math.max(0, now - RATED_SECONDS), now);
    const percent = (part) => `${Math.round(100 * part)} %`;
    this.words.textContent = Number.isNaN(share)
      ? "Onsets: listening…"
      : `Of the accompaniment's onsets in the last ${RATED_SECONDS} s, ${percent(share)} are within ` +
        `${1000 * TOLERANCE_SECONDS} ms of one in the mix; random ones would be ${percent(chance)}.`;
  }
}
