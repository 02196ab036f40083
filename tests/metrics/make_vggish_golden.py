"""Writes golden/vggish.safetensors: what frechet-audio-distance makes of a random-weight hub cache.

Run it where that package and a clone of torchvggish are: `python make_vggish_golden.py CLONE`.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import torch
import vggish_case
from safetensors.torch import save_file

from metrics.embeddings.vggish import VGGishNetwork


def hub_cache(clone: Path, folder: Path) -> None:
    """Lay out what torch.hub would have fetched."""
    shutil.copytree(clone, folder / "harritaylor_torchvggish_master")
    (folder / "checkpoints").mkdir()
    shapes = {name: tensor.shape for name, tensor in VGGishNetwork().state_dict().items()}
    torch.save(vggish_case.weights(shapes), folder / "checkpoints" / "vggish-10086976.pth")
    pca = {"pca_eigen_vectors": torch.eye(128).numpy(), "pca_means": torch.zeros(128).numpy()}
    torch.save(pca, folder / "checkpoints" / "vggish_pca_params-970ea276.pth", pickle_protocol=4)


def main() -> None:
    """Through the package's own class, offline."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as name:
        hub_cache(Path(sys.argv[1]), Path(name))
        load = torch.load
        torch.load = lambda *args, **kwargs: load(*args, **{**kwargs, "weights_only": False})
        from frechet_audio_distance import FrechetAudioDistance

        package = FrechetAudioDistance(name, "vggish", sample_rate=16_000, use_pca=False, use_activation=False)
        audio_N = vggish_case.audio().numpy()
        embeddings_WD = torch.from_numpy(package.get_embeddings([audio_N], vggish_case.SAMPLE_RATE_HZ))
    save_file({"embeddings_WD": embeddings_WD}, Path(__file__).parent / "golden" / "vggish.safetensors")


if __name__ == "__main__":
    main()
