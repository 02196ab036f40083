"""ARC-Forcing on a toy codec: what must hold whatever the data."""

from __future__ import annotations

import copy
import dataclasses
import math
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch import Trainer
from torch import Tensor
from toy_latents import CHANNELS, make_batch, make_trainer, same
from toy_rollouts import BLOCK, BLOCKS, CONTEXT, FRAMES, MASKS, data, make_module, ready, weights

from callbacks import BlockClicks
from lightning_modules import ARCForcing
from lightning_modules.rollout_crop import RolloutCrop
from livejam.accompanist import Controls
from livejam.errors import UserError
from livejam.networks import Unconditional
from livejam.objectives.arc import arc_discriminator_loss, arc_generator_loss, contrastive_loss
from livejam.objectives.flow import interpolate
from livejam.systems.context import RoutedContext, ShiftedContext
from livejam.systems.lmdm import LMDMAccompanist
from livejam.systems.lmdm_state import LMDMState
from livejam.systems.rollout import RolloutSampler

EXPECTED = {
    "score/real",
    "score/fake",
    "gap",
    "gap/prompt",
    "loss/generator",
    "loss/relativistic",
    "loss/contrastive",
    "gradient_norm/generator",
    "gradient_norm/discriminator",
    "rollout_steps",
    "boundary_jump/real",
    "boundary_jump/rollout",
}


@pytest.mark.parametrize(
    ("mask", "settings"),
    [
        ("block_causal", {}),
        ("encoder_decoder", {"penalty_weight": 1.0, "accumulated_pieces": 2, "prompt_dropout": 0.5}),
    ],
)
def test_networks_are_trained_in_turns(tmp_path: Path, mask: str, settings: dict[str, Any]) -> None:
    class Turns(lightning.Callback):
        def on_train_batch_start(self, trainer: Trainer, module: ARCForcing, batch: Any, index: int) -> None:
            self.before = weights(module.generator), weights(module.discriminator)

        def on_train_batch_end(self, trainer: Trainer, module: ARCForcing, out: Any, batch: Any, index: int) -> None:
            after = weights(module.generator), weights(module.discriminator)
            moved = [not same(old, new) for old, new in zip(self.before, after, strict=True)]
            assert moved == [index % 2 == 0, index % 2 == 1]

    module = make_module(mask, ema_decay=0.9, **settings)
    trainer = make_trainer(tmp_path, callbacks=[Turns()])
    trainer.fit(module, data())
    assert int(module.iteration) == 4
    logged = {name.removeprefix("train/") for name in trainer.logged_metrics}
    assert logged == EXPECTED | ({"r1", "r2"} if settings else set())
    assert all(math.isfinite(value) for value in trainer.logged_metrics.values())
    assert module.ema_generator is not None
    assert not same(weights(module.ema_generator), weights(module.generator))


def test_the_losses_are_those_of_the_paper() -> None:
    """Outpainting from the rollout, the same noise, the same level and the rolled prompts."""
    module = make_module()
    crop = ready(module)
    with torch.no_grad():
        found = module._discriminator_loss(crop), module._generator_loss(ready(module))
        expected = [_by_hand(module, trains_generator) for trains_generator in (False, True)]
    assert found[0].item() == pytest.approx(expected[0].item(), rel=1e-5)
    assert found[1].item() == pytest.approx(expected[1].item(), rel=1e-5)


