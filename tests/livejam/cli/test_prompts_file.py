"""Timelines of prompts as files from anybody: read strictly, or refused in one sentence."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from commands import REPOSITORY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from livejam.cli.prompts import MOST_BYTES, read_timeline
from livejam.errors import UserError
from livejam.networks.conditioning import read_words, weighted
from livejam.streaming import PromptChange

GOOD = """
- {seconds: 0, words: drums}
- seconds: 12.5
  words: jazz piano:0.7, strings:0.3
  eject_blocks: 3
- {seconds: 24, words: {jazz piano: 0.7, strings: 0.3}, fade_seconds: 4, row: 1}
- {seconds: 30, words: "warm, slow bass", fade_blocks: 2, reencode: false}
"""


def test_a_timeline(tmp_path: Path) -> None:
    path = tmp_path / "timeline.yaml"
    path.write_text(GOOD)
    mix = weighted({"jazz piano": 0.7, "strings": 0.3})
    assert read_timeline(path) == [
        PromptChange(0, read_words("drums")),
        PromptChange(12.5, mix, eject_blocks=3),
        PromptChange(24, mix, fade_seconds=4, row=1),
        PromptChange(30, read_words("warm, slow bass"), fade_blocks=2, reencode=False),
    ]


def test_the_shipped_example() -> None:
    assert [change.seconds for change in read_timeline(REPOSITORY / "docs/examples/prompts.yaml")] == [0, 12, 24, 36]


BAD = {
    "": "is no list of changes",
    "[]": "is no list of changes",
    "words: piano": "is no list of changes",
    "- piano": "'piano' is no change of the prompt",
    "- {words: piano}": "change 1: seconds is missing",
    "- {seconds: 1}": "change 1: words is missing",
    "- {seconds: soon, words: piano}": "seconds is 'soon'; it must be a number",
    "- {seconds: true, words: piano}": "seconds is 'True'",
    "- {seconds: .nan, words: piano}": "seconds is nan; it must be from 0",
    "- {seconds: -1, words: piano}": "seconds is -1",
    "- {seconds: 1e99, words: piano}": "seconds",
    "- {seconds: 1, words: 7}": "words is '7'; it must be a text",
    "- {seconds: 1, words: [piano]}": "it must be a text, or prompts with weights",
    "- {seconds: 1, words: {piano: loud}}": "'piano: loud' is no prompt with a weight",
    "- {seconds: 1, words: {1: 1}}": "is no prompt with a weight",
    "- {seconds: 1, words: {piano: .inf}}": "the weight of 'piano' is inf",
    "- {seconds: 1, words: {}}": "0 prompts cannot be mixed",
    "- {seconds: 1, words: piano, fade: 3}": "there is no 'fade'; there are seconds, words, fade_seconds",
    "- {seconds: 1, words: piano, fade_blocks: 1.5}": "fade_blocks is '1.5'; it must be a whole number",
    "- {seconds: 1, words: piano, eject_blocks: -1}": "eject_blocks is -1",
    "- {seconds: 1, words: piano, row: first}": "row is 'first'",
    "- {seconds: 1, words: piano, reencode: maybe}": "reencode is 'maybe'; it must be true or false",
    "- {seconds: 1, seconds: 2, words: piano}": "seconds is given twice",
    "- &a {seconds: 1, words: piano}\n- *a": "an alias repeats something",
    "- {seconds: 1": "line 1, is not valid YAML",
    "- {seconds: 2001-99-99, words: piano}": "is not a YAML file",
    "- !!python/object/apply:os.system ['true']": "is not valid YAML",
    "[" * 5000: "is nested too deeply",
}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:30])
def test_what_is_wrong_is_said_in_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "timeline.yaml"
    path.write_text(text)
    with pytest.raises(UserError) as caught:
        read_timeline(path)
    assert BAD[text] in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_long_or_binary_file(tmp_path: Path) -> None:
    path = tmp_path / "timeline.yaml"
    with pytest.raises(UserError, match="there is no file"):
        read_timeline(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="no text in UTF-8"):
        read_timeline(path)
    path.write_bytes(b"#" * (MOST_BYTES + 1))
    with pytest.raises(UserError, match="at most"):
        read_timeline(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from(GOOD.split()), max_size=12).map(" ".join)
    | st.tuples(st.integers(0, len(GOOD)), st.characters()).map(lambda at: GOOD[: at[0]] + at[1] + GOOD[at[0] + 1 :])
)
def test_any_file_is_a_timeline_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "timeline.yaml"
    path.write_text(text, encoding="utf-8", errors="replace")
    with contextlib.suppress(UserError):
        assert all(isinstance(change, PromptChange) for change in read_timeline(path))
