// The page's end of the line to the server; the line itself is in a thread of its own (network.js).

export class Line {
  // hears: told(message) of the server's messages, closed(code).
  constructor(address, hears) {
    this.hears = hears;
    this.worker = new Worker("network.js", { type: "module" });
    this.worker.onmessage = ({ data }) => this.told(data);
    this.worker.onerror = () => this.fail("This browser is too old for this page.");
    this.begun = new Promise((resolve, reject) => Object.assign(this, { resolve, reject }));
    this.worker.postMessage({ connect: address });
  }

  // Ask for a session; resolves when the model is ready to play.
  begin(instruments, seed) {
    this.beginning = { kind: "begin", instruments, seed };
    return this.begun;
  }

  // A port for blocks and answers, to be handed to the sound.
  audioPort() {
    const { port1, port2 } = new MessageChannel();
    this.worker.postMessage({ audio: port1 }, [port1]);
    return port2;
  }

  send(message) {
    this.worker.postMessage({ send: message });
  }

  // Send a recording piece by piece, and then ask for it to be made ready.
  record(slot, samples) {
    this.worker.postMessage({ record: { slot, samples } }, [samples.buffer]);
  }

  close() {
    this.worker.postMessage({ close: true });
    setTimeout(() => this.worker.terminate(), 500);
  }

  told(message) {
    if (message.kind === "welcome") this.send(this.beginning);
    else if (message.kind === "begun") this.resolve(message);
    else if (message.kind === "problem") this.fail(message.sentence, message);
    else if (message.kind === "closed") this.fail("The line to the server broke.", message);
    else this.hears.told(message);
  }

  // Before the model is ready, any problem is the end.
  fail(sentence, message) {
    this.reject(new Error(sentence));
    if (message?.kind === "closed") this.hears.closed(message.code);
    else if (message) this.hears.told(message);
  }
}
