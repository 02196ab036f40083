"""A sound that leads the sketch of a session while it plays, as a voice that hums what the model shall play.

Shapes: A audio channels, N samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import torch
from torch import Tensor

from livejam.errors import UserError
from livejam.sketch import PitchBy
from livejam.streaming.drawing import require_control
from livejam.streaming.session import Session
from livejam.streaming.sketches import SketchStream

LONGEST_GAP_SECONDS = 1.0
"""Missing sound up to this length counts as silence; after a longer gap, the sound begins anew."""


class LiveSketch:
    """The curves of a sound that comes beside the mix, which a session follows.

    A model plays a block before the sound of that block is there. So every frame follows the sound of `1 + δ` frames
    before it: the newest that is known when its block is computed, if it comes no later than the mix. A generative
    delay (δ = -1) follows what sounds with what it answers. Notes that a tracker hears come later still, by its lag.

    What comes later than that is left out, and the newest values hold for a second; after it nothing is asked, so that
    a sound that ends lets the model go on by itself.

    Args:
        session: that will follow; only its model and its rate matter here.
        controls: of the sketch that the sound leads; the others stay as they are.
        voice: how its pitch is heard, as in `SketchStream`.

    Raises:
        UserError: the model follows no sketch, or there is no control, or none of such a name.
    """

    def __init__(self, session: Session, controls: Sequence[str], voice: PitchBy | None = None) -> None:
        if not controls:
            raise UserError("name what the sound shall lead: loudness, brightness or pitch")
        self.controls = tuple(dict.fromkeys(map(require_control, controls)))
        self._stream = SketchStream(session.player, session.sample_rate_hz, voice)
        spec = session.player.codec.spec
        self._frame_samples = Fraction(spec.hop_samples * session.sample_rate_hz, spec.sample_rate_hz)
        self._gap_samples = round(LONGEST_GAP_SECONDS * session.sample_rate_hz)
        self._begin(0)

    def _begin(self, sample: int) -> None:
        """Hear nothing before this sample of the session; frames lie where the session's do."""
        self._frame = sample // self._frame_samples
        self._next = int(self._frame * self._frame_samples)
        self._state = self._stream.init_state()

    def hear(self, session: Session, audio_AN: Tensor, sample: int) -> None:
        """Let the session follow the next piece of the sound.

        Args:
            session: as in the constructor, between two pieces of its own sound.
            audio_AN: any number of channels and samples at the session's rate; samples that are not finite count as
                silence.
            sample: the session's sample that sounded with the first of them. Samples that were heard before are left
                out, and missing ones count as silence.

        Raises:
            UserError: they are far ahead of what the session has heard.
        """
        audio_AN = audio_AN.nan_to_num(0.0, 0.0, 0.0)
        if not -self._gap_samples <= sample - self._next <= self._gap_samples:
            self._begin(sample)
        missing = sample - self._next
        if missing > 0:
            audio_AN = torch.nn.functional.pad(audio_AN, (missing, 0))
        audio_AN = audio_AN[:, max(0, -missing) :]
        self._next += audio_AN.shape[1]
        curves_TP, self._state = self._stream.step(audio_AN, self._state)
        first, self._frame = self._frame, self._frame + len(curves_TP)
        if len(curves_TP):
            session.trace_sketch(curves_TP, first + 1 + session.anticipation_frames, self.controls)

    def end(self, session: Session) -> None:
        """Let the session play from its next block on as if nothing had been asked of these controls."""
        for control in self.controls:
            session.free_sketch(control)
