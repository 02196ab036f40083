"""The benchmark of a led sketch finds a delay that is there."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.led_sketch import agreement, summary, sung


def test_a_delay_is_found_in_loudness_and_notes() -> None:
    rng = np.random.default_rng(0)
    notes_T = torch.from_numpy(rng.integers(50, 62, 90)).float().repeat_interleave(4)
    loudness_T = torch.from_numpy(rng.uniform(0.3, 0.6, 90)).float().repeat_interleave(4)
    none_TK, sure_T = torch.full((len(notes_T), 3), -1.0), torch.ones(len(notes_T), 1)
    asked_TP = torch.cat((torch.stack((loudness_T, loudness_T, notes_T), 1), none_TK, sure_T, 0 * none_TK), 1)
    for delay in (0, 5, 11):
        made_TP = torch.cat((torch.zeros(delay, asked_TP.shape[1]), asked_TP))
        made_TP[:, 2] += 12  # another octave
        for curve in agreement(asked_TP, made_TP, 20):
            assert int(np.argmax(curve)) == delay
            assert curve[delay] > 0.99


def test_the_delay_of_all_songs_is_that_of_their_mean() -> None:
    songs = [{"loudness": [0.0] * 50, "notes": [0.0] * 50, "hearing": [0.1]} for _ in range(5)]
    for number, song in enumerate(songs):
        song["notes"][8], song["loudness"][20 + number], song["loudness"][9] = 0.5, 0.6, 0.4
    found = summary(songs, 10.0)
    assert (found["notes delay"], found["loudness delay"]) == (0.8, 0.9)
    assert found["loudness agreement"] == 0.4
    assert found["hearing"] == 0.1


def test_a_voice_has_the_length_and_levels_that_were_asked() -> None:
    voice_N = sung(3.0, 22050, np.random.default_rng(1))
    assert len(voice_N) == 3 * 22050
    assert 0.005 < float(voice_N.abs().max()) <= 10 ** (-12 / 20)
