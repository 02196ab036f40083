"""What a table was measured on. Rows stand in one table only if they were measured alike.

On disk it is the entry `measured_on` beside the rows, plain data:

- `data`: `root`, number of `songs`, `sha256` of what their files hold, and the `protocol` by which items were drawn;
- `codec`: `name`, and `sha256` of its weights and settings;
- `measures`: per chart the `method` (embedding, tracker or weights with their settings), `segment_seconds`, of the
  `items` their number and `sha256`, and the `protocol`;
- `models`: per row the `recipe`, its `iteration`, the `checkpoint` with its `sha256`, and the `config`, a hash of the
  settings of the model.

What is not known is null.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from typing import Any

MEASURED_ON = "measured_on"
PARTS = ("data", "codec", "measures", "models")

Facts = dict[str, Any]


def short_hash(value: object) -> str:
    """Twelve digits that name plain data."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:12]


def are_facts(value: object) -> bool:
    """Whether something read from a file has the form of this module."""
    if not isinstance(value, dict) or not all(isinstance(value.get(part), dict) for part in PARTS):
        return False
    return all(isinstance(entry, dict) for part in ("measures", "models") for entry in value[part].values())


def differences(here: Facts, there: Facts) -> list[str]:
    """In what two measurements differ, one sentence each; nothing if their rows compare.

    A measure that only one of them has, and the models themselves, may differ.
    """
    found = []
    for part, name in (("data", "root"), ("codec", "name")):
        one, other = here[part], there[part]
        if None not in (one.get("sha256"), other.get("sha256")) and one["sha256"] != other["sha256"]:
            found.append(f"{part} {_named(other, name)} instead of {_named(one, name)}")
    measures: dict[str, list[str]] = {}
    for name in sorted(here["measures"].keys() & there["measures"].keys()):
        if changed := _changes(here["measures"][name], there["measures"][name]):
            measures.setdefault(changed, []).append(name)
    return found + [f"{', '.join(names)}: {changed}" for changed, names in measures.items()]


def _changes(one: Facts, other: Facts) -> str:
    """In what a measure differs; empty if it does not."""
    keys = [key for key in ("method", "segment_seconds", "items") if one.get(key) != other.get(key)]
    changes = [f"{key} {other.get(key)} instead of {one.get(key)}" for key in keys]
    if "items" not in keys and one.get("sha256") != other.get("sha256"):
        changes.append("other items")
    return ", ".join(changes)


def joined(here: Facts, there: Facts, rows: Collection[str]) -> Facts:
    """Of a table that holds rows of two measurements that do not differ.

    Args:
        here: the newer one; it wins.
        there: the older one.
        rows: names of the rows that are in the table.
    """
    models = {**there["models"], **here["models"]}
    return {
        "data": here["data"],
        "codec": here["codec"],
        "measures": {**there["measures"], **here["measures"]},
        "models": {row: facts for row, facts in models.items() if row in rows},
    }


def notes_of(facts: Facts | None) -> list[str]:
    """For people: a line about the data, one per measure, one per model."""
    if facts is None:
        return ["measured on what is not said"]
    items = f"measured on {_named(facts['data'], 'root')}, codec {_named(facts['codec'], 'name')}"
    measures = (_measure(name, measure) for name, measure in sorted(facts["measures"].items()))
    return [items, *measures, *(_model(row, model) for row, model in facts["models"].items())]


def _measure(name: str, measure: Facts) -> str:
    items, length = f"{measure.get('items')} items ({measure.get('sha256')})", measure.get("segment_seconds")
    return f"{name}: {items}, segments of {length} s, {measure.get('method')}"


def _model(row: str, model: Facts) -> str:
    path = model.get("checkpoint")
    weights = f"{path} ({model.get('sha256')})" if path else "no checkpoint"
    return (
        f"{row}: {model.get('recipe')} at iteration {model.get('iteration')}, {weights}, config {model.get('config')}"
    )


def _named(part: Facts, name: str) -> str:
    return f"{part.get(name)} ({part.get('sha256') or 'unknown'})"
