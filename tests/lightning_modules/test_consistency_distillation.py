"""Consistency distillation on a toy codec."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_latents import CHANNELS, CountingData, ToyCodec, make_batch, make_trainer, same
from toy_rollouts import BLOCK, CONTEXT, awake, make_transformer, save_warm_start

from lightning_modules import ConsistencyDistillation
from lightning_modules.consistency_distillation import estimate
from livejam.accompanist import Controls, accompany
from livejam.errors import UserError
from livejam.networks import Unconditional
from livejam.objectives.consistency import KarrasTimes
from livejam.sampling import KarrasSchedule, PingPong
from livejam.systems.context import InpaintedContext, RoutedContext

FRAMES = CONTEXT + BLOCK
STUDENT = ("generator", "ema_generator", "teacher")


def make_module(**settings: Any) -> ConsistencyDistillation:
    torch.manual_seed(0)
    generator = make_transformer(context_frames=CONTEXT, block_frames=BLOCK)
    awake(generator)
    fast: dict[str, Any] = {
        "context_mode": InpaintedContext(),
        "sampler": PingPong(steps=2, schedule=KarrasSchedule()),
        "cutoff_blocks": [0, -1],
        "allow_untrained": True,
        "karras_times": KarrasTimes(number=5),
        "optimizer": lambda p: torch.optim.RAdam(p, lr=1e-3),
        "ema_decay": 0.9,
    }
    return ConsistencyDistillation(generator, ToyCodec(), **(fast | settings))


def data(batches: int = 4, **settings: Any) -> CountingData:
    return CountingData(batches, FRAMES, **settings)


@pytest.mark.parametrize("settings", [{}, {"context_mode": RoutedContext(), "teacher_guidance": 2.0}])
def test_the_student_learns_and_its_teacher_does_not(tmp_path: Path, settings: dict[str, Any]) -> None:
    module = make_module(**settings)
    before = {name: copy.deepcopy(getattr(module, name).state_dict()) for name in STUDENT}
    trainer = make_trainer(tmp_path)
    trainer.fit(module, data())
    assert [same(before[name], getattr(module, name).state_dict()) for name in STUDENT] == [False, False, True]
    encoders = [name for name in before["generator"] if name.startswith("prompt_encoder.")]
    assert encoders
    assert all(torch.equal(before["generator"][name], module.generator.state_dict()[name]) for name in encoders)
    logged = trainer.logged_metrics
    names = ("loss", "loss/consistency", "loss/denoising", "teacher_steps", "gradient_norm")
    assert all(math.isfinite(logged[f"train/{name}"]) for name in names)
    assert int(module.iteration) == 4


@pytest.mark.parametrize("sides", [(True, True), (True, False), (False, True)])
def test_the_teacher_is_guided_away_from_what_is_said(sides: tuple[bool, bool]) -> None:
    """v_u + w (v_c - v_u), each from a call of its own."""
    unconditional = Unconditional(*sides)
    module = make_module(teacher_guidance=2.0, unconditional=unconditional)
    assert module.accompanist()._unconditional == unconditional
    module._rng = torch.Generator().manual_seed(1)
    window, time_B = module._window(make_batch(FRAMES, 4, seed=1)), torch.rand(4)
    x_BTC = torch.randn(window.clean_BTC.shape, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        found_BTC = module._teacher_velocity(window.conditions)(x_BTC, time_B)
        told_BTC = module.teacher.transformer(x_BTC, time_B, window.conditions)
        other_BTC = module.teacher.transformer(x_BTC, time_B, unconditional.of(window.conditions))
    assert not torch.allclose(told_BTC, other_BTC, atol=1e-3)
    assert torch.allclose(found_BTC, other_BTC + 2 * (told_BTC - other_BTC), atol=1e-4)


def test_a_perfect_student_has_no_consistency_loss() -> None:
    """Where velocities do not depend on place and time, all curves are straight and one step goes all the way."""
    module = make_module()
    for network in (module.generator, module.teacher, module.ema_generator):
        assert network is not None
        transformer = network.transformer
        with torch.no_grad():
            transformer.after.linear.weight.zero_()
            transformer.project_out.weight.zero_()
    module._rng, module._shared_rng = (torch.Generator().manual_seed(1) for _ in range(2))
    module.log = lambda *_: None  # type: ignore[method-assign, assignment]
    window = module._window(make_batch(FRAMES, 4, seed=1))
    for _ in range(4):
        loss = module._consistency(window.clean_BTC, window.target_BT, window.conditions)
        assert loss.item() == pytest.approx(0, abs=1e-10)
    assert torch.equal(
        estimate(module.generator, window.clean_BTC, torch.zeros(4), window.conditions), window.clean_BTC
    )


def test_distillation_approaches_the_teacher(tmp_path: Path) -> None:
    """In one step the student comes nearer to where the teacher's many steps end than the teacher does in one."""
    module = make_module(optimizer=lambda p: torch.optim.Adam(p, lr=2e-3), denoising_weight=0.0)
    module._rng = torch.Generator().manual_seed(1)
    window = module._window(make_batch(FRAMES, 8, seed=99))
    noise_BTC = torch.randn(window.clean_BTC.shape, generator=torch.Generator().manual_seed(5))
    one_B = torch.ones(8)

    @torch.no_grad()
    def error() -> float:
        from livejam.objectives.consistency import solve

        times = [torch.full((8,), float(t)) for t in torch.linspace(1, 0, 17)]
        end_BTC = solve(module._teacher_velocity(window.conditions), noise_BTC, times)
        made_BTC = estimate(module.generator, noise_BTC, one_B, window.conditions)
        return float((made_BTC - end_BTC).square().mean())

    before = error()
    make_trainer(tmp_path).fit(module, data(batches=40))
    assert error() < 0.7 * before


