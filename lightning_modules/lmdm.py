"""What the recipes of Live Music Diffusion Models share: how the model plays, and warm starts from trained networks.

Shapes: B batch, T latent frames, C latent channels, P numbers of a frame of a sketch.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_modules.accompaniment import AccompanimentModule, described, played_audio
from lightning_modules.warm_start import load_base
from livejam.accompanist import Accompanist
from livejam.batch import AccompanimentBatch, AccompanimentOutput
from livejam.checkpoints.facts import ancestors, mask_name, transformer_settings
from livejam.checkpoints.file import read_checkpoint
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.diffusion_conditions import Dropouts, Unconditional, require_trained_guidance
from livejam.networks.diffusion_transformer import DiffusionTransformer
from livejam.sampling import NoiseFree, Sampler
from livejam.sketch import SketchAnalysis, SketchTraining
from livejam.systems.context import ContextMode, controls_of, cutoff_frames, dropouts_of, lead_blocks, require_window
from livejam.systems.lmdm import LMDMAccompanist


class LMDMRecipe(AccompanimentModule[ConditionedTransformer]):
    """Base of the recipes that train a diffusion transformer to continue a context.

    Args:
        generator: network and encoders.
        codec: the codec for audio in validation; frozen.
        context_mode: how the model is given its own past, in training and in playing.
        sampler: the sampler in playing.
        cutoff_blocks: how far the mix is known in training, in blocks beyond the context.
        play_cutoff_blocks: the same in playing; None = the first of `cutoff_blocks`.
        unconditional: what guidance's unconditional side lacks, in playing.
        ema_decay: decay in [0, 1) per iteration of the averaged generator; None = no average.
        gradient_clip: largest gradient norm; None = unlimited.
        seed: seed of all draws.
        sketch: the sketches that it learns to follow; None = none.

    Raises:
        UserError: the window cannot be played with one of the cutoffs, they are not for one network, or the network
            takes other sketches.
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
        sketch: SketchTraining | None = None,
    ) -> None:
        super().__init__(generator, codec, ema_decay, gradient_clip, seed)
        self.sketch = sketch
        self.sketcher = None if sketch is None else sketch.analysis.at(codec.spec)
        if not cutoff_blocks:
            raise UserError("cutoff_blocks is empty; name one cutoff at least, for example [0]")
        self.play_cutoff_blocks = cutoff_blocks[0] if play_cutoff_blocks is None else play_cutoff_blocks
        for cutoff in (*cutoff_blocks, self.play_cutoff_blocks):
            require_window(generator.transformer, cutoff)
        self.context_mode, self.sampler, self.cutoff_blocks = context_mode, sampler, cutoff_blocks
        played = lead_blocks(context_mode, (*cutoff_blocks, self.play_cutoff_blocks))
        self.lead_frames = played * generator.transformer.block_frames
        self.unconditional = unconditional
        self.dropouts: Dropouts | None = None
        self.accompanist()

    @property
    def hears_mix(self) -> bool:
        """Whether some of the mix is in the window at any cutoff."""
        cutoffs = map(self.context_mode.window_cutoff, self.cutoff_blocks)
        return any(cutoff_frames(self.generator.transformer, cutoff) for cutoff in cutoffs)

    def latents(self, batch: AccompanimentBatch) -> tuple[Tensor, Tensor]:
        """Mix and target latents, the target from as many blocks later as the window's block is played later."""
        mix_BTC, target_BTC = super().latents(batch)
        return mix_BTC[:, : mix_BTC.shape[1] - self.lead_frames], target_BTC[:, self.lead_frames :]

    def accompanist(self) -> LMDMAccompanist:
        """The model in playing, with the averaged generator if there is one."""
        return self.playing(self.playing_generator, self.play_cutoff_blocks)

    def playing(self, generator: ConditionedTransformer, cutoff_blocks: int) -> LMDMAccompanist:
        """A generator in playing, at a cutoff."""
        parts = generator, self.codec.spec, self.statistics, self.context_mode, self.sampler, cutoff_blocks
        analysis = None if self.sketch is None else self.sketch.analysis
        unconditional, dropouts = self.unconditional, self.dropouts
        return LMDMAccompanist(*parts, unconditional=unconditional, sketch=analysis, dropouts=dropouts)

    def played(self, accompanist: Accompanist[Any], batch: AccompanimentBatch) -> Tensor:
        """What an accompanist plays to each mix; one that follows sketches is given the curves of the true stem."""
        curves_BTP = None if self.sketcher is None else self.sketcher(batch.target)
        return played_audio(accompanist, self.codec, self.silence_C, batch, curves_BTP)

    def curves(self, batch: AccompanimentBatch) -> Tensor:
        """Packed curves of the targets (BTP) of a recipe that has sketches.

        Raises:
            UserError: the batches have none.
        """
        if batch.is_audio and self.sketcher is not None:
            with torch.autocast(self.device.type, enabled=False):
                curves_BTP: Tensor = self.sketcher(batch.target)
            return curves_BTP[:, self.lead_frames :]
        if batch.sketch_BTP is None:
            raise UserError(
                "this recipe learns to follow sketches, but the bank's batches have none; set data.init_args.sketch "
                "to model.init_args.sketch.analysis"
            )
        return batch.sketch_BTP[:, self.lead_frames :]

    def require_trained_guidance(self, who: str, sampler: Sampler, dropouts: Dropouts) -> None:
        """Refuse guidance away from answers that training windows hardly ever ask for.

        Args:
            who: guides, for the message.
            sampler: its sampler.
            dropouts: of the training.

        Raises:
            UserError: names what a side of its guidance lacks.
        """
        controls = controls_of(self.generator, self.context_mode, self.hears_mix, self.sketch is not None)
        never_given = () if self.context_mode.can_guide else ("past",)
        for side in sampler.sides(self.unconditional.lacks):
            share = dropouts.share(side.union(never_given), controls)
            require_trained_guidance(who, side & controls, share)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """With what training windows lacked, which may be the base's."""
        super().on_save_checkpoint(checkpoint)
        if "player" in checkpoint["livejam"] and self.dropouts is not None:
            known = described(Dropouts, dataclasses.asdict(self.dropouts))
            checkpoint["livejam"]["player"]["init_args"]["dropouts"] = known

    estimates = True
    """Whether tests also play what the model expects (`NoiseFree`), a row of their tables."""

    # As Lightning's declaration is too narrow for `validation_step`, so here.
    def test_step(  # type: ignore[override]
        self, batch: AccompanimentBatch, batch_idx: int
    ) -> AccompanimentOutput:
        """As in validation; and what the model expects, on a past of its own."""
        expected_BAN = self.played(self.accompanist().with_sampler(NoiseFree()), batch)
        return dataclasses.replace(self.validation_step(batch, batch_idx), estimate_BAN=expected_BAN)

    @staticmethod
    def player(settings: Mapping[str, Any]) -> dict[str, Any]:
        played, sketch = settings["play_cutoff_blocks"], settings.get("sketch")
        followed = {} if sketch is None else {"sketch": described(SketchAnalysis, sketch["analysis"])}
        return described(
            LMDMAccompanist,
            {
                **followed,
                **{name: settings[name] for name in ("generator", "context_mode", "sampler")},
                "cutoff_blocks": settings["cutoff_blocks"][0] if played is None else played,
                "unconditional": described(Unconditional, settings["unconditional"]),
            },
        )


