"""Encoders of a diffusion transformer's conditions: words and numbers.

Shapes: B batch, P prompt tokens, D channels of an embedding.
"""

from __future__ import annotations

import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from livejam.errors import UserError

_INSTRUMENTS = """
piano chromatic percussion organ guitar bass strings ensemble brass reed pipe synth lead pad effects ethnic
percussive sound vocal unknown drums acoustic grand bright electric honky tonk harpsichord clavinet celesta
glockenspiel music box vibraphone marimba xylophone tubular bells dulcimer drawbar rock church accordion harmonica
tango nylon steel jazz clean muted overdriven distortion harmonics finger pick fretless slap violin viola cello
contrabass tremolo pizzicato orchestral harp timpani string choir aahs voice oohs orchestra hit trumpet trombone tuba
french horn section soprano sax alto tenor baritone oboe english bassoon clarinet piccolo flute recorder pan blown
bottle shakuhachi whistle ocarina square sawtooth calliope chiff charang fifths new age warm polysynth bowed metallic
halo sweep fx rain soundtrack crystal atmosphere brightness goblins echoes sci fi sitar banjo shamisen koto kalimba
bagpipe fiddle shanai tinkle bell agogo woodblock taiko drum melodic tom reverse cymbal fret noise breath seashore
bird tweet telephone ring helicopter applause gunshot
"""

_MOODS = """
happy sad calm energetic dark aggressive relaxed dreamy epic romantic tense playful melancholic hopeful mysterious
funky groovy swinging fast slow loud soft sparse dense major minor pop disco ballad blues folk funk soul latin
classical electronic ambient techno house metal punk reggae country
"""

TAG_WORDS: tuple[str, ...] = tuple(_INSTRUMENTS.split() + _MOODS.split())
"""Instrument words of StreamMusicGen's categories and of General MIDI, then words of mood and style.

Their order is part of the weights, so new ones go to the end."""


MOST_PARTS = 8
HEAVIEST = 10.0
LONGEST_WORDS = 1000

_WEIGHTED = re.compile(r"^(?P<text>.*\S):(?P<weight>[+-]?[\d.][\w.+-]*)$", re.DOTALL)
"""A weight follows its colon at once: `BPM: 120` is a word and a number."""


@dataclass(frozen=True)
class Words:
    """Prompts that are mixed.

    Args:
        parts: every prompt with its share of the mix; all shares together are 1.
    """

    parts: tuple[tuple[str, float], ...]

    def __str__(self) -> str:
        if len(self.parts) == 1:
            return self.parts[0][0]
        return ", ".join(f"{text}:{share:g}" for text, share in self.parts)


@dataclass(frozen=True)
class Prompt:
    """Encoded prompts.

    Args:
        embedding_BPD: one embedding per token.
        mask_BP: whether there is a token (bool); a row without tokens is a dropped prompt.
    """

    embedding_BPD: Tensor
    mask_BP: Tensor

    def without(self, dropped_B: Tensor) -> Prompt:
        """The prompts of some rows dropped, as for classifier-free guidance."""
        return replace(self, mask_BP=self.mask_BP & ~dropped_B[:, None])

    def to(self, device: torch.device) -> Prompt:
        return Prompt(self.embedding_BPD.to(device), self.mask_BP.to(device))

    def followed_by(self, token_BD: Tensor) -> Prompt:
        """One more token in every row that was not dropped."""
        mask_B1 = self.mask_BP.any(dim=1, keepdim=True)
        embedding_BPD = torch.cat((self.embedding_BPD, token_BD[:, None].to(self.embedding_BPD)), dim=1)
        return Prompt(embedding_BPD, torch.cat((self.mask_BP, mask_B1), dim=1))

    def faded(self, other: Prompt, share: float) -> Prompt:
        """A mix of two prompts of the same encoder, `share` in [0, 1] of the other; padding counts as zero."""
        first, second = (p.embedding_BPD * p.mask_BP[..., None] for p in (self, other))
        return Prompt(torch.lerp(first, second, share), self.mask_BP | other.mask_BP)

    def mixed(self, weight_KB: Tensor) -> Prompt:
        """Weighted sums of the rows, as LMDM mixes the prompts of a cross-fade; padding enters as zero.

        Args:
            weight_KB: the weight of each of these B rows in each of K mixes.
        """
        embedding_KPD = torch.einsum("kb,bpd->kpd", weight_KB, self.embedding_BPD * self.mask_BP[..., None])
        return Prompt(embedding_KPD, ((weight_KB > 0)[..., None] & self.mask_BP).any(dim=1))

    def in_rows(self, rows: Sequence[int], other: Prompt) -> Prompt:
        """Some rows with the one prompt of `other`, which has as many tokens."""
        embedding_BPD, mask_BP = self.embedding_BPD.clone(), self.mask_BP.clone()
        embedding_BPD[list(rows)], mask_BP[list(rows)] = other.embedding_BPD.to(embedding_BPD), other.mask_BP
        return Prompt(embedding_BPD, mask_BP)


class PromptEncoder(ABC):
    """A map from words to embeddings of `width` channels."""

    width: int

    @abstractmethod
    def encode(self, prompts: Sequence[str]) -> Prompt:
        """The same number of tokens for every call.

        Raises:
            UserError: a prompt is empty, or too long.
        """

    def follow(self, device: torch.device) -> None:  # noqa: B027 (most have nothing to do)
        """Compute on the network's device from now on; an encoder that is a module is moved with the network."""


