"""What ARC-Forcing starts from, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from toy_latents import CHANNELS, make_trainer, same
from toy_rollouts import BLOCK, CONTEXT, FRAMES, MASKS, data, make_module, make_transformer, save_warm_start, weights

from lightning_modules import ARCForcing
from livejam.checkpoints.description import describe
from livejam.errors import UserError
from livejam.sampling import PingPong

BLOCK_CAUSAL = {
    "class_path": "livejam.networks.BlockCausal",
    "init_args": {"block_frames": BLOCK, "context_blocks": 2, "window_blocks": None},
}


def make_stages(folder: Path, **changes: Any) -> dict[str, str]:
    """Checkpoints of a fine-tuned generator and of a base, with weights of their own."""
    torch.manual_seed(77)
    fine_tuned = make_transformer(context_frames=CONTEXT, block_frames=BLOCK, mask=MASKS["block_causal"])
    window = {"context_frames": CONTEXT, "block_frames": BLOCK, "mask": BLOCK_CAUSAL} | changes
    mask, std = window.pop("mask"), window.pop("std", 1.0)
    save_warm_start(folder / "stage1.ckpt", fine_tuned, mask, std, **window)
    base = make_transformer(context_frames=0, block_frames=FRAMES)
    save_warm_start(folder / "base.ckpt", base, None, context_frames=0, block_frames=FRAMES)
    return {
        "base_checkpoint": str(folder / "stage1.ckpt"),
        "discriminator_checkpoint": str(folder / "base.ckpt"),
    }


def test_it_starts_from_trained_networks_and_says_so(tmp_path: Path) -> None:
    paths = make_stages(tmp_path)
    module = make_module(allow_untrained=False, ema_decay=0.9, **paths)
    still = lambda p: torch.optim.SGD(p, lr=0.0)  # noqa: E731
    module.generator_optimizer = module.discriminator_optimizer = still
    trainer = make_trainer(tmp_path)
    trainer.fit(module, data(batches=2, std=3.0))
    assert torch.equal(module.latent_std_C, torch.ones(CHANNELS)), "of stage 1, not of the data"
    for path, network in (
        ("base_checkpoint", module.generator),
        ("discriminator_checkpoint", module.discriminator.base),
    ):
        saved = torch.load(paths[path], weights_only=True)["state_dict"]
        for name, value in network.state_dict().items():
            assert torch.equal(value, saved[f"generator.{name}"]), name
    assert module.ema_generator is not None
    assert same(weights(module.ema_generator), weights(module.generator))
    trainer.save_checkpoint(tmp_path / "arc.ckpt")
    told = describe(tmp_path / "arc.ckpt")
    assert "Base 9 → FlowMatching (BlockCausal) 40 → " in told


def fit(tmp_path: Path, module: ARCForcing, **settings: Any) -> None:
    make_trainer(tmp_path).fit(module, data(batches=1, **settings))


def test_it_does_not_start_from_nothing(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set base_checkpoint and discriminator_checkpoint .* or allow_untrained"):
        fit(tmp_path, make_module(allow_untrained=False))
    with pytest.raises(UserError, match=r"there is no checkpoint .*missing\.ckpt"):
        fit(tmp_path, make_module(base_checkpoint=str(tmp_path / "missing.ckpt")))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context_frames": 12}, "was trained with context_frames 12, this model has 8"),
        ({"block_frames": 2}, "was trained with block_frames 2, this model has 4"),
        ({"mask": None}, "was trained with mask Bidirectional, this model has BlockCausal"),
        (
            {"mask": {**BLOCK_CAUSAL, "init_args": {"block_frames": BLOCK, "context_blocks": 2, "window_blocks": 3}}},
            "was trained with mask.window_blocks 3, this model has None",
        ),
    ],
)
def test_another_warm_start_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        fit(tmp_path, make_module(**make_stages(tmp_path, **changes)))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    stages = make_stages(tmp_path)
    with pytest.raises(UserError, match="name: 'toy' != 'other'"):
        fit(tmp_path, make_module(codec="other", **stages))
    with pytest.raises(UserError, match="latent_std_C of the checkpoint differs"):
        fit(tmp_path, make_module(**make_stages(tmp_path, std=2.0)))
    with pytest.raises(UserError, match="crop_frames to 20"):
        fit(tmp_path, make_module(), frames=FRAMES - 1)
    with pytest.raises(UserError, match="contrastive pairs take two items"):
        fit(tmp_path, make_module(accumulated_pieces=3), size=4)
    with pytest.raises(UserError, match="fewest_steps is 5"):
        make_module(fewest_steps=5)
    with pytest.raises(UserError, match="cutoff_blocks is 2"):
        make_module(cutoff_blocks=[2])


def test_it_warns_of_levels_that_are_played_but_never_trained(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match=r"no rollout trains the noise levels 0.993, .* plays in 8 steps; set rollout"):
        fit(tmp_path, make_module(schedule_steps=4, most_steps=3, sampler=PingPong(steps=8)))