def _by_hand(module: ARCForcing, trains_generator: bool) -> Tensor:
    crop = ready(module)
    made_BTC = module._rollout(crop, differentiable=False)
    noise_BTC = torch.randn(4, FRAMES, CHANNELS, generator=module._rng)
    time_B = module.objective.judging_times.draw(4, module._rng)
    base = module.discriminator.base
    mix_BTC = module.statistics.normalise(crop.mix_BTC)

    def scores(music_BTC: Tensor, words: tuple[str, ...]) -> Tensor:
        conditions = base.conditions(base.prompt(words), FRAMES / 100, mix=(mix_BTC, torch.ones(4, FRAMES)))
        noisy_BTC = interpolate(torch.cat((crop.context_BTC, music_BTC), dim=1), noise_BTC, time_B)
        return module.discriminator(noisy_BTC, time_B, conditions, BLOCKS * BLOCK)

    real_BM, fake_BM = scores(crop.real_BTC, crop.words), scores(made_BTC, crop.words)
    if trains_generator:
        return arc_generator_loss(fake_BM, real_BM).mean()
    rolled_BM = scores(crop.real_BTC, (crop.words[-1], *crop.words[:-1]))
    return arc_discriminator_loss(real_BM, fake_BM).mean() + contrastive_loss(real_BM, rolled_BM).mean()


def test_contrastive_pairs_leave_the_batch_untouched() -> None:
    module = make_module()
    crop = ready(module)
    before, conditions = copy.deepcopy(crop), module._judge(crop).conditions
    assert conditions.prompt_BPD is not None
    prompts_BPD = conditions.prompt_BPD.clone()
    module._discriminator_loss(crop)
    rolled = conditions.roll_prompt(1)
    assert same(vars(before), vars(crop))
    assert torch.equal(conditions.prompt_BPD, prompts_BPD)
    assert torch.equal(rolled.prompt_BPD[1:], prompts_BPD[:-1])
    assert torch.equal(rolled.prompt_BPD[0], prompts_BPD[-1])
    assert rolled.mix_BTC is conditions.mix_BTC


