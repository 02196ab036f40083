"""The reference of a Fréchet distance on disk, with a record of what it was made of.

Shapes: D embedding width.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from livejam.errors import UserError
from livejam.files import atomic_path


@dataclass(frozen=True)
class FrechetReference:
    """Sums over the embeddings of real recordings, and where they come from.

    Args:
        embedding: identity of the embedding.
        sample_rate_hz: rate of the recordings, before the embedding resampled them.
        segment_seconds: length of the stretches that the recordings were cut into before they were embedded.
        data_hash: identifies the recordings, whatever their order.
        count: embeddings.
        sum_D: their sum, float64.
        outer_DD: the sum of their outer products, float64.
    """

    embedding: str
    sample_rate_hz: int
    segment_seconds: float
    data_hash: str
    count: int
    sum_D: Tensor
    outer_DD: Tensor

    def require_like(self, embedding: str, sample_rate_hz: int, segment_seconds: float) -> None:
        """Refuse a reference that cannot be compared.

        Raises:
            UserError: the embedding, the rate or the length of segments is another.
        """
        for what, theirs, ours in (
            ("the embedding", self.embedding, embedding),
            ("recordings at", f"{self.sample_rate_hz} Hz", f"{sample_rate_hz} Hz"),
            ("segments of", f"{self.segment_seconds:g} s", f"{segment_seconds:g} s"),
        ):
            if theirs != ours:
                raise UserError(
                    f"the Fréchet reference was made with {what} {theirs}, this evaluation has {ours}: their "
                    "distances cannot be compared; make a reference with `save_reference` of the FADMonitor"
                )

    def require_same(self, other: FrechetReference) -> None:
        """Refuse to compare distances to two references unless they are the same.

        Raises:
            UserError: the embedding, the rate, the recordings or their number differ.
        """
        self.require_like(other.embedding, other.sample_rate_hz, other.segment_seconds)
        if (self.data_hash, self.count) != (other.data_hash, other.count):
            raise UserError(
                f"Fréchet distances to different references cannot be compared: {self.count} embeddings of the data "
                f"{self.data_hash} here, {other.count} of {other.data_hash} there"
            )

    def save(self, path: str | Path) -> None:
        """Write it as safetensors, whole or not at all."""
        names = ("embedding", "sample_rate_hz", "segment_seconds", "data_hash", "count")
        identity = {name: getattr(self, name) for name in names}
        tensors = {name: getattr(self, name).cpu().contiguous() for name in ("sum_D", "outer_DD")}
        with atomic_path(Path(path)) as temporary:
            save_file(tensors, str(temporary), {"frechet_reference": json.dumps(identity)})

    @classmethod
    def load(cls, path: str | Path) -> FrechetReference:
        """Read what `save` wrote.

        Raises:
            UserError: there is no such file, or it is something else.
        """
        if not Path(path).is_file():
            raise UserError(f"there is no Fréchet reference {path}; make one with `save_reference` of the FADMonitor")
        try:
            with safe_open(str(path), framework="pt") as file:
                identity = json.loads((file.metadata() or {})["frechet_reference"])
                sums = {name: file.get_tensor(name) for name in ("sum_D", "outer_DD")}
            if "segment_seconds" not in identity:
                raise ValueError("it is of whole recordings, not of segments as they are judged")
            reference = cls(**identity, **sums)
            width = len(reference.sum_D)
            finite = all(bool(tensor.isfinite().all()) for tensor in sums.values())
            if reference.outer_DD.shape != (width, width) or reference.sum_D.ndim != 1 or not finite:
                raise ValueError("its sums are not those of embeddings")
            if not (isinstance(reference.count, int) and reference.count >= 2):
                raise ValueError("it stands for fewer than two embeddings")
            if not (isinstance(reference.segment_seconds, int | float) and reference.segment_seconds > 0):
                raise ValueError("its segments have no length")
        except (SafetensorError, KeyError, TypeError, ValueError, struct.error) as error:
            raise UserError(f"{path} is not a Fréchet reference ({error}); make it again") from error
        return cls(**identity, **{name: tensor.to(torch.float64) for name, tensor in sums.items()})
