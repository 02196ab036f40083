"""What a checkpoint learnt to play: as it says itself, or as its configuration tells."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livejam.batch import NAMES, NULL_CATEGORY, named
from livejam.checkpoints.facts import learnt_instruments
from livejam.errors import UserError
from livejam.instruments import default_instrument, instrument_index, require_learnt


def old_checkpoint(data: dict[str, Any], **model: Any) -> dict[str, Any]:
    return {"livejam": {}, "config": {"data": {"init_args": data}, "model": {"init_args": model}}}


@pytest.mark.parametrize(
    ("checkpoint", "learnt"),
    [
        ({"livejam": {"instruments": ["Percussive", "Any", "Piano"]}}, ("Piano", "Percussive", "Any")),
        ({"livejam": {"instruments": ["Theremin", 3]}}, ()),
        ({"livejam": {}}, ()),
        (old_checkpoint({"root": "data"}), ()),
        (old_checkpoint({"targets": ["Percussive", "Piano"]}, generator_class_dropout=0.0), ("Piano", "Percussive")),
        (old_checkpoint({"targets": ["Bass"]}, generator_class_dropout=0.1), ("Bass", "Any")),
        (old_checkpoint({"targets": ["Bass"]}, prompt_dropout=0.1), ("Bass", "Any")),
        (old_checkpoint({"targets": None}), tuple(name for name in NAMES[:-1] if name not in ("Vocal", "Unknown"))),
    ],
)
def test_a_checkpoint_tells_what_it_learnt(checkpoint: dict[str, Any], learnt: tuple[str, ...]) -> None:
    assert learnt_instruments(checkpoint) == learnt


@given(st.sets(st.sampled_from(range(len(NAMES))), min_size=1), st.sampled_from(range(len(NAMES))))
def test_only_what_was_learnt_may_be_asked_for(learnt: set[int], asked: int) -> None:
    assert default_instrument(named(learnt)) in learnt
    if asked in learnt:
        require_learnt(asked, named(learnt))
    else:
        with pytest.raises(UserError, match=f"never learnt to play {NAMES[asked]}; it learnt"):
            require_learnt(asked, named(learnt))
    require_learnt(asked, ())


def test_a_model_that_learnt_to_choose_chooses() -> None:
    assert default_instrument(("Piano", "Any")) == default_instrument(()) == NULL_CATEGORY
    assert [instrument_index(name) for name in ("drums", "ANY", "Synth Lead")] == [14, NULL_CATEGORY, 10]
