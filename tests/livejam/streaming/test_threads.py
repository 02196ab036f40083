"""The number of threads follows from what a step takes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from livejam.streaming.threads import fewest_threads


class Machine:
    """Steps that take so many seconds with so many threads, and the clock that says so."""

    def __init__(self, seconds: dict[int, float]) -> None:
        self.seconds, self.now = seconds, 0.0

    def step(self) -> None:
        self.now += self.seconds[torch.get_num_threads()]

    def clock(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def six_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(6)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({1: 0.02, 2: 0.01, 4: 0.005, 6: 0.004}, 1),  # one is good enough
        ({1: 0.05, 2: 0.028, 4: 0.02, 6: 0.01}, 2),  # the fewest that are good enough
        ({1: 0.05, 2: 0.04, 4: 0.045, 6: 0.09}, 2),  # none is: the fastest
        ({1: 0.05, 2: 9.0, 4: 9.0, 6: 9.0}, 1),  # the machine is busy, and threads wait for each other
        ({1: 0.5, 2: 0.3, 4: 0.2, 6: 0.1}, 6),
    ],
)
def test_as_few_threads_as_will_do(seconds: dict[int, float], expected: int) -> None:
    machine = Machine(seconds)
    assert fewest_threads(machine.step, 0.0929, machine.clock) == expected
    assert torch.get_num_threads() == 6


def test_a_step_that_fails_leaves_the_number_as_it_was() -> None:
    with pytest.raises(ZeroDivisionError):
        fewest_threads(lambda: 1 / 0, 1.0)
    assert torch.get_num_threads() == 6
