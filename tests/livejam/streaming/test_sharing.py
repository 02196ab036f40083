"""Sessions that share a model play what each would play alone, whoever else plays."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from players import liveband, pocket, sound

import livejam
from livejam.errors import UserError
from livejam.streaming import Session
from livejam.streaming.batons import Baton
from livejam.streaming.sharing import Turns, apart, joined, shared


def test_the_bundled_model_plays_for_five_threads_what_it_plays_for_one() -> None:
    """Each begins at another time, hears another mix and plays other instruments, two of them in two rows."""
    player = livejam.load("liveband-pocket")
    mixes = [sound(1, 44100, seed=seed)[:, : 44100 + 4410 * seed] for seed in range(5)]
    bands = [["Percussive"], ["Bass", "Piano"], ["Guitar"], ["Percussive", "Bass"], ["Piano"]]
    expected = [
        played(player, mix_AN, band, seed) for seed, (mix_AN, band) in enumerate(zip(mixes, bands, strict=True))
    ]
    baton = Baton()
    together = shared(player, baton)
    got: dict[int, torch.Tensor] = {}
    threads = [
        threading.Thread(target=lambda i=i: got.update({i: played(together, mixes[i], bands[i], i)})) for i in range(5)
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.01)
    for thread in threads:
        thread.join(120)
    for i in range(5):
        torch.testing.assert_close(got[i], expected[i], atol=1e-5, rtol=0)
    turns = together.accompanist.turns
    assert turns.batches < turns.calls == sum(len(mix_AN[0]) * 22050 // 44100 // 2048 for mix_AN in mixes)


def played(player: livejam.Player, mix_AN: torch.Tensor, band: list[str], seed: int) -> torch.Tensor:
    session = Session(player, sample_rate_hz=44100, instruments=band, seeds=[seed, seed + 7][: len(band)])
    return torch.cat([session.process_rows(chunk_AN) for chunk_AN in mix_AN.split(1000, dim=1)], dim=-1)


def test_a_model_that_cannot_be_shared_stays_as_it_is() -> None:
    bidirectional = liveband(pocket(), anticipation=-1)
    assert shared(bidirectional, Baton()).accompanist is bidirectional.accompanist


def doubled(asked: Sequence[int]) -> list[int]:
    time.sleep(0.01)
    if -1 in asked:
        raise UserError("minus one")
    return [2 * number for number in asked]


def test_turns_give_everybody_what_they_asked_for() -> None:
    turns = Turns(doubled, lambda number: number % 2, Baton())
    got: dict[int, object] = {}

    def ask(number: int) -> None:
        try:
            got[number] = turns(number)
        except UserError as error:
            got[number] = str(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(-1, 40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert got == {-1: "minus one", **{number: 2 * number for number in range(40)}}
    assert turns.batches < turns.calls == 40


def test_all_who_come_while_the_model_is_at_work_play_together() -> None:
    """Each asks three times in a row, as a session asks encoder, model and decoder."""
    baton = Baton()
    asked: list[int] = []

    def counted(numbers: Sequence[int]) -> list[int]:
        asked.append(len(numbers))
        return list(numbers)

    turns = Turns(counted, lambda number: 0, baton)

    def ask() -> None:
        with baton:
            for number in range(3):
                turns(number)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    with baton:
        for thread in threads:
            thread.start()
        while len(baton._queue) < 8:
            time.sleep(0.001)
    for thread in threads:
        thread.join(20)
    assert asked == [8, 8, 8]


def test_rates_of_sharing_are_exact_for_one() -> None:
    """Alone, a shared model takes the same path, to the last bit."""
    player, mix_AN = liveband(pocket()), sound(1, 22050)
    expected_BAN, got_BAN = (
        Session(each, instruments=["Bass"]).process_rows(mix_AN) for each in (player, shared(player, Baton()))
    )
    np.testing.assert_array_equal(got_BAN, expected_BAN)


@pytest.mark.parametrize("lost", [0, 3])
def test_states_of_a_batch_come_apart_as_they_were_joined(lost: int) -> None:
    codec = pocket()
    states = [codec.init_decoder_state(rows) for rows in (1, 2, 1)]
    with torch.inference_mode():
        states = [
            codec.decode_step(torch.randn(len(s.frame_B), 1 + lost, codec.spec.latent_channels), s)[1] for s in states
        ]
    for before, after in zip(states, apart(joined(states), (1, 2, 1)), strict=True):
        for one, other in zip(before.pasts, after.pasts, strict=True):
            assert torch.equal(one, other)
        assert torch.equal(before.tail_BAN, after.tail_BAN)
        assert torch.equal(before.frame_B, after.frame_B)
