"""Means of an epoch do not depend on which process saw which items."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import epoch_means
from metrics.epoch_means import EpochMeans

batches = st.lists(st.tuples(st.integers(0, 2), st.sampled_from("ab"), st.floats(-9, 9), st.integers(1, 4)), min_size=1)


@given(batches)
def test_every_item_counts_once(seen: list[tuple[int, str, float, int]]) -> None:
    ranks, whole = [EpochMeans() for _ in range(3)], EpochMeans()
    for rank, name, mean, items in seen:
        ranks[rank].add(name, mean, items)
        whole.add(name, mean, items)
    everyone: list[Any] = [(means._totals, means._items) for means in ranks]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epoch_means, "gathered", lambda own: everyone)
        collected = [means.collect() for means in ranks]
    assert collected[0] == collected[1] == collected[2]
    assert [list(means) for means in collected] == [list(collected[0])] * 3
    assert collected[0] == pytest.approx(whole.collect(), rel=1e-5, abs=1e-5)
    assert whole.collect() == {}
