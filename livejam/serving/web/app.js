// The page: what can be chosen, what is shown, and what happens when a button is pressed.

import {
  aheadSamples, beginJam, leastSamples, makeContext, microphoneRefusal, openMicrophone, openSong, samplesOf, secure,
} from "./audio.js";
import { Anticipating } from "./anticipating.js";
import { Beats } from "./beats.js";
import { Guiding } from "./guiding.js";
import { Leading } from "./leading.js";
import * as home from "./home.js";
import { Likeness } from "./likeness.js";
import { Mixer } from "./mixer.js";
import { Sketching } from "./sketching.js";
import { LONGEST_SECONDS, Take } from "./take.js";
import { Words } from "./words.js";

const $ = (id) => document.getElementById(id);
const ms = (seconds) => `${Math.round(1000 * seconds)} ms`;
const FIRST_CHOICE = "Percussive";
const names = { Percussive: "Drums" };
export const title = (instrument) => names[instrument] ?? instrument;

let facts = null; // of the model
let jam = null; // what plays now
let take = null;

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function say(sentence, problem = false) {
  $("status").textContent = sentence;
  $("status").classList.toggle("problem", problem);
}

// What can be chosen

async function arrive() {
  try {
    const found = await home.arrive();
    facts = found.facts;
    showSongs(found.songs);
    showInstruments(facts);
    showMicrophone();
    const insecure = secure ? "" : " This page came over http: demo songs and files work, the microphone needs https.";
    $("foot").textContent = home.foot(facts) + insecure;
    $("start").disabled = false;
    say("Ready. Press Start, and listen.");
  } catch (error) {
    say(error.message, true);
  }
}

function showSongs(songs) {
  const choices = songs.map(({ title: song, instruments }, number) =>
    element("label", { className: "choice" },
      element("input", { type: "radio", name: "source", value: `song ${number}`, checked: number === 0 }),
      element("span", {}, song, element("small", { textContent: instruments.map(title).join(", ") }))));
  $("songs").replaceChildren(...choices);
  if (!songs.length) document.querySelector("[value=file]").checked = true;
}

function showInstruments({ instruments, most_rows }) {
  const first = instruments.includes(FIRST_CHOICE) ? FIRST_CHOICE : instruments[0];
  $("instruments").replaceChildren(...instruments.map((name) =>
    element("label", { className: "chip" },
      element("input", { type: "checkbox", name: "instrument", value: name, checked: name === first }),
      ` ${title(name)}`)));
  $("instruments").onchange = () => {
    const chosen = chosenInstruments().length;
    for (const box of document.querySelectorAll("[name=instrument]")) box.disabled = !box.checked && chosen >= most_rows;
    $("start").disabled = chosen === 0;
    say(chosen ? "Ready." : "Choose at least one instrument.");
  };
}

function showMicrophone() {
  const refusal = microphoneRefusal(home.words.microphone);
  if (!refusal) return;
  document.querySelector("[value=microphone]").disabled = true;
  $("microphone-words").textContent = refusal;
}

const chosenInstruments = () => [...document.querySelectorAll("[name=instrument]:checked")].map((box) => box.value);
const chosenSource = () => document.querySelector("[name=source]:checked")?.value ?? "file";

// Start and stop

$("setup").onsubmit = (event) => {
  event.preventDefault();
  if (jam) stop("Stopped.");
  else start().catch((error) => stop(explained(error), true));
};

function explained(error) {
  if (error.name === "NotAllowedError") return "The browser does not let this page use the microphone. Allow it in the address bar.";
  if (error.name === "NotFoundError") return "There is no microphone. Plug one in, or play a song.";
  if (error.name === "EncodingError") return "The browser cannot read this file. Choose a WAV, FLAC, MP3 or M4A.";
  if (error.name === "NotSupportedError") return home.words.rate;
  return error.message || String(error);
}

