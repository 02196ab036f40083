"""LiveBand when it plays: one frame in, one frame out, ahead of the mix that it hears.

Shapes: B batch, T latent frames, C latent channels, E channels of a reference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from livejam.accompanist import TAKES_NONE, Controls, Weights
from livejam.errors import UserError
from livejam.networks.causal_transformer import CausalTransformer, Heard
from livejam.networks.transformer_cache import TransformerCache
from livejam.noise import seeded_noise
from livejam.spec import CodecSpec, LatentStatistics


@dataclass(frozen=True)
class LiveBandState:
    """The state of a stream; `cache.position_B` is its position.

    Args:
        cache: the generator's keys and values.
        instrument_B: class index per row; may be replaced between steps to change the instrument.
        seed_B: seed of each row's noise.
        anticipation_B: δ per row, which a generator that is told it plays at.
        reference_BE: embeddings of references, a row of zeros for none; None = none in any row.
    """

    cache: TransformerCache
    instrument_B: Tensor
    seed_B: Tensor
    anticipation_B: Tensor
    reference_BE: Tensor | None = None


class LiveBandAccompanist:
    """A trained generator with the `Accompanist` interface.

    A causal generator takes any number of frames per step; its block is one frame. A bidirectional one hears whole
    windows at once and keeps nothing between them. It serves only as the upper bound, with `anticipation_frames` = -1,
    on mixes whose length is a multiple of its window.

    Args:
        generator: the map from normalised noise and mix to the normalised accompaniment; used as it is (device, dtype,
            training mode).
        spec: spec of the codec whose latents go in and out.
        statistics: statistics of the latents that the generator was trained on.
        anticipation_frames: δ ≥ 0 in training, or any that the generator knows; -1 if and only if it is
            bidirectional.
        reference: how the references are made that it takes, in plain values: the arguments of
            `livejam.reference.ReferenceAnalysis`, and the `identity` that its encoder had in training. None = it takes
            none.
        sounds_like_E: the embedding of the reference of all rows that are asked for none, as in an exported graph.

    Raises:
        UserError: generator, codec and anticipation do not fit together.
    """

    def __init__(
        self,
        generator: CausalTransformer,
        spec: CodecSpec,
        statistics: LatentStatistics,
        anticipation_frames: int,
        reference: Mapping[str, Any] | None = None,
        sounds_like_E: Tensor | None = None,
    ) -> None:
        require_anticipation(generator, anticipation_frames)
        if generator.latent_channels != spec.latent_channels:
            raise UserError(
                f"the generator has {generator.latent_channels} latent channels, but codec {spec.name} has "
                f"{spec.latent_channels}; set latent_channels to the codec's"
            )
        self.generator = generator
        self._spec = spec
        self._statistics = statistics
        self._anticipation_frames = anticipation_frames
        self._reference = reference
        self.sounds_like_E = sounds_like_E

    @property
    def reference(self) -> Mapping[str, Any] | None:
        """How the references are made that it takes; None = it takes none."""
        return self._reference

    @property
    def spec(self) -> CodecSpec:
        """The codec whose latents go in and out."""
        return self._spec

    @property
    def statistics(self) -> LatentStatistics:
        """Of the latents that the generator was trained on."""
        return self._statistics

    @property
    def block_frames(self) -> int:
        """1, or the window of a bidirectional generator."""
        return 1 if self.generator.causal else self.generator.window_frames

    @property
    def anticipation_frames(self) -> int:
        """δ: the output of step t sounds at frame t + 1 + δ."""
        return self._anticipation_frames

    @property
    def anticipations(self) -> range:
        """Those that the generator learnt, if it is told; else its own alone."""
        own = range(self.anticipation_frames, self.anticipation_frames + 1)
        return range(self.generator.anticipations) if self.generator.anticipations else own

    def init_state(self, batch_size: int, controls: Controls) -> LiveBandState:
        """The state before the first frame.

        Raises:
            UserError: there is a prompt, or a reference that it cannot take.
        """
        refuse_prompt(controls)
        cache = self.generator.init_cache(batch_size)
        device = cache.position_B.device
        anticipation_B = torch.full_like(cache.position_B, self.anticipation_frames)
        asked = controls.instrument_B.to(device), controls.seed_B.to(device), anticipation_B
        return LiveBandState(cache, *asked, self._reference_of(controls))

    def _reference_of(self, controls: Controls) -> Tensor | None:
        """The references that are asked for, on the generator's device.

        Raises:
            UserError: there are some, and it takes none or others.
        """
        rows, wanted = len(controls.seed_B), self.generator.reference_channels
        reference_BE = controls.reference_BE
        if reference_BE is None and self.sounds_like_E is not None:
            reference_BE = self.sounds_like_E.expand(rows, -1)
        if reference_BE is None:
            return None
        if not wanted:
            raise UserError(TAKES_NONE)
        if reference_BE.shape != (rows, wanted):
            raise UserError(
                f"references of shape {tuple(reference_BE.shape)} were given; this model takes {wanted} numbers for "
                f"each of {rows} rows"
            )
        return reference_BE.to(self.generator.class_embedding.weight)

    def step(self, mix_BTC: Tensor, state: LiveBandState) -> tuple[Tensor, LiveBandState]:
        """Hear the next mix frames, and emit equally many accompaniment frames (codec latents, not normalised)."""
        if not self.generator.causal:
            return self._bidirectional_step(mix_BTC, state)
        (stepped,) = self.step_together([(mix_BTC, state)])
        return stepped

    def step_together(self, streams: Sequence[tuple[Tensor, LiveBandState]]) -> list[tuple[Tensor, LiveBandState]]:
        """A step of several streams, each as in `step`: several musicians share one causal model.

        Args:
            streams: new mix frames and the state of each, with equally many frames.
        """
        mixes = [(self._statistics.normalise(mix_BTC), state) for mix_BTC, state in streams]
        stepped = self.generator.step_together(
            [
                Heard(
                    self._noise(mix_BTC, state),
                    mix_BTC,
                    state.instrument_B,
                    state.cache,
                    state.anticipation_B,
                    state.reference_BE,
                )
                for mix_BTC, state in mixes
            ]
        )
        return [
            (self._statistics.denormalise(out_BTC), replace(state, cache=cache))
            for (out_BTC, cache), (_, state) in zip(stepped, streams, strict=True)
        ]

    def with_controls(self, controls: Controls, state: LiveBandState) -> LiveBandState:
        """The state with other controls, and at this model's anticipation, from the next step on.

        Raises:
            UserError: there is a prompt, or a reference that it cannot take.
        """
        refuse_prompt(controls)
        device = state.seed_B.device
        anticipation_B = torch.full_like(state.anticipation_B, self.anticipation_frames)
        return replace(
            state,
            instrument_B=controls.instrument_B.to(device),
            seed_B=controls.seed_B.to(device),
            anticipation_B=anticipation_B,
            reference_BE=self._reference_of(controls),
        )

    def with_guidance(self, guidance: Weights) -> LiveBandAccompanist:
        """LiveBand has no guidance.

        Raises:
            UserError: always.
        """
        raise UserError("LiveBand plays without guidance; leave it out, or play an LMDM")

    def with_anticipation(self, frames: int) -> LiveBandAccompanist:
        """The same model at another anticipation, for a generator that is told.

        Raises:
            UserError: it was not trained at this one.
        """
        if frames == self.anticipation_frames:
            return self
        if not self.generator.anticipations:
            raise UserError(
                f"this model plays {self.anticipation_frames} frames ahead and learnt nothing else; leave the "
                "anticipation out, or train one that is told (configs/liveband/anticipation.yaml)"
            )
        parts = self.generator, self._spec, self._statistics
        return LiveBandAccompanist(*parts, frames, self._reference, self.sounds_like_E)

    def sounding_like(self, embedding_E: Tensor) -> LiveBandAccompanist:
        """The same model, which sounds like this reference wherever it is asked for none."""
        parts = self.generator, self._spec, self._statistics
        return LiveBandAccompanist(*parts, self.anticipation_frames, self._reference, embedding_E)

    def parallel(self, mix_BTC: Tensor, controls: Controls) -> Tensor:
        """The output of all steps over the whole mix, in one pass: frame t of the result sounds at t + 1 + δ."""
        state = self.init_state(len(mix_BTC), controls)
        mix_BTC = self._statistics.normalise(mix_BTC)
        asked = state.instrument_B, state.anticipation_B, state.reference_BE
        out_BTC = self.generator(self._noise(mix_BTC, state), mix_BTC, *asked)
        return self._statistics.denormalise(out_BTC)

    def _bidirectional_step(self, mix_BTC: Tensor, state: LiveBandState) -> tuple[Tensor, LiveBandState]:
        mix_BTC = self._statistics.normalise(mix_BTC)
        asked = state.instrument_B, None, state.reference_BE
        out_BTC = self.generator(self._noise(mix_BTC, state), mix_BTC, *asked)
        position_B = state.cache.position_B + mix_BTC.shape[1]
        return self._statistics.denormalise(out_BTC), replace(state, cache=replace(state.cache, position_B=position_B))

    def _noise(self, mix_BTC: Tensor, state: LiveBandState) -> Tensor:
        position_BT = state.cache.position_B[:, None] + torch.arange(mix_BTC.shape[1], device=mix_BTC.device)
        return seeded_noise(state.seed_B, position_BT, self.generator.noise_channels).to(mix_BTC.dtype)


def refuse_prompt(controls: Controls) -> None:
    """Refuse a description in words.

    Raises:
        UserError: there is one.
    """
    if controls.prompt is not None or any(controls.negative_prompt or ()):
        raise UserError("LiveBand takes no prompts; name an instrument instead")


def require_anticipation(generator: CausalTransformer, anticipation_frames: int) -> None:
    """Refuse an anticipation that does not fit the generator.

    Raises:
        UserError: a causal generator with δ < 0, a bidirectional one with δ ≠ -1, or a δ that was not learnt.
    """
    told = generator.anticipations
    if told and not 0 <= anticipation_frames < told:
        raise UserError(f"anticipation_frames is {anticipation_frames}, but the generator knows 0 to {told - 1}")
    if generator.causal and anticipation_frames < 0:
        raise UserError(
            f"anticipation_frames is {anticipation_frames}, but a causal generator needs 0 or more; only a "
            "bidirectional one (causal: false) uses -1"
        )
    if not generator.causal and anticipation_frames != -1:
        raise UserError(
            f"a bidirectional generator (causal: false) needs anticipation_frames -1, not {anticipation_frames}"
        )