class TagEncoder(nn.Module, PromptEncoder):
    """One learned embedding per word, in any order; needs no download.

    Unknown words are ignored, as long as it knows one word of the prompt.

    Args:
        width: channels of an embedding (D).
        words: the known words, each once; None = `TAG_WORDS`.
        longest: most words of a prompt, ≥ 1 (P).
    """

    def __init__(self, width: int, words: list[str] | None = None, longest: int = 12) -> None:
        super().__init__()
        self.width, self.longest = width, longest
        self.number = {word: i for i, word in enumerate(TAG_WORDS if words is None else words)}
        self.embedding = nn.Embedding(len(self.number), width)

    def encode(self, prompts: Sequence[str]) -> Prompt:
        """Embeddings of the known words of every prompt.

        Raises:
            UserError: a prompt is empty, has too many words, or none that it knows.
        """
        rows = [self._numbers(prompt) for prompt in prompts]
        device = self.embedding.weight.device
        index_BP = torch.tensor([row + [0] * (self.longest - len(row)) for row in rows], device=device)
        count_B1 = torch.tensor([[len(row)] for row in rows], device=device)
        return Prompt(self.embedding(index_BP), torch.arange(self.longest, device=device) < count_B1)

    def _numbers(self, prompt: str) -> list[int]:
        require_words(prompt)
        words = dict.fromkeys(re.findall(r"[^\W\d_]+", prompt.lower()))
        if len(words) > self.longest:
            raise UserError(
                f"the prompt '{prompt[:40]}…' has {len(words)} different words, {self.longest} are the most; shorten it"
            )
        numbers = [self.number[word] for word in words if word in self.number]
        if not numbers:
            some = ", ".join(list(self.number)[:12])
            raise UserError(f"the prompt '{prompt[:40]}' has no word that the tag encoder knows; try some of {some}, …")
        return numbers


class NumberConditioner(nn.Module):
    """A number as an embedding, as Stable Audio Open encodes durations.

    The number itself and learned frequencies of it, through one linear layer. Stable Audio's
    `conditioner.conditioners.<name>.embedder.embedding.0.weights` is `frequency_F`, `….1` is `project`.

    Args:
        width: channels of the embedding (D).
        low: smallest number.
        high: greatest number, above `low`; numbers outside are clamped.
        frequencies: learned frequencies, ≥ 1.

    Raises:
        UserError: the range is empty.
    """

    def __init__(self, width: int, low: float = 0.0, high: float = 256.0, frequencies: int = 128) -> None:
        super().__init__()
        if low >= high:
            raise UserError(f"low ({low}) must be less than high ({high})")
        self.width, self.low, self.high = width, low, high
        self.frequency_F = nn.Parameter(torch.randn(frequencies))
        self.project = nn.Linear(2 * frequencies + 1, width)

    def forward(self, number_B: Tensor) -> Tensor:
        """One embedding per number (BD)."""
        share_B1 = ((number_B.clamp(self.low, self.high) - self.low) / (self.high - self.low))[:, None]
        share_B1 = share_B1.to(self.frequency_F)
        angle_BF = 2 * math.pi * share_B1 * self.frequency_F
        return self.project(torch.cat((share_B1, angle_BF.sin(), angle_BF.cos()), dim=-1))


def require_words(prompt: str) -> None:
    """Refuse an empty prompt.

    Raises:
        UserError: it is empty.
    """
    if not prompt.strip():
        raise UserError("the prompt is empty; say what to play, for example 'warm electric piano', or leave it out")


def read_words(text: str) -> Words:
    """The words of a text.

    Args:
        text: one prompt, or several as `jazz piano:0.7, strings:0.3`. A single number that is too large for
            a weight, as in `rock, BPM:120`, is no weight.

    Raises:
        UserError: a part has no weight while another has one, a weight is no number or out of range, or there is too
            much of something.
    """
    if len(text) > LONGEST_WORDS:
        raise UserError(f"a description of {len(text)} letters is too long; use at most {LONGEST_WORDS}")
    pieces = [piece.strip() for piece in text.split(",")]
    found = [_WEIGHTED.match(piece) for piece in pieces]
    numbers = [match["weight"] for match in found if match]
    if not numbers or (len(numbers) == 1 and numbers[0].isdecimal() and int(numbers[0]) > HEAVIEST):
        return Words(((text, 1.0),))
    weights: dict[str, float] = {}
    for piece, match in zip(pieces, found, strict=True):
        if match is None:
            raise UserError(
                f"'{piece[:40]}' has no weight, but another part of '{text[:60]}' has one; give each its weight, as in "
                "'jazz piano:0.7, strings:0.3', or write a space after a colon that is none"
            )
        words = match["text"].strip()
        if words in weights:
            raise UserError(f"'{words[:40]}' has two weights in '{text[:60]}'; give it one")
        weights[words] = _number(match["weight"], words)
    return weighted(weights)


def weighted(weights: Mapping[str, float]) -> Words:
    """Prompts with any weights, of which only the ratios count.

    Raises:
        UserError: a weight is out of range, all are 0, or there are too many.
    """
    if not 1 <= len(weights) <= MOST_PARTS:
        raise UserError(f"{len(weights)} prompts cannot be mixed; use 1 to {MOST_PARTS}")
    for words, weight in weights.items():
        if not 0 <= weight <= HEAVIEST:  # refuses NaN as well
            raise UserError(
                f"the weight of '{words[:40]}' is {weight}; it must be from 0 to {HEAVIEST:g}, or stand after a space "
                "if it is none"
            )
    total = sum(weights.values())
    if total <= 0:
        raise UserError("all weights of the prompts are 0; give at least one of them more")
    return Words(tuple((words, weight / total) for words, weight in weights.items() if weight))


def _number(text: str, words: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f"the weight of '{words[:40]}' is '{text[:20]}', which is no number; use 0.5, say") from error
