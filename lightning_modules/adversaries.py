"""What R3GAN's two networks have in common: the data of an iteration, and sizes that must agree.

Shapes: B batch, T latent frames, C latent channels, E channels of a reference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from lightning import LightningDataModule
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_modules.beat_listening import NO_BEATS
from livejam.batch import NULL_CATEGORY, AccompanimentBatch
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.networks import CausalTransformer, SequenceDiscriminator
from livejam.reference import ReferenceTraining

COLLAPSED_SPREAD = 0.1
"""There is a warning when the spread of generated sequences is less than this share of the real ones'."""

NO_REFERENCES = (
    "this recipe learns to sound like references, but the data have none; set data.init_args.reference to "
    "model.init_args.reference.analysis, and read a bank (data.init_args.mode)"
)


@dataclass(frozen=True)
class TrainingCrop:
    """The data of one iteration; all latents are normalised.

    The generator hears frames [0, T) of the crop, and its output sounds in frames [1 + δ, T + 1 + δ): there lie
    the mix and the real target that the discriminator judges. Every item has its own δ where the networks are told it.
    `reference_BE` is what both are told of the target's sound, with zeros where it is hidden from both. `beat_BT` says
    where the judged frames lie between the song's beats, where the recipe learns to hear them.
    """

    anticipation_B: Tensor
    mix_BTC: Tensor
    judged_mix_BTC: Tensor
    real_BTC: Tensor
    generator_instrument_B: Tensor
    discriminator_instrument_B: Tensor
    reference_BE: Tensor | None
    beat_BT: Tensor | None


def ahead(latents_BTC: Tensor, anticipation_B: Tensor, frames: int) -> Tensor:
    """Frames 1 + δ to 1 + δ + `frames` of every row."""
    offset_B1 = 1 + anticipation_B[:, None]
    index_BT = offset_B1 + torch.arange(frames, device=latents_BTC.device)
    return latents_BTC.gather(1, index_BT[..., None].expand(-1, -1, latents_BTC.shape[-1]))


def beats_ahead(batch: AccompanimentBatch, anticipation_B: Tensor, frames: int) -> Tensor:
    """Where the frames that are played, as of `ahead`, lie between the beats.

    Raises:
        UserError: the batch holds no beats.
    """
    if batch.beat_BT is None:
        raise UserError(NO_BEATS)
    return ahead(batch.beat_BT[..., None], anticipation_B, frames)[..., 0]


def told_references(batch: AccompanimentBatch) -> Tensor:
    """The embeddings (B, E) of the references of a batch.

    Raises:
        UserError: the batch holds none.
    """
    if batch.reference_BE is None:
        raise UserError(NO_REFERENCES)
    return batch.reference_BE


def standardise_references(
    networks: Sequence[CausalTransformer | SequenceDiscriminator | None], data: LightningDataModule | None
) -> None:
    """Take the statistics of references from the data; a checkpoint's own ones replace them afterwards.

    Raises:
        UserError: the data have none.
    """
    statistics = getattr(data, "reference_statistics", None)
    if statistics is None:
        raise UserError(NO_REFERENCES)
    for network in networks:
        if network is not None and network.reference_features is not None:
            network.reference_features.standardise_by(*statistics)


def require_match(
    generator: CausalTransformer,
    discriminator: SequenceDiscriminator,
    codec: Codec,
    reference: ReferenceTraining | None,
) -> None:
    """Refuse networks that do not go with the codec and the references, or with each other.

    Raises:
        UserError: names the option, and what it must be.
    """
    channels = 0 if reference is None else reference.analysis.channels
    for name, network in (("generator", generator), ("discriminator", discriminator)):
        _require_fit(name, network, codec)
        if network.reference_channels != channels:
            raise UserError(
                f"the {name}'s reference_channels is {network.reference_channels}, but the recipe's reference has "
                f"{channels} (0 = there is none); make them equal"
            )
    if generator.window_frames % discriminator.frame_multiple:
        raise UserError(
            f"the generator's window_frames ({generator.window_frames}) must be a multiple of "
            f"{discriminator.frame_multiple}, because the discriminator halves the frames at each further level"
        )
    if generator.anticipations != discriminator.anticipations:
        raise UserError(
            f"the generator's anticipations ({generator.anticipations}) and the discriminator's "
            f"({discriminator.anticipations}) must be equal: both are told how far ahead an item is played"
        )


def _require_fit(name: str, network: CausalTransformer | SequenceDiscriminator, codec: Codec) -> None:
    """Refuse a network for latents of another codec, or for too few instruments.

    Raises:
        UserError: names the option of the network, and what it must be.
    """
    wanted = codec.spec.latent_channels
    if network.latent_channels != wanted:
        raise UserError(
            f"the {name}'s latent_channels is {network.latent_channels}, but codec {codec.spec.name} has {wanted}; "
            "make them equal"
        )
    if network.classes <= NULL_CATEGORY:
        raise UserError(
            f"the {name}'s classes is {network.classes}; it must be {NULL_CATEGORY + 1} or more, one per instrument "
            "and one for none asked for"
        )


def relative_spread(real_BTC: Tensor, fake_BTC: Tensor) -> Tensor:
    """The spread of generated sequences over a batch, relative to that of the real ones; 0 = collapsed."""
    return fake_BTC.detach().float().std(dim=0).mean() / real_BTC.std(dim=0).mean()


class CollapseAlarm:
    """Warns once per collapse."""

    def __init__(self) -> None:
        self._alarmed = False

    def __call__(self, spread: Tensor) -> None:
        """Look at a spread, which waits for the device."""
        collapsed = bool(spread < COLLAPSED_SPREAD)
        if collapsed and not self._alarmed:
            rank_zero_warn(
                f"the generator has collapsed: its outputs vary {spread.item():.3f} times as much as real ones"
            )
        self._alarmed = collapsed
