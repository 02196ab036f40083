"""Training recipes: one file each, and the `lightning` command."""

from lightning_modules.arc_forcing import ARCForcing
from lightning_modules.codec_training import CodecTraining
from lightning_modules.consistency_distillation import ConsistencyDistillation
from lightning_modules.flow_matching import FlowMatching
from lightning_modules.latent_encoding import LatentEncoding
from lightning_modules.r3gan import R3GAN

__all__ = ["R3GAN", "ARCForcing", "CodecTraining", "ConsistencyDistillation", "FlowMatching", "LatentEncoding"]
