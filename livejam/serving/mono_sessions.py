"""What plays for one musician of a server."""

from __future__ import annotations

from collections.abc import Sequence

from livejam.checkpoints.player import Player
from livejam.streaming.session import Session


def mono_session(
    player: Player, sample_rate_hz: int, hear_each_other: bool, instruments: Sequence[str] | None, seed: int
) -> Session:
    """A session with one channel, as it travels over a network.

    Args:
        player: plays.
        sample_rate_hz: of the sound in both directions.
        hear_each_other: whether several instruments also hear each other.
        instruments: one per row; None = one row, which plays the model's first instrument.
        seed: of the first row; that of every other row is one more.
    """
    return Session(
        player,
        sample_rate_hz=sample_rate_hz,
        channels=1,
        instruments=instruments,
        seeds=range(seed, seed + len(instruments or [None])),
        hear_each_other=hear_each_other,
    )
