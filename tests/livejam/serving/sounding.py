"""Small players that take references, follow sketches, or are guided, for tests of servers."""

from __future__ import annotations

from functools import cache

from players import liveband, lmdm, pocket

from livejam.checkpoints.player import Player
from livejam.networks import BlockCausal, EncoderDecoder
from livejam.sketch import SketchAnalysis


@cache
def band() -> Player:
    """A LiveBand that takes references."""
    return liveband(pocket("pocket"), references=True)


@cache
def follower() -> Player:
    """An LMDM that follows sketches and takes no prompts."""
    return lmdm(pocket("pocket"), EncoderDecoder(9), 0, 3, prompts=False, sketch=SketchAnalysis())


@cache
def guided() -> Player:
    """An LMDM that takes prompts, with weights of guidance."""
    return lmdm(pocket("pocket"), BlockCausal(3, 3), 0, 3, guidance={"mix": 2.0, "prompt": 4.0})