async function start() {
  const [source, instruments] = [chosenSource(), chosenInstruments()];
  jam = { instruments };
  show("starting");
  say("Getting the sound ready…");
  const opened = await openAtSomeRate(source, instruments);
  const { context } = jam;
  jam.source = opened;
  jam.line = home.connect({ told, closed });
  const begun = await jam.line.begin(instruments, Math.floor(Math.random() * 2 ** 31), context.sampleRate);
  const ahead = aheadSamples(context, opened);
  const options = {
    rate: context.sampleRate,
    rows: instruments.length,
    first: begun.first_step_samples,
    step: begun.step_samples,
    ahead,
    least: leastSamples(context, opened, ahead, begun.late_samples),
    room: opened.room,
  };
  jam.ahead = ahead;
  jam.least = options.least;
  jam.frameSeconds = begun.block_samples / context.sampleRate;
  showAnticipation(begun);
  jam.beats = new Beats($("beats"), $("beats-words"), context.sampleRate);
  jam.sound = await beginJam(context, opened, options, jam.line.audioPort(), report);
  jam.mixer = new Mixer($("mixer"), facts.instruments, begun.instruments, title, opened.room, {
    control: (message) => jam?.line.send(message),
    mixGain: (gain) => jam?.sound.setMixGain(gain),
  });
  const send = (message) => jam?.line.send(message);
  const avoids = facts.negative_prompts ?? Boolean(facts.guidance);
  jam.words = new Words($, facts.prompts === true, avoids, begun.instruments.map(title), send);
  jam.guiding = new Guiding($, facts.guidance, facts.guidance_rescale, send);
  const read = (bytes) => samplesOf(context, bytes);
  jam.likeness = new Likeness($, facts.references === true, context.sampleRate, read, jam.line);
  jam.sketching = new Sketching($, facts.sketches === true, send, (name) => jam?.leading.release(name));
  jam.leading = new Leading($, facts.sketches === true, microphoneRefusal(home.words.microphone), opened.room, {
    send,
    open: () => jam?.sound.openVoice(),
    tell: (message) => jam?.sound.tell(message),
    say: (error) => say(explained(error), true),
    led: (name) => jam?.sketching.free(name),
  });
  await context.resume();
  const playing = jam;
  opened.ended.then(() => jam === playing && stop("That was the end of it."));
  show("playing");
  say(opened.room ? "Play! The model listens and joins in." : "The model hears the song and joins in.");
}

// The model's rate is best. Where a browser listens at its own rate only, a model that hears any rate hears that.
async function openAtSomeRate(source, instruments) {
  try {
    jam.context = makeContext(facts.sample_rate_hz); // at once: browsers allow sound only after a press
    return await open(jam.context, source, instruments);
  } catch (error) {
    if (error.name !== "NotSupportedError" || !home.anyRate) throw error;
    jam.context?.close();
    jam.context = makeContext(undefined);
    return open(jam.context, source, instruments);
  }
}

async function open(context, source, instruments) {
  if (source === "microphone") return openMicrophone(context);
  if (source === "file") {
    const [file] = $("file").files;
    if (!file) throw new Error("Choose a file first.");
    return openSong(context, [await file.arrayBuffer()], $("repeat").checked);
  }
  return openSong(context, await home.song(Number(source.split(" ")[1]), instruments), $("repeat").checked);
}

function stop(sentence, problem = false) {
  const ended = jam;
  jam = null;
  if (ended) {
    endTake();
    ended.sound ? ended.sound.end() : ended.source?.stop?.();
    ended.line?.close();
    ended.context?.close();
  }
  show("idle");
  say(sentence, problem);
}

function show(state) {
  document.body.dataset.state = state;
  const playing = state === "playing";
  $("start").textContent = state === "idle" ? "Start" : "Stop";
  for (const id of ["undo", "record"]) $(id).disabled = !playing;
  for (const id of ["sources", "band"]) $(id).disabled = state !== "idle";
}

// What the model says

function told(message) {
  if (message.kind === "meters") showMeters(message);
  else if (message.kind === "done" && message.of === "undo") say(`The model forgot the last ${message.seconds.toFixed(1)} s.`);
  else if (message.kind === "done" && message.of === "anticipation") showAhead();
  else if (message.kind === "done" && message.of === "recording") jam?.likeness.done();
  else if (message.kind === "done" && ["guidance", "guidance_rescale"].includes(message.of)) jam?.guiding.answered(true);
  else if (message.kind === "problem" && message.ended) stop(message.sentence, true);
  else if (message.kind === "problem" && message.sentence.startsWith("recording: ")) jam?.likeness.done(message.sentence.slice(11));
  else if (message.kind === "problem") {
    if (message.sentence.startsWith("leading: ")) jam?.leading.stop();
    if (/^guidance(_rescale)?: /.test(message.sentence)) jam?.guiding.answered(false);
    say(message.sentence, true);
  }
}

