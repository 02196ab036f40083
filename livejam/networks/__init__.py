"""Networks of every system; none of them knows a codec or a trainer."""

from livejam.networks.causal_transformer import CausalTransformer, TransformerCache
from livejam.networks.sequence_discriminator import SequenceDiscriminator

__all__ = ["CausalTransformer", "SequenceDiscriminator", "TransformerCache"]
