"""Networks of every system; none of them knows a codec or a trainer."""

from livejam.networks.causal_transformer import CausalTransformer, TransformerCache
from livejam.networks.diffusion_conditions import DiffusionConditions
from livejam.networks.diffusion_masks import Bidirectional, BlockCausal, EncoderDecoder
from livejam.networks.diffusion_transformer import DiffusionTransformer
from livejam.networks.sequence_discriminator import SequenceDiscriminator

__all__ = [
    "Bidirectional",
    "BlockCausal",
    "CausalTransformer",
    "DiffusionConditions",
    "DiffusionTransformer",
    "EncoderDecoder",
    "SequenceDiscriminator",
    "TransformerCache",
]