@pytest.mark.parametrize("mask", MASKS)
def test_checkpointing_changes_no_gradient(mask: str) -> None:
    gradients = []
    for checkpointing in (False, True):
        module = make_module(mask, checkpointing=checkpointing)
        module._rollout(ready(module), differentiable=True).square().sum().backward()
        gradients.append({n: p.grad for n, p in module.generator.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        assert torch.allclose(gradient, gradients[1][name], rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("cutoff", [-2, -1, 0, 1])
def test_a_rollout_is_what_is_played_live(mask: str, cutoff: int) -> None:
    """The blocks are those that an accompanist plays after the same context, with as many steps."""
    module = make_module(mask, cutoff_blocks=[cutoff], schedule_steps=3, fewest_steps=2, most_steps=2)
    module.latent_mean_C.fill_(0.3)
    module.latent_std_C.copy_(torch.linspace(0.5, 2.0, CHANNELS))
    crop = ready(module)
    made_BTC = module._rollout(crop, differentiable=False)

    ready(module)
    seeds = torch.randint(1 << 62, (4,), generator=module._rng)
    player = module.playing(module.generator, cutoff).with_sampler(RolloutSampler(2, schedule_steps=3))
    heard = CONTEXT + (cutoff - 1) * BLOCK
    with torch.no_grad():
        state = player.init_state(4, Controls(crop.instrument_B, seeds, crop.words))
        context_BTC = module.statistics.denormalise(crop.context_BTC)
        mix_BTC = torch.cat((torch.zeros(4, max(0, -heard), CHANNELS), crop.mix_BTC), dim=1)
        state = player.primed(mix_BTC[:, : max(0, heard)], context_BTC, state)
        played = []
        for block in range(BLOCKS):
            start = max(0, heard) + block * BLOCK
            block_BTC, state = player.step(mix_BTC[:, start : start + BLOCK], state)
            played.append(module.statistics.normalise(block_BTC))
    assert torch.allclose(made_BTC, torch.cat(played, dim=1), atol=1e-4)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_dropped_context_is_dropped_for_the_generator_and_its_judge(share: float) -> None:
    """Both get the crop's context, which is silent where it is dropped; what is compared stays as it is."""
    crop = ready(make_module(context_mode=RoutedContext(whole_dropout=share, partial_dropout=0.0)))
    target_BTC = make_batch(FRAMES, 4, seed=1).target
    assert torch.allclose(crop.context_BTC, (1 - share) * target_BTC[:, :CONTEXT])
    assert torch.allclose(crop.real_BTC, target_BTC[:, CONTEXT:])


@pytest.mark.parametrize("dropped", [False, True])
def test_a_dropped_prompt_is_not_told(dropped: bool) -> None:
    module = make_module(prompt_dropout=float(dropped))
    crop = ready(module)
    made_BTC = module._rollout(crop, differentiable=False)
    ready(module)
    other = dataclasses.replace(crop, words=("warm organ", "loud trumpet", "strings", "bass"))
    assert torch.equal(made_BTC, module._rollout(other, differentiable=False)) == dropped


@pytest.mark.parametrize("sides", [(True, True), (True, False)])
def test_it_plays_away_from_what_the_fine_tuning_did(sides: tuple[bool, bool]) -> None:
    module = make_module(unconditional=Unconditional(*sides))
    assert module.accompanist()._unconditional == Unconditional(*sides)


def test_the_generators_rollout_has_gradient_and_the_context_has_none() -> None:
    module = make_module()
    crop = ready(module)
    context_BTC = crop.context_BTC.clone().requires_grad_()
    crop = RolloutCrop(context_BTC, crop.real_BTC, crop.mix_BTC, crop.instrument_B, crop.words)
    made_BTC = module._rollout(crop, differentiable=True)
    made_BTC.sum().backward()
    assert context_BTC.grad is None
    moved = [p for p in module.generator.transformer.parameters() if p.grad is not None]
    assert len(moved) > 10
    assert all(p.grad is None for p in module.generator.prompt_encoder.parameters())  # type: ignore[union-attr]


def copied(state: Any) -> Any:
    """The same numbers without their history."""
    if isinstance(state, Tensor):
        return state.detach().clone()
    if isinstance(state, tuple):
        return tuple(map(copied, state))
    if dataclasses.is_dataclass(state):
        return dataclasses.replace(state, **{name: copied(value) for name, value in vars(state).items()})
    return state


@pytest.mark.parametrize("mask", MASKS)
def test_gradient_of_a_rollout_is_the_sum_of_its_blocks_last_evaluations(
    mask: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each block alone, from a copy of the state before it, gives its share: no gradient comes through states."""
    module = make_module(mask)
    network = module.generator.transformer
    visits, generate_block = [], LMDMAccompanist.generate_block

    def recorded(player: LMDMAccompanist, mix_BTC: Tensor, state: LMDMState) -> tuple[Tensor, LMDMState]:
        visits.append((player, mix_BTC, copied(state)))
        return generate_block(player, mix_BTC, state)

    with monkeypatch.context() as patch:
        patch.setattr(LMDMAccompanist, "generate_block", recorded)
        whole_BTC = module._rollout(ready(module), differentiable=True)
    weight_BTC = torch.randn(whole_BTC.shape, generator=torch.Generator().manual_seed(9))
    whole = torch.autograd.grad((weight_BTC * whole_BTC).sum(), list(network.parameters()), allow_unused=True)
    shares: list[list[Tensor | None]] = []
    for (player, mix_BTC, state), weight, played in zip(
        visits, weight_BTC.split(BLOCK, dim=1), whole_BTC.split(BLOCK, dim=1), strict=True
    ):
        alone_BTC, _ = player.generate_block(mix_BTC, state)
        assert torch.allclose(alone_BTC, played, atol=1e-5)
        loss = (weight * alone_BTC).sum()
        shares.append(list(torch.autograd.grad(loss, list(network.parameters()), allow_unused=True)))
    for total, *parts in zip(whole, *shares, strict=True):
        given = [part for part in parts if part is not None]
        assert (total is None) == (not given)
        if total is not None:
            assert torch.allclose(total, torch.stack(given).sum(0), rtol=1e-4, atol=1e-4)


def test_the_generator_may_start_slower_than_its_judge(tmp_path: Path) -> None:
    rates = []

    class Rates(lightning.Callback):
        def on_train_batch_start(self, trainer: Trainer, module: ARCForcing, batch: Any, index: int) -> None:
            rates.append(tuple(optimizer.param_groups[0]["lr"] for optimizer in trainer.optimizers))

    make_trainer(tmp_path, callbacks=[Rates()]).fit(make_module(generator_warmup_iterations=6), data(batches=7))
    thirds = [rate * 3 / 1e-3 for rate, _ in rates[::2]]
    assert thirds == pytest.approx([1, 2, 3, 3])
    assert {rate for _, rate in rates} == {1e-3}


@pytest.mark.parametrize(("victim", "iteration"), [("generator", 0), ("discriminator", 1)])
def test_a_score_that_is_not_finite_stops_before_it_is_learnt(tmp_path: Path, victim: str, iteration: int) -> None:
    class Poison(lightning.Callback):
        def on_train_batch_start(self, trainer: Trainer, module: ARCForcing, batch: Any, index: int) -> None:
            if index == iteration:
                module.discriminator.head.register_forward_hook(lambda *_: _[-1] * math.nan)

    module = make_module()
    with pytest.raises(UserError, match=rf"diverged at iteration {iteration}: {victim} loss nan.*resume from"):
        make_trainer(tmp_path, callbacks=[Poison()]).fit(module, data())
    assert all(torch.isfinite(weight).all() for weight in module.parameters())


@pytest.mark.parametrize("name", ["level_weight", "spectral_weight"])
def test_sound_is_a_further_loss_of_the_generator_alone(name: str, tmp_path: Path) -> None:
    """Its weight times its part, on the same rollout; the judge hears nothing of it, and without it nothing changes."""
    plain, hearing = make_module(), make_module(**{name: 0.7})
    losses = [module._generator_loss(ready(module)) for module in (plain, hearing)]
    part = hearing._latest[f"loss/{name.removesuffix('_weight')}"]
    assert "loss/level" not in plain._latest
    assert part > 0
    torch.testing.assert_close(losses[1], losses[0] + 0.7 * part)
    losses[1].backward()
    assert any(weight.grad is not None and weight.grad.any() for weight in hearing.generator.transformer.parameters())
    assert all(weight.grad is None for weight in hearing.codec.parameters())
    judged = [module._discriminator_loss(ready(module)) for module in (plain, hearing)]
    assert torch.equal(*judged)
    make_trainer(tmp_path).fit(make_module(**{name: 0.7}), data())


def test_validation_listens_for_clicks(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, limit_val_batches=1, callbacks=[BlockClicks()])
    trainer.validate(make_module(codec="toy"), data())
    logged = trainer.logged_metrics
    assert all(math.isfinite(logged[f"val/block_click_db/{name}"]) for name in ("rollout", "real"))


def test_a_long_rollout_is_the_mix_over_and_over_and_what_is_played_to_it() -> None:
    from callbacks import LongRollout

    module, batch = make_module().eval(), make_batch(24, 2, seed=7, is_audio=True)
    mix_AN, played_AN = LongRollout(seconds=0.5).played(module, batch.mix[:1], batch.instrument_B[:1])
    samples = 13 * BLOCK * module.codec.spec.hop_samples  # 13 blocks of 40 ms
    assert mix_AN.shape == played_AN.shape == (1, samples)
    assert torch.equal(mix_AN[0, : batch.mix.shape[-1]], batch.mix[0, 0])
    assert torch.equal(mix_AN[0, batch.mix.shape[-1] :][:64], batch.mix[0, 0, :64])
    assert played_AN[:, -BLOCK * module.codec.spec.hop_samples :].abs().max() > 0


def test_a_past_that_is_never_given_is_refused() -> None:
    with pytest.raises(UserError, match="trains a model on its own past, which ShiftedContext never gives it"):
        make_module("block_causal", context_mode=ShiftedContext(), cutoff_blocks=[-1])
