"""Regularity of latents, which makes them easy to generate. Shapes: B batch, T latent frames, C latent channels."""

from __future__ import annotations

from torch import Tensor


def divergence_from_normal(latents_BTC: Tensor) -> Tensor:
    """z² / 2 per latent and sample: the divergence KL(N(z, σ²) ‖ N(0, 1)) without the part that depends on σ only.

    The noise on the latents has a fixed σ, so only this part has a gradient (Kingma and Welling 2013, appendix B).
    """
    return 0.5 * latents_BTC.square().flatten(1).mean(1)


def smoothness(latents_BTC: Tensor) -> Tensor:
    """Correlation of latents of zero mean with those of the next frame, over all channels, per sample."""
    now_BTC, next_BTC = latents_BTC[:, :-1], latents_BTC[:, 1:]
    energy_B = (now_BTC.square().flatten(1).sum(1) * next_BTC.square().flatten(1).sum(1)).sqrt()
    return (now_BTC * next_BTC).flatten(1).sum(1) / (energy_B + 1e-9)
