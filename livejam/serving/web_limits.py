"""How many musicians play at once, and how much each may send."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from livejam.errors import UserError
from livejam.serving.web_recordings import LONGEST_SECONDS


@dataclass(frozen=True)
class Limits:
    """What a server permits.

    Args:
        musicians: that play at once.
        idle_seconds: without sound, after which a connection ends.
        begin_seconds: after which a connection ends if it has not begun to play.
        sound_share: of real time that may arrive, on average.
        sound_burst_seconds: of sound that may arrive at once, as after a break of the line.
        frames_per_second: of any kind, on average; twice as many may arrive at once.
        controls_per_second: controls and frames that are refused, on average.
        controls_burst: that may arrive at once.
        recordings_per_second: that are made references of, on average: each costs the server some time.
        recordings_burst: that may be asked for at once.
        unsent_answers: that wait for a slow line; what comes after is dropped.
    """

    musicians: int = 8
    idle_seconds: float = 60.0
    begin_seconds: float = 30.0
    sound_share: float = 1.5
    sound_burst_seconds: float = 6.0
    frames_per_second: float = 1000.0
    controls_per_second: float = 20.0
    controls_burst: float = 60.0
    recordings_per_second: float = 0.5
    recordings_burst: float = 8.0
    unsent_answers: int = 256


class Allowance:
    """So much per second on average, and a supply for bursts.

    Args:
        per_second: what comes in.
        burst: the largest supply, which is there at the beginning.
        now: the time in seconds.
    """

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second, self._burst = per_second, burst
        self._left, self._since = burst, now

    def take(self, amount: float, now: float) -> bool:
        """Take from the supply; False = there was not enough, and nothing was taken."""
        self._left = min(self._burst, self._left + (now - self._since) * self._per_second)
        self._since = now
        if amount > self._left:
            return False
        self._left -= amount
        return True


class TooMuchError(Exception):
    """A connection sent more than it may."""


class Allowances:
    """What one connection may send."""

    def __init__(self, limits: Limits, sample_rate_hz: int, now: float) -> None:
        sound = limits.sound_share * sample_rate_hz
        self._sound = Allowance(sound, limits.sound_burst_seconds * sample_rate_hz, now)
        self._leading = Allowance(sound, limits.sound_burst_seconds * sample_rate_hz, now)
        longest = LONGEST_SECONDS * sample_rate_hz
        self._recorded = Allowance(limits.recordings_per_second * longest, limits.recordings_burst * longest, now)
        self._recordings = Allowance(limits.recordings_per_second, limits.recordings_burst, now)
        self._frames = Allowance(limits.frames_per_second, 2 * limits.frames_per_second, now)
        self._controls = Allowance(limits.controls_per_second, limits.controls_burst, now)

    def frame(self, now: float) -> None:
        """Any frame has arrived.

        Raises:
            TooMuchError: there were too many.
        """
        self._require(self._frames.take(1, now), "too many messages came at once; send larger blocks")

    def sound(self, samples: int, now: float) -> None:
        """A block has arrived.

        Raises:
            TooMuchError: more sound came than there is in real time.
        """
        self._require(self._sound.take(samples, now), "more sound came than can be heard; send it as fast as it sounds")

    def leading(self, samples: int, now: float) -> None:
        """A block of the sound that leads the sketch has arrived.

        Raises:
            TooMuchError: as `sound`.
        """
        enough = self._leading.take(samples, now)
        self._require(enough, "more sound came than can be followed; send it as fast as it sounds")

    def recorded(self, samples: int, now: float) -> None:
        """A piece of a recording has arrived.

        Raises:
            TooMuchError: there was too much of them.
        """
        self._require(self._recorded.take(samples, now), "too many recordings came at once; send fewer of them")

    def recording(self, now: float) -> None:
        """A reference is to be made of a recording.

        Raises:
            TooMuchError: there were too many.
        """
        self._require(self._recordings.take(1, now), "too many recordings came at once; send fewer of them")

    def control(self, now: float) -> None:
        """A control, or a frame that is refused, has arrived.

        Raises:
            TooMuchError: there were too many.
        """
        self._require(self._controls.take(1, now), "too many controls came at once; send fewer of them")

    def _require(self, enough: bool, sentence: str) -> None:
        if not enough:
            raise TooMuchError(sentence)


class Places:
    """The places of the musicians.

    Args:
        most: how many there are.
    """

    def __init__(self, most: int) -> None:
        self.most, self.taken = most, 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """A place, as long as it is needed.

        Raises:
            UserError: all are taken.
        """
        if self.taken >= self.most:
            musicians = "1 musician is" if self.most == 1 else f"{self.most} musicians are"
            raise UserError(f"{musicians} playing already, and there is no place for one more; try again later")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
