"""What the recipes of accompanists share: codec, statistics, playing along, and self-describing checkpoints.

Shapes: B batch, T latent frames, C latent channels, A audio channels, N audio samples.
"""

from __future__ import annotations

import copy
import zlib
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from typing_extensions import Self

from lightning_modules.training import Recipe, data_module, update_average
from livejam.accompanist import Accompanist, Controls, accompany
from livejam.batch import AccompanimentBatch, AccompanimentOutput, in_order
from livejam.checkpoints.facts import (
    Ancestor,
    learnt_instruments,
    require_same_codec,
    require_same_shapes,
    require_same_statistics,
)
from livejam.codecs.codec import Codec
from livejam.errors import UserError, require_finite_weights
from livejam.spec import LatentStatistics

SILENCE_FRAMES = 16
"""Frames of silence after which the codec's latent of silence is read."""

Network = TypeVar("Network", bound=nn.Module)


class AccompanimentModule(Recipe, Generic[Network]):
    """Base of the recipes that train an accompanist: everything but the training.

    Validation and test run `accompanist()` step by step, the path that is deployed.

    Args:
        generator: the network that is trained to play.
        codec: the codec; frozen.
        ema_decay: decay in [0, 1) per iteration of the averaged generator that validation and playing use; None
            uses the raw generator.
        gradient_clip: largest gradient norm of any network; None = unlimited.
        seed: seed of all draws in training.
    """

    iteration: Tensor
    latent_mean_C: Tensor
    latent_std_C: Tensor
    silence_C: Tensor

    def __init__(
        self, generator: Network, codec: Codec, ema_decay: float | None, gradient_clip: float | None, seed: int
    ) -> None:
        super().__init__(seed, gradient_clip)
        self.codec = codec.requires_grad_(False)
        self.generator = generator
        self.ema_generator = None if ema_decay is None else copy.deepcopy(generator).requires_grad_(False)
        self.ema_decay = ema_decay
        self.lineage: list[Ancestor] = []
        self.instruments: tuple[str, ...] = ()
        channels = codec.spec.latent_channels
        self.register_buffer("iteration", torch.zeros((), dtype=torch.int64))
        self.register_buffer("latent_mean_C", torch.zeros(channels))
        self.register_buffer("latent_std_C", torch.ones(channels))
        self.register_buffer("silence_C", torch.zeros(channels))

    @property
    def statistics(self) -> LatentStatistics:
        """Statistics of the latents that the networks are trained on."""
        return LatentStatistics(self.latent_mean_C, self.latent_std_C)

    @property
    def may_choose(self) -> bool:
        """Whether training sometimes drops the instrument, so that the model learns to choose."""
        return False

    @property
    def playing_generator(self) -> Network:
        """The averaged generator, if there is one."""
        return self.generator if self.ema_generator is None else self.ema_generator

    def on_fit_start(self) -> None:
        super().on_fit_start()
        # The host's own count: to read the device's in every iteration would be to wait for it.
        self._done = int(self.iteration)

    def count_iteration(self) -> None:
        """One more is done."""
        self._done += 1
        self.iteration += 1

    def move_average(self, iteration: int) -> None:
        """Update the averaged generator after an optimiser step, before a checkpoint may be saved."""
        if self.ema_generator is not None and self.ema_decay is not None:
            update_average(self.ema_generator, self.generator, self.ema_decay, iteration)

    def accompanist(self) -> Accompanist[Any]:
        """The model as it plays."""
        raise NotImplementedError

    @staticmethod
    def player(settings: Mapping[str, Any]) -> dict[str, Any]:
        """What `accompanist` returns, as `{class_path, init_args}`: `load_player` builds it without this class.

        Codec spec, statistics and weights are added there.

        Args:
            settings: this class's own arguments, as the configuration gives them.
        """
        raise NotImplementedError

    def latents(self, batch: AccompanimentBatch) -> tuple[Tensor, Tensor]:
        """Mix and target latents (not normalised) of a batch of latents or of audio."""
        if not batch.is_audio:
            return batch.mix, batch.target
        # The codec is frozen; its arithmetic stays in float32, because phases and logarithms suffer in bf16.
        with torch.no_grad(), torch.autocast(self.device.type, enabled=False):
            return self.codec.encode(batch.mix), self.codec.encode(batch.target)

    # Lightning hands any output on to the callbacks, although it declares tensors and mappings only.
    def validation_step(  # type: ignore[override]
        self, batch: AccompanimentBatch, batch_idx: int
    ) -> AccompanimentOutput:
        """Play along with each mix, step by step, exactly as a server would."""
        return AccompanimentOutput.played_to(
            batch, self.played(self.accompanist(), batch), self.codec.spec.sample_rate_hz
        )

    def played(self, accompanist: Accompanist[Any], batch: AccompanimentBatch) -> Tensor:
        """What an accompanist plays to each mix, audio_BAN."""
        return played_audio(accompanist, self.codec, self.silence_C, batch)

    def test_step(  # type: ignore[override]
        self, batch: AccompanimentBatch, batch_idx: int
    ) -> AccompanimentOutput:
        return self.validation_step(batch, batch_idx)

    def predict_step(self, batch: AccompanimentBatch, batch_idx: int) -> AccompanimentOutput:
        """As in a test; `AudioLogger` writes the audio."""
        return self.validation_step(batch, batch_idx)

    @torch.no_grad()
    def hear_silence(self) -> None:
        """Read the codec's latent of silence."""
        samples = SILENCE_FRAMES * self.codec.spec.hop_samples
        silence_BAN = torch.zeros(1, self.codec.spec.audio_channels, samples, device=self.silence_C.device)
        self.silence_C.copy_(self.codec.encode(silence_BAN)[0, -1])

    def setup(self, stage: str) -> None:
        """Take the latent statistics from the data module; a checkpoint's own ones replace them afterwards.

        Raises:
            UserError: the data module of a training has none.
        """
        self.hear_silence()
        statistics = getattr(data_module(self.trainer), "latent_statistics", None)
        if statistics is not None:
            self.latent_mean_C.copy_(statistics.mean_C)
            self.latent_std_C.copy_(statistics.std_C)
        elif stage == "fit":
            raise UserError(
                "training needs latent statistics: use a data module that has them, as Slakh2100DataModule does"
            )

    def adopt_statistics(self, checkpoint: Mapping[str, Any]) -> None:
        """Normalise latents as for a checkpoint's weights, whatever the data's own statistics are."""
        self.latent_mean_C.copy_(checkpoint["livejam"]["latent_mean_C"])
        self.latent_std_C.copy_(checkpoint["livejam"]["latent_std_C"])

    def train(self, mode: bool = True) -> Self:
        """Training mode for the networks; the codec stays in evaluation mode."""
        super().train(mode)
        self.codec.eval()
        return self

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Everything that is needed to play without this class."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["livejam"] = {
            "codec_spec": self.codec.spec.to_dict(),
            "latents_hash": self.codec.latents_hash,
            "latent_mean_C": self.latent_mean_C.detach().cpu(),
            "latent_std_C": self.latent_std_C.detach().cpu(),
            "lineage": self.lineage,
            "instruments": list(self._learnt()),
        }
        if "config" in checkpoint:  # the `lightning` command's, which was added before
            checkpoint["livejam"]["player"] = self.player(checkpoint["config"]["model"]["init_args"])

    def _learnt(self) -> tuple[str, ...]:
        """The instruments that were learnt before, and those that this run trains."""
        return in_order([*self.instruments, *self._asked(), *["Any"] * self.may_choose])

    def _asked(self) -> tuple[str, ...]:
        return getattr(data_module(self.trainer), "instruments", ())

    def on_validation_start(self) -> None:
        self._warn_of_unlearnt()

    def on_test_start(self) -> None:
        self._warn_of_unlearnt()

    def on_predict_start(self) -> None:
        self._warn_of_unlearnt()

    def _warn_of_unlearnt(self) -> None:
        """Warn of an instrument that a checkpoint never learnt: its numbers would look like those of a bad model."""
        unlearnt = [name for name in self._asked() if name not in self.instruments]
        if self.instruments and unlearnt and not self.trainer.training:
            rank_zero_warn(
                f"this checkpoint never learnt to play {', '.join(unlearnt)}; it learnt {', '.join(self.instruments)}: "
                "set data.init_args.targets to these"
            )

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that does not fit.

        Raises:
            UserError: it diverged, is of another codec or size or, when training goes on, of other data.
        """
        super().on_load_checkpoint(checkpoint)
        require_same_codec(checkpoint, self.codec)
        # The codec that the configuration names plays: its decoder may be newer than the run.
        weights = {name: w for name, w in checkpoint["state_dict"].items() if not name.startswith("codec.")}
        checkpoint["state_dict"] = weights | {f"codec.{name}": w for name, w in self.codec.state_dict().items()}
        require_same_shapes(checkpoint, self)
        require_finite_weights(checkpoint["state_dict"], "the checkpoint")
        self.lineage = checkpoint["livejam"].get("lineage", [])
        self.instruments = learnt_instruments(checkpoint)
        if self._trainer is not None and self.trainer.training:
            require_same_statistics(checkpoint, self.statistics)


def played_audio(
    accompanist: Accompanist[Any],
    codec: Codec,
    silence_C: Tensor,
    batch: AccompanimentBatch,
    curves_BTP: Tensor | None = None,
) -> Tensor:
    """What an accompanist plays to each mix of a batch of audio, step by step, audio_BAN.

    Args:
        accompanist: the model that plays.
        codec: its codec.
        silence_C: the codec's latent of silence.
        batch: the mixes, as audio. Equal items get equal noise, for any batch size and number of ranks.
        curves_BTP: packed curves that it follows; None = no sketch.
    """
    with torch.autocast(silence_C.device.type, enabled=False):
        mix_BTC = codec.encode(batch.mix)
    seeds = [zlib.crc32(f"{s}@{t:.3f}".encode()) for s, t in zip(batch.song, batch.start_seconds, strict=True)]
    controls = Controls(batch.instrument_B, torch.tensor(seeds, device=silence_C.device))
    frames = mix_BTC.shape[1]
    missing = -frames % accompanist.block_frames
    padded_BTC = torch.cat((mix_BTC, silence_C.expand(len(batch), missing, -1)), dim=1)
    played_BTC = accompany(accompanist, padded_BTC, controls, silence_C, curves_BTP)[:, :frames]
    with torch.autocast(silence_C.device.type, enabled=False):
        played_BAN: Tensor = codec.decode(played_BTC.float())
    return played_BAN


def described(accompanist: type, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """`{class_path, init_args}` of an accompanist."""
    return {"class_path": f"{accompanist.__module__}.{accompanist.__qualname__}", "init_args": dict(arguments)}
