"""The model card of a checkpoint: what it is, what made it, how well it plays, and under which licences.

Everything is taken from the checkpoint and its test; what they do not say is said not to be known.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Any

import yaml

import livejam.codecs
from livejam.checkpoints.weights import WEIGHTS
from livejam.codecs.causal_codec import CausalCodec
from livejam.codecs.pretrained import BUNDLED

NOT_KNOWN = "not known"
RENDERED = (
    "pocket-Slakh, {songs} songs of seed {seed}, unless the folder held others before: composed by rules and rendered "
    "with TimGM6mb.sf2, whose licence (GPL) does not cover recordings of what it plays"
)
RENDERED_WIDE = (
    "wide songs, {songs} of seed {seed}, unless the folder held others before: composed by rules and rendered with "
    "{fonts}. The licence of TimGM6mb.sf2 (GPL) does not cover recordings of what it plays; look up those of others"
)
NAMED = "not known; Slakh2100, whose format they have, is under CC BY 4.0"


def model_card(
    file: str,
    sha256: str,
    described: str,
    config: Mapping[str, Any],
    lineage: str,
    results: str | None,
    licence: str | None = None,
    songs: str | None = None,
) -> str:
    """A checkpoint's card, as Markdown.

    Args:
        file: name of the checkpoint's file.
        sha256: hexadecimal digest of the file.
        described: what `describe` says of it.
        config: the configuration that it carries; empty where it carries none.
        lineage: the trainings that led to it, in words.
        results: the table of its test, as Markdown; None where there is none.
        licence: licence of the weights, as their publisher states it; None = not stated.
        songs: what it learnt from and under which licences, as its publisher states it; None = what `config` says.
    """
    model, data = (config.get(part) or {} for part in ("model", "data"))
    play = f"livejam play --checkpoint {file} --mix song.wav --out played"
    numbers = results or "Not known: no test of this checkpoint was given. `lightning test` measures it.\n"
    sections = {
        "What it is": fenced(described, "text"),
        "How to play it": fenced(play, "bash"),
        "How well it plays": numbers,
        "Licences": _licence_table(licences(model, data, lineage, licence, songs)),
        "What it learnt from": fenced(_settings(data), "yaml"),
        "How it was trained": fenced(_settings(model), "yaml"),
    }
    made = f"SHA-256 `{sha256}`. Made by `livejam card` from what the checkpoint and its test hold.\n"
    parts = [f"# Model card: {file}\n", made]
    return "\n".join([*parts, *(f"## {title}\n\n{text}" for title, text in sections.items())])


def licences(
    model: Mapping[str, Any],
    data: Mapping[str, Any],
    lineage: str,
    licence: str | None = None,
    songs: str | None = None,
) -> dict[str, str]:
    """Part → licence, for everything that went into a model.

    Args:
        model: class path and arguments of the recipe.
        data: class path and arguments of the data module.
        lineage: the trainings that led to it, in words.
        licence: licence of the weights themselves; None = not stated.
        songs: what is said of the songs; None = what follows from `data`.
    """
    found = {"livejam, the code": "Apache License 2.0"}
    codec = (model.get("init_args") or {}).get("codec") or {}
    found[f"the codec, {_codec_name(codec)}"] = _codec_licence(codec)
    found |= {f"{name}, {w.purpose}": w.licence for name, w in _used_weights(model)}
    if "unknown recipe" in lineage:
        found["the weights that training began with"] = NOT_KNOWN
    found |= {"the songs": songs} if songs else _songs(data.get("init_args") or {})
    found["these weights"] = licence or (
        "not stated in the checkpoint; whoever publishes them chooses one that the rows above allow"
    )
    return found


def _songs(arguments: Mapping[str, Any]) -> dict[str, str]:
    folder, rendered = arguments.get("root"), arguments.get("render_if_missing")
    name = f"the songs in `{PurePath(str(folder)).name}`" if folder else "the songs"
    if rendered is None:
        return {name: NAMED}
    wide = rendered.get("wide")
    if wide is None:
        return {name: RENDERED.format(**rendered)}
    fonts = sorted({PurePath(str(font)).name for font in wide.get("soundfonts") or ()} | {"TimGM6mb.sf2"})
    return {name: RENDERED_WIDE.format(songs=rendered["songs"], seed=rendered["seed"], fonts=", ".join(fonts))}


def _codec_name(codec: Mapping[str, Any]) -> str:
    """Its class and its weights."""
    weights = (codec.get("init_args") or {}).get("weights")
    return f"{_class(codec)} with the weights {PurePath(str(weights)).name}" if weights else _class(codec)


def _codec_licence(codec: Mapping[str, Any]) -> str:
    """That of the weights, as their publisher states it; a codec in a file of somebody's own has none that is known."""
    arguments, name = codec.get("init_args") or {}, _class(codec)
    if name == "pretrained_codec" and (BUNDLED / f"{arguments.get('weights')}.safetensors").is_file():
        return CausalCodec.licence
    if name == "WindowedCodec":
        return _codec_licence(arguments.get("codec") or {})
    ours = str(codec.get("class_path", "")).startswith("livejam.codecs.") and name != "CausalCodec"
    return str(getattr(getattr(livejam.codecs, name, None), "licence", NOT_KNOWN)) if ours else NOT_KNOWN


def _class(described: Mapping[str, Any]) -> str:
    """The class of a class path; what a class method such as `from_weights` belongs to."""
    names = str(described.get("class_path", NOT_KNOWN)).split(".")
    return next((name for name in names if name[:1].isupper()), names[-1])


def _used_weights(settings: Any) -> Iterator[tuple[str, Any]]:
    """Published weights that the parts of a model name, with the class that reads them."""
    if isinstance(settings, Mapping):
        named = (settings.get("init_args") or {}).get("weights") if "class_path" in settings else None
        yield from ((_class(settings), weights) for weights in WEIGHTS if weights.name == named)
        for value in settings.values():
            yield from _used_weights(value)


def _settings(described: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(described), sort_keys=False, width=110).strip() if described else NOT_KNOWN


def _licence_table(found: Mapping[str, str]) -> str:
    rows = "\n".join(f"| {part} | {licence} |" for part, licence in found.items())
    return f"| part | licence |\n|---|---|\n{rows}\n"


def fenced(text: str, kind: str) -> str:
    """A block of code that nothing in the text can end."""
    longest = max(map(len, re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{kind}\n{text}\n{fence}\n"
