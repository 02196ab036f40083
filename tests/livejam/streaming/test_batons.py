"""A baton goes round in order, and its holder can let the others go first."""

from __future__ import annotations

import threading
import time

import pytest

from livejam.streaming.batons import Baton


def waiting(baton: Baton, order: list[int], number: int) -> threading.Thread:
    """A thread that waits for a baton that somebody holds."""

    def take() -> None:
        with baton:
            order.append(number)

    queued = len(baton._queue)
    thread = threading.Thread(target=take)
    thread.start()
    while len(baton._queue) == queued:
        time.sleep(0.001)
    return thread


def test_first_come_first_served() -> None:
    baton, order = Baton(), list[int]()
    with baton:
        threads = [waiting(baton, order, number) for number in range(20)]
    for thread in threads:
        thread.join(20)
    assert order == list(range(20))


def test_its_holder_comes_after_those_who_wait() -> None:
    baton, order = Baton(), list[int]()
    with baton, baton:
        first = waiting(baton, order, 1)
        baton.let_others_first()
        order.append(2)
        baton.let_others_first()  # there are none
        last = waiting(baton, order, 4)
        order.append(3)
    for thread in (first, last):
        thread.join(20)
    assert order == [1, 2, 3, 4], "and it holds it as deeply as before"


def test_a_failure_passes_it_on() -> None:
    baton, order = Baton(), list[int]()
    threads: list[threading.Thread] = []

    def fail() -> None:
        with baton:
            threads.append(waiting(baton, order, 1))
            raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        fail()
    threads[0].join(20)
    assert order == [1]


def test_only_one_thread_holds_it() -> None:
    baton, inside = Baton(), list[int]()

    def play(number: int) -> None:
        for _ in range(200):
            with baton:
                inside.append(number)
                baton.let_others_first()
                inside.append(number)
                time.sleep(0)
                assert inside[-1] == number
                inside.append(number)
                assert inside[-2] == number

    threads = [threading.Thread(target=play, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(inside) == 6 * 200 * 3, "nobody failed, and nobody waits for ever"