function closed(code) {
  if (jam) stop(code === 1006 ? "The line to the server broke. Start again." : home.words.lost, true);
}

function showMeters(meters) {
  $("answer").textContent = `${meters.latency_p50_ms.toFixed(0)}, ${meters.latency_max_ms.toFixed(0)} ms`;
  $("musicians").textContent = home.meter(meters, facts);
  if (meters.problem) say(meters.problem, true);
}

// How far ahead the model plays, if it learnt to choose

function showAnticipation({ anticipation, least_anticipation: least, most_anticipation: most }) {
  $("ahead").hidden = !(most > least);
  if (!(most > least)) return;
  Object.assign($("ahead-range"), { min: least, max: most, value: anticipation });
  jam.anticipating = new Anticipating(anticipation, least, most, jam.frameSeconds);
  showAhead();
}

function showAhead() {
  if (!jam?.anticipating) return;
  const { frames } = jam.anticipating;
  $("ahead-range").value = frames;
  $("ahead-frames").textContent = `${frames} ${frames === 1 ? "frame" : "frames"} (${ms(frames * jam.frameSeconds)})`;
}

const askAhead = () => jam?.line.send({ kind: "anticipation", frames: jam.anticipating.frames });

$("ahead-range").oninput = () => {
  if (!jam?.anticipating) return;
  $("ahead-auto").checked = false;
  jam.anticipating.frames = Number($("ahead-range").value);
  showAhead();
};
$("ahead-range").onchange = askAhead;

// A song waits for its accompaniment, so answers may come as late as that.
function anticipate({ slack, position }) {
  const { sampleRate } = jam.context;
  if (!jam.anticipating || !$("ahead-auto").checked) return;
  if (jam.anticipating.change(slack + jam.least / sampleRate, position / sampleRate)) askAhead();
}

// What the sound says, about twenty times a second

function report(heard) {
  if (!jam) return;
  jam.beats.hear(heard);
  anticipate(heard);
  const { sampleRate } = jam.context;
  $("late").textContent = ms(heard.delay / sampleRate);
  $("late-words").textContent = jam.source.room
    ? "how late the accompaniment sounds; 0 is in time"
    : "of song and accompaniment together, so they fit";
  $("buffer").textContent = Number.isFinite(heard.slack) ? ms(heard.slack + heard.delay / sampleRate) : "–";
  $("gaps").textContent = String(heard.gaps);
  $("gaps-words").textContent = `${ms(heard.missed / sampleRate)} of the accompaniment in all`;
  $("level").value = heard.peak;
  if (heard.take && take) keep(heard.take);
}

$("undo-range").oninput = () => ($("undo-seconds").textContent = $("undo-range").value);
$("undo").onclick = () => jam?.line.send({ kind: "undo", seconds: Number($("undo-range").value) });

// The take

$("record").onclick = () => {
  if (take) {
    endTake();
    return;
  }
  take = new Take(jam.context.sampleRate, jam.instruments.map(title), jam.ahead);
  jam.sound.tell({ record: true });
  $("files").replaceChildren();
  $("record").setAttribute("aria-pressed", "true");
  $("record").textContent = "Stop recording";
};

function keep(piece) {
  take.add(piece);
  $("take-words").textContent = `${take.seconds.toFixed(0)} s recorded`;
  if (take.seconds >= LONGEST_SECONDS) endTake();
}

function endTake() {
  if (!take) return;
  jam?.sound.tell({ record: false });
  const files = take.seconds ? take.files() : [];
  $("take-words").textContent = `A take of ${take.seconds.toFixed(1)} s. It is only in this page: save what you want to keep.`;
  $("files").replaceChildren(...files.map(({ name, words, blob }) => {
    const address = URL.createObjectURL(blob);
    return element("li", {},
      element("a", { href: address, download: name, textContent: `Save ${name}`, title: words }),
      element("audio", { controls: true, src: address, preload: "metadata", ariaLabel: words }));
  }));
  take = null;
  $("record").setAttribute("aria-pressed", "false");
  $("record").textContent = "Record";
}

show("idle");
arrive();
