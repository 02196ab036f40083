"""What the recipes of Live Music Diffusion Models share: how the model plays, and the trained networks they go on from.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lightning_modules.accompaniment import AccompanimentModule, described
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.diffusion_conditions import Unconditional
from livejam.sampling import Sampler
from livejam.systems.context import ContextMode
from livejam.systems.lmdm import LMDMAccompanist, cutoff_frames, require_window


class LMDMRecipe(AccompanimentModule):
    """Base of the recipes that train a diffusion transformer to continue a context.

    Args:
        generator: network and encoders.
        codec: encodes and decodes audio in validation; frozen.
        context_mode: how the model is told what it has played, in training and in playing.
        sampler: how it plays.
        cutoff_blocks: how far, in blocks beyond the context, the mix is known in training.
        play_cutoff_blocks: the same in playing; None = the first of `cutoff_blocks`.
        unconditional: what guidance guides away from, in playing.
        ema_decay: decay in [0, 1) per iteration of the averaged generator; None = there is none.
        gradient_clip: largest gradient norm; None = unlimited.
        seed: of all draws.

    Raises:
        UserError: the window cannot be played with one of the cutoffs.
    """

    def __init__(
        self,
        generator: ConditionedTransformer,
        codec: Codec,
        context_mode: ContextMode,
        sampler: Sampler,
        cutoff_blocks: list[int],
        play_cutoff_blocks: int | None,
        unconditional: Unconditional,
        ema_decay: float | None,
        gradient_clip: float | None,
        seed: int,
    ) -> None:
        super().__init__(generator, codec, ema_decay, gradient_clip, seed)
        if not cutoff_blocks:
            raise UserError("cutoff_blocks is empty; name one cutoff at least, for example [0]")
        self.play_cutoff_blocks = cutoff_blocks[0] if play_cutoff_blocks is None else play_cutoff_blocks
        for cutoff in (*cutoff_blocks, self.play_cutoff_blocks):
            require_window(generator.transformer, cutoff)
        self.context_mode, self.sampler, self.cutoff_blocks = context_mode, sampler, cutoff_blocks
        self.unconditional = unconditional
        self.accompanist()

    @property
    def hears_mix(self) -> bool:
        """Whether any cutoff leaves something of the mix in the window."""
        return any(cutoff_frames(self.generator.transformer, cutoff) for cutoff in self.cutoff_blocks)

    def accompanist(self) -> LMDMAccompanist:
        """The model as it plays, with the averaged generator where there is one."""
        return self.playing(self.playing_generator, self.play_cutoff_blocks)

    def playing(self, generator: ConditionedTransformer, cutoff_blocks: int) -> LMDMAccompanist:
        """A generator as it plays at a cutoff."""
        parts = generator, self.codec.spec, self.statistics, self.context_mode, self.sampler, cutoff_blocks
        return LMDMAccompanist(*parts, unconditional=self.unconditional)

    @staticmethod
    def player(settings: Mapping[str, Any]) -> dict[str, Any]:
        played = settings["play_cutoff_blocks"]
        return described(
            LMDMAccompanist,
            {
                **{name: settings[name] for name in ("generator", "context_mode", "sampler")},
                "cutoff_blocks": settings["cutoff_blocks"][0] if played is None else played,
                "unconditional": described(Unconditional, settings["unconditional"]),
            },
        )


class WarmStarted(LMDMRecipe):
    """Base of the recipes that go on from trained networks, in a new run; a resumed one has its own checkpoint."""

    _restored = False

    def start(self) -> None:
        """Take the trained networks.

        Raises:
            UserError: there are none, or they do not fit.
        """
        raise NotImplementedError

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.adopt_statistics(checkpoint)
        super().on_load_checkpoint(checkpoint)
        self._restored = True

    def on_fit_start(self) -> None:
        super().on_fit_start()
        if not self._restored:
            self.start()
