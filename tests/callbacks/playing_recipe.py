"""A recipe that plays made-up stems, for tests of callbacks."""

from __future__ import annotations

import lightning
import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from livejam.batch import (
    CATEGORIES,
    AccompanimentBatch,
    AccompanimentOutput,
    Annotations,
    Chord,
    Partner,
    PlannedItem,
)
from livejam.codecs.codec import Codec
from livejam.spec import CodecSpec
from metrics.beat_tracking import BeatTracker

SAMPLE_RATE_HZ = 16_000
SEGMENT_SECONDS = 2.0
DRUMS, BASS = CATEGORIES.index("Percussive"), CATEGORIES.index("Bass")


class RoundingCodec(Codec[None, None]):
    """Samples as latents, coarsely rounded; enough to tell its output from its input."""

    def __init__(self, steps: float = 64.0) -> None:
        super().__init__()
        self.spec = CodecSpec("rounding", SAMPLE_RATE_HZ, 1, 160, 160, 0)
        self.register_buffer("steps", torch.tensor(steps))
        self.encoded = 0
        self.loudness = 1.0

    @property
    def settings(self) -> dict[str, str | int | float]:
        return {"loudness": self.loudness}

    def encode(self, audio_BAN: Tensor) -> Tensor:
        self.encoded += len(audio_BAN)
        return (audio_BAN[:, 0].unflatten(1, (-1, 160)) * self.steps).round()

    def decode(self, latents_BTC: Tensor) -> Tensor:
        return self.loudness * (latents_BTC / self.steps).flatten(1)[:, None]

    def init_encoder_state(self, batch_size: int) -> None: ...

    def encode_step(self, audio_BAN: Tensor, state: None) -> tuple[Tensor, None]:
        return self.encode(audio_BAN), None

    def init_decoder_state(self, batch_size: int) -> None: ...

    def decode_step(self, latents_BTC: Tensor, state: None) -> tuple[Tensor, None]:
        return self.decode(latents_BTC), None


class Energetic(BeatTracker):
    """A beat wherever a block of 50 ms is much louder than the one before."""

    identity = "energetic"

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, audios: list[np.ndarray], sample_rate_hz: int) -> list[np.ndarray]:
        self.calls += len(audios)
        return [self._beats(audio_N, sample_rate_hz // 20) for audio_N in audios]

    def _beats(self, audio_N: np.ndarray, block: int) -> np.ndarray:
        powers = np.square(audio_N[: len(audio_N) // block * block]).reshape(-1, block).mean(1)
        return 0.05 * np.flatnonzero(powers > 4 * np.concatenate([[1e-9], powers[:-1]]) + 1e-5)


def drum_stem(bpm: float, seconds: float, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    stem_N = np.zeros(int(seconds * SAMPLE_RATE_HZ))
    for beat in np.arange(0.0, seconds - 0.05, 60 / bpm):
        start = int(beat * SAMPLE_RATE_HZ)
        stem_N[start : start + 800] += 0.3 * rng.normal(size=800) * np.exp(-np.arange(800) / 200)
    return stem_N.astype(np.float32)


def tone_stem(pitch: int, seconds: float) -> np.ndarray:
    time_N = np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    return (0.1 * np.sin(2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * time_N)).astype(np.float32)


class Songs(torch.utils.data.Dataset):
    """Item i: song i // 2, drums and bass in turn, with its own tempo and chord; its partner is of the next song."""

    def __init__(self, items: int, seconds: float) -> None:
        self.items, self.seconds = items, seconds

    def __len__(self) -> int:
        return self.items

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray, int, str, Annotations, PlannedItem]:
        other = (index + 2) % self.items
        partner = Partner(torch.from_numpy(self._item(other)[1])[None], self._item(other)[3])
        return *self._item(index), PlannedItem(index, False, partner if other // 2 != index // 2 else None)

    def _item(self, index: int) -> tuple[np.ndarray, np.ndarray, int, str, Annotations]:
        song, is_bass = divmod(index, 2)
        bpm, root = 90 + 17 * song, 36 + 2 * song
        drums_N, bass_N = drum_stem(bpm, self.seconds, song), tone_stem(root, self.seconds)
        beats = tuple(np.arange(0.0, self.seconds, 60 / bpm).tolist())
        chord = Chord(0.0, self.seconds, "root", (root % 12,))
        truth = Annotations(beats, beats[::4], (chord,))
        target_N = bass_N if is_bass else drums_N
        return drums_N + bass_N - target_N, target_N, BASS if is_bass else DRUMS, f"Track{song:05d}", truth


def collate(items: list[tuple[np.ndarray, np.ndarray, int, str, Annotations, PlannedItem]]) -> AccompanimentBatch:
    mixes, targets, instruments, songs, truths, planned = zip(*items, strict=True)
    mix_BAN, target_BAN = (torch.from_numpy(np.stack(audios))[:, None] for audios in (mixes, targets))
    return AccompanimentBatch(
        mix=mix_BAN,
        target=target_BAN,
        is_audio=True,
        instrument_B=torch.tensor(instruments),
        active_BT=torch.ones(len(items), 1, dtype=torch.bool),
        prompt=songs,
        song=songs,
        start_seconds=tuple(0.0 for _ in songs),
        annotations=truths,
        planned=planned,
    )


class Player(lightning.LightningModule):
    """Plays the true stem with a gain, or noise, or nothing at all."""

    def __init__(self, gain: float = 0.5, noise: float = 0.0, steps: float = 64.0) -> None:
        super().__init__()
        self.codec = RoundingCodec(steps)
        self.gain, self.noise = gain, noise
        self.weight = nn.Parameter(torch.zeros(()))

    def training_step(self, batch: AccompanimentBatch, batch_idx: int) -> Tensor:
        return self.weight.square()

    def validation_step(self, batch: AccompanimentBatch, batch_idx: int) -> object:
        rng = torch.Generator().manual_seed(batch_idx)
        noise_BAN = self.noise * torch.randn(batch.target.shape, generator=rng)
        return AccompanimentOutput(
            mix_BAN=batch.mix,
            target_BAN=batch.target,
            generated_BAN=self.gain * batch.target + noise_BAN,
            sample_rate_hz=SAMPLE_RATE_HZ,
            instrument_B=batch.instrument_B,
            song=batch.song,
            start_seconds=batch.start_seconds,
            annotations=batch.annotations,
            planned=batch.planned,
        )

    test_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.0)


def loader(items: int = 6, seconds: float = 2 * SEGMENT_SECONDS, batch_size: int = 2) -> DataLoader:
    return DataLoader(Songs(items, seconds), batch_size=batch_size, collate_fn=collate)
