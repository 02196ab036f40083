"""The networks of all systems; they know neither codecs nor trainers."""

from livejam.networks.causal_transformer import CausalTransformer
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.conditioning import NumberConditioner, TagEncoder
from livejam.networks.diffusion_conditions import NOTHING_ASKED, DiffusionConditions, Unconditional
from livejam.networks.diffusion_masks import Bidirectional, BlockCausal, EncoderDecoder
from livejam.networks.diffusion_transformer import DiffusionTransformer
from livejam.networks.packed_linear import packed
from livejam.networks.reduced_linear import reduced
from livejam.networks.rollout_discriminator import RolloutDiscriminator, ScoreHead
from livejam.networks.sequence_discriminator import SequenceDiscriminator
from livejam.networks.t5_encoder import T5Encoder
from livejam.networks.transformer_cache import TransformerCache

__all__ = [
    "NOTHING_ASKED",
    "Bidirectional",
    "BlockCausal",
    "CausalTransformer",
    "ConditionedTransformer",
    "DiffusionConditions",
    "DiffusionTransformer",
    "EncoderDecoder",
    "NumberConditioner",
    "RolloutDiscriminator",
    "ScoreHead",
    "SequenceDiscriminator",
    "T5Encoder",
    "TagEncoder",
    "TransformerCache",
    "Unconditional",
    "packed",
    "reduced",
]
