"""Guidance only away from what was trained, by whichever recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_dense_flow_matching import CONTEXT as DENSE_CONTEXT
from test_dense_flow_matching import make_module as make_dense
from toy_latents import CountingData, ToyCodec, make_batch, make_trainer
from toy_rollouts import BLOCK, CONTEXT, FRAMES, data, make_module, make_transformer, save_warm_start

from lightning_modules import ConsistencyDistillation
from livejam.errors import UserError
from livejam.networks import Unconditional
from livejam.networks.diffusion_conditions import Dropouts
from livejam.sampling import Euler, PingPong
from livejam.systems.context import RoutedContext

SHARES = st.floats(0, 1)
SIDES = (Unconditional(True, False), Unconditional(False, True), Unconditional(True, True))


@given(prompt=SHARES, mix=SHARES)
def test_every_window_lacks_prompt_or_mix_or_both_or_nothing(prompt: float, mix: float) -> None:
    shares = [Dropouts(prompt, mix).share(side.lacks, ("mix", "prompt")) for side in SIDES]
    assert sum(shares) == pytest.approx(1 - (1 - prompt) * (1 - mix))


@given(prompt=SHARES, mix=SHARES, together=SHARES)
def test_what_a_model_never_has_it_lacks_in_every_window(prompt: float, mix: float, together: float) -> None:
    both = SIDES[2].lacks
    dropouts = Dropouts(prompt, mix, together, together=(tuple(both),))
    assert dropouts.share(both, ()) == pytest.approx(1)
    assert dropouts.share(both, ("mix",)) == pytest.approx(together + (1 - together) * mix)
    assert dropouts.share(both, ("prompt",)) == pytest.approx(together + (1 - together) * prompt)


@pytest.mark.parametrize("side", SIDES, ids=str)
def test_the_dense_recipe_drops_what_is_dropped_in_playing(side: Unconditional) -> None:
    """As often as said, an item is told just what the unconditional side is told."""
    dropped = {"prompt_dropout": 0.1, "mix_dropout": 0.05, "unconditional_dropout": 0.3}
    module = make_dense(unconditional=side, mix_partial_dropout=0.0, **dropped)
    assert module.accompanist()._unconditional == side
    module._rng = torch.Generator().manual_seed(0)
    _, conditions = module._crop(make_batch(DENSE_CONTEXT + 2, 3000, seed=2))
    assert conditions.prompt_mask_BP is not None
    assert conditions.mix_mask_BT is not None
    asked_B, hears_B = conditions.prompt_mask_BP.any(1), conditions.mix_mask_BT.any(1)
    as_used_B = (asked_B != side.without_prompt) & (hears_B != side.without_mix)
    expected = module.dropouts.share(side.lacks, ("mix", "prompt"))
    assert float(as_used_B.float().mean()) == pytest.approx(expected, abs=0.03)


def test_every_side_of_different_weights_is_trained() -> None:
    """`unconditional_dropout` is spread over the sides that the sampler's weights ask for."""
    sampler = Euler(2, guidance={"mix": 2.0, "past": 3.0, "prompt": 3.0})
    dropped = {"prompt_dropout": 0.1, "mix_dropout": 0.05, "unconditional_dropout": 0.4}
    mode = RoutedContext(whole_dropout=0.2, partial_dropout=0.0)
    module = make_dense(sampler=sampler, context_mode=mode, mix_partial_dropout=0.0, **dropped)
    module._rng = torch.Generator().manual_seed(0)
    _, conditions = module._crop(make_batch(DENSE_CONTEXT + 2, 4000, seed=2))
    assert conditions.prompt_mask_BP is not None
    assert conditions.mix_mask_BT is not None
    assert conditions.context_BTC is not None
    has_B = conditions.prompt_mask_BP.any(1), conditions.mix_mask_BT.any(1), conditions.context_BTC.any(2).any(1)
    assert sampler.sides(frozenset()) == ({"past", "prompt"}, {"mix", "past", "prompt"})
    for side in sampler.sides(frozenset()):
        lacks = ("prompt" in side, "mix" in side, "past" in side)
        like_B = torch.stack([has != lack for has, lack in zip(has_B, lacks, strict=True)]).all(0)
        expected = module.dropouts.share(side, ("mix", "past", "prompt"))
        assert float(like_B.float().mean()) == pytest.approx(expected, abs=0.03)
        assert expected > 0.15
    module.require_trained_guidance("the sampler", sampler, module.dropouts)


