// How far ahead a model should play that learnt several anticipations: as little as line and machine allow. The same as
// livejam/serving/anticipating.py.

import { MARGIN_SECONDS, SLACK_SECONDS } from "./playout.js";

const FIRST_SECONDS = 3; // before the first change
const PATIENCE_SECONDS = 11; // between two: a buffer remembers its latest answer for ten seconds

export class Anticipating {
  constructor(frames, least, most, frameSeconds) {
    Object.assign(this, { frames, least, most, frameSeconds });
    this.nextAt = FIRST_SECONDS;
  }

  // Whether another number of frames is chosen now. slack: seconds by which the latest of the recent answers came before
  // it was due; infinite: there is none.
  change(slack, now) {
    if (now < this.nextAt || !Number.isFinite(slack)) return false;
    const before = this.frames;
    const spare = slack - MARGIN_SECONDS;
    const frames = spare < 0
      ? before + Math.ceil(-spare / this.frameSeconds)
      : before - Math.floor(Math.max(0, spare - SLACK_SECONDS) / this.frameSeconds);
    this.frames = Math.min(Math.max(frames, this.least), this.most);
    if (this.frames !== before) this.nextAt = now + PATIENCE_SECONDS;
    return this.frames !== before;
  }
}
