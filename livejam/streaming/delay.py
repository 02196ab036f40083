"""The generative delay of Live Music Diffusion Models: what a musician plays comes back transformed, a block later.

A delay without threads, clock or sound card around a session, whose model hears a block to its end and then plays to
that same block.

Shapes: A audio channels, N samples, G the gains dry, wet and feedback, T latent frames, P numbers of a frame of a
sketch.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.option_ranges import Range, require_number
from livejam.sketch import PitchBy
from livejam.streaming.memories import Snapshot
from livejam.streaming.session import Session
from livejam.streaming.sketches import SketchStream, SketchStreamState
from livejam.systems.lmdm import LMDMAccompanist

GLIDE_SECONDS = 0.05
"""Time in which a gain moves from 0 to 1, so that no change clicks."""

KNEE = 0.5
"""Samples of an answer stay as they are up to here, and never exceed 1."""

ANSWERING_CUTOFF = 1
"""Blocks of the mix that are known beyond the context: the block that is played to."""


@dataclass(frozen=True)
class DelayGains:
    """The knobs of a delay.

    Args:
        dry: gain of the input in the output, 0 to 1.
        wet: gain of the answers in the output, 0 to 1.
        feedback: gain of the answers in what the model hears next, 0 to less than 1.

    Raises:
        UserError: a gain is out of range.
    """

    dry: float = 1.0
    wet: float = 1.0
    feedback: float = 0.0

    def __post_init__(self) -> None:
        require_number("dry", self.dry, Range(0, 1))
        require_number("wet", self.wet, Range(0, 1))
        require_number("feedback", self.feedback, Range(0, 1, open_high=True))

    def as_tensor(self) -> Tensor:
        """In double precision (G), so that a glide ends where it should."""
        return torch.tensor([self.dry, self.wet, self.feedback], dtype=torch.float64)


@dataclass(frozen=True)
class DelaySnapshot:
    """All of a delay; what it holds is never changed.

    Args:
        session: what heard and answered.
        coming_AN: answers that are known and have not sounded.
        gains: where the gains are going.
        gains_G: where they are.
        sketching: how far the sketch of what is heard has come; None = the answers follow none.
        curves_TP: that sketch, from the beginning on.
    """

    session: Snapshot
    coming_AN: Tensor
    gains: DelayGains
    gains_G: Tensor
    sketching: SketchStreamState | None
    curves_TP: Tensor


class GenerativeDelay:
    """What is played, and what a model makes of it, later by a block and the codec's delay.

    Output sample k is dry · input + wet · answer, where the answer was made to what sounded `delay_samples` earlier.
    The model hears input + feedback · answer, so that it also answers itself. However loud it plays, its answers
    saturate at 1, as on tape, so nothing runs away.

    Args:
        session: of a player of `answering`, at its beginning; its prompt, guidance and level may change at any time.
        gains: at the beginning; later ones glide.
        following: whether the sketch of what the model hears, input and feedback, is also what its answers follow in
            loudness, brightness and pitch. It takes the place of any other sketch of the session.
        voice: how the pitch of that sketch is heard, as in `SketchStream`.

    Raises:
        UserError: the session's model plays ahead of the beat instead of answering what it has heard, or it shall
            follow, but follows no sketch.
    """

    def __init__(
        self,
        session: Session,
        gains: DelayGains | None = None,
        following: bool = False,
        voice: PitchBy | None = None,
    ) -> None:
        if session.player.accompanist.anticipation_frames >= 0:
            raise UserError("this session plays ahead of what it hears; make it of `answering(player)` for a delay")
        self.session = session
        gains = DelayGains() if gains is None else gains
        self._sketches = SketchStream(session.player, session.sample_rate_hz, voice) if following else None
        sketching = None if self._sketches is None else self._sketches.init_state()
        curves_TP = torch.zeros(0, 0 if self._sketches is None else self._sketches.numbers)
        coming_AN = torch.zeros(session.channels, self.delay_samples)
        self._now = DelaySnapshot(session.snapshot(), coming_AN, gains, gains.as_tensor(), sketching, curves_TP)

    @property
    def delay_samples(self) -> int:
        """From a sound to its answer: one more than the session's lateness, so that feedback is known in time."""
        return self.session.timing.late_samples + 1

    @property
    def gains(self) -> DelayGains:
        """Where the gains are, or are going."""
        return self._now.gains

    def set_gains(self, gains: DelayGains) -> None:
        """Move the gains from the next sample on, in at most a twentieth of a second."""
        self._now = replace(self._now, gains=gains)

    def snapshot(self) -> DelaySnapshot:
        """All of the delay, to `restore` later; it costs nothing."""
        return replace(self._now, session=self.session.snapshot())

    def restore(self, snapshot: DelaySnapshot) -> None:
        """Go on exactly as after that snapshot of this delay."""
        self.session.restore(snapshot.session)
        self._now = snapshot

    def process(self, audio_AN: Tensor) -> Tensor:
        """The output for the next samples of the input, as many; see `process_parts`."""
        return self.process_parts(audio_AN)[0]

    def process_parts(self, audio_AN: Tensor) -> tuple[Tensor, Tensor]:
        """Hear the next samples.

        Args:
            audio_AN: sound in [-1, 1], any number of samples; a tensor of one dimension is mono.

        Returns:
            Output, and the answers alone as they are at a gain of 1; both AN, with as many samples.

        Raises:
            UserError: wrong number of channels, or samples that are not finite; the delay is as it was before.
        """
        before = self.snapshot()
        audio_AN = audio_AN[None] if audio_AN.dim() == 1 else audio_AN
        played = []
        try:
            self.session.advance(audio_AN[..., :0])
            while audio_AN.shape[-1]:
                # at least one sample of the answers is always known, and a piece is no longer than its feedback
                piece_AN, audio_AN = audio_AN.tensor_split([self._now.coming_AN.shape[-1]], dim=-1)
                played.append(self._piece(piece_AN))
        except UserError:
            self.restore(before)
            raise
        if not played:
            return audio_AN, audio_AN
        output_AN, answer_AN = (torch.cat(parts, dim=-1) for parts in zip(*played, strict=True))
        return output_AN, answer_AN

    def _piece(self, audio_AN: Tensor) -> tuple[Tensor, Tensor]:
        """Output and answer of a piece whose answer is known."""
        now, samples = self._now, audio_AN.shape[-1]
        answer_AN = now.coming_AN[:, :samples]
        gains_GN = self._glide(samples)
        dry_N, wet_N, feedback_N = gains_GN.to(answer_AN)
        heard_AN = audio_AN + feedback_N * answer_AN
        now = self._followed(heard_AN, now)
        new_BAN = self.session.advance(heard_AN)
        coming_AN = torch.cat((now.coming_AN[:, samples:], saturated(new_BAN.sum(dim=0))), dim=-1)
        self._now = replace(now, coming_AN=coming_AN, gains_G=gains_GN[:, -1])
        return dry_N * audio_AN + wet_N * answer_AN, answer_AN

    def _followed(self, heard_AN: Tensor, now: DelaySnapshot) -> DelaySnapshot:
        """Let the session follow the sketch of what it hears next; a step uses the frames up to its own block's end."""
        if self._sketches is None or now.sketching is None:
            return now
        new_TP, sketching = self._sketches.step(heard_AN, now.sketching)
        curves_TP = torch.cat((now.curves_TP, new_TP)) if len(new_TP) else now.curves_TP
        if len(new_TP):
            self.session.set_sketch(curves_TP)
        return replace(now, sketching=sketching, curves_TP=curves_TP)

    def _glide(self, samples: int) -> Tensor:
        """The gains (G, N) of the next samples."""
        now_G, target_G = self._now.gains_G, self._now.gains.as_tensor()
        moved_N = torch.arange(1, samples + 1) / (GLIDE_SECONDS * self.session.sample_rate_hz)
        way_G1 = (target_G - now_G)[:, None]
        return torch.where(way_G1.abs() <= moved_N, target_G[:, None], now_G[:, None] + way_G1.sign() * moved_N)


def saturated(audio_AN: Tensor) -> Tensor:
    """Audio whose samples beyond `KNEE` bend towards ±1, smoothly."""
    beyond_AN = (audio_AN.abs() - KNEE).clamp(min=0) / (1 - KNEE)
    bent_AN = audio_AN.sign() * (KNEE + (1 - KNEE) * beyond_AN.tanh())
    return torch.where(beyond_AN > 0, bent_AN, audio_AN)


def answering(player: Player) -> Player:
    """The same player, with a model that plays to the very block that it has heard (cutoff +1).

    Raises:
        UserError: the model is no LMDM.
    """
    if not isinstance(player.accompanist, LMDMAccompanist):
        kind = type(player.accompanist).__name__.removesuffix("Accompanist")
        raise UserError(
            f"a generative delay needs an LMDM, which can answer a block that it has heard; {kind} plays ahead of what "
            "it hears: use `livejam play`, or train an LMDM (configs/lmdm)"
        )
    return replace(player, accompanist=player.accompanist.with_cutoff(ANSWERING_CUTOFF))
