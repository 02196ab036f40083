"""LiveBand's recipe that also learns to hear the beat: what learns when, and that playing has no part of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch import Trainer
from test_r3gan import FRAMES, data, frame_codec, make_batch, make_module
from toy_latents import CountingData, CountingLoader, make_trainer, same

from lightning_modules import R3GAN
from lightning_modules.beat_listening import BeatListening
from livejam.batch import AccompanimentBatch
from livejam.errors import UserError

LAST = "generator.project_out."


def with_beats(batch: AccompanimentBatch) -> AccompanimentBatch:
    """A beat of eight frames that the mix says aloud: its first two channels are the hand, one frame before."""
    frames = batch.mix.shape[1]
    beat_BT = (torch.arange(frames) + torch.arange(len(batch))[:, None]) / 8
    mix = batch.mix.clone()
    mix[..., 0], mix[..., 1] = (2 * torch.pi * beat_BT).cos(), (2 * torch.pi * beat_BT).sin()
    return replace(batch, mix=mix, beat_BT=beat_BT)


class BeatLoader(CountingLoader):
    def __iter__(self) -> Iterator[AccompanimentBatch]:
        for batch in super().__iter__():
            yield with_beats(batch)


class BeatData(CountingData):
    def train_dataloader(self) -> BeatLoader:
        return BeatLoader(self, self.trainer.global_rank)


def beat_data(batches: int = 8) -> BeatData:
    return BeatData(batches, FRAMES + 2, codec=frame_codec())


def listening(lead: int = 0, **settings: Any) -> R3GAN:
    module = make_module(**settings)  # the weights are those of a module that does not listen
    return make_module(beat=BeatListening(module.generator.norm.width, 3.0, lead), **settings)


class Keep(lightning.Callback):
    """The weights before every iteration."""

    def __init__(self) -> None:
        self.states: list[dict[str, Any]] = []

    def on_train_batch_start(self, trainer: Trainer, module: R3GAN, batch: Any, index: int) -> None:
        self.states.append({name: value.clone() for name, value in module.state_dict().items()})


def test_in_the_lead_the_generator_learns_to_hear_and_nothing_else_learns(tmp_path: Path) -> None:
    keep, module = Keep(), listening(lead=5, warmup_iterations=0)
    make_trainer(tmp_path, callbacks=[keep]).fit(module, beat_data())
    before, after, end = keep.states[0], keep.states[5], module.state_dict()
    learnt = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert not {name for name in learnt if name.startswith(("discriminator.", LAST)) or name == "penalty_weight"}
    assert {"beat.project.weight", "generator.project_in.weight", "generator.norm.modulation.weight"} <= learnt
    for name in ("discriminator.project_in", f"{LAST}weight", "beat.project.weight"):
        assert not torch.equal(end[name], after[name]), name


def test_it_learns_to_hear(tmp_path: Path) -> None:
    adam = lambda p: torch.optim.Adam(p, lr=1e-2)  # noqa: E731
    module = listening(lead=200, warmup_iterations=0, generator_optimizer=adam)
    make_trainer(tmp_path).fit(module, beat_data(200))
    assert module._latest["beat_heard"] > 0.95


def test_the_gradient_reaches_all_of_the_generator_but_its_last_map() -> None:
    module, batch = listening(), with_beats(make_batch(FRAMES + 2, 4, seed=1))
    module._rng, module._hidden = torch.Generator(), module.generator.hidden
    crop = module._crop(batch)
    module._beat_loss(crop, module._generate(crop)[1]).backward()
    reached = {name for name, value in module.named_parameters() if value.grad is not None and value.grad.any()}
    parts = {name.split(".")[0] for name in reached}
    assert parts == {"generator", "beat"}
    missing = {name for name, _ in module.named_parameters() if name.startswith("generator.")} - reached
    assert missing == {f"{LAST}weight", f"{LAST}bias"}


def test_the_beats_are_those_of_the_frames_that_are_played() -> None:
    module, batch = listening(anticipations=5), with_beats(make_batch(FRAMES + 5, 4, seed=1))
    module._rng = torch.Generator()
    crop = module._crop(batch)
    for item, frames in enumerate(crop.anticipation_B.tolist()):
        assert torch.equal(crop.beat_BT[item], batch.beat_BT[item, 1 + frames : 1 + frames + FRAMES])


@pytest.mark.parametrize("lead", [0, 5])
def test_a_run_that_goes_on_equals_one_without_a_break(tmp_path: Path, lead: int) -> None:
    whole, halves = listening(lead), [listening(lead) for _ in "ab"]
    make_trainer(tmp_path / "whole", max_epochs=2).fit(whole, beat_data(4))
    first = make_trainer(tmp_path / "first")
    first.fit(halves[0], beat_data(4))
    first.save_checkpoint(tmp_path / "half.ckpt")
    make_trainer(tmp_path / "second", max_epochs=2).fit(halves[1], beat_data(4), ckpt_path=tmp_path / "half.ckpt")
    assert same(halves[1].state_dict(), whole.state_dict())


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"beat.width is 8, but the generator's width is 16"):
        make_module(beat=BeatListening(8))
    with pytest.raises(UserError, match=r"discriminator_lead.*set one of them to 0"):
        make_module(beat=BeatListening(16, lead=3), discriminator_lead=3)
    for wrong in ({"weight": -1.0}, {"lead": -1}):
        with pytest.raises(UserError, match=r"beat.weight and beat.lead are 0 or more"):
            BeatListening(16, **wrong)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"set data.init_args.beats to true"):
        make_trainer(tmp_path).fit(make_module(beat=BeatListening(16)), data())
