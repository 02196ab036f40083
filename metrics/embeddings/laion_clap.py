"""LAION-CLAP's audio tower: the embedding of the papers' `FAD_clap`.

Shapes: N audio samples, W windows, D embedding width.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from livejam.codecs.codec import codec_hash
from metrics.embeddings.embedding import PretrainedEmbedding, chunks_of, in_16_bits
from metrics.embeddings.foreign import load_tensors, module_inside, weights_file

SAMPLE_RATE_HZ = 48_000
CHUNK_SECONDS, HOP_SECONDS = 10, 1
PROTOCOL = f"48 kHz mono soxr 16 bits {CHUNK_SECONDS} s {HOP_SECONDS} s whole"
DIMENSION = 512
AT_ONCE = 4
"""Chunks that go through the network together."""

HTSAT_BASE = SimpleNamespace(
    audio_length=1024,
    clip_samples=CHUNK_SECONDS * SAMPLE_RATE_HZ,
    mel_bins=64,
    sample_rate=SAMPLE_RATE_HZ,
    window_size=1024,
    hop_size=480,
    fmin=50,
    fmax=14_000,
    class_num=527,
    model_type="HTSAT",
    model_name="base",
)
"""laion_clap's model_configs/HTSAT-base.json."""

TOWER = ("audio_branch.", "audio_projection.")
POSITION_IDS = "text_branch.embeddings.position_ids"
"""A buffer that newer versions of transformers do not have any more."""

OTHERS = ("text_branch.", "text_projection.", "text_transform.", "audio_transform.", "logit_scale_")
"""The parts of a CLAP checkpoint besides the audio tower."""


class AudioTower(nn.Module):
    """HTSAT-base and the projection into the space that CLAP shares with text; names as in CLAP's checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        htsat = module_inside("laion_clap", "clap_module", "htsat")
        self.audio_branch = htsat.create_htsat_model(HTSAT_BASE)
        width = self.audio_branch.num_features
        self.audio_projection = nn.Sequential(nn.Linear(width, DIMENSION), nn.ReLU(), nn.Linear(DIMENSION, DIMENSION))

    def forward(self, chunks_WN: Tensor) -> Tensor:
        """Embeddings_WD of length 1."""
        hidden = self.audio_branch({"waveform": chunks_WN}, device=chunks_WN.device)["embedding"]
        return nn.functional.normalize(self.audio_projection(hidden), dim=-1)


def tower_tensors(held: Any) -> Mapping[str, Tensor]:
    """The audio tower's tensors of a CLAP checkpoint.

    Only known tensors are left out: the text tower's `position_ids` and tensors, the heads and the scales. Tensors of
    unknown names are passed on, so that the network refuses them.
    """
    tensors: Mapping[str, Tensor] = held.get("state_dict", held)
    names = {name.removeprefix("module."): name for name in tensors}
    names.pop(POSITION_IDS, None)
    return {bare: tensors[name] for bare, name in names.items() if not bare.startswith(OTHERS)}


class LaionClap(PretrainedEmbedding):
    """512 numbers of length 1 per ten seconds at 48 kHz, a chunk beginning at every second that has ten to follow.

    Chunks, hop and the rounding to 16 bits are fadtk's, which also makes chunks of what is left at the end, padded with
    silence: of a segment of ten seconds nine in ten, and mostly padding. The checkpoint is
    `music_audioset_epoch_15_esc_90.14.pt`, of which only the audio tower is used; no tokenizer and no text weights are
    needed. On one core a chunk takes about a second: use a GPU.

    Args:
        weights: the checkpoint; None = where `livejam weights fetch clap_music` puts it.
        device: where the network runs.

    Raises:
        UserError: laion-clap is not installed, or the weights are missing or damaged.
    """

    name = "laion_clap"
    published = True
    sample_rate_hz = SAMPLE_RATE_HZ
    dimension = DIMENSION

    def __init__(self, weights: str | Path | None = None, device: str = "cpu") -> None:
        path = weights_file("clap_music", weights)
        self.tower = AudioTower()
        load_tensors(path, self.tower, tower_tensors)
        self._identity = f"{self.name} {codec_hash(self.tower)} {PROTOCOL}"
        self.tower.to(device)
        self.device = device

    def embedded(self, audio_N: Tensor) -> Tensor:
        """Embeddings_WD, one per whole chunk."""
        chunks_WN = chunks_of(in_16_bits(audio_N), CHUNK_SECONDS * SAMPLE_RATE_HZ, HOP_SECONDS * SAMPLE_RATE_HZ)
        embeddings = [self.tower(part_WN.to(self.device)).cpu() for part_WN in chunks_WN.split(AT_ONCE) if len(part_WN)]
        return torch.cat([torch.zeros(0, DIMENSION), *embeddings])
