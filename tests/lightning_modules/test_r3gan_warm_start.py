"""A LiveBand that begins with a trained one: it plays the same, and goes on from there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_r3gan import FRAMES, data, frame_codec, make_batch, make_module
from torch import Tensor
from toy_latents import ToyCodec, make_trainer, same

from lightning_modules import R3GAN
from livejam.errors import UserError


@pytest.fixture
def base(tmp_path: Path) -> tuple[R3GAN, str]:
    module, trainer = make_module(), make_trainer(tmp_path / "base")
    trainer.fit(module, data(batches=3))
    path = tmp_path / "base.ckpt"
    trainer.save_checkpoint(path)
    return module, str(path)


def played(module: R3GAN, anticipation: int) -> Tensor:
    batch = make_batch(FRAMES, 3, seed=5)
    noise_BTZ = torch.randn(3, FRAMES, 4, generator=torch.Generator().manual_seed(1))
    return module.playing_generator(noise_BTZ, batch.mix, batch.instrument_B, torch.full((3,), anticipation))


@pytest.mark.parametrize("known", [0, 3])
def test_it_begins_as_its_base_at_every_anticipation(base: tuple[R3GAN, str], known: int) -> None:
    trained, path = base
    warm = make_module(base_checkpoint=path, anticipations=known)
    for anticipation in range(max(1, known)):
        assert torch.equal(played(warm, anticipation), played(trained, 1))
    assert [entry["iteration"] for entry in warm.lineage] == [3]


def test_the_generator_waits_for_the_discriminator(base: tuple[R3GAN, str], tmp_path: Path) -> None:
    _, path = base

    def after(batches: int) -> R3GAN:
        module = make_module(base_checkpoint=path, anticipations=3, discriminator_lead=4, warmup_iterations=0)
        make_trainer(tmp_path / f"run{batches}").fit(module, data(batches=batches, frames=FRAMES + 3))
        return module

    untouched, waiting, playing = make_module(base_checkpoint=path, anticipations=3), after(4), after(5)
    assert same(dict(waiting.generator.state_dict()), dict(untouched.generator.state_dict()))
    assert same(dict(waiting.playing_generator.state_dict()), dict(untouched.generator.state_dict()))
    assert not same(dict(waiting.discriminator.state_dict()), dict(untouched.discriminator.state_dict()))
    assert not same(dict(playing.generator.state_dict()), dict(untouched.generator.state_dict()))


def test_the_base_brings_its_normalisation_to_resumed_runs_too(base: tuple[R3GAN, str], tmp_path: Path) -> None:
    _, path = base
    saved = torch.load(path, weights_only=True)
    saved["livejam"]["latent_mean_C"] += 0.5
    torch.save(saved, path)
    settings: dict[str, Any] = {"base_checkpoint": path, "anticipations": 3}
    whole, halves = make_module(**settings), [make_module(**settings) for _ in range(2)]
    latents = data(batches=3, frames=FRAMES + 3)
    make_trainer(tmp_path / "whole", max_epochs=2).fit(whole, latents)
    assert torch.equal(whole.latent_mean_C, saved["livejam"]["latent_mean_C"])
    stopped = make_trainer(tmp_path / "first")
    stopped.fit(halves[0], latents)
    stopped.save_checkpoint(tmp_path / "half.ckpt")
    make_trainer(tmp_path / "second", max_epochs=2).fit(halves[1], latents, ckpt_path=tmp_path / "half.ckpt")
    assert same(dict(halves[1].state_dict()), dict(whole.state_dict()))


def test_a_base_that_does_not_fit_is_refused(base: tuple[R3GAN, str], tmp_path: Path) -> None:
    _, path = base
    with pytest.raises(UserError, match=r"does not fit this generator.*set width"):
        make_module(width=8, base_checkpoint=path)
    with pytest.raises(UserError, match=r"use different codecs.*hop_samples"):
        make_module(codec=ToyCodec("frame", channels=6, samples=3), base_checkpoint=path)
    with pytest.raises(UserError, match="there is no checkpoint"):
        make_module(base_checkpoint=str(tmp_path / "none.ckpt"), codec=frame_codec())
