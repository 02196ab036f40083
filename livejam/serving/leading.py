"""The sound with which a musician leads the sketch, over a network.

Shapes: N audio samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future

import torch

from livejam.serving.line import Line
from livejam.sketch import VoicePitch
from livejam.streaming.live_sketch import LiveSketch
from livejam.streaming.rings import Audio
from livejam.streaming.session import Session


class Lead:
    """What a musician leads the sketch of one line with. Only the line's worker touches what it holds.

    Args:
        line: whose session follows.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._live: LiveSketch | None = None

    def begin(self, controls: Sequence[str], single: bool) -> Future[None]:
        """Let a sound lead these controls, and no others any more; none = it leads nothing.

        Args:
            controls: some of loudness, brightness and pitch.
            single: whether it sounds one note at a time, as a voice does.

        Returns:
            as of `Line.post`.
        """

        def change(session: Session) -> None:
            live = LiveSketch(session, controls, VoicePitch() if single else None) if controls else None
            if self._live is not None:
                self._live.end(session)
            self._live = live

        return self._line.post(change)

    def hear(self, position_samples: int, audio_N: Audio) -> Future[None]:
        """Follow a piece of the sound, which must come before the mix of its positions does; without `begin`, nothing
        happens. If it cannot be followed, it leads no more.

        Args:
            position_samples: the musician's, as that of the mix.
            audio_N: float32; samples that are not finite count as silence.

        Returns:
            as of `Line.post`.
        """

        def change(session: Session, sample: int) -> None:
            live = self._live
            if live is None:
                return
            self._live = None
            live.hear(session, torch.from_numpy(audio_N)[None], sample)
            self._live = live

        return self._line.post_at(position_samples, change)