def trained(path: Path, mask: dict[str, Any] | None, network: Any, **dropouts: float) -> str:
    """A checkpoint of FlowMatching that says how it was trained."""
    save_warm_start(path, network, mask, context_frames=CONTEXT, block_frames=BLOCK)
    checkpoint = torch.load(path, weights_only=True)
    checkpoint["config"]["model"]["init_args"] |= dropouts
    torch.save(checkpoint, path)
    return str(path)


def test_a_teacher_guides_only_away_from_what_it_was_trained_on(tmp_path: Path) -> None:
    network = make_transformer(context_frames=CONTEXT, block_frames=BLOCK)
    path = trained(tmp_path / "teacher.ckpt", None, network, prompt_dropout=0.1, mix_dropout=0.05)

    def distil(side: Unconditional, guidance: float) -> None:
        module = ConsistencyDistillation(
            network, ToyCodec(), RoutedContext(), PingPong(1), [0], None, path,
            teacher_guidance=guidance, unconditional=side, ema_decay=0.9,
        )  # fmt: skip
        make_trainer(tmp_path).fit(module, CountingData(1, CONTEXT + BLOCK))

    with pytest.raises(UserError, match=r"the teacher guides away from a model without prompt and mix, but 0.4 % of"):
        distil(Unconditional(True, True), 2.0)
    distil(Unconditional(True, True), 1.0)
    distil(Unconditional(True, False), 2.0)


def test_arc_forcing_plays_only_away_from_what_its_base_was_trained_on(tmp_path: Path) -> None:
    torch.manual_seed(7)
    mask = {
        "class_path": "livejam.networks.BlockCausal",
        "init_args": {"block_frames": BLOCK, "context_blocks": 2, "window_blocks": None},
    }
    for dropouts, refused in (({"prompt_dropout": 0.0}, True), ({"prompt_dropout": 0.1}, False)):
        module = make_module(sampler=PingPong(2, guidance=2.0), unconditional=Unconditional(True, False))
        module.base_checkpoint = trained(tmp_path / "base.ckpt", mask, module.generator, **dropouts)
        trainer = make_trainer(tmp_path)
        if refused:
            with pytest.raises(UserError, match=r"the sampler guides away from a model without prompt, but 0.0 % of"):
                trainer.fit(module, data(batches=1, frames=FRAMES))
        else:
            trainer.fit(module, data(batches=1, frames=FRAMES))


def test_what_arc_forcing_plays_knows_how_its_base_was_trained(tmp_path: Path) -> None:
    """Also where training goes on, and the base's file may be gone."""
    module = make_module(unconditional=Unconditional(True, False))
    mask = {"init_args": {"block_frames": BLOCK, "context_blocks": 2}, "class_path": "livejam.networks.BlockCausal"}
    base = trained(tmp_path / "base.ckpt", mask, module.generator, prompt_dropout=0.005)
    module.base_checkpoint = base
    trainer = make_trainer(tmp_path)
    trainer.fit(module, data(batches=1, frames=FRAMES))
    config = dict.fromkeys(("generator", "context_mode", "sampler", "play_cutoff_blocks", "unconditional"))
    settings = {"class_path": "lightning_modules.ARCForcing", "init_args": {**config, "cutoff_blocks": [-1]}}
    settings["init_args"]["unconditional"] = {"without_prompt": True, "without_mix": False}
    checkpoint = trainer._checkpoint_connector.dump_checkpoint() | {"config": {"model": settings}}
    module.on_save_checkpoint(checkpoint)
    assert checkpoint["livejam"]["player"]["init_args"]["dropouts"]["init_args"]["prompt_dropout"] == 0.005
    Path(base).unlink()
    resumed = make_module(unconditional=Unconditional(True, False))
    resumed.on_load_checkpoint(checkpoint)
    with pytest.raises(UserError, match=r"a weight of 2 guides away from a model without prompt, but 0\.4 % of"):
        resumed.accompanist().with_guidance(2.0)
