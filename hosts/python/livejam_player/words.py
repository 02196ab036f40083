"""Words for an exported model: prompts of stored texts and tokens, mixed by weights and changed by a timeline.

Shapes: P prompt tokens, D channels of an embedding.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from livejam_player.model import AGAIN, Array, ModelError

MOST_PARTS, HEAVIEST, MOST_CHANGES, MOST_BYTES = 8, 10.0, 1000, 1 << 18
LATEST_SECONDS, LONGEST_FADE, MOST_BLOCKS = 1e6, 600.0, 1 << 20
WEIGHTED = re.compile(r"^(?P<text>.*\S):(?P<weight>[+-]?[\d.][\w.+-]*)$", re.DOTALL)
EXAMPLE = "{seconds: 12, words: piano}"
KNOWN = ("seconds", "words", "fade_seconds", "fade_blocks", "reencode", "negative")


@dataclass(frozen=True)
class Prompt:
    """A description of what to play.

    Args:
        embedding_PD: one embedding per token, 0 where there is none.
        mask_P: 1 where there is a token.
    """

    embedding_PD: Array
    mask_P: Array

    def faded(self, other: Prompt, share: float) -> Prompt:
        """A mix with another one, `share` in [0, 1] of it."""
        embedding_PD = self.embedding_PD + np.float32(share) * (other.embedding_PD - self.embedding_PD)
        return Prompt(embedding_PD, np.maximum(self.mask_P, other.mask_P))

    def controls(self, name: str = "prompt") -> dict[str, Array]:
        """For `StepModel.step`: of the prompt, or of the negative one."""
        return {name: self.embedding_PD[None], f"{name}_mask": self.mask_P[None]}


class Vocabulary:
    """What a model can be asked for in words.

    Args:
        signature: of the exported directory.
        tensors: of its file of prompts.

    Raises:
        ModelError: the model takes no words, or the file does not fit the signature.
    """

    def __init__(self, signature: Mapping[str, Any], tensors: Mapping[str, Array]) -> None:
        try:
            facts = signature["prompts"]
            self.texts = {text.lower(): row for row, text in enumerate(facts["texts"])}
            self.words = {word: row for row, word in enumerate(facts["words"])}
            self.tokens: int = facts["tokens"]
            self._texts, self._masks = tensors["texts"], tensors["texts_mask"]
            self._words = tensors["words"] if self.words else self._texts[:0, 0]
            shapes = [self._texts.shape, self._masks.shape, self._words.shape]
            size = self.tokens, facts["channels"]
            if shapes != [(len(self.texts), *size), (len(self.texts), size[0]), (len(self.words), size[1])]:
                raise TypeError("shapes")
        except (KeyError, TypeError, AttributeError, IndexError) as error:
            raise ModelError(f"prompts.safetensors does not fit signature.json; {AGAIN}") from error

    @property
    def nothing(self) -> Prompt:
        """A prompt without tokens."""
        return Prompt(np.zeros_like(self._texts[0]), np.zeros_like(self._masks[0]))

    def prompt(self, text: str) -> Prompt:
        """One prompt, or several with weights: `jazz piano:0.7, strings:0.3`.

        Raises:
            ModelError: it is not known, or a weight is none.
        """
        return self.mixed(weights_of(text))

    def mixed(self, weights: Mapping[str, float]) -> Prompt:
        """Prompts with weights, of which only the ratios count.

        Raises:
            ModelError: one is not known, or a weight is out of range.
        """
        if not 1 <= len(weights) <= MOST_PARTS:
            raise ModelError(f"{len(weights)} prompts cannot be mixed; use 1 to {MOST_PARTS}")
        for words, weight in weights.items():
            if not 0 <= weight <= HEAVIEST:
                raise ModelError(f"the weight of '{words[:40]}' is {weight}; it must be from 0 to {HEAVIEST:g}")
        total = sum(weights.values())
        if not total:
            raise ModelError("all weights of the prompts are 0; give at least one of them more")
        parts = [(self._one(words), weight / total) for words, weight in weights.items() if weight]
        embedding_PD = sum(np.float32(share) * prompt.embedding_PD for prompt, share in parts)
        mask_P: Array = np.maximum.reduce([prompt.mask_P for prompt, _ in parts])
        return Prompt(np.asarray(embedding_PD, np.float32), mask_P)

    def _one(self, text: str) -> Prompt:
        row = self.texts.get(text.strip().lower())
        if row is not None:
            mask_P = self._masks[row]
            return Prompt(self._texts[row] * mask_P[:, None], mask_P)
        found = dict.fromkeys(re.findall(r"[^\W\d_]+", text.lower()))
        if self.words and len(found) > self.tokens:
            raise ModelError(f"the prompt '{text[:40]}…' has {len(found)} different words; {self.tokens} are the most")
        rows = [self.words[word] for word in found if word in self.words]
        if not rows:
            some = ", ".join([*self.texts, *self.words][:12])
            raise ModelError(f"this model does not know the prompt '{text[:40]}'; try some of {some}, …")
        embedding_PD = np.zeros((self.tokens, self._words.shape[1]), np.float32)
        embedding_PD[: len(rows)] = self._words[rows]
        return Prompt(embedding_PD, (np.arange(self.tokens) < len(rows)).astype(np.float32))


def weights_of(text: str) -> dict[str, float]:
    """The prompts of a text and their weights; one without a weight has 1.

    Raises:
        ModelError: a part has no weight while another has one, or two.
    """
    pieces = [piece.strip() for piece in text.split(",")]
    found = [WEIGHTED.match(piece) for piece in pieces]
    if not any(found):
        return {text: 1.0}
    weights: dict[str, float] = {}
    for piece, match in zip(pieces, found, strict=True):
        if match is None or match["text"].strip() in weights:
            raise ModelError(f"every part of '{text[:60]}' needs one weight, which '{piece[:40]}' has not")
        weights[match["text"].strip()] = _number(match["weight"], piece)
    return weights


def _number(text: str, piece: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ModelError(f"the weight in '{piece[:40]}' is no number; use 0.5, say") from error


@dataclass(frozen=True)
class Change:
    """Other words from a frame of the accompaniment on.

    Args:
        first_frame: the first block that begins there or later is changed.
        fade_frames: how long the new prompt takes to replace the old one.
        prompt: the new one.
        negative: what it is led away from; None = as before.
    """

    first_frame: int
    fade_frames: int
    prompt: Prompt
    negative: Prompt | None = None

    def share(self, first_frame: int, block_frames: int) -> float:
        """Share of the new prompt in a block that begins there: the one that is due at its end."""
        if first_frame < self.first_frame:
            return 0.0
        return min(1.0, (first_frame + block_frames - self.first_frame) / max(1, self.fade_frames))


@dataclass(frozen=True)
class Timeline:
    """What is asked block by block.

    Args:
        changes: in the order of their frames.
    """

    changes: Sequence[Change] = ()

    def at(self, first_frame: int, block_frames: int, before: Prompt) -> Prompt:
        """The prompt of a block that begins there; `before` is that of the beginning."""
        prompt = before
        for change in self.changes:
            if share := change.share(first_frame, block_frames):
                prompt = change.prompt if share == 1 else prompt.faded(change.prompt, share)
        return prompt

    def avoided_at(self, first_frame: int, block_frames: int, before: Prompt) -> Prompt:
        """What a block that begins there is led away from; `before` is that of the beginning."""
        changes = [replace(change, prompt=change.negative) for change in self.changes if change.negative is not None]
        return Timeline(changes).at(first_frame, block_frames, before)

    @property
    def leads_away(self) -> bool:
        """Whether any change has a negative prompt."""
        return any(change.negative is not None for change in self.changes)


def read_timeline(path: Path, vocabulary: Vocabulary, frame_rate_hz: float, block_frames: int) -> Timeline:
    """The timeline that a file lists, as for `livejam play --prompts`: JSON, or YAML where PyYAML is installed.

    Raises:
        ModelError: the file is missing, no such list, or asks for what an exported model cannot do.
    """
    entries = _read(path)
    if not isinstance(entries, list) or not 1 <= len(entries) <= MOST_CHANGES:
        raise ModelError(f"{path} is no list of 1 to {MOST_CHANGES} changes such as {EXAMPLE}")
    changes: list[Change] = []
    for number, entry in enumerate(entries, 1):
        try:
            changes.append(_change(entry, vocabulary, frame_rate_hz, block_frames))
        except ModelError as error:
            raise ModelError(f"{path}, change {number}: {error}") from error
        if changes[-1].first_frame < changes[max(0, number - 2)].first_frame:
            raise ModelError(f"{path}: change {number} is before the one above it; sort them by time")
    return Timeline(changes)


def _read(path: Path) -> Any:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise ModelError(f"{path} is too long for a timeline of prompts")
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path} cannot be read; give a timeline of prompts in UTF-8") from error
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ModelError(f"{path} is no JSON; write it as JSON, or pip install pyyaml") from error
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} is neither JSON nor YAML; write changes such as {EXAMPLE}") from error


def _change(entry: Any, vocabulary: Vocabulary, frame_rate_hz: float, block_frames: int) -> Change:
    if not isinstance(entry, dict) or "seconds" not in entry or "words" not in entry:
        raise ModelError(f"{str(entry)[:40]!r} is no change of the prompt; write it as {EXAMPLE}")
    if {"eject_blocks", "row"} & set(entry):
        raise ModelError("an exported model forgets nothing and has one row; leave eject_blocks and row out")
    if unknown := [name for name in entry if name not in KNOWN]:
        raise ModelError(f"there is no {str(unknown[0])[:40]!r}; there are {', '.join(KNOWN)}")
    seconds, fade = (
        _span(entry, name, most) for name, most in (("seconds", LATEST_SECONDS), ("fade_seconds", LONGEST_FADE))
    )
    blocks = _span(entry, "fade_blocks", MOST_BLOCKS)
    if (fade and blocks) or blocks != int(blocks):
        raise ModelError("a fade has a length in seconds or in whole blocks; give one of them")
    prompts = {name: _words(name, entry[name], vocabulary) for name in ("words", "negative") if name in entry}
    frames = int(blocks) * block_frames or math.ceil(fade * frame_rate_hz)
    return Change(math.ceil(seconds * frame_rate_hz - 1e-3), frames, prompts["words"], prompts.get("negative"))


def _words(name: str, given: Any, vocabulary: Vocabulary) -> Prompt:
    if isinstance(given, str):
        return vocabulary.prompt(given)
    if isinstance(given, dict) and all(isinstance(text, str) and _is_number(weight) for text, weight in given.items()):
        return vocabulary.mixed(given)
    raise ModelError(f"{name} is {str(given)[:40]!r}; it must be a text, or prompts with weights")


def _span(entry: Mapping[str, Any], name: str, most: float) -> float:
    value = entry.get(name, 0)
    if not _is_number(value) or not 0 <= value <= most:
        raise ModelError(f"{name} is {str(value)[:40]!r}; it must be a number from 0 to {most:g}")
    return float(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
