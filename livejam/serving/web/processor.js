// A Jam in the browser's audio thread.

import { Jam, tell } from "./jam.js";

class JamProcessor extends AudioWorkletProcessor {
  constructor({ processorOptions }) {
    super();
    this.over = false;
    this.silence = new Float32Array(128);
    this.port.onmessage = ({ data }) => this.told(data, processorOptions);
  }

  // First of all comes the line's port; blocks and answers travel through it, beside the page.
  told(data, options) {
    if (data.line) {
      const send = (position, samples) => data.line.postMessage({ position, samples }, [samples.buffer]);
      const lead = (position, samples) => data.line.postMessage({ position, samples, leading: true }, [samples.buffer]);
      this.jam = new Jam(options, send, lead, (facts) => this.port.postMessage(facts));
      data.line.onmessage = (event) => tell(this.jam, event.data);
    } else if (data.end) {
      this.over = true;
    } else {
      tell(this.jam, data);
    }
  }

  process([input, voice], [mix, played]) {
    if (this.jam) this.jam.process(input[0] ?? this.silence, mix[0], played[0], voice[0]);
    return !this.over;
  }
}

registerProcessor("jam", JamProcessor);
