"""Means over a validation, whoever saw the items."""

from __future__ import annotations

import torch
from torch import Tensor

from livejam.processes import gathered


class EpochMeans:
    """Means per name over the items of an epoch, of all processes, some of which may have none of a name.

    Lightning's own means need every process to log every name.
    """

    def __init__(self) -> None:
        self._totals: dict[str, Tensor] = {}
        self._items: dict[str, int] = {}

    def add(self, name: str, mean: Tensor | float, items: int) -> None:
        """Add the mean of some items."""
        total = torch.as_tensor(mean).detach().float().cpu() * items
        self._totals[name] = self._totals.get(name, torch.zeros(())) + total
        self._items[name] = self._items.get(name, 0) + items

    def collect(self) -> dict[str, float]:
        """The means, in an order of names that is the same everywhere; then start again. All processes have to ask."""
        shares = gathered((self._totals, self._items))
        self._totals, self._items = {}, {}
        names = dict.fromkeys(name for totals, _ in shares for name in totals)
        return {
            name: float(sum(totals[name] for totals, _ in shares if name in totals))
            / sum(items.get(name, 0) for _, items in shares)
            for name in names
        }
