"""Codec training: the linear code, the frozen encoder, and a few real steps."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import lightning
import pytest
import torch

from datamodules.stem_audio import StemAudioDataModule
from lightning_modules.codec_training import CodecTraining
from lightning_modules.linear_code import fit_linear_code
from livejam.codecs import CausalCodec, load_codec


def small_codec() -> CausalCodec:
    return CausalCodec(latent_channels=8, width=24, subframe_width=16, blocks=1, subframe_blocks=1)


def test_linear_code_is_whitened_and_inverts_itself() -> None:
    codec = small_codec()
    size = codec.features.channels
    latent = torch.randn(400, 8) * torch.tensor([9.0, 7, 5, 4, 3, 2, 1.5, 1])
    features = 2 + latent @ torch.linalg.qr(torch.randn(size, 8)).Q.T
    fit_linear_code(codec, features, low_band_weight=1.2)
    code = codec.projection(features).detach()
    assert torch.allclose(code.mean(0), torch.zeros(8), atol=1e-3)
    assert torch.allclose(torch.cov(code.T), torch.eye(8), atol=0.02)
    error = (codec.decoder.base(code) - features).detach().square().mean() / (
        features - features.mean(0)
    ).square().mean()
    assert float(error) < 1e-5


def test_low_band_weight_draws_the_code_to_the_low_band() -> None:
    features = torch.randn(300, small_codec().features.channels)
    errors = []
    for weight in (0.2, 5.0):
        codec = small_codec()
        fit_linear_code(codec, features, weight)
        errors.append(
            float((codec.decoder.base(codec.projection(features)) - features)[:, -276:].detach().square().mean())
        )
    assert errors[1] < 0.98 * errors[0]


@pytest.fixture(scope="module")
def trained(
    rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[CodecTraining, Path, dict[str, float]]:
    """A dozen steps on rendered songs, the last ones through the audio."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("codec")
    data = StemAudioDataModule(str(rendered_songs), str(folder / "cache"), crop_samples=8192, batch_size=4, workers=1)
    data.validation_crops = 8
    module = CodecTraining(
        small_codec(),
        partial(torch.optim.AdamW, lr=2e-3),
        code_frames=64,
        magnitude_steps=10,
        warmup_steps=2,
        export_path=str(folder / "small.safetensors"),
    )
    trainer = lightning.Trainer(
        max_steps=16,
        limit_train_batches=8,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    losses: dict[str, float] = {}

    class Keep(lightning.Callback):
        def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
            losses[f"at {trainer.global_step}"] = float(trainer.callback_metrics["val/loss"])

    trainer.callbacks.append(Keep())
    trainer.fit(module, datamodule=data)
    return module, folder / "small.safetensors", losses


def test_training_goes_down_and_writes_a_codec(trained: tuple[CodecTraining, Path, dict[str, float]]) -> None:
    module, path, losses = trained
    assert losses["at 16"] < losses["at 8"]
    codec = load_codec(path)
    latents = torch.randn(1, 3, 8)
    assert torch.allclose(codec.decode(latents), module.codec.decode(latents), atol=5e-3)


def test_encoder_stays_the_principal_components(trained: tuple[CodecTraining, Path, dict[str, float]]) -> None:
    module, _, _ = trained
    assert bool(module.code_is_fitted)
    assert module.codec.projection.weight.grad is None
    trained_names = {name for name, p in module.named_parameters() if p.requires_grad}
    assert not any("projection" in name for name in trained_names)
    assert any("base" in name for name in trained_names)


def test_a_restored_run_does_not_fit_the_code_again(trained: tuple[CodecTraining, Path, dict[str, float]]) -> None:
    module, _, _ = trained
    other = CodecTraining(small_codec(), partial(torch.optim.AdamW, lr=1e-3), "unused.safetensors")
    other.load_state_dict(module.state_dict())
    before = other.codec.projection.weight.clone()
    other.on_fit_start()
    assert torch.equal(before, other.codec.projection.weight)
