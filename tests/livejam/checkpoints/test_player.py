"""Checkpoints of strangers: what they name is built only if it is one of livejam's own classes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from livejam.checkpoints.player import load_player
from livejam.codecs.pretrained import pretrained_codec
from livejam.errors import UserError


def checkpoint(folder: Path, codec: dict[str, Any]) -> Path:
    path = folder / "stranger.ckpt"
    config = {"model": {"init_args": {"codec": codec}}}
    spec, ones_C = pretrained_codec().spec, torch.ones(pretrained_codec().spec.latent_channels)
    facts = {"codec_spec": asdict(spec), "latents_hash": None, "latent_mean_C": 0 * ones_C, "latent_std_C": ones_C}
    torch.save({"state_dict": {}, "livejam": facts, "config": config}, path)
    return path


@pytest.mark.parametrize(
    "class_path", ["os.system", "livejam.codecs.save_codec", "livejam.codecs.pretrained.Path", "livejam.codecsx.Codec"]
)
def test_other_code_is_not_run(tmp_path: Path, class_path: str) -> None:
    target = tmp_path / "overwritten"
    codec = {"class_path": class_path, "init_args": {"codec": None, "path": str(target), "training": {}}}
    with pytest.raises(UserError, match="cannot be played here"):
        load_player(checkpoint(tmp_path, codec))
    assert not target.exists()


def test_a_codec_of_published_weights_asks_for_them(tmp_path: Path) -> None:
    """An alternative constructor is found, and says what is missing."""
    codec = {
        "class_path": "livejam.codecs.StableAudioVAE.from_weights",
        "init_args": {"weights": str(tmp_path / "nowhere")},
    }
    with pytest.raises(UserError, match="stable-audio-open"):
        load_player(checkpoint(tmp_path, codec))


@pytest.mark.parametrize(
    "class_path", ["livejam.codecs.NoSuchCodec", "livejam.codecs.nowhere.Codec", "livejam.codecs."]
)
def test_what_does_not_exist_is_one_sentence(tmp_path: Path, class_path: str) -> None:
    with pytest.raises(UserError, match=r"does not fit this version|cannot be played here"):
        load_player(checkpoint(tmp_path, {"class_path": class_path}))