def test_known_frames_are_imposed_at_every_step() -> None:
    """Multistep sampling plays on from what was played: the past it saw carried the noise of each level."""
    module = make_module()
    seen: list[tuple[float, torch.Tensor]] = []
    assert module.ema_generator is not None
    module.ema_generator.transformer.register_forward_pre_hook(lambda _, inputs: seen.append((inputs[1][0], inputs[0])))
    mix_BTC = make_batch(CONTEXT + 2 * BLOCK, 2, seed=3).mix
    player = module.accompanist()
    with torch.no_grad():
        state = player.init_state(2, Controls(torch.tensor([1, 2]), torch.tensor([3, 4])))
        state = player.primed(mix_BTC[:, :CONTEXT], mix_BTC[:, :CONTEXT] + 1, state)
        player.step(mix_BTC[:, CONTEXT : CONTEXT + BLOCK], state)
    past_BTC = module.statistics.normalise(mix_BTC[:, :CONTEXT] + 1)
    (first, noise_BTC), (second, x_BTC) = seen
    assert (float(first), float(second)) == pytest.approx((1.0, KarrasSchedule().times(2)[1].item()))
    fresh_BTC = (x_BTC[:, :CONTEXT] - (1 - second) * past_BTC) / second
    assert fresh_BTC.std().item() == pytest.approx(1, abs=0.3)
    assert not torch.allclose(fresh_BTC, noise_BTC[:, :CONTEXT], atol=0.1)


def test_it_plays_and_validates(tmp_path: Path) -> None:
    module = make_module()
    mix_BTC = make_batch(4 * BLOCK, 2, seed=3).mix
    with torch.no_grad():
        played = accompany(
            module.accompanist(), mix_BTC, Controls(torch.tensor([1, 2]), torch.tensor([3, 4])), torch.zeros(CHANNELS)
        )
    assert played.shape == mix_BTC.shape
    assert torch.isfinite(played).all()
    make_trainer(tmp_path, limit_val_batches=1).validate(module, data())


def test_the_average_moves_once_per_step_of_the_optimiser(tmp_path: Path) -> None:
    module = make_module(ema_decay=0.5)
    trainer = make_trainer(tmp_path, accumulate_grad_batches=4)
    start = copy.deepcopy(module.generator.state_dict())
    trainer.fit(module, data())
    assert trainer.global_step == 1
    assert module.ema_generator is not None
    for name, value in module.ema_generator.transformer.named_parameters():
        old, new = start[f"transformer.{name}"], module.generator.state_dict()[f"transformer.{name}"]
        decay = min(0.5, 4 / 13)  # of the fourth iteration
        assert torch.allclose(value, torch.lerp(old, new, 1 - decay), atol=1e-6), name


def test_it_starts_from_its_teacher(tmp_path: Path) -> None:
    torch.manual_seed(8)
    teacher = make_transformer(context_frames=CONTEXT, block_frames=BLOCK)
    save_warm_start(tmp_path / "teacher.ckpt", teacher, None, context_frames=CONTEXT, block_frames=BLOCK)
    module = make_module(
        allow_untrained=False,
        teacher_checkpoint=str(tmp_path / "teacher.ckpt"),
        optimizer=lambda p: torch.optim.SGD(p, lr=0.0),
    )
    make_trainer(tmp_path).fit(module, data(batches=1))
    for name in STUDENT:
        assert same(dict(teacher.state_dict()), dict(getattr(module, name).state_dict())), name
    assert [training["recipe"] for training in module.lineage] == ["Base", "FlowMatching"]


def test_without_a_teacher_it_does_not_start(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"set teacher_checkpoint .* or allow_untrained"):
        make_trainer(tmp_path).fit(make_module(allow_untrained=False), data())
