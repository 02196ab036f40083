"""A codec whose latents are stretches of audio, and data made of them, for recipes that train on latents."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from livejam.batch import AccompanimentBatch
from livejam.codecs.codec import Codec
from livejam.spec import CodecSpec, LatentStatistics

CHANNELS = 4


class ToyCodec(Codec[None, None]):
    """A codec whose channels are the means of stretches of the frame, scaled.

    Args:
        name: of its spec.
        channels: of a frame.
        samples: of audio that a channel stands for.
        gain: scale of the latents.
    """

    def __init__(self, name: str = "toy", channels: int = CHANNELS, samples: int = 8, gain: float = 1.0) -> None:
        super().__init__()
        self.spec = CodecSpec(name, 3200, 1, channels * samples, channels, 0)
        self.shape = (channels, samples)
        self.gain = torch.nn.Parameter(torch.tensor(gain))

    def encode(self, audio_BAN: Tensor) -> Tensor:
        return audio_BAN.reshape(len(audio_BAN), -1, *self.shape).mean(-1) * self.gain

    def decode(self, latents_BTC: Tensor) -> Tensor:
        return (latents_BTC / self.gain).reshape(len(latents_BTC), 1, -1).repeat_interleave(self.shape[1], dim=-1)

    def init_encoder_state(self, batch_size: int) -> None:
        return None

    def encode_step(self, audio_BAN: Tensor, state: None) -> tuple[Tensor, None]:
        return self.encode(audio_BAN), None

    def init_decoder_state(self, batch_size: int) -> None:
        return None

    def decode_step(self, latents_BTC: Tensor, state: None) -> tuple[Tensor, None]:
        return self.decode(latents_BTC), None


def make_batch(
    frames: int, size: int, seed: int, is_audio: bool = False, codec: Codec[None, None] | None = None
) -> AccompanimentBatch:
    """Targets that are a function of their mix, so that there is something to learn."""
    codec = codec or ToyCodec()
    rng = torch.Generator().manual_seed(seed)
    mix_BTC = torch.randn(size, frames, codec.spec.latent_channels, generator=rng)
    target_BTC = 0.5 * mix_BTC.flip(-1) + 0.2
    return AccompanimentBatch(
        mix=codec.decode(mix_BTC) if is_audio else mix_BTC,
        target=codec.decode(target_BTC) if is_audio else target_BTC,
        is_audio=is_audio,
        instrument_B=torch.arange(size) % 4,
        active_BT=torch.ones(size, frames, dtype=torch.bool),
        prompt=("",) * size,
        song=tuple(f"song{i}" for i in range(size)),
        start_seconds=(0.0,) * size,
        annotations=(None,) * size,
    )


class CountingLoader:
    """Batch i depends on i and the rank alone; the position is a part of the checkpoint."""

    def __init__(self, data: CountingData, rank: int) -> None:
        self.data, self.rank, self.position = data, rank, 0

    def __iter__(self) -> Iterator[AccompanimentBatch]:
        self.position %= self.data.batches
        while self.position < self.data.batches:
            self.position += 1
            seed = 1000 * self.rank + self.position
            yield make_batch(self.data.frames, self.data.size, seed, codec=self.data.codec)

    def __len__(self) -> int:
        return self.data.batches

    def state_dict(self) -> dict[str, int]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        self.position = state["position"]


class CountingData(lightning.LightningDataModule):
    """Args: batches per epoch, frames of a crop, items of a batch, standard deviation of the latents, their codec."""

    def __init__(
        self, batches: int, frames: int, size: int = 4, std: float = 1.0, codec: Codec[None, None] | None = None
    ) -> None:
        super().__init__()
        self.batches, self.frames, self.size, self.codec = batches, frames, size, codec or ToyCodec()
        channels = self.codec.spec.latent_channels
        self.latent_statistics = LatentStatistics(torch.full((channels,), 0.1), torch.full((channels,), std))

    def train_dataloader(self) -> CountingLoader:
        assert self.trainer is not None
        return CountingLoader(self, self.trainer.global_rank)

    def val_dataloader(self) -> torch.utils.data.DataLoader[AccompanimentBatch]:
        batch = make_batch(160, 2, seed=7, is_audio=True, codec=self.codec)
        return torch.utils.data.DataLoader([batch], batch_size=None)

    test_dataloader = val_dataloader


class StopAfter(lightning.Callback):
    """Args: batches after which a checkpoint is written and the error raised."""

    def __init__(self, batches: int, error: BaseException) -> None:
        self.batches, self.error = batches, error

    def on_train_batch_end(self, trainer: Trainer, module: Any, outputs: Any, batch: Any, index: int) -> None:
        if index + 1 == self.batches:
            trainer.save_checkpoint(Path(trainer.default_root_dir) / "stopped.ckpt")
            raise self.error


def make_trainer(root: Path, **settings: Any) -> Trainer:
    quiet: dict[str, Any] = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "accelerator": "cpu",
        "devices": 1,
        "max_epochs": 1,
        "limit_val_batches": 0,
        "num_sanity_val_steps": 0,
    }
    return Trainer(default_root_dir=root, **(quiet | settings))


def same(first: Any, second: Any) -> bool:
    """Bit equality of nested containers of tensors."""
    if isinstance(first, Tensor):
        return isinstance(second, Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(same(first[k], second[k]) for k in first)
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(same(a, b) for a, b in zip(first, second, strict=True))
    return bool(first == second)
