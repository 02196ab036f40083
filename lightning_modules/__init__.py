"""Training recipes: one file each, the `lightning` command, and the logger of its runs."""

from lightning_modules.arc_forcing import ARCForcing
from lightning_modules.beat_listening import BeatListening
from lightning_modules.codec_training import CodecTraining
from lightning_modules.consistency_distillation import ConsistencyDistillation
from lightning_modules.dense_flow_matching import DenseFlowMatching
from lightning_modules.flow_matching import FlowMatching
from lightning_modules.fully_sharded import FullyShardedStrategy
from lightning_modules.latent_encoding import LatentEncoding
from lightning_modules.r3gan import R3GAN
from lightning_modules.run_logger import RunLogger
from lightning_modules.streaming_distillation import StreamingDistillation

__all__ = [
    "R3GAN",
    "ARCForcing",
    "BeatListening",
    "CodecTraining",
    "ConsistencyDistillation",
    "DenseFlowMatching",
    "FlowMatching",
    "FullyShardedStrategy",
    "LatentEncoding",
    "RunLogger",
    "StreamingDistillation",
]
