"""Checkpoints of version 0.1 play: their configurations are as they were written then."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from livejam.accompanist import Controls, accompany
from livejam.checkpoints.aliases import renamed
from livejam.checkpoints.player import OWN, Builder, load_player
from livejam.codecs import pretrained_codec
from livejam.errors import UserError

OLDER = sorted((Path(__file__).parent / "older").glob("*.json"))


def older_checkpoint(configuration: Path, folder: Path) -> Path:
    """A checkpoint with a configuration of then, and random weights."""
    model = json.loads(configuration.read_text(encoding="utf-8"))["model"]
    generator = Builder(OWN)(renamed(model)["init_args"]["generator"])
    codec, zeros_C = pretrained_codec(), torch.zeros(96)
    weights = {f"generator.{name}": weight for name, weight in generator.state_dict().items()}
    weights |= {f"codec.{name}": weight for name, weight in codec.state_dict().items()}
    facts = {"codec_spec": codec.spec.to_dict(), "latents_hash": codec.latents_hash, "latent_mean_C": zeros_C}
    facts |= {"latent_std_C": zeros_C + 1, "lineage": []}
    path = folder / "older.ckpt"
    torch.save({"state_dict": weights | {"silence_C": zeros_C}, "livejam": facts, "config": {"model": model}}, path)
    return path


@pytest.mark.parametrize("configuration", OLDER, ids=lambda path: path.stem)
def test_an_older_checkpoint_plays(configuration: Path, tmp_path: Path) -> None:
    player = load_player(older_checkpoint(configuration, tmp_path))
    frames = 2 * player.accompanist.block_frames
    with torch.inference_mode():
        controls = Controls(torch.tensor([4]), torch.tensor([1]))
        played_BTC = accompany(player.accompanist, torch.randn(1, frames, 96), controls, player.silence_C)
    assert played_BTC.shape == (1, frames, 96)
    assert played_BTC.isfinite().all()


def test_guidance_is_refused_by_what_a_configuration_of_then_says(tmp_path: Path) -> None:
    """Independent dropouts of .1, .05 and .2 left .4 % of windows with a past; ARC-Forcing's base is not known."""
    played = {}
    for configuration in OLDER:
        played[configuration.stem] = load_player(older_checkpoint(configuration, tmp_path)).accompanist
    for recipe in ("FlowMatching", "ConsistencyDistillation"):
        with pytest.raises(UserError, match=r"a weight of 2 guides away .* without prompt and mix, but 0\.[45] % of"):
            played[recipe].with_guidance(2.0)
        played[recipe].with_guidance(1.0)
    played["ARCForcing"].with_guidance(2.0)


def test_numbers_of_arc_forcing_find_their_parts() -> None:
    old: dict[str, Any] = {"rollout_blocks": 3, "fewest_steps": 2, "penalty_weight": 30.0, "seed": 1}
    new = renamed({"class_path": "lightning_modules.ARCForcing", "init_args": old})["init_args"]
    assert new == {"seed": 1, "rollout": {"blocks": 3, "fewest_steps": 2}, "objective": {"penalty_weight": 30.0}}


def test_what_is_of_today_stays_as_it_is() -> None:
    for configuration in OLDER:
        model = renamed(json.loads(configuration.read_text(encoding="utf-8")))
        assert renamed(model) == model
    other = {"class_path": "my.Recipe", "init_args": {"penalty_weight": 1.0}, "past": [{"jam_channels": 3}]}
    assert renamed(other) == other
