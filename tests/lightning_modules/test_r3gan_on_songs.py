"""The recipe with the real data module and the bundled codec, on rendered songs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch import Trainer

from datamodules import Slakh2100DataModule
from lightning_modules import R3GAN
from livejam.batch import AccompanimentOutput
from livejam.codecs import pretrained_codec
from livejam.networks import CausalTransformer, SequenceDiscriminator

BATCHES = 5


def make_run(songs: Path, folder: Path, *callbacks: lightning.Callback) -> tuple[Trainer, R3GAN, Slakh2100DataModule]:
    torch.manual_seed(0)
    codec = pretrained_codec()
    channels = codec.spec.latent_channels
    generator = CausalTransformer(channels, 8, 32, 2, 2, window_frames=16, class_channels=8)
    discriminator = SequenceDiscriminator(channels, 32, levels=3, blocks_per_level=1, groups=4, residual_gain=0.3)
    module = R3GAN(generator, discriminator, codec, warmup_iterations=2, penalty_every=2, ema_decay=0.9)
    data = Slakh2100DataModule(
        str(songs),
        codec,
        cache_root=str(folder.parent / "cache"),
        crop_frames=module.crop_frames,
        batch_size=4,
        batches_per_epoch=BATCHES,
        submixes_per_song=2,
        eval_seconds=4,
        eval_items=2,
        eval_batch_size=2,
        bank_workers=0,
    )
    trainer = Trainer(
        default_root_dir=folder,
        accelerator="cpu",
        devices=1,
        max_epochs=2,
        limit_val_batches=1,
        num_sanity_val_steps=0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=list(callbacks),
    )
    return trainer, module, data


class Observer(lightning.Callback):
    """Keeps the songs that were trained on and what was played, and stops where it is told to."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.stop_at = stop_at
        self.batches: list[torch.Tensor] = []
        self.outputs: list[AccompanimentOutput] = []

    def on_train_batch_end(self, trainer: Trainer, module: R3GAN, outputs: Any, batch: Any, index: int) -> None:
        self.batches.append(batch.mix)
        if len(self.batches) == self.stop_at:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "stopped.ckpt")
            raise RuntimeError("stopped")

    def on_validation_batch_end(self, trainer: Trainer, module: R3GAN, outputs: AccompanimentOutput, *_: Any) -> None:
        self.outputs.append(outputs)


def test_fit_resumes_bit_equal_in_the_middle_of_an_epoch(rendered_songs: Path, tmp_path: Path) -> None:
    """Both networks, both optimisers, the average, λ, the noise and the position in the data."""
    seen = Observer()
    trainer, module, data = make_run(rendered_songs, tmp_path / "whole", seen)
    trainer.fit(module, data)
    trainer.save_checkpoint(tmp_path / "whole.ckpt")
    assert int(module.iteration) == 2 * BATCHES

    stopped = Observer(stop_at=7)
    trainer, module, data = make_run(rendered_songs, tmp_path / "stopped", stopped)
    with pytest.raises(RuntimeError, match="stopped"):
        trainer.fit(module, data)
    resumed = Observer()
    trainer, module, data = make_run(rendered_songs, tmp_path / "resumed", resumed)
    torch.manual_seed(99)
    trainer.fit(module, data, ckpt_path=tmp_path / "stopped" / "stopped.ckpt")
    trainer.save_checkpoint(tmp_path / "resumed.ckpt")

    assert all(torch.equal(a, b) for a, b in zip(seen.batches, stopped.batches + resumed.batches, strict=True))
    first, second = (torch.load(tmp_path / f"{name}.ckpt", weights_only=True) for name in ("whole", "resumed"))
    for part in ("state_dict", "optimizer_states"):
        flat = [torch.utils._pytree.tree_leaves(checkpoint[part]) for checkpoint in (first, second)]
        assert all(_equal(a, b) for a, b in zip(*flat, strict=True)), part

    statistics = data.latent_statistics
    assert statistics is not None
    assert torch.allclose(module.latent_mean_C, statistics.mean_C)
    out = seen.outputs[-1]
    assert out.generated_BAN.shape == out.target_BAN.shape == out.mix_BAN.shape
    assert torch.isfinite(out.generated_BAN).all()
    start = 2 * module.codec.spec.hop_samples
    assert out.generated_BAN[..., start:].abs().max() > 0


def _equal(first: Any, second: Any) -> bool:
    return torch.equal(first, second) if isinstance(first, torch.Tensor) else bool(first == second)
