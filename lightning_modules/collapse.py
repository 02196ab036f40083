"""Whether a generator has collapsed: plays nearly the same to everything."""

from __future__ import annotations

from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

COLLAPSED_SPREAD = 0.1
"""There is a warning when the spread of generated sequences is less than this share of the real ones'."""


def relative_spread(real_BTC: Tensor, fake_BTC: Tensor) -> Tensor:
    """The spread of generated sequences over a batch, relative to that of the real ones; 0 = collapsed."""
    return fake_BTC.detach().float().std(dim=0).mean() / real_BTC.std(dim=0).mean()


class CollapseAlarm:
    """Warns once per collapse."""

    def __init__(self) -> None:
        self._alarmed = False

    def __call__(self, spread: Tensor) -> None:
        """Look at a spread, which waits for the device."""
        collapsed = bool(spread < COLLAPSED_SPREAD)
        if collapsed and not self._alarmed:
            rank_zero_warn(
                f"the generator has collapsed: its outputs vary {spread.item():.3f} times as much as real ones"
            )
        self._alarmed = collapsed
