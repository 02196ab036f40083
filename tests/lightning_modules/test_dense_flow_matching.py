"""Dense training of a Block-Causal model, on tiny latents."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_latents import CHANNELS, CountingData, ToyCodec, make_batch, make_trainer

from lightning_modules import DenseFlowMatching
from livejam.batch import AccompanimentOutput
from livejam.errors import UserError
from livejam.networks import BlockCausal, ConditionedTransformer, DiffusionTransformer, TagEncoder
from livejam.sampling import Euler
from livejam.systems.context import DroppedContext, InpaintedContext, RoutedContext, ShiftedContext

CONTEXT, BLOCK, TARGETS = 8, 2, 6


def make_module(**settings: Any) -> DenseFlowMatching:
    torch.manual_seed(0)
    mask = BlockCausal(BLOCK, CONTEXT // BLOCK)
    network = DiffusionTransformer(CHANNELS, 32, 2, 2, CONTEXT, BLOCK, prompt_width=8, mix_channels=CHANNELS, mask=mask)
    fast: dict[str, Any] = {
        "context_mode": RoutedContext(),
        "sampler": Euler(2),
        "cutoff_blocks": [0, 1],
        "optimizer": lambda p: torch.optim.AdamW(p, lr=1e-2),
        "ema_decay": 0.9,
    }
    return DenseFlowMatching(ConditionedTransformer(network, TagEncoder(8)), ToyCodec(), **(fast | settings))


def fit(module: DenseFlowMatching, root: Path, batches: int = 4, frames: int = CONTEXT + TARGETS * BLOCK) -> None:
    make_trainer(root).fit(module, CountingData(batches, frames=frames))


def test_it_trains_and_plays(tmp_path: Path) -> None:
    module = make_module()
    fit(module, tmp_path)
    assert int(module.iteration) == 4
    output = module.eval().validation_step(make_batch(40, 3, seed=7, is_audio=True), 0)
    assert isinstance(output, AccompanimentOutput)
    assert output.generated_BAN.isfinite().all()


def test_every_block_is_trained_at_its_own_noise_level(tmp_path: Path) -> None:
    module = make_module()
    fit(module, tmp_path)
    batch = make_batch(CONTEXT + TARGETS * BLOCK, 3, seed=1)
    loss_B, time_B = module.losses(batch)
    assert loss_B.shape == time_B.shape == (3 * TARGETS,)
    assert len(time_B.unique()) == 3 * TARGETS


def test_it_learns_what_the_mix_tells(tmp_path: Path) -> None:
    """The target is a function of the same frame of the mix, which is heard at cutoff +1."""
    module = make_module(cutoff_blocks=[1], mix_dropout=0.0, mix_partial_dropout=0.0, ema_decay=0.97)
    fit(module, tmp_path, batches=70)
    batch = make_batch(40, 4, seed=99, is_audio=True)
    with torch.no_grad():
        played, wanted = module.eval().validation_step(batch, 0).generated_BAN, batch.target
    error = (played - wanted).square().mean() / wanted.var()
    swapped = (played - wanted.roll(1, 0)).square().mean() / wanted.var()
    assert error < 0.5 < swapped


@pytest.mark.parametrize("lead", [1, 2])
def test_ahead_it_learns_from_later_targets(lead: int, tmp_path: Path) -> None:
    """The losses of a shifted context are those of cutoff 0, with the targets of so many blocks later."""
    frames, shift = CONTEXT + TARGETS * BLOCK, lead * BLOCK
    ahead, plain = (
        make_module(context_mode=mode, cutoff_blocks=[cutoff])
        for mode, cutoff in ((ShiftedContext(), -lead), (DroppedContext(), 0))
    )
    batch = make_batch(frames + shift, 3, seed=1)
    moved = replace(batch, mix=batch.mix[:, :frames], target=batch.target[:, shift:])
    fit(plain, tmp_path / "plain")
    fit(ahead, tmp_path / "ahead", frames=frames + shift)
    ahead.load_state_dict(plain.state_dict())
    for module in (ahead, plain):
        module.begin_iteration(0)
    found, expected = ahead.losses(batch)[0], plain.losses(moved)[0]
    assert found.shape == (3 * TARGETS,)
    assert torch.equal(found, expected)
    assert ahead.accompanist().anticipation_frames == (1 + lead) * BLOCK - 1


def test_ahead_it_plays_as_far_as_it_learnt() -> None:
    with pytest.raises(
        UserError, match=r"plays one of \[-1, 0\]; set cutoff_blocks and play_cutoff_blocks to the same"
    ):
        make_module(context_mode=ShiftedContext(), cutoff_blocks=[-1], play_cutoff_blocks=0)


def test_easy_horizons_come_first(tmp_path: Path) -> None:
    """At first all of a block is heard, then less and less at the least; after that what is played, and never else."""
    module = make_module(cutoff_blocks=[0], easy_iterations=10)
    fit(module, tmp_path)
    found = []
    for iteration in (0, 4, 9, 10, 99):
        module._done = iteration
        found.append(set(module._horizons(500).tolist()))
    assert found == [{2}, {1, 2}, {0, 1, 2}, {0}, {0}]
    plain = make_module()
    fit(plain, tmp_path / "plain")
    assert set(plain._horizons(500).tolist()) == {0, BLOCK}


@pytest.mark.parametrize(
    ("settings", "frames", "words"),
    [
        ({"context_mode": InpaintedContext()}, 20, "which is RoutedContext"),
        ({"cutoff_blocks": [0, -1]}, 20, "ShiftedContext for one below, or FlowMatching"),
        ({}, 21, "choose 8 plus a multiple of 2"),
        ({}, CONTEXT, "choose 8 plus a multiple of 2"),
    ],
)
def test_what_it_cannot_train_is_refused(settings: dict[str, Any], frames: int, words: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=words):
        fit(make_module(**settings), tmp_path, frames=frames)
