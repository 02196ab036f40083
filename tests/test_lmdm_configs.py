"""LMDM's shipped settings: what guidance guides away from, and the times of the paper's discriminator."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import REPOSITORY, effective, experiments, relative
from jsonargparse import ArgumentParser
from torch.distributions import Normal

from livejam.objectives.flow import TimeDistribution

PAPER_SIZE = (
    "blockcausal_sao_small",
    "encdec_sao_small",
    "sketch_sao_small",
    "arc_forcing_discriminator_warmup",
    "arc_forcing_jam_blockcausal",
    "arc_forcing_text_blockcausal",
    "arc_forcing_text_encdec",
)


def settings_of(config: Path) -> dict[str, Any]:
    settings: dict[str, Any] = effective(config)["model"]["init_args"]
    return settings


def guides(settings: dict[str, Any]) -> bool:
    sampler = (settings.get("sampler") or {}).get("init_args") or {}
    return sampler.get("guidance", 1.0) != 1 or settings.get("teacher_guidance", 1.0) != 1


@pytest.mark.parametrize("config", [path for path in experiments() if guides(settings_of(path))], ids=relative)
def test_what_is_dropped_is_named(config: Path) -> None:
    settings = settings_of(config)
    named = {"without_prompt", "without_mix"} <= settings["unconditional"].keys()
    assert named, "and the sketch, where it is dropped"


@pytest.mark.parametrize("name", PAPER_SIZE)
def test_the_papers_size_drops_the_prompt_alone(name: str) -> None:
    """As the public code does: the null prompt beside the very same added inputs, mix and context."""
    settings = settings_of(REPOSITORY / f"configs/lmdm/{name}.yaml")
    assert settings["unconditional"] == {"without_prompt": True, "without_mix": False}
    assert settings["prompt_dropout"] > 0 or not guides(settings), "which is what trains it"


def test_the_discriminators_base_is_trained_at_shifted_times() -> None:
    """The public code's arithmetic: truncated logistic normal, flipped, then shifted by the length of the sequence."""
    settings = settings_of(REPOSITORY / "configs/lmdm/arc_forcing_discriminator_warmup.yaml")
    parser = ArgumentParser()
    parser.add_subclass_arguments(TimeDistribution, "times")
    times = parser.instantiate_classes(parser.parse_object({"times": settings["times"]})).times
    found_B = times.draw(4000, torch.Generator().manual_seed(0))

    share_B = torch.rand(4000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    normal, cut = Normal(0.0, 1.0), torch.tensor(0.075, dtype=torch.float64)
    below = normal.cdf(torch.logit(cut))
    level_B = torch.sigmoid(normal.icdf(below + (1 - below) * share_B))
    t_B = 1 - (level_B - cut) / (1 - cut)
    mu = -(0.5 + (1.15 - 0.5) * (768 - 256) / (4096 - 256))
    expected_B = 1 - math.exp(mu) / (math.exp(mu) + (1 / (1 - t_B) - 1))
    assert torch.allclose(found_B, expected_B.float(), atol=1e-5)
    network = settings["generator"]["init_args"]["transformer"]["init_args"]
    assert settings["times"]["init_args"]["frames"] == network["block_frames"] == 768
