"""What latents mean: the one place where samples, frames and seconds convert, and how latents are normalised."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

from torch import Tensor


@dataclass(frozen=True)
class CodecSpec:
    """What a latent sequence means: it travels in every latent bank and every checkpoint.

    Args:
        name: a name for the weights, shown to users; codecs with different weights have different names.
        sample_rate_hz: audio sample rate in Hz.
        audio_channels: 1 for mono, 2 for stereo.
        hop_samples: audio samples per latent frame.
        latent_channels: numbers per latent frame.
        delay_samples: samples by which decoded audio lags behind the audio that was encoded. Offline,
            `decode` of `encode` is already aligned; a stream is late by this much.
    """

    name: str
    sample_rate_hz: int
    audio_channels: int
    hop_samples: int
    latent_channels: int
    delay_samples: int

    @property
    def frame_rate_hz(self) -> float:
        """Latent frames per second."""
        return self.sample_rate_hz / self.hop_samples

    @property
    def frame_seconds(self) -> float:
        """Duration of one latent frame in seconds."""
        return self.hop_samples / self.sample_rate_hz

    def frames_in(self, seconds: float) -> int:
        """The number of whole latent frames in `seconds`."""
        return int(seconds * self.sample_rate_hz / self.hop_samples + 1e-6)

    def samples_in(self, frames: int) -> int:
        """Audio samples of `frames` latent frames."""
        return frames * self.hop_samples

    def seconds_in(self, frames: int) -> float:
        """Duration of `frames` latent frames in seconds."""
        return frames * self.frame_seconds

    def to_dict(self) -> dict[str, str | int]:
        """Plain values for a manifest or a checkpoint; `CodecSpec(**d)` restores it."""
        return asdict(self)

    def require_same(self, other: CodecSpec, *, ours: str, theirs: str) -> None:
        """Refuse to mix latents of two codecs.

        Raises:
            ValueError: names every field that differs, with both values and both owners.
        """
        different = [f.name for f in fields(self) if getattr(self, f.name) != getattr(other, f.name)]
        if different:
            details = ", ".join(f"{n}: {getattr(self, n)!r} != {getattr(other, n)!r}" for n in different)
            raise ValueError(
                f"{ours} and {theirs} use different codecs ({details}); rebuild one with the codec of the other"
            )


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation per latent channel, over the training set (LiveBand section 4.2)."""

    mean_C: Tensor
    std_C: Tensor

    def normalise(self, latents_BTC: Tensor) -> Tensor:
        """Codec latents to zero mean and unit variance."""
        return (latents_BTC - self.mean_C.to(latents_BTC)) / self.std_C.to(latents_BTC)

    def denormalise(self, latents_BTC: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return latents_BTC * self.std_C.to(latents_BTC) + self.mean_C.to(latents_BTC)
