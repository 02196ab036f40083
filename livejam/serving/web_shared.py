"""What all musicians of the page's server share.

Shapes: N audio samples, E channels of an embedding.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from livejam.accompanist import Accompanist
from livejam.checkpoints.player import Player
from livejam.checkpoints.references import reference_analysis
from livejam.errors import UserError
from livejam.sampling import weights_text
from livejam.sampling.guidance import CONTROLS
from livejam.sampling.samplers import CfgSampler
from livejam.serving.web_limits import Limits, Places
from livejam.serving.web_messages import MOST_ROWS, Welcome
from livejam.streaming.batons import Baton
from livejam.streaming.prompting import takes_prompts
from livejam.streaming.rings import Audio
from livejam.streaming.session import UNDO_SECONDS, Session
from livejam.streaming.sketches import takes_sketches
from livejam.systems.lmdm import LMDMAccompanist

SessionMaker = Callable[[Sequence[str], int], Session]
"""Instruments and seed → a session that has heard nothing yet."""

Embed = Callable[[Audio], Tensor]
"""Audio_N → embedding_E; raises UserError for what nothing can sound like. Called from several threads."""


@dataclass(frozen=True)
class Stage:
    """What all musicians of a server share.

    Args:
        model: its name, for people.
        instruments: what it can play.
        sample_rate_hz: of all sound.
        make_session: begins to play.
        baton: of everybody's sessions.
        limits: of every connection.
        places: of the musicians.
        say: told what goes wrong, in a sentence.
        prompts: whether the model can be asked in words.
        embed: makes what the model can sound like of sound; None = it takes no reference.
        sketches: whether it follows a sketch.
        guidance: what can have a weight of guidance, with the one it has, as `read_weights` reads it; empty = nothing.
        guidance_rescale: the share of what guidance does to the level that is taken back; None = none can be.
    """

    model: str
    instruments: tuple[str, ...]
    sample_rate_hz: int
    make_session: SessionMaker
    baton: Baton
    limits: Limits
    places: Places
    say: Callable[[str], None]
    prompts: bool = False
    embed: Embed | None = None
    sketches: bool = False
    guidance: str = ""
    guidance_rescale: float | None = None


def stage_of(
    model: Path,
    player: Player,
    rate: int,
    make: SessionMaker,
    baton: Baton,
    limits: Limits,
    say: Callable[[str], None],
) -> Stage:
    """A stage with all places free."""
    places, accompanist = Places(limits.musicians), player.accompanist
    parts = model.name, player.instruments, rate, make, baton, limits, places, say
    takes = takes_prompts(accompanist), embedder(player, rate, say), takes_sketches(accompanist)
    return Stage(*parts, *takes, guidance_of(accompanist), rescale_of(accompanist))


def guidance_of(accompanist: Accompanist[Any]) -> str:
    """The weights of guidance of all that a model can be guided by, as text; empty = it has no guidance."""
    if not isinstance(accompanist, LMDMAccompanist) or not hasattr(accompanist.sampler, "guidance"):
        return ""
    never = frozenset() if accompanist.context_mode.can_guide else frozenset({"past"})
    return weights_text({n: accompanist.weights.get(n, 1.0) for n in CONTROLS if n in accompanist.controls - never})


def rescale_of(accompanist: Accompanist[Any]) -> float | None:
    """The share of what guidance does to the level that a model takes back; None = it cannot."""
    sampler = accompanist.sampler if isinstance(accompanist, LMDMAccompanist) else None
    return sampler.rescale if isinstance(sampler, CfgSampler) else None


def embedder(player: Player, sample_rate_hz: int, say: Callable[[str], None]) -> Embed | None:
    """What makes references of sound, for one musician after the other; None if the model takes none, or if what it
    needs for them is not here, which is said."""
    if getattr(player.accompanist, "reference", None) is None:
        return None
    try:
        analysis, lock = reference_analysis(player.accompanist), threading.Lock()
    except UserError as error:
        say(f"the page offers no references: {error}")
        return None

    def embed(audio_N: Audio) -> Tensor:
        with lock:
            return analysis.of(torch.from_numpy(audio_N)[None], sample_rate_hz, "the recording")

    return embed


def welcome(stage: Stage) -> Welcome:
    """What a musician wants to know first."""
    return Welcome(
        model=stage.model,
        instruments=stage.instruments,
        sample_rate_hz=stage.sample_rate_hz,
        most_rows=MOST_ROWS,
        undo_seconds=UNDO_SECONDS,
        idle_seconds=stage.limits.idle_seconds,
        musicians=stage.places.taken,
        most_musicians=stage.places.most,
        prompts=stage.prompts,
        references=stage.embed is not None,
        sketches=stage.sketches,
        guidance=stage.guidance,
        guidance_rescale=stage.guidance_rescale,
    )
