"""Embeddings of short windows of audio, which a Fréchet distance compares.

An embedding is a class with one method; a new one is a new class. `LogMel` needs nothing; the others need weights,
which `livejam weights fetch` downloads, and never use the network themselves.
"""

from livejam.embedding import Embedding
from metrics.embeddings.encodec import EnCodec
from metrics.embeddings.laion_clap import LaionClap
from metrics.embeddings.log_mel import LogMel
from metrics.embeddings.pann import Pann
from metrics.embeddings.vggish import VGGish

__all__ = ["Embedding", "EnCodec", "LaionClap", "LogMel", "Pann", "VGGish"]
