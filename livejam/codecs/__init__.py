"""Audio codecs: the contract, the bundled strictly causal one, and adapters for published ones."""

from livejam.codecs.causal_codec import CausalCodec
from livejam.codecs.codec import Codec, codec_hash, codec_identity
from livejam.codecs.codicodec import CoDiCodec
from livejam.codecs.dac import DAC
from livejam.codecs.encodec import EnCodec
from livejam.codecs.mimi import Mimi
from livejam.codecs.music2latent import Music2Latent
from livejam.codecs.pretrained import load_codec, pretrained_codec, save_codec
from livejam.codecs.stable_audio_vae import StableAudioVAE
from livejam.codecs.windowed import WindowedCodec

__all__ = [
    "DAC",
    "CausalCodec",
    "CoDiCodec",
    "Codec",
    "EnCodec",
    "Mimi",
    "Music2Latent",
    "StableAudioVAE",
    "WindowedCodec",
    "codec_hash",
    "codec_identity",
    "load_codec",
    "pretrained_codec",
    "save_codec",
]
