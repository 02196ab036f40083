"""Words with weights: what is a mix, what is one prompt, and what is refused."""

from __future__ import annotations

import contextlib
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livejam.errors import UserError
from livejam.networks.conditioning import Words, read_words, weighted


@pytest.mark.parametrize(
    "text",
    [
        "piano", "warm, slow piano", "Genre: rock, BPM: 120", "piano:", "", "a:b", "Instruments: piano | BPM: 90",
        "BPM:120", "Genre:rock, BPM:120", "slow piano, BPM:60, calm",
    ],
)  # fmt: skip
def test_a_text_without_weights_is_one_prompt(text: str) -> None:
    assert read_words(text) == Words(((text, 1.0),))
    assert str(read_words(text)) == text


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("jazz piano:0.7, strings:0.3", {"jazz piano": 0.7, "strings": 0.3}),
        ("piano:2,bass:6", {"piano": 0.25, "bass": 0.75}),
        ("piano:.5", {"piano": 1.0}),
        ("piano:1, bass:0", {"piano": 1.0}),
    ],
)
def test_weights_become_shares(text: str, parts: dict[str, float]) -> None:
    assert dict(read_words(text).parts) == pytest.approx(parts)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("piano:1, bass", "'bass' has no weight"),
        ("piano:1, piano:2", "has two weights"),
        ("piano:0, bass:0", "all weights"),
        ("piano:70, strings:30", "from 0 to 10, or stand after a space"),
        ("piano:0.5, BPM:120", "the weight of 'BPM' is 120"),
        ("piano:-1, bass:1", "from 0 to 10"),
        ("piano:1e999, bass:1", "from 0 to 10"),
        ("piano:1.2.3, bass:1", "no number"),
        (",".join(f"w{i}:1" for i in range(9)), "use 1 to 8"),
        ("x" * 1001, "at most 1000"),
    ],
)
def test_a_mix_that_makes_no_sense_is_one_sentence(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said) as caught:
        read_words(text)
    assert "\n" not in str(caught.value)


@given(
    st.dictionaries(
        st.text("abc xyz", min_size=1).map(str.strip).filter(bool), st.floats(0.01, 10), min_size=1, max_size=8
    )
)
def test_a_mix_is_what_its_text_says(weights: dict[str, float]) -> None:
    words = weighted(weights)
    assert math.isclose(sum(share for _, share in words.parts), 1)
    again = read_words(", ".join(f"{text}:{weight!r}" for text, weight in weights.items()))
    assert dict(again.parts) == pytest.approx(dict(words.parts))


@given(st.text(max_size=60))
def test_any_text_is_words_or_refused(text: str) -> None:
    with contextlib.suppress(UserError):
        assert read_words(text).parts
