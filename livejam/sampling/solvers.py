"""Samplers as plain functions of a velocity v(x, t), for x_t = (1 - t) x_0 + t ε, so that v = ε - x_0.

Gradients flow through every call of the velocity where the caller has gradients switched on. Several samplers ask the
model twice per noise level, with and without its conditions, in one batched call: their velocity takes 2B rows, the
conditional ones first.

Shapes: B batch, T latent frames, C latent channels, K steps.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from livejam.sampling.noise import Noise

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x_BTC, t_B) → v_BTC."""


def clean_estimate(x_BTC: Tensor, time_B: Tensor, velocity_BTC: Tensor) -> Tensor:
    """x̂_0 = x_t - t v."""
    return x_BTC - time_B[:, None, None] * velocity_BTC


def guided(velocity: Velocity, weight: float) -> Velocity:
    """Classifier-free guidance, v_u + w (v_c - v_u), in one call of a velocity of 2B rows.

    Args:
        velocity: rows [0, B) conditional, rows [B, 2B) unconditional.
        weight: w; 1 gives v_c.
    """

    def guided_velocity(x_BTC: Tensor, time_B: Tensor) -> Tensor:
        conditional, unconditional = _both(velocity, x_BTC, time_B)
        return unconditional + weight * (conditional - unconditional)

    return guided_velocity


def euler(velocity: Velocity, times_K1: Tensor, noise: Noise) -> Tensor:
    """First order: x ← x + (t' - t) v."""
    x = noise(0)
    for _, now, following in _steps(times_K1):
        x = x + (following - now) * velocity(x, _time(x, now))
    return x


def heun(velocity: Velocity, times_K1: Tensor, noise: Noise) -> Tensor:
    """Second order, two calls per step: the mean of the velocities at both ends of the Euler step.

    The step to t = 0 is Euler's: no model is trained there, and one step of second order less does not change the
    order (Karras et al. 2022, algorithm 1).
    """
    x = noise(0)
    for _, now, following in _steps(times_K1):
        first = velocity(x, _time(x, now))
        ahead = x + (following - now) * first
        if following:
            first = (first + velocity(ahead, _time(x, following))) / 2
        x = x + (following - now) * first
    return x


def ping_pong(velocity: Velocity, times_K1: Tensor, noise: Noise) -> Tensor:
    """Estimate the clean latents, add fresh noise of the next level: x ← (1 - t') x̂_0 + t' ε'."""
    x = noise(0)
    for step, now, following in _steps(times_K1):
        time_B = _time(x, now)
        clean = clean_estimate(x, time_B, velocity(x, time_B))
        x = (1 - following) * clean + following * noise(step + 1) if following else clean
    return x


def euler_plus_plus(velocity: Velocity, weight: float, times_K1: Tensor, noise: Noise) -> Tensor:
    """CFG++ (Chung et al. 2024): guidance moves the estimate, the unconditional velocity renoises it.

    x ← (x - t v_w) + t' v_u, with v_w = v_u + w (v_c - v_u) and w in [0, 1].
    """
    x = noise(0)
    for _, now, following in _steps(times_K1):
        conditional, unconditional = _both(velocity, x, _time(x, now))
        steered = unconditional + weight * (conditional - unconditional)
        x = (x - now * steered) + following * unconditional
    return x


def ping_pong_plus_plus(velocity: Velocity, weight: float, times_K1: Tensor, noise: Noise) -> Tensor:
    """Ping-Pong++ (LMDM): x ← (x - t v_w) + t' (ε' - (x - t v_u)), with fresh noise ε'."""
    x = noise(0)
    for step, now, following in _steps(times_K1):
        time_B = _time(x, now)
        conditional, unconditional = _both(velocity, x, time_B)
        steered = unconditional + weight * (conditional - unconditional)
        clean = clean_estimate(x, time_B, steered)
        if following:
            clean = clean + following * (noise(step + 1) - clean_estimate(x, time_B, unconditional))
        x = clean
    return x


def _both(velocity: Velocity, x_BTC: Tensor, time_B: Tensor) -> tuple[Tensor, Tensor]:
    """Conditional and unconditional velocity from one call."""
    conditional, unconditional = velocity(torch.cat((x_BTC, x_BTC)), torch.cat((time_B, time_B))).chunk(2)
    return conditional, unconditional


def _time(x_BTC: Tensor, time: float) -> Tensor:
    return x_BTC.new_full((len(x_BTC),), time)


def _steps(times_K1: Tensor) -> Iterator[tuple[int, float, float]]:
    """Number, time and next time of every step."""
    return ((step, now, following) for step, (now, following) in enumerate(itertools.pairwise(times_K1.tolist())))
