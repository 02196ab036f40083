"""Training of the causal codec: principal components first, then the decoder.

Shapes: B batch, A audio channels, N audio samples, C latent channels, T latent frames, X features per frame.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import lightning
import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor

from livejam.codecs.causal_codec import CausalCodec, mid_side
from livejam.codecs.front_end import LOW_FRAMES
from livejam.codecs.pitch_grid import LOW_PITCHES
from livejam.codecs.pretrained import pretrained_codec, save_codec
from livejam.objectives.spectral import (
    complex_spectrum,
    level_error,
    log_magnitude_error,
    noise_floor,
    phase_derivative_error,
    spectral_convergence,
    spectral_distance,
)

WINDOWS_SAMPLES = (4096, 1024, 512)
"""Windows of the losses on audio, the longest for the pitch of a bass, the shortest for transients."""


class CodecTraining(lightning.LightningModule):
    """Fit the linear code once, freeze it, train the decoder: first its magnitudes, then everything through the audio.

    The encoder stays what the principal components made it, so latents keep their meaning while the decoder
    improves. Noise on the latents (a different amount per item, often little) makes the decoder robust to a
    generator's errors.

    Args:
        codec: the codec to train.
        optimizer: optimiser of the decoder's parameters.
        code_frames: latent frames from which the principal components are computed.
        low_band_weight: weight of the low-band maps against the spectra in the principal components.
        latent_noise: largest standard deviation of the noise on the latents, 0 or more.
        magnitude_steps: steps that train magnitudes only, which is much faster than training through the audio.
        warmup_steps: steps of linear warm-up, before the cosine to zero at the end of training.
        base_lr_share: learning rate of the linear base relative to the rest.
        initial_weights: bundled name or file to start from, linear code included; None fits the code first.
        export_path: where the weights are written after every validation.
    """

    def __init__(
        self,
        codec: CausalCodec,
        optimizer: OptimizerCallable,
        code_frames: int = 20000,
        low_band_weight: float = 1.2,
        latent_noise: float = 0.4,
        magnitude_steps: int = 1500,
        warmup_steps: int = 100,
        base_lr_share: float = 0.1,
        initial_weights: str | None = None,
        export_path: str = "runs/codec/pocket.safetensors",
    ) -> None:
        super().__init__()
        self.codec = codec
        self.optimizer = optimizer
        self.code_frames, self.low_band_weight = code_frames, low_band_weight
        self.latent_noise, self.magnitude_steps = latent_noise, magnitude_steps
        self.warmup_steps, self.base_lr_share = warmup_steps, base_lr_share
        self.export_path = export_path
        if initial_weights is not None:
            codec.load_state_dict(pretrained_codec(initial_weights).state_dict())
        self.register_buffer("code_is_fitted", torch.tensor(initial_weights is not None))
        codec.projection.requires_grad_(False)

    def on_fit_start(self) -> None:
        """Fit the linear code, unless a checkpoint brought it."""
        if bool(self.code_is_fitted):
            return
        features_TX = torch.cat(list(self._feature_frames()))
        fit_linear_code(self.codec, features_TX, self.low_band_weight)
        self.code_is_fitted.fill_(True)

    @torch.no_grad()
    def _feature_frames(self) -> Iterator[Tensor]:
        """Features of training crops without the frames that still see the silence before a crop."""
        missing = self.code_frames
        for audio_BAN in self.trainer.datamodule.train_dataloader():
            features_BTX = self._features(audio_BAN)[:, 2:]
            yield features_BTX.flatten(0, 1)[:missing]
            missing -= features_BTX.shape[0] * features_BTX.shape[1]
            if missing <= 0:
                return

    @torch.no_grad()
    def _features(self, audio_BAN: Tensor) -> Tensor:
        """Front-end features of audio that begins after silence."""
        audio_BAN = audio_BAN.to(self.device)
        past_BAN = self.codec.init_encoder_state(len(audio_BAN)).past_BAN
        return self.codec.features(torch.cat([past_BAN, audio_BAN], dim=2))

    def training_step(self, audio_BAN: Tensor, batch_index: int) -> Tensor:
        """Noisy latents of the frozen encoder, decoder, sum of the losses."""
        features_BTX = self._features(audio_BAN)
        with torch.no_grad():
            latents_BTC = self.codec.project(features_BTX)
            amount_B = self.latent_noise * torch.rand(len(audio_BAN), 1, 1, device=self.device)
            latents_BTC = latents_BTC + amount_B * torch.randn_like(latents_BTC)
        through_audio = self.global_step >= self.magnitude_steps
        losses = self.losses(audio_BAN, features_BTX, latents_BTC, through_audio)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, prog_bar=False)
        total = torch.stack(list(losses.values())).sum()
        self.log("train/loss", total, prog_bar=True)
        return total

    def validation_step(self, audio_BAN: Tensor, batch_index: int) -> None:
        """The same losses on held-out songs, without noise, at fixed oscillator times."""
        features_BTX = self._features(audio_BAN)
        losses = self.losses(audio_BAN, features_BTX, self.codec.project(features_BTX), through_audio=True)
        self.log_dict({f"val/{name}": value for name, value in losses.items()}, batch_size=len(audio_BAN))
        self.log("val/loss", torch.stack(list(losses.values())).sum(), prog_bar=True, batch_size=len(audio_BAN))

    def losses(
        self, audio_BAN: Tensor, features_BTX: Tensor, latents_BTC: Tensor, through_audio: bool
    ) -> dict[str, Tensor]:
        """Weighted losses by name, each the mean over the batch."""
        codec, batch = self.codec, len(audio_BAN)
        state = codec.init_decoder_state(batch)
        parts, _ = codec.decoder(latents_BTC.clamp(-codec.bound, codec.bound), state.pasts)
        true_BMAF, low_BMAL = codec.decoder.linear_features(features_BTX)
        estimate_BMAF, floor = parts.log_magnitude_BMAF, codec.front_end.floor
        low_error = (parts.log_oscillator_BMAK[..., :LOW_PITCHES] - low_BMAL).abs().mean((1, 2, 3))
        losses = {
            "log_magnitude": log_magnitude_error(estimate_BMAF, true_BMAF),
            "convergence": 0.5 * spectral_convergence(floor * estimate_BMAF.expm1(), floor * true_BMAF.expm1()),
            "low_band": 0.2 * low_error,
        }
        if through_audio:
            # any time of the clock is as good as another
            start_B = torch.randint(1 << 20, (batch,), device=self.device) if self.training else state.frame_B
            subframe_BM = codec.subframes(start_B, latents_BTC.shape[1])
            donor_BMAF = codec.synthesis.donor(parts, subframe_BM, state.magnitude_BAF)
            spectrum_BMAF = codec.synthesis.spectrum(parts, donor_BMAF)
            losses |= self._audio_losses(audio_BAN, spectrum_BMAF, donor_BMAF, state.tail_BAN)
        return {name: value.mean() for name, value in losses.items()}

    def _audio_losses(
        self, audio_BAN: Tensor, spectrum_BMAF: Tensor, donor_BMAF: Tensor, tail_BAN: Tensor
    ) -> dict[str, Tensor]:
        """Losses of the sound itself; the donor alone must already sound right, or its phases mean nothing."""
        codec, floor = self.codec, self.codec.front_end.floor / 2
        delay = codec.spec.delay_samples
        true_BN = mid_side(audio_BAN)[:, :, :-delay].flatten(0, 1)
        made_BN = codec.synthesis.overlap_add(spectrum_BMAF, tail_BAN)[0][:, :, delay:].flatten(0, 1)
        donor_BN = codec.synthesis.overlap_add(donor_BMAF, tail_BAN)[0][:, :, delay:].flatten(0, 1)
        true = {window: complex_spectrum(true_BN, window, window // 4) for window in WINDOWS_SAMPLES}
        made = {window: complex_spectrum(made_BN, window, window // 4) for window in WINDOWS_SAMPLES}
        sound = [
            spectral_distance(made[window], true[window], noise_floor(floor, window)) for window in WINDOWS_SAMPLES
        ]
        longest, middle, _ = WINDOWS_SAMPLES
        donor = complex_spectrum(donor_BN, longest, longest // 4)
        return {
            "sound": torch.stack(sound).mean(0),
            "level": level_error(made[middle], true[middle]),
            "phase": 0.4 * phase_derivative_error(made[middle], true[middle]),
            "donor": 0.3 * spectral_distance(donor, true[longest], noise_floor(floor, longest)),
        }

    def on_validation_end(self) -> None:
        """Write the weights, so that an interrupted run leaves a usable codec."""
        if not self.trainer.sanity_checking:
            self.export()

    def on_train_end(self) -> None:
        """Write the final weights."""
        self.export()

    def export(self) -> None:
        """Write the codec to `export_path`, once for all ranks."""
        if self.trainer.is_global_zero:
            training = {"steps": self.global_step, "code_frames": self.code_frames, "latent_noise": self.latent_noise}
            save_codec(self.codec, Path(self.export_path), training)

    def configure_optimizers(self):
        """Warm-up and cosine by steps; the linear base moves slowly."""
        base = list(self.codec.decoder.base.parameters())
        rest = [*self.codec.decoder.trunk.parameters(), *self.codec.decoder.heads.parameters()]
        optimizer = self.optimizer([{"params": rest}, {"params": base, "is_base": True}])
        total = self.trainer.estimated_stepping_batches

        def share(step: int) -> float:
            return min(1.0, (step + 1) / self.warmup_steps) * 0.5 * (1 + math.cos(math.pi * min(1.0, step / total)))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, [share, lambda step: self.base_lr_share * share(step)])
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


@torch.no_grad()
def fit_linear_code(codec: CausalCodec, features_TX: Tensor, low_band_weight: float) -> None:
    """Set encoder and linear decoder base to whitened principal components of features.

    Args:
        codec: the codec whose `projection` and `decoder.base` are set.
        features_TX: front-end features, more frames than latent channels.
        low_band_weight: weight of the low-band maps against the spectra.
    """
    per_channel = torch.ones(codec.front_end.features)
    per_channel[-LOW_FRAMES * LOW_PITCHES :] = low_band_weight
    weight_X = per_channel.repeat(codec.spec.audio_channels).to(features_TX)
    mean_X = features_TX.mean(0)
    channels = codec.spec.latent_channels
    centred_TX = (features_TX - mean_X) * weight_X
    _, singular_C, basis_XC = torch.svd_lowrank(centred_TX, q=channels + 16, niter=3)
    std_C = (singular_C[:channels] / math.sqrt(len(features_TX))).clamp_min(1e-6)
    basis_XC = basis_XC[:, :channels]
    encoder_CX = (basis_XC / std_C).T * weight_X
    codec.projection.weight.copy_(encoder_CX)
    codec.projection.bias.copy_(-encoder_CX @ mean_X)
    codec.decoder.base.weight.copy_(basis_XC * std_C / weight_X[:, None])
    codec.decoder.base.bias.copy_(mean_X)