class WarmStarted(LMDMRecipe):
    """Base of the recipes that start a new run from trained networks; a resumed run has its own checkpoint."""

    _restored = False

    def start(self) -> None:
        """Load the trained networks.

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

    def start_from_teacher(
        self, teacher: ConditionedTransformer, path: str | None, allow_untrained: bool, sampler: Sampler
    ) -> None:
        """Start the student, its teacher and its average equal.

        Args:
            teacher: a network of the same sizes, changed in place.
            path: the teacher, a checkpoint of FlowMatching; None = there is none.
            allow_untrained: whether all may then start as they are.
            sampler: with which the teacher plays.

        Raises:
            UserError: there is no teacher, it does not fit, or its guidance was not trained.
        """
        if path is None and not allow_untrained:
            raise UserError(
                "distillation needs a teacher: set teacher_checkpoint to a checkpoint of FlowMatching, or "
                "allow_untrained to true"
            )
        if path is not None:
            trained = load_warm_start(path, self.generator, self.codec, self.cutoff_blocks)
            dropouts = dropouts_of(trained["config"]["model"]["init_args"])
            self.require_trained_guidance("the teacher", sampler, dropouts)
            self.adopt_statistics(trained)
            self.lineage = ancestors(trained)
        for network in (teacher, self.ema_generator):
            if network is not None:
                network.load_state_dict(self.generator.state_dict())


def load_warm_start(
    path: str, generator: ConditionedTransformer, codec: Codec, cutoff_blocks: Sequence[int]
) -> dict[str, Any]:
    """Start a generator from a trained one with the same mask and window.

    Args:
        path: a checkpoint of FlowMatching.
        generator: changed in place.
        codec: the codec whose latents it is trained on.
        cutoff_blocks: the cutoffs, all of which it must have been trained with.

    Returns:
        the checkpoint.

    Raises:
        UserError: it cannot be read, or codec, window, mask or sizes differ.
    """
    checkpoint = read_checkpoint(path)
    require_same_window(path, checkpoint, generator.transformer)
    known = checkpoint["config"]["model"]["init_args"].get("cutoff_blocks")
    if known is not None and not set(cutoff_blocks) <= set(known):
        raise UserError(
            f"{path} was trained with cutoff_blocks {known}, not with {list(cutoff_blocks)}; choose of those"
        )
    load_base(path, generator, codec)
    return checkpoint


def require_same_window(path: str, checkpoint: Mapping[str, Any], network: DiffusionTransformer) -> None:
    """Refuse a model that was trained on another window or differently: its weights would fit, but not its behaviour.

    Raises:
        UserError: names the field that differs.
    """
    settings = transformer_settings(checkpoint)
    if settings is None:
        raise UserError(
            f"{path} carries no configuration of a diffusion transformer; name a checkpoint of FlowMatching"
        )
    saved = {name: settings[name] for name in ("context_frames", "block_frames") if name in settings}
    assert dataclasses.is_dataclass(network.mask)  # so that equal masks are one value
    own: dict[str, Any] = {name: getattr(network, name) for name in saved}
    saved["mask"], own["mask"] = mask_name(settings), type(network.mask).__name__
    if own["mask"] == saved["mask"] and settings.get("mask"):
        saved |= {f"mask.{name}": value for name, value in (settings["mask"].get("init_args") or {}).items()}
        own |= {f"mask.{name}": value for name, value in dataclasses.asdict(network.mask).items()}
    for name, theirs in saved.items():
        if own[name] != theirs:
            raise UserError(
                f"{path} was trained with {name} {theirs}, this model has {own[name]}; use the generator of its config"
            )
