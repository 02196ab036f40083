// A voice that leads the sketch: the microphone's sound says how loud, how bright and which note comes next.

const CONTROLS = ["loudness", "brightness", "pitch"];

export class Leading {
  // find: from an id to an element; followed: whether the model follows a sketch; refusal: why there is no microphone;
  // room: whether the musician plays to the microphone anyway; to: send(message) to the server, open() a promise of the
  // microphone, tell(message) to the Jam, say(error), led(name) of a control that the voice leads from now on.
  constructor(find, followed, refusal, room, to) {
    Object.assign(this, { find, to, opened: room, asked: 0 });
    find("lead").hidden = !followed;
    if (!followed) return;
    find("lead-refusal").textContent = refusal;
    for (const name of CONTROLS) {
      Object.assign(find(`lead-${name}`), { checked: false, disabled: Boolean(refusal), onchange: () => this.ask() });
    }
    Object.assign(find("lead-single"), { disabled: Boolean(refusal), onchange: () => this.ask() });
    Object.assign(find("lead-heard"), { checked: room, disabled: Boolean(refusal), onchange: () => this.hear() });
  }

  get controls() {
    return CONTROLS.filter((name) => this.find(`lead-${name}`).checked);
  }

  async ask() {
    try {
      if (this.controls.length && !this.opened) await this.to.open();
    } catch (error) {
      this.stop();
      this.to.say(error);
      return;
    }
    this.opened ||= this.controls.length > 0;
    this.controls.forEach((name) => this.to.led(name));
    this.hear();
    this.to.send(leading(this.controls, this.find("lead-single").checked));
  }

  // Somebody draws a control.
  release(name) {
    const box = this.find(`lead-${name}`);
    if (!box.checked) return;
    box.checked = false;
    this.ask();
  }

  hear() {
    this.to.tell({ leading: this.controls.length > 0, heard: this.find("lead-heard").checked });
  }

  // The server follows it no more.
  stop() {
    for (const name of CONTROLS) this.find(`lead-${name}`).checked = false;
    this.hear();
  }
}

// The message for what was chosen.
export function leading(controls, single) {
  return { kind: "leading", controls, single };
}
