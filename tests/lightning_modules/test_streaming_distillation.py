"""Streaming distillation on toy codecs: whose past, whose noise, and whose gradient.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_latents import CHANNELS, CountingData, ToyCodec, make_batch, make_trainer, same
from toy_rollouts import BLOCK, CONTEXT, MASKS, awake, make_transformer, save_warm_start

from lightning_modules import StreamingDistillation
from lightning_modules.streaming_distillation import ComparedBlock
from livejam.accompanist import Controls, accompany
from livejam.errors import UserError
from livejam.networks import Unconditional
from livejam.objectives.streaming import StreamingObjective
from livejam.sampling import Euler, PingPong
from livejam.systems.context import DroppedContext, InpaintedContext, RoutedContext

MODES: dict[str, dict[str, Any]] = {
    "encoder_decoder": {"mask": MASKS["encoder_decoder"]},
    "block_causal": {"mask": MASKS["block_causal"]},
    "look-ahead": {"mask": None, "context_mode": InpaintedContext()},
    "dense passes": {
        "mask": MASKS["block_causal"],
        "context_mode": DroppedContext(),
        "cutoff_blocks": [0],
        "trained_blocks": None,
    },
}
BLOCK_BY_BLOCK = [mode for mode in MODES if mode != "dense passes"]
BLOCKS = 5
FRAMES = BLOCKS * BLOCK
STUDENT = ("generator", "ema_generator", "teacher")
SOUND = StreamingObjective(windows_samples=(64, 256))


def make_module(mode: str = "block_causal", **settings: Any) -> StreamingDistillation:
    torch.manual_seed(0)
    parts = MODES[mode] | settings
    generator = make_transformer(context_frames=CONTEXT, block_frames=BLOCK, mask=parts.pop("mask"))
    awake(generator)
    fast: dict[str, Any] = {
        "context_mode": RoutedContext(),
        "sampler": PingPong(1),
        "cutoff_blocks": [0, -1],
        "teacher_sampler": Euler(3),
        "objective": SOUND,
        "trained_blocks": 2,
        "allow_untrained": True,
        "optimizer": lambda p: torch.optim.AdamW(p, lr=1e-3),
        "ema_decay": 0.9,
    }
    return StreamingDistillation(generator, ToyCodec(), **(fast | parts))


def other_student(module: StreamingDistillation) -> StreamingDistillation:
    """A student that has gone its own way."""
    rng = torch.Generator().manual_seed(11)
    with torch.no_grad():
        for weight in module.generator.transformer.parameters():
            weight.add_(0.1 * torch.randn(weight.shape, generator=rng))
    return module


def played_along(module: StreamingDistillation, seed: int = 3) -> list[ComparedBlock]:
    """Some trained blocks, outside of a trainer."""
    module._rng, module._shared_rng = torch.Generator().manual_seed(seed), torch.Generator().manual_seed(seed)
    batch = make_batch(FRAMES, 4, seed=1)
    if module.trained_blocks is None:
        return module._in_dense_passes(batch)
    return module._rollout(batch, module.trained_blocks)


def data(batches: int = 4, **settings: Any) -> CountingData:
    return CountingData(batches, FRAMES, **settings)


@pytest.mark.parametrize("mode", MODES)
def test_the_student_learns_and_its_teacher_does_not(mode: str, tmp_path: Path) -> None:
    module = make_module(mode, teacher_sampler=Euler(3, guidance=2.0))
    before = {name: copy.deepcopy(getattr(module, name).state_dict()) for name in STUDENT}
    trainer = make_trainer(tmp_path)
    trainer.fit(module, data())
    assert [same(before[name], getattr(module, name).state_dict()) for name in STUDENT] == [False, False, True]
    encoders = [name for name in before["generator"] if name.startswith("prompt_encoder.")]
    assert encoders
    assert all(torch.equal(before["generator"][name], module.generator.state_dict()[name]) for name in encoders)
    names = ("loss", "loss/latent", "loss/temporal", "loss/spectral", "gradient_norm")
    assert all(math.isfinite(trainer.logged_metrics[f"train/{name}"]) for name in names)
    assert int(module.iteration) == 4


@pytest.mark.parametrize("students", [0.0, 1.0])
@pytest.mark.parametrize("mode", MODES)
def test_a_student_equal_to_a_teacher_of_one_step_has_nothing_to_learn(mode: str, students: float) -> None:
    module = make_module(mode, teacher_sampler=PingPong(1), student_context=students)
    for seed in range(4):
        for block in played_along(module, seed):
            torch.testing.assert_close(block.student_BTC, block.teacher_BTC, atol=1e-5, rtol=0)
            student_BAN, teacher_BAN = module._sound(block)
            assert module.objective.spectral_loss(student_BAN, teacher_BAN).item() == pytest.approx(0, abs=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_many_steps_are_something_to_learn(mode: str) -> None:
    compared = played_along(make_module(mode))
    assert len(compared) == (4 if mode == "dense passes" else 2)  # items, or blocks
    assert all((block.student_BTC - block.teacher_BTC).abs().max() > 1e-2 for block in compared)


@pytest.mark.parametrize("guidance", [1.0, 2.0])
@pytest.mark.parametrize("mode", BLOCK_BY_BLOCK)
def test_the_teacher_plays_on_the_students_past_as_if_it_had_played_it(mode: str, guidance: float) -> None:
    """From the same noise, with a cache that is the teacher's own: a teacher that hears the same and is told, block by
    block, what was played, without any cache, plays the same."""
    module = other_student(make_module(mode, teacher_sampler=Euler(3, guidance=guidance), cutoff_blocks=[0]))
    compared = played_along(module)
    assert not torch.allclose(compared[0].context_BTC[:, -BLOCK:], torch.zeros(()))
    torch.testing.assert_close(compared[1].context_BTC[:, -BLOCK:], compared[0].student_BTC)
    played_BTC = accompanied(module, module.generator, PingPong(1))
    teacher = module.playing(module.teacher, 0).with_sampler(module.teacher_sampler)
    states = module._silence(batch_of(module), (teacher, teacher))
    blocks, found = make_batch(FRAMES, 4, seed=1).mix.split(BLOCK, dim=1), []
    state = states[0]
    for index, block_BTC in enumerate(blocks):
        made_BTC, after = teacher.generate_block(block_BTC, state)
        found.append(made_BTC)
        told_BTC = played_BTC[:, : (index + 1) * BLOCK]
        past_BTC = torch.nn.functional.pad(told_BTC, (0, 0, CONTEXT, 0))[:, -CONTEXT:]
        state = replace(after, played_BTC=past_BTC)
    heard = first_of(module)
    for offset, block in enumerate(compared):
        torch.testing.assert_close(block.teacher_BTC, found[heard + offset], atol=1e-5, rtol=0)


def batch_of(module: StreamingDistillation, seed: int = 3) -> Any:
    """The batch of `played_along`, with the draws as they stand before the states are made."""
    module._rng = torch.Generator().manual_seed(seed)
    return make_batch(FRAMES, 4, seed=1)


def first_of(module: StreamingDistillation, seed: int = 3) -> int:
    """Where the trained blocks of `played_along` begin."""
    module._shared_rng = torch.Generator().manual_seed(seed)
    return module._shared_draw(BLOCKS - 2 + 1)


@torch.no_grad()
def accompanied(module: StreamingDistillation, generator: Any, sampler: Any) -> torch.Tensor:
    """What a model alone plays to the mixes of `played_along` (normalised)."""
    player = module.playing(generator, 0).with_sampler(sampler)
    state = module._silence(batch_of(module), (player, player))[0]
    played = []
    for block_BTC in make_batch(FRAMES, 4, seed=1).mix.split(BLOCK, dim=1):
        made_BTC, state = player.generate_block(block_BTC, state)
        played.append(made_BTC)
    return torch.cat(played, dim=1)


@pytest.mark.parametrize("students", [True, False])
@pytest.mark.parametrize("mode", BLOCK_BY_BLOCK)
def test_the_past_is_whose_it_is_said_to_be(mode: str, students: bool) -> None:
    """The student's past is what it plays as it is deployed, the teacher's what the teacher plays in all its steps."""
    module = other_student(make_module(mode, student_context=float(students), cutoff_blocks=[0]))
    whose = (module.generator, PingPong(1)) if students else (module.teacher, module.teacher_sampler)
    for seed in range(3, 6):
        compared = played_along(module, seed)
        module._rng = torch.Generator().manual_seed(seed)
        first = first_of(module, seed)
        player = module.playing(whose[0], 0).with_sampler(whose[1])
        with torch.no_grad():
            state = module._silence(make_batch(FRAMES, 4, seed=1), (player, player))[0]
            for number, block_BTC in enumerate(make_batch(FRAMES, 4, seed=1).mix.split(BLOCK, dim=1)):
                if 0 <= number - first < len(compared):
                    torch.testing.assert_close(
                        compared[number - first].context_BTC, state.played_BTC, atol=1e-5, rtol=0
                    )
                _, state = player.generate_block(block_BTC, state)


@pytest.mark.parametrize("mode", BLOCK_BY_BLOCK)
def test_gradients_reach_the_student_alone_and_no_earlier_block(mode: str) -> None:
    module = make_module(mode)
    first, second = played_along(module)
    assert not first.teacher_BTC.requires_grad
    assert not first.context_BTC.requires_grad
    assert not second.context_BTC.requires_grad
    reached = torch.autograd.grad(second.student_BTC.sum(), first.student_BTC, allow_unused=True, retain_graph=True)
    assert reached == (None,)
    losses = module.objective.latent_losses(second.student_BTC, second.teacher_BTC)
    losses["spectral"] = module.objective.spectral_loss(*module._sound(second))
    module.objective.total(losses).backward()
    moved = {name for name, weight in module.named_parameters() if weight.grad is not None and weight.grad.any()}
    assert moved
    assert {name.rpartition("generator.transformer.")[0] for name in moved} == {""}
    assert all(name.startswith("generator.transformer.") for name in moved)


@pytest.mark.parametrize("is_audio", [False, True])
def test_no_target_is_needed(is_audio: bool) -> None:
    """What the data say should have been played is not looked at."""
    module, batch = make_module(), make_batch(FRAMES, 4, seed=1, is_audio=is_audio)
    found = []
    for target in (batch.target, torch.full_like(batch.target, math.nan)):
        module._rng, module._shared_rng = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
        found.append(module._rollout(replace(batch, target=target), 2))
    for one, other in zip(*found, strict=True):
        assert torch.equal(one.student_BTC, other.student_BTC)
        assert torch.equal(one.teacher_BTC, other.teacher_BTC)


def test_dense_passes_hear_some_streams_from_their_beginning() -> None:
    module = make_module("dense passes", late_starts=0.5)
    module._rng = torch.Generator().manual_seed(3)
    heard_BT = module._heard(torch.zeros(64, FRAMES, CHANNELS))
    assert 0.3 < heard_BT.all(1).float().mean() < 0.8
    assert set((~heard_BT).sum(1).tolist()) == {0, 4, 8, 12, 16}
    assert torch.equal(heard_BT, heard_BT.cummax(1).values)


def test_sound_of_a_block_is_that_of_its_place_in_the_song() -> None:
    module = make_module()
    block = played_along(module)[1]
    student_BAN, teacher_BAN = module._sound(block)
    assert student_BAN.requires_grad
    assert not teacher_BAN.requires_grad
    past, samples = 4 * module.codec.spec.hop_samples, BLOCK * module.codec.spec.hop_samples
    assert student_BAN.shape == teacher_BAN.shape == (4, 1, past + samples)
    assert torch.equal(student_BAN[..., :past], teacher_BAN[..., :past])
    alone_BAN = module.codec.decode(module.statistics.denormalise(block.teacher_BTC))
    torch.testing.assert_close(teacher_BAN[..., past:], alone_BAN)


@pytest.mark.parametrize("mode", ["block_causal", "dense passes"])
def test_distillation_approaches_the_teacher(mode: str, tmp_path: Path) -> None:
    """In one step the student comes nearer to the teacher's many steps than the teacher itself does in one."""
    module = make_module(
        mode, objective=StreamingObjective(spectral_weight=0.0), optimizer=lambda p: torch.optim.Adam(p, lr=2e-3)
    )

    @torch.no_grad()
    def error() -> float:
        compared = [block for seed in range(20, 24) for block in played_along(module, seed)]
        errors = [(block.student_BTC - block.teacher_BTC).square().mean() for block in compared]
        return torch.stack(errors).mean().item()

    before = error()
    make_trainer(tmp_path).fit(module, data(batches=150))
    assert error() < 0.75 * before


