"""LiveBand's recipe with references: both networks are told, none is none, and the checkpoint says how they come."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_r3gan import FRAMES, data, frame_codec, make_batch
from torch import Tensor
from toy_latents import CountingData, make_trainer, same

from lightning_modules import R3GAN
from livejam.batch import AccompanimentBatch
from livejam.embedding import Embedding
from livejam.errors import UserError
from livejam.networks import CausalTransformer, SequenceDiscriminator
from livejam.reference import ReferenceAnalysis, ReferenceTraining


class Five(Embedding):
    """Five numbers."""

    name = identity = "five"
    dimension = 5

    def __call__(self, audio_N: Tensor, sample_rate_hz: int) -> Tensor:
        return audio_N[:5][None]


ANALYSIS = ReferenceAnalysis(Five())


class ReferenceData(CountingData):
    """Latents whose level a reference tells."""

    reference_statistics = torch.full((5,), 0.2), torch.full((5,), 2.0)

    def train_dataloader(self) -> Any:
        batches = [with_references(batch) for batch in super().train_dataloader()]
        return torch.utils.data.DataLoader(batches, batch_size=None)


def with_references(batch: AccompanimentBatch) -> AccompanimentBatch:
    return replace(batch, reference_BE=torch.randn(len(batch), 5, generator=torch.Generator().manual_seed(3)))


def make_module(reference: ReferenceTraining | None = None, channels: int = 5, **settings: Any) -> R3GAN:
    torch.manual_seed(0)
    generator = CausalTransformer(6, 4, 16, 2, 2, window_frames=FRAMES, class_channels=8, reference_channels=channels)
    judge = SequenceDiscriminator(
        6, 16, levels=3, blocks_per_level=1, groups=4, residual_gain=0.3, reference_channels=channels
    )
    fast: dict[str, Any] = {"warmup_iterations": 0, "penalty_every": 3, "ema_decay": 0.9}
    return R3GAN(generator, judge, frame_codec(), reference=reference, **(fast | settings))


def fitted(tmp_path: Path, module: R3GAN, batches: int = 6) -> R3GAN:
    make_trainer(tmp_path).fit(module, ReferenceData(batches, FRAMES + 2, codec=frame_codec()))
    return module


def untrained_input(module: R3GAN) -> bool:
    return not module.generator.project_reference.weight.any()


def test_both_networks_learn_from_references(tmp_path: Path) -> None:
    module = fitted(tmp_path, make_module(ReferenceTraining(ANALYSIS, dropout=0.2, mismatch_weight=1.0)))
    assert not untrained_input(module)
    assert all(block.reference_scale.weight.any() for block in module.discriminator.blocks)
    for network in (module.generator, module.ema_generator, module.discriminator):
        assert torch.equal(network.reference_features.mean_E, torch.full((5,), 0.2))
        assert torch.equal(network.reference_features.deviation_E, torch.full((5,), 2.0))


def test_references_that_are_always_left_out_teach_nothing(tmp_path: Path) -> None:
    module = fitted(tmp_path, make_module(ReferenceTraining(ANALYSIS, dropout=1.0, mismatch_weight=1.0)))
    assert untrained_input(module)
    assert not any(block.reference_scale.weight.any() for block in module.discriminator.blocks)


def test_the_recipe_without_is_as_it_was(tmp_path: Path) -> None:
    """Batches may hold references that nobody asked for."""
    plain, other = make_module(channels=0), make_module(channels=0)
    make_trainer(tmp_path / "a").fit(plain, data(batches=6))
    make_trainer(tmp_path / "b").fit(other, ReferenceData(6, FRAMES + 2, codec=frame_codec()))
    assert same(dict(plain.state_dict()), dict(other.state_dict()))


def test_it_begins_with_a_model_without(tmp_path: Path) -> None:
    trainer, plain = make_trainer(tmp_path), make_module(channels=0)
    trainer.fit(plain, data(batches=3))
    trainer.save_checkpoint(tmp_path / "plain.ckpt")
    warm = make_module(ReferenceTraining(ANALYSIS), base_checkpoint=str(tmp_path / "plain.ckpt"))
    batch = with_references(make_batch(FRAMES, 3, seed=5))
    noise_BTZ = torch.randn(3, FRAMES, 4)
    heard = noise_BTZ, batch.mix, batch.instrument_B
    assert torch.equal(warm.playing_generator(*heard, None, batch.reference_BE), plain.playing_generator(*heard))


def test_a_run_that_goes_on_keeps_its_statistics(tmp_path: Path) -> None:
    latents = ReferenceData(3, FRAMES + 2, codec=frame_codec())
    whole, halves = make_module(ReferenceTraining(ANALYSIS)), [make_module(ReferenceTraining(ANALYSIS)) for _ in "ab"]
    make_trainer(tmp_path / "whole", max_epochs=2).fit(whole, latents)
    first = make_trainer(tmp_path / "first")
    first.fit(halves[0], latents)
    first.save_checkpoint(tmp_path / "half.ckpt")
    other = ReferenceData(3, FRAMES + 2, codec=frame_codec())
    other.reference_statistics = torch.zeros(5), torch.ones(5)
    make_trainer(tmp_path / "second", max_epochs=2).fit(halves[1], other, ckpt_path=tmp_path / "half.ckpt")
    assert torch.equal(halves[1].generator.reference_features.mean_E, torch.full((5,), 0.2))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"generator's reference_channels is 4, but .* 5"):
        make_module(ReferenceTraining(ANALYSIS), channels=4)
    with pytest.raises(UserError, match=r"generator's reference_channels is 5, but .* 0"):
        make_module()
    with pytest.raises(UserError, match=r"set data.init_args.reference"):
        make_trainer(tmp_path).fit(make_module(ReferenceTraining(ANALYSIS)), data())


def test_the_checkpoint_says_how_references_are_made() -> None:
    encoder = {"class_path": "metrics.embeddings.LogMel"}
    network = {"class_path": "livejam.networks.CausalTransformer", "init_args": {}}
    settings = {"generator": network, "anticipation_frames": 1, "reference": None}
    assert "reference" not in R3GAN.player(settings)["init_args"]
    settings["reference"] = {"analysis": {"encoder": encoder, "excerpts": 3}, "dropout": 0.1}
    assert R3GAN.player(settings)["init_args"]["reference"] == {"encoder": encoder, "excerpts": 3}
