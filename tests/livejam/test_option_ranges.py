"""Every number that a YAML can set has a range, and a number outside is refused with its place."""

from __future__ import annotations

import importlib
import inspect
import math
from collections.abc import Iterator

import pytest
import yaml
from commands import REPOSITORY
from hypothesis import given
from hypothesis import strategies as st

from livejam.errors import UserError
from livejam.option_ranges import PACKAGES, RANGES, Range, require_ranges

MODULES = [
    "livejam.networks",
    "livejam.systems.context",
    "livejam.sampling",
    "livejam.sketch.training",
    "livejam.codecs",
    "lightning_modules",
    "lightning_modules.cocola_training",
    "lightning_modules.codec_adversary",
    "lightning_modules.codec_training",
    "datamodules",
    "callbacks",
    "metrics.cocola",
    "metrics.embeddings",
]
"""Where a YAML finds its classes."""

STATES = {"AccompanimentBatch", "Annotations", "BeatKeys", "TransformerCache"}
"""Data, which no YAML writes."""


def classes() -> Iterator[type]:
    for name in MODULES:
        for found in vars(importlib.import_module(name)).values():
            if (
                inspect.isclass(found)
                and not issubclass(found, Exception)
                and f"{found.__module__}.".startswith(PACKAGES)
            ):
                yield found


def numbers_of(kind: type) -> list[str]:
    parameters = inspect.signature(kind).parameters.values() if kind.__init__ is not object.__init__ else []
    return [p.name for p in parameters if any(word in str(p.annotation) for word in ("int", "float"))]


@pytest.mark.parametrize("kind", sorted(set(classes()), key=lambda kind: kind.__name__), ids=lambda kind: kind.__name__)
def test_every_number_has_a_range(kind: type) -> None:
    assert kind.__name__ in STATES or not [name for name in numbers_of(kind) if name not in RANGES]


def test_defaults_and_shipped_configs_are_in_range() -> None:
    for path in [*REPOSITORY.glob("configs/**/*.yaml"), *REPOSITORY.glob("tests/tiny/*.yaml")]:
        require_ranges(yaml.safe_load(path.read_text()))
    for kind in classes():
        defaults = {n: inspect.signature(kind).parameters[n].default for n in numbers_of(kind)}
        known = {n: value for n, value in defaults.items() if value is not inspect.Parameter.empty}
        require_ranges({"class_path": f"{kind.__module__}.{kind.__name__}", "init_args": known})


@given(st.sampled_from(sorted(RANGES)), st.floats(allow_nan=True, allow_infinity=True))
def test_a_number_is_taken_or_refused_with_its_place(name: str, number: float) -> None:
    config = {"model": {"class_path": "lightning_modules.R3GAN", "init_args": {name: [number]}}}
    if number in RANGES[name]:
        require_ranges(config)
    else:
        with pytest.raises(UserError, match=rf"^model\.{name} is .*it must be {RANGES[name]}$"):
            require_ranges(config)


def test_a_strangers_numbers_are_their_own_business() -> None:
    require_ranges({"model": {"class_path": "someone.Else", "init_args": {"width": -1}}, "width": -1})


def test_ends() -> None:
    assert 1 in Range(0, 1)
    assert 1 not in Range(0, 1, open_high=True)
    assert 0 not in Range(0, open_low=True)
    assert math.inf not in Range(0)
    assert math.nan not in Range()