def test_it_plays_as_it_was_trained(tmp_path: Path) -> None:
    """The averaged student, in one step, on its own past."""
    module = make_module(cutoff_blocks=[0])
    make_trainer(tmp_path).fit(module, data())
    assert module.accompanist().generator is module.ema_generator
    controls = Controls(torch.tensor([0, 1]), torch.tensor([1, 2]))
    with torch.no_grad():
        played_BTC = accompany(module.accompanist(), torch.randn(2, FRAMES, CHANNELS), controls, torch.zeros(CHANNELS))
    assert played_BTC.isfinite().all()
    with pytest.raises(UserError, match=r"2 guides away from a model without prompt and mix, but 0\.0 % of"):
        module.accompanist().with_guidance(2.0)


def test_it_starts_from_its_teacher(tmp_path: Path) -> None:
    teacher = make_transformer(context_frames=CONTEXT, block_frames=BLOCK, mask=MASKS["block_causal"])
    awake(teacher)
    mask = {"init_args": {"block_frames": BLOCK, "context_blocks": 2}, "class_path": "livejam.networks.BlockCausal"}
    save_warm_start(tmp_path / "teacher.ckpt", teacher, mask, std=2.0, context_frames=CONTEXT, block_frames=BLOCK)
    module = make_module(allow_untrained=False, teacher_checkpoint=str(tmp_path / "teacher.ckpt"))
    make_trainer(tmp_path).fit(module, data(batches=1))
    assert same(module.teacher.state_dict(), teacher.state_dict())
    assert [ancestor["recipe"] for ancestor in module.lineage] == ["Base", "FlowMatching"]
    assert torch.equal(module.latent_std_C, torch.full((CHANNELS,), 2.0))


