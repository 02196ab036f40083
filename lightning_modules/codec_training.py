"""Training of the causal codec: principal components first, then the decoder.

Shapes: B batch, A audio channels, V views of them, N audio samples, C latent channels, T latent frames, X features
per frame, M sub-frames, D width of the convolutions.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from lightning.pytorch.trainer.states import TrainerFn
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from datamodules.stem_audio import HeldOutCrops, StemAudioDataModule
from lightning_modules.codec_adversary import CodecAdversary
from lightning_modules.codec_losses import audio_losses, heard, magnitude_losses, sounds
from lightning_modules.linear_code import fit_linear_code, require_enough_frames
from lightning_modules.training import Recipe, data_module, is_dry_run, update_average, warm_cosine
from livejam.codecs.causal_codec import CausalCodec
from livejam.codecs.pretrained import pretrained_codec, save_codec
from livejam.codecs.stereo import views
from livejam.codecs.synthesis import SpectralParts
from livejam.errors import UserError
from livejam.objectives.latent_regularity import divergence_from_normal, smoothness
from metrics.epoch_means import EpochMeans


class CodecTraining(Recipe):
    """Fit the linear code once, then train the decoder: first its magnitudes, then everything through the audio.

    The encoder stays as the principal components made it, so that latents keep their meaning while the decoder
    improves, unless `encoder_lr_share` lets it move. Noise on the latents (a different amount per item, often little)
    makes the decoder robust to a generator's errors. Losses judge stereo as mid and side. Latents are not normalised
    here: generators take the statistics of the latent bank.

    Args:
        codec: the codec to train.
        optimizer: optimiser of the codec's parameters.
        export_path: the file for the weights, written after every validation.
        code_frames: latent frames from which the principal components are computed.
        low_band_weight: weight of the low-band maps against the spectra in the principal components.
        latent_noise: largest standard deviation of the noise on the latents, 0 or more.
        magnitude_steps: steps that train magnitudes only, which is much faster than training through the audio.
        warmup_steps: steps of linear warm-up, before the cosine to zero at the end of training.
        base_lr_share: learning rate of the linear base relative to the rest.
        windows_samples: windows of the losses on audio in samples, from the longest, for the pitch of a bass and the
            gaps between partials, to the shortest, for transients.
        mel_weight: weight ≥ 0 of the mel loss; 0 = off.
        spectral_gap_weight: weight ≥ 0 of the loss on spectral gaps between partials; 0 = off.
        encoder_lr_share: learning rate ≥ 0 of the encoder relative to the rest; 0 = frozen.
        latent_weight: weight ≥ 0 of the divergence of the latents from a normal distribution, for an encoder that
            moves; 0 = off.
        adversary: the adversary, which judges the sound from its `start_iteration` on; None = off.
        ema_decay: decay in [0, 1) per step of the averaged codec that is validated and exported; None = off.
        seed: seed of noise and of oscillator times; the draws of a step depend only on seed, rank and step.
        initial_weights: bundled name or file to start from, linear code included; None fits the code first.
    """

    code_is_fitted: Tensor

    def __init__(
        self,
        codec: CausalCodec,
        optimizer: OptimizerCallable,
        export_path: str,
        code_frames: int = 20000,
        low_band_weight: float = 1.2,
        latent_noise: float = 0.4,
        magnitude_steps: int = 1500,
        warmup_steps: int = 100,
        base_lr_share: float = 0.1,
        windows_samples: tuple[int, ...] = (4096, 1024, 512),
        mel_weight: float = 0.0,
        spectral_gap_weight: float = 0.0,
        encoder_lr_share: float = 0.0,
        latent_weight: float = 0.0,
        adversary: CodecAdversary | None = None,
        ema_decay: float | None = None,
        seed: int = 0,
        initial_weights: str | None = None,
    ) -> None:
        super().__init__(seed, None if adversary is None else adversary.gradient_clip)
        _require_sense(latent_weight, encoder_lr_share, adversary, magnitude_steps)
        require_enough_frames(codec, code_frames)
        if initial_weights is not None:
            codec.load_state_dict(pretrained_codec(initial_weights).state_dict())
        self.codec = codec
        self.codec.projection.requires_grad_(encoder_lr_share > 0)
        self.averaged = None if ema_decay is None else copy.deepcopy(codec).requires_grad_(False)
        self.adversary = adversary
        # Lightning's automatic optimisation cannot handle two optimisers
        self.automatic_optimization = adversary is None
        self.optimizer = optimizer
        self.code_frames, self.low_band_weight = code_frames, low_band_weight
        self.latent_noise, self.magnitude_steps = latent_noise, magnitude_steps
        self.warmup_steps, self.base_lr_share = warmup_steps, base_lr_share
        self.windows_samples, self.spectral_gap_weight = tuple(windows_samples), spectral_gap_weight
        self.mel_weight, self.latent_weight, self.encoder_lr_share = mel_weight, latent_weight, encoder_lr_share
        self.ema_decay, self.export_path = ema_decay, export_path
        self._held_out = EpochMeans()
        self.register_buffer("code_is_fitted", torch.tensor(initial_weights is not None))

    @property
    def trained_codec(self) -> CausalCodec:
        """The codec that is validated and exported: the averaged one, if there is one."""
        return self.codec if self.averaged is None else self.averaged

    @property
    def iteration(self) -> int:
        """Batches trained on."""
        return self._iterations_in(self.global_step)

    def _iterations_in(self, steps: int) -> int:
        """Lightning counts the steps of both optimisers: two per iteration once there is an adversary."""
        start = steps if self.adversary is None else min(steps, self.adversary.start_iteration)
        return start + (steps - start) // 2

    def setup(self, stage: str) -> None:
        """Refuse crops that do not fit the codec."""
        data = data_module(self.trainer)
        if isinstance(data, StemAudioDataModule):
            data.require_fit(self.codec.spec)

    def on_fit_start(self) -> None:
        """Fit the linear code, unless a checkpoint brought it."""
        super().on_fit_start()
        if bool(self.code_is_fitted):
            return
        if self.trainer.is_global_zero:
            features_TX = torch.cat(list(self._feature_frames()))
            fit_linear_code(self.codec, features_TX, self.low_band_weight)
        # the others have waited: every process continues with the same code
        code = {name: value.cpu() for name, value in self.codec.state_dict().items()}
        self.codec.load_state_dict(self.trainer.strategy.broadcast(code))
        if self.averaged is not None:
            self.averaged.load_state_dict(self.codec.state_dict())
        self.code_is_fitted.fill_(True)

    @torch.no_grad()
    def _feature_frames(self) -> Iterator[Tensor]:
        """Features of training crops, without the frames that include the silence before a crop."""
        missing, data = self.code_frames, data_module(self.trainer)
        assert data is not None
        for audio_BAN in data.train_dataloader():
            features_BTX = self._features(audio_BAN)[:, 2:]
            yield features_BTX.flatten(0, 1)[:missing]
            missing -= features_BTX.shape[0] * features_BTX.shape[1]
            if missing <= 0:
                return

    @torch.no_grad()
    def _features(self, audio_BAN: Tensor) -> Tensor:
        """Features of audio that begins after silence."""
        audio_BAN = audio_BAN.to(self.device)
        past_BAN = self.codec.init_encoder_state(len(audio_BAN)).past_BAN
        return self.codec.view_features(torch.cat([past_BAN, audio_BAN], dim=2))

    def training_step(self, audio_BAN: Tensor, batch_index: int) -> Tensor | None:
        """Noisy latents, decoder, sum of the losses; then the adversary, if there is one."""
        iteration = self.iteration
        self.begin_iteration(iteration)
        with self._full_precision():
            features_BTX = self._features(audio_BAN)
            clean_BTC = self.codec.project(features_BTX)
            latents_BTC = clean_BTC + self._noise(clean_BTC)
        # all times of the clock are equivalent
        start_B = self._draw(torch.randint, 1 << 20, (len(audio_BAN),))
        parts = self._decode(self.codec, latents_BTC)
        with self._full_precision():
            losses = magnitude_losses(self.codec, parts, features_BTX)
            if self.latent_weight:
                losses["latents"] = self.latent_weight * divergence_from_normal(clean_BTC).mean()
            if iteration >= self.magnitude_steps:
                made_BAN, donor_BAN = sounds(self.codec, parts, start_B)
                losses |= self._audio_losses(audio_BAN, made_BAN, donor_BAN)
        if self.adversary is None:
            return self.about_to_step("codec", self._sum(losses))
        if iteration >= self.adversary.start_iteration:
            real_BVN, made_BVN = views(heard(self.codec, audio_BAN)), views(made_BAN)
            losses |= self._adversarial_step(self.adversary, real_BVN, made_BVN, iteration)
        self._codec_step(self._sum(losses))
        return None

    def _adversarial_step(
        self, adversary: CodecAdversary, real_BVN: Tensor, made_BVN: Tensor, iteration: int
    ) -> dict[str, Tensor]:
        """One step of the discriminator; then the codec's losses, in which it is a constant."""
        codec_optimizer, optimizer = self.optimizers_in_order
        with self.toggled_optimizer(optimizer):
            losses = adversary.discriminator_losses(real_BVN, made_BVN, iteration - adversary.start_iteration)
            total = torch.stack(list(losses.values())).sum()
            self.manual_backward(total)
            self.take_step(optimizer, "adversary", total)
        self.schedulers[1].step()
        values = losses | {"gradient_norm": self._norms["adversary"]}
        self.log_dict({f"train/discriminator/{name}": value.detach() for name, value in values.items()})
        with self.toggled_optimizer(codec_optimizer):
            return adversary.codec_losses(real_BVN, made_BVN)

    def _codec_step(self, total: Tensor) -> None:
        """One step of the codec by manual optimisation."""
        self.manual_backward(total)
        self.take_step(self.optimizers_in_order[0], "codec", total)
        self.schedulers[0].step()
        self._average()

    def log_norm(self, name: str, norm: Tensor) -> None:
        """The discriminator logs it with its losses: in an epoch's first batch Lightning forgets the first of two."""
        if name != "adversary":
            super().log_norm(name, norm)

    def optimizer_step(self, *arguments: Any, **keywords: Any) -> None:
        """The step of automatic optimisation, then the average: a checkpoint must contain both or neither."""
        super().optimizer_step(*arguments, **keywords)
        self._average()

    def _average(self) -> None:
        if self.averaged is not None and self.ema_decay is not None:
            update_average(self.averaged, self.codec, self.ema_decay, self.iteration)

    def _sum(self, losses: dict[str, Tensor]) -> Tensor:
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()})
        total = torch.stack(list(losses.values())).sum()
        self.log("train/loss", total.detach())
        return total

    def _noise(self, latents_BTC: Tensor) -> Tensor:
        """Noise of a different strength for every item."""
        amount_B = self.latent_noise * self._draw(torch.rand, (len(latents_BTC), 1, 1))
        return amount_B * self._draw(torch.randn, latents_BTC.shape)

    def _draw(self, sample: Callable[..., Tensor], *arguments: Any) -> Tensor:
        return sample(*arguments, generator=self._rng, device=self.device)

    def _full_precision(self) -> torch.autocast:
        """Transforms, logarithms and phases need float32; only the networks run in a trainer's lower precision."""
        return torch.autocast(self.device.type, enabled=False)

    def validation_step(self, batch: HeldOutCrops, batch_index: int) -> None:
        """The same losses on held-out songs, without noise and adversary, at fixed oscillator times."""
        if batch.repeated:
            return
        codec, audio_BAN = self.trained_codec, batch.audio_BAN
        with self._full_precision():
            features_BTX = self._features(audio_BAN)
            latents_BTC = codec.project(features_BTX)
            parts = self._decode(codec, latents_BTC)
            losses = magnitude_losses(self.codec, parts, features_BTX)
            made_BAN, donor_BAN = sounds(codec, parts, codec.init_decoder_state(len(audio_BAN)).frame_B)
            losses |= self._audio_losses(audio_BAN, made_BAN, donor_BAN)
        values = {f"val/{name}": value for name, value in losses.items()}
        values["val/latent_std"] = latents_BTC.flatten(0, 1).std(0).mean()
        values["val/latent_smoothness"] = smoothness(latents_BTC).mean()
        values["val/loss"] = torch.stack(list(losses.values())).sum()
        for name, value in values.items():
            self._held_out.add(name, value, len(audio_BAN))

    def on_validation_epoch_end(self) -> None:
        """Means over the crops of all processes."""
        means = self._held_out.collect()
        self.log("val/loss", means.pop("val/loss"), prog_bar=True, sync_dist=True)
        self.log_dict(means, sync_dist=True)

    def _decode(self, codec: CausalCodec, latents_BTC: Tensor) -> SpectralParts:
        """Parts of every sub-frame; the convolutions alone may run in lower precision."""
        latents_BTC = latents_BTC.clamp(-codec.bound, codec.bound)
        hidden_BMD, _ = codec.decoder.causal_convs(latents_BTC, codec.init_decoder_state(len(latents_BTC)).pasts)
        with self._full_precision():
            return codec.decoder.parts(latents_BTC, hidden_BMD.float())

    def _audio_losses(self, audio_BAN: Tensor, made_BAN: Tensor, donor_BAN: Tensor) -> dict[str, Tensor]:
        true_BAN = heard(self.codec, audio_BAN)
        weights = self.mel_weight, self.spectral_gap_weight
        return audio_losses(self.codec, true_BAN, made_BAN, donor_BAN, self.windows_samples, *weights)

    def on_validation_end(self) -> None:
        """Write the weights, so that an interrupted run leaves a usable codec."""
        if self.trainer.state.fn == TrainerFn.FITTING and not self.trainer.sanity_checking:
            self.export()

    def on_train_end(self) -> None:
        """Write the final weights."""
        self.export()

    def export(self) -> None:
        """Write the codec to `export_path`, once for all ranks; not in a dry `fast_dev_run`."""
        if self.trainer.is_global_zero and not is_dry_run(self.trainer):
            training = {"steps": self.iteration, "code_frames": self.code_frames, "latent_noise": self.latent_noise}
            save_codec(self.trained_codec, Path(self.export_path), training)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Warm-up and cosine by iterations; the linear base and the encoder move slowly."""
        decoder, encoder = self.codec.decoder, self.codec.projection
        groups: list[dict[str, Any]] = [{"params": [*decoder.causal_convs.parameters(), *decoder.heads.parameters()]}]
        groups.append({"params": list(decoder.base.parameters()), "is_base": True})
        shares = [1.0, self.base_lr_share]
        if self.encoder_lr_share:
            groups.append({"params": list(encoder.parameters())})
            shares.append(self.encoder_lr_share)
        optimizer = self.optimizer(groups)
        scheduler = self._schedule(optimizer, shares, self._all_iterations)
        if self.adversary is None:
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}
        judge, start = self.adversary.optimizer(self.adversary.parameters()), self.adversary.start_iteration
        return [optimizer, judge], [
            scheduler,
            self._schedule(judge, [1.0], lambda: max(1, self._all_iterations() - start)),
        ]

    def _all_iterations(self) -> float:
        total = self.trainer.estimated_stepping_batches
        counts_steps = self.adversary is not None and self.trainer.max_steps > 0
        return self._iterations_in(int(total)) if counts_steps else total

    def _schedule(self, optimizer: Optimizer, shares: list[float], total: Callable[[], float]) -> LambdaLR:
        """Learning rates relative to the optimiser's own, per group of parameters."""
        share = warm_cosine(self.warmup_steps, total)

        def share_of(own: float) -> Callable[[int], float]:
            return lambda step: own * share(step)

        return LambdaLR(optimizer, [share_of(own) for own in shares])


def _require_sense(
    latent_weight: float, encoder_lr_share: float, adversary: CodecAdversary | None, magnitude_steps: int
) -> None:
    """Refuse settings that contradict each other.

    Raises:
        UserError: names them, and what to change.
    """
    if latent_weight and not encoder_lr_share:
        raise UserError("latent_weight has no effect on a frozen encoder; set encoder_lr_share above 0, or it to 0")
    if adversary is not None and adversary.start_iteration < magnitude_steps:
        raise UserError(
            f"the adversary starts at iteration {adversary.start_iteration}, but there is no sound to judge before "
            f"magnitude_steps = {magnitude_steps}; let it start then or later"
        )
