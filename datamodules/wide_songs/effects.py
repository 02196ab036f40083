"""Effects of a stem: equaliser, compression, saturation, chorus, reverb, a poor microphone, noise.

They are Spotify's pedalboard (the extra `songs`; GPL-3, a tool that runs when songs are rendered). None delays its
sound, so the truth about beats stays true.

N: audio samples.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np

from datamodules.audio import Audio
from datamodules.pocket_slakh.collection import SAMPLE_RATE_HZ
from datamodules.pocket_slakh.palette import Instrument
from livejam.errors import UserError

Effect = Callable[[Audio, np.random.Generator], Audio]
NOISE_DB = (-60.0, -42.0)
"""Against the stem's own level: rests stay below the level at which a frame sounds."""
_DRIVEN = {"Guitar": 0.4, "Bass": 0.25, "Synth Lead": 0.25, "Organ": 0.25, "Drums": 0.12}
_CHORUSED = {"Guitar": 0.25, "Piano": 0.15, "Synth Pad": 0.25, "Strings (continued)": 0.15, "Organ": 0.25}


def require_effects() -> None:
    """Refuse where pedalboard is not installed.

    Raises:
        UserError: it is not.
    """
    if find_spec("pedalboard") is None:
        raise UserError("effects need pedalboard: `pip install 'livejam[songs]'`, or render with --no-effects")


def with_effects(audio_N: Audio, instrument: Instrument, rng: np.random.Generator) -> Audio:
    """The audio through effects that suit the instrument, drawn for this take; as long as before."""
    import pedalboard

    board: Any = pedalboard
    chain = _chain(board, instrument.inst_class, rng)
    shaped = board.Pedalboard(chain)(audio_N[None], SAMPLE_RATE_HZ)[0] if chain else audio_N
    if rng.random() < 0.08:
        shaped = _with_noise(shaped, rng)
    return shaped


def _chain(pedalboard: Any, inst_class: str, rng: np.random.Generator) -> list[Any]:
    chain = []
    if rng.random() < _DRIVEN.get(inst_class, 0.04):
        chain.append(pedalboard.Distortion(float(rng.uniform(3, 18))))
    if rng.random() < 0.5:
        chain += [
            pedalboard.LowShelfFilter(float(rng.uniform(80, 300)), float(rng.uniform(-6, 6))),
            pedalboard.PeakFilter(float(rng.uniform(300, 4000)), float(rng.uniform(-7, 7)), float(rng.uniform(0.5, 2))),
            pedalboard.HighShelfFilter(float(rng.uniform(3000, 9000)), float(rng.uniform(-8, 6))),
        ]
    if rng.random() < 0.3:
        ratio, attack = float(rng.uniform(2, 8)), float(rng.uniform(1, 30))
        chain.append(pedalboard.Compressor(float(rng.uniform(-30, -16)), ratio, attack, float(rng.uniform(60, 300))))
    if rng.random() < _CHORUSED.get(inst_class, 0.03):
        chain.append(pedalboard.Chorus(float(rng.uniform(0.3, 2)), float(rng.uniform(0.1, 0.35)), mix=0.4))
    if rng.random() < 0.4:
        chain.append(_reverb(pedalboard, inst_class, rng))
    if rng.random() < 0.07:
        chain += [
            pedalboard.HighpassFilter(float(rng.uniform(100, 250))),
            pedalboard.LowpassFilter(float(rng.uniform(3000, 8000))),
        ]
    return chain


def _reverb(pedalboard: Any, inst_class: str, rng: np.random.Generator) -> Any:
    """A room or a hall; little of it for bass and drums."""
    most = 0.12 if inst_class in ("Bass", "Drums") else 0.3
    wet = float(rng.uniform(0.03, most))
    return pedalboard.Reverb(float(rng.uniform(0.1, 0.85)), float(rng.uniform(0.2, 0.8)), wet, 1 - wet, 1.0)


def _with_noise(audio_N: Audio, rng: np.random.Generator) -> Audio:
    """The audio with the hiss of a poor recording."""
    level = float(np.sqrt(np.mean(np.square(audio_N)))) * 10 ** (float(rng.uniform(*NOISE_DB)) / 20)
    return audio_N + np.float32(level) * rng.standard_normal(len(audio_N), dtype=np.float32)
