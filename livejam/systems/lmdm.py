"""A Live Music Diffusion Model when it plays: it hears a block and emits a block, on top of what it played before.

Shapes: B batch, T latent frames, C latent channels, P numbers of a frame of a sketch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from livejam.accompanist import FOLLOWS_NONE, Controls, Weights
from livejam.errors import UserError
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.conditioning import Prompt
from livejam.networks.diffusion_conditions import (
    NOTHING_ASKED,
    DiffusionConditions,
    Dropouts,
    Unconditional,
    require_trained_guidance,
)
from livejam.networks.diffusion_masks import BlockCausal
from livejam.sampling import Noise, Sampler, row_noise, weights_text
from livejam.sketch import SketchAnalysis, require_packed
from livejam.spec import CodecSpec, LatentStatistics
from livejam.systems.blocks import BlockCausalCache, DiffusionCache
from livejam.systems.context import (
    BlockRequest,
    ContextMode,
    controls_of,
    cutoff_frames,
    require_codec,
    require_guidable,
    require_sketch,
    require_window,
    with_context,
)
from livejam.systems.lmdm_state import (
    LMDMState,
    begun,
    conditions_of,
    following,
    heard,
    known_past,
    negative_of,
    played,
    prompt_of,
    remembering,
    rows_put,
)


class LMDMAccompanist:
    """A trained diffusion transformer with the `Accompanist` interface.

    One step hears a block of the mix and emits a block. The cutoff says which one, in blocks: at 0 the block after the
    one just heard; at -1 the block after that, which leaves a block's time to compute; and at +1 the same block that
    was heard, which is an upper bound that cannot be played live.

    Args:
        generator: network and encoders; used as they are (device, dtype, training mode).
        spec: spec of the codec whose latents go in and out.
        statistics: statistics of the latents that the generator was trained on.
        context_mode: how it is given its own past, as in training.
        sampler: the map from noise to latents.
        cutoff_blocks: blocks of the mix that are known beyond the context.
        cached: whether keys and values are cached, if the network's mask allows it.
        unconditional: what guidance's unconditional side lacks, as in training, where one weight is given for all.
        unconditional_share: how many of the training windows were like that side, 0 to 1, of checkpoints that have no
            record of their dropouts; None = not known.
        sketch: how the sketches are made that it follows, as in training; None = it follows none.
        dropouts: what training windows lacked; None = not known.

    Raises:
        UserError: generator, codec, cutoff, sketch and weights of guidance do not fit together.
    """

    def __init__(
        self,
        generator: ConditionedTransformer,
        spec: CodecSpec,
        statistics: LatentStatistics,
        context_mode: ContextMode,
        sampler: Sampler,
        cutoff_blocks: int = 0,
        cached: bool = True,
        unconditional: Unconditional = NOTHING_ASKED,
        unconditional_share: float | None = None,
        sketch: SketchAnalysis | None = None,
        dropouts: Dropouts | None = None,
    ) -> None:
        network = generator.transformer
        require_window(network, cutoff_blocks)
        require_sketch(network, sketch)
        require_codec(network, spec)
        self.generator = generator
        self._spec, self._statistics = spec, statistics
        self._context_mode, self._sampler = context_mode, sampler
        self._cutoff_blocks, self._cached = cutoff_blocks, cached
        self._unconditional, self._unconditional_share = unconditional, unconditional_share
        self._sketch, self._dropouts = sketch, dropouts
        self._sides = sampler.sides(unconditional.lacks)
        require_guidable(self.weights, self.controls, context_mode)

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
        """Frames heard and emitted per step."""
        return self.generator.transformer.block_frames

    @property
    def anticipation_frames(self) -> int:
        """δ, as in `accompany`: the first frame emitted is 1 + δ frames after the first frame heard.

        At cutoff 0 that is a block, the smallest that can be played live; the compute budget, δ + 1 - `block_frames`,
        is then 0 frames, and one block more at each lower cutoff.
        """
        return (1 - self._cutoff_blocks) * self.block_frames - 1

    @property
    def anticipations(self) -> range:
        """That of its cutoff alone."""
        return range(self.anticipation_frames, self.anticipation_frames + 1)

    @property
    def context_mode(self) -> ContextMode:
        """How it is given its own past."""
        return self._context_mode

    @property
    def sampler(self) -> Sampler:
        """The map from noise to latents."""
        return self._sampler

    @property
    def sketch(self) -> SketchAnalysis | None:
        """How the sketches are made that it follows; None = it follows none."""
        return self._sketch

    @property
    def controls(self) -> frozenset[str]:
        """What it was made to take of mix, past, prompt and sketch."""
        return controls_of(self.generator, self._context_mode, self._cutoff_frames > 0, self._sketch is not None)

    @property
    def weights(self) -> Mapping[str, float]:
        """Control → weight of guidance, of those that have one."""
        guidance = getattr(self._sampler, "guidance", None)
        own = self._sampler.weights(self._unconditional.lacks)
        return own if isinstance(guidance, Mapping) else {n: w for n, w in own.items() if n in self.controls}

    def sketched(self, curves_BTP: Tensor, first_frame: int, state: LMDMState) -> LMDMState:
        """As in `livejam.accompanist.FollowsSketches`; what a sliding window has encoded keeps its sketch."""
        if self._sketch is None:
            raise UserError(FOLLOWS_NONE)
        require_packed(curves_BTP, self._sketch.kept_notes)
        return following(curves_BTP, first_frame, self.generator.transformer, state)

    def with_cutoff(self, blocks: int) -> LMDMAccompanist:
        """The same model at another cutoff, at its beginning: states of one cutoff do not fit another.

        Raises:
            UserError: the cutoff is outside of the window.
        """
        return self._with(self._sampler, blocks)

    def with_sampler(self, sampler: Sampler) -> LMDMAccompanist:
        """The same model with another sampler; its states remain valid.

        If guidance begins or ends, the next block encodes its context again.
        """
        return self._with(sampler, self._cutoff_blocks)

    def _with(self, sampler: Sampler, cutoff_blocks: int) -> LMDMAccompanist:
        parts = self.generator, self.spec, self._statistics, self._context_mode, sampler, cutoff_blocks
        trained = self._unconditional, self._unconditional_share, self._sketch, self._dropouts
        return LMDMAccompanist(*parts, self._cached, *trained)

    def init_state(self, batch_size: int, controls: Controls) -> LMDMState:
        """The state before the first frame: nothing heard, nothing played."""
        state = begun(self.generator, batch_size, controls, self._cutoff_frames)
        return replace(state, cache=self._silent_cache(state))

    def primed(self, mix_BTC: Tensor, accompaniment_BTC: Tensor, state: LMDMState) -> LMDMState:
        """The state after playing the given accompaniment to the given mix (codec latents of any length).

        Args:
            mix_BTC: the mix so far; the next step hears the frames after it.
            accompaniment_BTC: the accompaniment so far; the next step emits the frames after it.
            state: the state before that.
        """
        mix_BTC, played_BTC = (self._statistics.normalise(x) for x in (mix_BTC, accompaniment_BTC))
        return replace(played(heard(state, mix_BTC), played_BTC), cache=None)

    def asked(self, prompt: Prompt, state: LMDMState, reencode: bool = True) -> LMDMState:
        """The state with another prompt from the next block on.

        Args:
            prompt: a result of `generator.prompt`, one row per musician; `Prompt.faded` mixes two, for a cross-fade
                over several blocks.
            state: the state before that.
            reencode: whether to encode the context again under the new prompt, as is right when another prompt becomes
                dominant. Otherwise, what a sliding window has encoded keeps its old prompt. Before anything was heard,
                the state is then that of `init_state` under this prompt.

        Raises:
            UserError: there are more or fewer prompts than musicians.
        """
        if len(prompt.mask_BP) != len(state.seed_B):
            raise UserError(
                f"{len(prompt.mask_BP)} prompts were given for {len(state.seed_B)} musicians; give one for each"
            )
        state, cache = replace(state, prompt=prompt), self._cache(state)
        if reencode and not state.position_B.any():
            return replace(state, cache=self._silent_cache(state))
        if reencode or cache is None:
            return replace(state, cache=None)
        return replace(state, cache=cache.with_prompt(self.generator.transformer.prompt_keys(self.asks(state))))

    def avoiding(self, negative: Prompt | None, state: LMDMState, reencode: bool = True) -> LMDMState:
        """The state in which guidance away from no prompt is guidance away from this one, from the next block on.

        The negative prompt of Stable Diffusion, which takes the place of the empty one: sides of guidance that lack the
        prompt are given this instead, and where no side lacks it, it says nothing.

        Args:
            negative: a result of `generator.prompt`, one row per musician, of which rows without tokens avoid nothing;
                None = nobody avoids anything.
            state: the state before that.
            reencode: as in `asked`.
        """
        state = replace(state, negative=negative)
        return state if state.prompt is None else self.asked(state.prompt, state, reencode)

    @property
    def context_blocks(self) -> int:
        """Blocks of its own past that it sees at most."""
        return self.generator.transformer.context_frames // self.block_frames

    def ejected(self, blocks_B: Sequence[int], state: LMDMState) -> LMDMState:
        """The state in which the oldest blocks of its own past are forgotten, as by training's context dropout.

        Args:
            blocks_B: how many of the `context_blocks` each musician forgets; the mix is not forgotten.
            state: the state before that.
        """
        kept_B = [self.block_frames * max(0, self.context_blocks - blocks) for blocks in blocks_B]
        return remembering(kept_B, state)

    def with_controls(self, controls: Controls, state: LMDMState) -> LMDMState:
        """The state with other prompts and seeds from the next block on; what is remembered is encoded again.

        Raises:
            UserError: the model takes no prompts, or does not understand these.
        """
        prompt = prompt_of(self.generator, controls)
        negative, seed_B = negative_of(self.generator, controls), controls.seed_B.to(state.seed_B.device)
        state = replace(state, seed_B=seed_B, negative=negative)
        return state if prompt is None else self.asked(prompt, state)

    def with_anticipation(self, frames: int) -> LMDMAccompanist:
        """An LMDM's anticipation is that of its cutoff.

        Raises:
            UserError: it is not this one.
        """
        if frames != self.anticipation_frames:
            raise UserError(f"this LMDM plays {self.anticipation_frames} frames ahead, by its cutoff; ask for no other")
        return self

    def with_guidance(self, guidance: Weights) -> LMDMAccompanist:
        """The same model under another weight of guidance, or other weights of some controls; the others keep theirs.

        Raises:
            UserError: a weight is outside of the sampler's range, or of something that the model does not take, or
                guides away from what was hardly trained.
        """
        changed = {**self.weights, **guidance} if isinstance(guidance, Mapping) else guidance
        other = self.with_sampler(self._sampler.with_guidance(changed))
        for side in other.sides:
            share = self.trained_share(side)
            if share is not None:
                require_trained_guidance(f"a weight of {weights_text(guidance)}", side & self.controls, share)
        return other

    @property
    def sides(self) -> tuple[frozenset[str], ...]:
        """What each other side of guidance lacks; there is an evaluation for each, and one for the conditional side."""
        return self._sides

    def trained_share(self, side: frozenset[str]) -> float | None:
        """How many of the training windows lacked just this, 0 to 1; None = not known."""
        if self._dropouts is None:
            return self._unconditional_share if side == self._unconditional.lacks else None
        never_given = () if self._context_mode.can_guide else ("past",)
        return self._dropouts.share(side.union(never_given), self.controls)

    def restarted(self, rows: Tensor, controls: Controls, state: LMDMState) -> LMDMState:
        """The state in which some musicians of the batch start again, without any effect on the others.

        Args:
            rows: their indices (int64).
            controls: controls of these rows.
            state: the state before that.
        """
        fresh = self.init_state(len(rows), controls)
        cache = self._cache(state)
        if cache is not None:
            sides = torch.cat([rows + side * len(state.seed_B) for side in range(self._rows)])
            cache = None if fresh.cache is None else cache.put(sides, fresh.cache)
        return replace(rows_put(rows, state, fresh), cache=cache)

    def step(self, mix_BTC: Tensor, state: LMDMState) -> tuple[Tensor, LMDMState]:
        """Hear the next block, and emit a block (codec latents, not normalised)."""
        block_BTC, state = self.generate_block(mix_BTC, state)
        return self._statistics.denormalise(block_BTC), state

    def generate_block(self, mix_BTC: Tensor, state: LMDMState) -> tuple[Tensor, LMDMState]:
        """Hear the next block and generate a block (normalised), through which gradients reach the network.

        The input of a block is a constant: no gradient flows into the context, the caches or earlier blocks.

        Args:
            mix_BTC: codec latents of one block.
            state: the state before that.

        Raises:
            UserError: the mix is shorter or longer than a block.
        """
        if mix_BTC.shape[1] != self.block_frames:
            raise UserError(f"a step hears {self.block_frames} frames, not {mix_BTC.shape[1]}; give it whole blocks")
        network = self.generator.transformer
        with torch.no_grad():
            state = heard(state, self._statistics.normalise(mix_BTC))
            velocity = self._context_mode.velocity(network, self._block_request(state))
        out_BTC = self._sampler.sample(velocity, self._noise(state, velocity.frames))
        block_BTC = out_BTC[:, -network.block_frames :]
        cache = velocity.cache and replace(velocity.cache, sides=self._sides)
        return block_BTC, replace(played(state, block_BTC.detach()), cache=cache, sketch_BTP=None)

    def _noise(self, state: LMDMState, frames: int) -> Noise:
        """Noise of so many frames, the last of which is the next block's."""
        network = self.generator.transformer
        index_T = torch.arange(-frames, 0, device=state.position_B.device)
        position_BT = state.position_B[:, None] + network.block_frames + index_T
        return row_noise(state.seed_B, position_BT, network.latent_channels, state.played_BTC.dtype)

    @property
    def _cutoff_frames(self) -> int:
        """Frames of the window in which the mix is known."""
        return cutoff_frames(self.generator.transformer, self._context_mode.window_cutoff(self._cutoff_blocks))

    def _block_request(self, state: LMDMState) -> BlockRequest:
        past_BTC, known_BT = self._played(state), known_past(state, self._sides)
        return BlockRequest(self.asks(state), past_BTC, known_BT, self._cutoff_frames, self._cached, self._cache(state))

    def asks(self, state: LMDMState) -> DiffusionConditions:
        """Mix, prompt, duration and sketch of the window, for every side."""
        seconds = self.spec.seconds_in(self.generator.transformer.window_frames)
        return conditions_of(self.generator, state, seconds, self._sides)

    def _played(self, state: LMDMState) -> Tensor:
        """The context, for every side."""
        return state.played_BTC.repeat(self._rows, 1, 1)

    def _cache(self, state: LMDMState) -> DiffusionCache | None:
        """The state's cache of its context; None if guidance has other sides since."""
        cache = state.cache
        if cache is None or cache.batch_size != len(state.seed_B) * self._rows:
            return None
        return cache if cache.sides in (None, self._sides) else None

    @property
    def _rows(self) -> int:
        """Rows of the network per musician: one for every side of guidance."""
        return 1 + len(self._sides)

    def _silent_cache(self, state: LMDMState) -> DiffusionCache | None:
        """A sliding window's cache of a silent past, so that the first block slides as well."""
        network = self.generator.transformer
        if not self._cached or not isinstance(network.mask, BlockCausal):
            return None
        conditions = with_context(self.asks(state), self._played(state), network.block_frames)
        window = BlockCausalCache(network, conditions, self._cutoff_frames)
        rows = len(state.seed_B) * self._rows
        noise_BTC = state.played_BTC.new_zeros(rows, network.block_frames, network.latent_channels)
        window(noise_BTC, noise_BTC.new_ones(rows))
        return window.cache and replace(window.cache, sides=self._sides)
