"""Sampling: schedules, noise and samplers of flow-matching models."""

from livejam.noise import Noise, generator_noise, row_noise
from livejam.sampling.karras import KarrasSchedule, noise_times
from livejam.sampling.samplers import (
    Euler,
    EulerPlusPlus,
    Heun,
    PingPong,
    PingPongPlusPlus,
    Sampler,
    Velocity,
    clean_estimate,
    euler,
    euler_plus_plus,
    guided,
    heun,
    heun_step,
    ping_pong,
    ping_pong_plus_plus,
)
from livejam.sampling.schedules import (
    EarlyExits,
    LogSNRSchedule,
    Schedule,
    ShiftedSchedule,
    UniformSchedule,
    length_shift,
)

__all__ = [
    "EarlyExits",
    "Euler",
    "EulerPlusPlus",
    "Heun",
    "KarrasSchedule",
    "LogSNRSchedule",
    "Noise",
    "PingPong",
    "PingPongPlusPlus",
    "Sampler",
    "Schedule",
    "ShiftedSchedule",
    "UniformSchedule",
    "Velocity",
    "clean_estimate",
    "euler",
    "euler_plus_plus",
    "generator_noise",
    "guided",
    "heun",
    "heun_step",
    "length_shift",
    "noise_times",
    "ping_pong",
    "ping_pong_plus_plus",
    "row_noise",
]