def test_mistakes_are_named(tmp_path: Path) -> None:
    def start(**settings: Any) -> None:
        make_trainer(tmp_path).fit(make_module(**settings), data(batches=1))

    with pytest.raises(UserError, match="distillation needs a teacher: set teacher_checkpoint"):
        start(allow_untrained=False)
    with pytest.raises(UserError, match=r"choose the context_mode DroppedContext and cutoff_blocks \[0\]"):
        start(trained_blocks=None)
    with pytest.raises(UserError, match=r"has 5 blocks, fewer than trained_blocks 6; set .*crop_frames to 24 or more"):
        start(trained_blocks=6)
    teacher = make_transformer(context_frames=CONTEXT, block_frames=BLOCK, mask=MASKS["block_causal"])
    mask = {"init_args": {"block_frames": BLOCK, "context_blocks": 2}, "class_path": "livejam.networks.BlockCausal"}
    save_warm_start(tmp_path / "teacher.ckpt", teacher, mask, context_frames=CONTEXT, block_frames=BLOCK)
    guided = {"teacher_sampler": Euler(2, guidance=2.0), "unconditional": Unconditional(True, True)}
    with pytest.raises(UserError, match=r"the teacher guides away from a model without prompt and mix, but 0\.0 %"):
        start(teacher_checkpoint=str(tmp_path / "teacher.ckpt"), **guided)
