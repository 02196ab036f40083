"""Writes golden/cocola_reference.safetensors with the reference implementation; not a test.

  PYTHONPATH=cocola-stem-gen/src:EfficientNet-PyTorch:tests/metrics python tests/metrics/make_cocola_golden.py

with github.com/maswang32/cocola-stem-gen at 6ada048 (the fork whose `score` hears the parts) and
github.com/lukemelas/EfficientNet-PyTorch 0.7.1, and librosa 0.11.0.
"""

from __future__ import annotations

from pathlib import Path

import torch
from cocola_case import seeded_pairs, seeded_weights
from contrastive_model.constants import EmbeddingMode
from contrastive_model.contrastive_model import CoCola
from feature_extraction.feature_extraction import CoColaFeatureExtractor
from safetensors.torch import save_file

GOLDEN = Path(__file__).parent / "golden" / "cocola_reference.safetensors"
MODES = {"full": EmbeddingMode.BOTH, "harmonic": EmbeddingMode.HARMONIC, "percussive": EmbeddingMode.PERCUSSIVE}

if __name__ == "__main__":
    model = CoCola().eval()
    model.load_state_dict(seeded_weights(model.state_dict()))
    mix, stem = (CoColaFeatureExtractor()(audio_BN[:, None]) for audio_BN in seeded_pairs())
    tensors = {"mix_levels": mix[..., ::5], "stem_levels": stem[..., ::5]}
    with torch.no_grad():
        tensors["mix_embedding"] = model.tanh(model.layer_norm(model.encoder(mix)))
        for part, mode in MODES.items():
            model.set_embedding_mode(mode)
            # the fork masks a copy of its own: `score` concatenates first
            tensors[f"score_{part}"] = model.score(mix, stem)
    shapes = {f"shape {name}": torch.tensor(tensor.shape) for name, tensor in model.state_dict().items()}
    save_file({name: tensor.contiguous() for name, tensor in (tensors | shapes).items()}, str(GOLDEN))
