"""The page of a listening test: one HTML file without network, framework or server."""

from __future__ import annotations

import json
from typing import Any


def page(test: dict[str, Any]) -> str:
    """The page for a test.

    Args:
        test: `id` and `seed` of the test; `parts`, each with `name`, `title`, `task`, `questions` (each with `name`,
            `text`, `low`, `high`) and `items` (each with `name` and `clips`, each with `condition` and `file`).
    """
    # "<" could end the script early
    return PAGE.replace("__TEST__", json.dumps(test).replace("<", "\\u003c"))


PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Listening test</title>
<style>
:root { color-scheme: light dark; --line: #8884; --accent: #0a7d66; --soft: #8881; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.4rem; margin: 0 0 .25rem; }
p { margin: .4rem 0; }
progress { width: 100%; height: .5rem; accent-color: var(--accent); }
.clip { border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem; margin: .8rem 0; }
.clip.playing { border-color: var(--accent); background: var(--soft); }
.head { display: flex; gap: 1rem; align-items: center; }
.head b { font-size: 1.2rem; min-width: 1.5rem; }
audio { width: 100%; height: 2.5rem; }
fieldset { border: 0; margin: .6rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem .6rem;
  align-items: center; }
legend { float: left; min-width: 20.5rem; padding: 0; }
fieldset small { opacity: .7; }
legend + small { min-width: 4rem; text-align: right; }
fieldset label { border: 1px solid var(--line); border-radius: .4rem; padding: .15rem .55rem; cursor: pointer; }
fieldset label:has(:checked) { background: var(--accent); color: #fff; border-color: var(--accent); }
fieldset:disabled { opacity: .45; }
input[type=radio] { margin: 0 .3rem 0 0; accent-color: #fff; }
input[type=text] { font: inherit; padding: .3rem .5rem; }
button { font: inherit; padding: .5rem 1.4rem; border: 0; border-radius: .5rem; background: var(--accent); color: #fff;
  cursor: pointer; }
button:disabled { opacity: .4; cursor: default; }
.foot { display: flex; gap: 1rem; align-items: center; margin-top: 1rem; }
</style>
</head>
<body>
<main id="main"></main>
<script id="test" type="application/json">__TEST__</script>
<script>
"use strict";
const test = JSON.parse(document.getElementById("test").textContent);
const main = document.getElementById("main");
const columns = ["test", "participant", "part", "item", "condition", "question", "rating", "position"];

// A number in [0, 1) per call, the same ones for the same text (xmur3 and mulberry32).
function dice(text) {
  let h = 1779033703 ^ text.length;
  for (let i = 0; i < text.length; i++) {
    h = Math.imul(h ^ text.charCodeAt(i), 3432918353);
    h = (h << 13) | (h >>> 19);
  }
  return () => {
    h = (h + 0x6D2B79F5) | 0;
    let t = Math.imul(h ^ (h >>> 15), 1 | h);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

function shuffled(list, random) {
  const result = [...list];
  for (let i = result.length - 1; i > 0; i--) {
    const j = Math.floor(random() * (i + 1));
    [result[i], result[j]] = [result[j], result[i]];
  }
  return result;
}

// Seed and name decide the order of items and clips for every participant.
function orderFor(participant) {
  return test.parts.flatMap(part => {
    const random = dice(test.seed + "/" + participant + "/" + part.name);
    return shuffled(part.items, random).map(item => ({ part, item, clips: shuffled(item.clips, random) }));
  });
}

let participant = "", order = [], answers = [];
const memory = () => "livejam " + test.id + " " + participant;
// A private window stores nothing, which is fine.
function remember() {
  try { localStorage.setItem(memory(), JSON.stringify(answers)); } catch (error) { return; }
}
function recall() {
  try { return JSON.parse(localStorage.getItem(memory())) || []; } catch (error) { return []; }
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function welcome() {
  const name = element("input", { type: "text", id: "participant", required: true, autocomplete: "off" });
  const form = element("form", {},
    element("h1", { textContent: "Listening test" }),
    element("p", { textContent: "Two parts of " + test.parts.map(p => p.items.length).join(" and ") +
      " pages. Please wear headphones, sit somewhere quiet, and keep the volume as it is once it is comfortable. " +
      "You can play every clip as often as you like, and continue later on the same computer." }),
    element("p", {}, element("label", { htmlFor: "participant", textContent: "Your name or number: " }), name),
    element("button", { id: "start", textContent: "Start" }));
  form.onsubmit = event => {
    event.preventDefault();
    participant = name.value.trim();
    if (!participant) return;
    order = orderFor(participant);
    answers = recall();
    show();
  };
  main.replaceChildren(form);
  name.focus();
}

function question(asked, clip, letter, rated) {
  const group = letter + "-" + asked.name;
  const fields = element("fieldset", { disabled: true }, element("legend", { textContent: asked.text }),
    element("small", { textContent: asked.low }));
  for (let value = 1; value <= 5; value++) {
    const radio = element("input", { type: "radio", name: group, value: String(value) });
    radio.onchange = () => rated(asked.name, value);
    fields.append(element("label", {}, radio, String(value)));
  }
  fields.append(element("small", { textContent: asked.high }));
  return fields;
}

function show() {
  const pages = order.length, done = answers.length;
  if (done >= pages) { finish(); return; }
  const { part, item, clips } = order[done];
  const ratings = clips.map(() => ({}));
  const next = element("button", { id: "next", textContent: done + 1 < pages ? "Next" : "Finish", disabled: true });
  const cards = clips.map((clip, position) => {
    const letter = String.fromCharCode(65 + position);
    const sound = element("audio", { controls: true, preload: "auto", src: clip.file });
    const rows = part.questions.map(asked => question(asked, clip, letter, (name, value) => {
      ratings[position][name] = value;
      next.disabled = ratings.some(given => part.questions.some(q => !(q.name in given)));
    }));
    const card = element("section", { className: "clip" },
      element("div", { className: "head" }, element("b", { textContent: letter }), sound), ...rows);
    sound.onplay = () => {
      document.querySelectorAll("audio").forEach(other => { if (other !== sound) other.pause(); });
      card.classList.add("playing");
      rows.forEach(row => { row.disabled = false; });
    };
    sound.onpause = () => card.classList.remove("playing");
    return card;
  });
  next.onclick = () => {
    answers.push(clips.flatMap((clip, position) => part.questions.map(asked => [test.id, participant, part.name,
      item.name, clip.condition, asked.name, ratings[position][asked.name], position + 1])));
    remember();
    show();
  };
  main.replaceChildren(
    element("h1", { textContent: part.title }),
    element("p", { textContent: part.task }),
    element("progress", { max: pages, value: done }),
    ...cards,
    element("div", { className: "foot" }, next,
      element("small", { textContent: "Page " + (done + 1) + " of " + pages + ". Play a clip to rate it." })));
  scrollTo(0, 0);
}

function csv() {
  const quoted = value => '"' + String(value).replaceAll('"', '""') + '"';
  return [columns, ...answers.flat()].map(line => line.map(quoted).join(",") + "\\n").join("");
}

function finish() {
  const file = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
  const name = "answers-" + participant.replace(/[^\\w-]/g, "_") + ".csv";
  main.replaceChildren(
    element("h1", { textContent: "Thank you!" }),
    element("p", { textContent: "Please save your answers and send them to the person who gave you this test." }),
    element("p", {}, element("a", { id: "download", href: file, download: name },
      element("button", { textContent: "Save " + name }))));
}

welcome();
</script>
</body>
</html>
"""
