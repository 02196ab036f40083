"""The linear code of the causal codec: whitened principal components of its features.

Shapes: T latent frames, C latent channels, X features per frame.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from livejam.codecs.causal_codec import CausalCodec
from livejam.codecs.features import LOW_FRAMES
from livejam.codecs.pitch_grid import LOW_PITCHES
from livejam.errors import UserError

SPARE_DIRECTIONS = 16
"""How many more principal components are computed than kept."""


def require_enough_frames(codec: CausalCodec, frames: int) -> None:
    """Refuse to fit a code with more channels than the frames can determine.

    Raises:
        UserError: names the least number of frames.
    """
    least = codec.spec.latent_channels + SPARE_DIRECTIONS
    if frames < least:
        raise UserError(f"code_frames is {frames}; a code of {codec.spec.latent_channels} channels needs {least}")


@torch.no_grad()
def fit_linear_code(codec: CausalCodec, features_TX: Tensor, low_band_weight: float) -> None:
    """Set encoder and linear decoder base to whitened principal components of features.

    Args:
        codec: the codec whose `projection` and `decoder.base` are set.
        features_TX: features, with more frames than latent channels.
        low_band_weight: weight of the low-band maps against the spectra.
    """
    per_channel = torch.ones(codec.features.channels)
    per_channel[-LOW_FRAMES * LOW_PITCHES :] = low_band_weight
    weight_X = per_channel.repeat(features_TX.shape[1] // codec.features.channels).to(features_TX)
    mean_X = features_TX.mean(0)
    channels = codec.spec.latent_channels
    centred_TX = (features_TX - mean_X) * weight_X
    _, singular_C, basis_XC = torch.svd_lowrank(centred_TX, q=channels + SPARE_DIRECTIONS, niter=3)
    std_C = (singular_C[:channels] / math.sqrt(len(features_TX))).clamp_min(1e-6)
    basis_XC = basis_XC[:, :channels]
    encoder_CX = (basis_XC / std_C).T * weight_X
    codec.projection.weight.copy_(encoder_CX)
    codec.projection.bias.copy_(-encoder_CX @ mean_X)
    codec.decoder.base.weight.copy_(codec.heard_channels((basis_XC * std_C / weight_X[:, None]).T).T)
    codec.decoder.base.bias.copy_(codec.heard_channels(mean_X))
