"""Audio codecs: the contract, and the bundled strictly causal one."""

from livejam.codecs.causal_codec import CausalCodec
from livejam.codecs.codec import Codec, codec_hash
from livejam.codecs.pretrained import load_codec, pretrained_codec, save_codec

__all__ = ["CausalCodec", "Codec", "codec_hash", "load_codec", "pretrained_codec", "save_codec"]
