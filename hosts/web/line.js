// The page's end of the line to the model. On a served page the model is a server; here it is a worker of this browser.

const worker = new Worker("worker.js", { type: "module" });
let line = null;
let loaded = null;

// The signature, once the model can play, and what `runs` it: wasm or webgpu. Rejects with one sentence.
export function load() {
  loaded ??= new Promise((resolve, reject) => {
    worker.onerror = (event) => {
      event.preventDefault();
      reject(new Error("The model does not start: this browser is too old, or a file of this page is missing."));
    };
    worker.onmessage = ({ data }) => {
      if (data.kind === "loaded") resolve({ ...data.signature, runs: data.runs });
      else if (data.kind === "unloaded") reject(new Error(data.sentence));
      else line?.told(data);
    };
    worker.postMessage({ load: true });
  });
  return loaded;
}

export class Line {
  // hears: told(message) of the model's messages.
  constructor(hears) {
    this.hears = hears;
    this.begun = new Promise((resolve) => (this.resolve = resolve));
    line = this;
  }

  // Ask for a session; resolves when the model is ready to play. rate: of the sound, in Hz.
  begin(instruments, seed, rate) {
    worker.postMessage({ begin: { instruments, seed, rate } });
    return this.begun;
  }

  // A port for blocks and answers, to be handed to the sound.
  audioPort() {
    const { port1, port2 } = new MessageChannel();
    worker.postMessage({ audio: port1 }, [port1]);
    return port2;
  }

  send(message) {
    worker.postMessage({ send: message });
  }

  close() {
    worker.postMessage({ close: true });
    if (line === this) line = null;
  }

  told(message) {
    if (message.kind === "begun") this.resolve(message);
    else this.hears.told(message);
  }
}
