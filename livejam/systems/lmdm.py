"""A Live Music Diffusion Model when it plays: it hears a block and emits a block, on top of what it played before.

Shapes: B batch, T latent frames, C latent channels, P numbers of a frame of a sketch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from livejam.accompanist import FOLLOWS_NONE, Controls
from livejam.batch import CATEGORIES, NULL_CATEGORY
from livejam.errors import UserError
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.conditioning import Prompt, read_words
from livejam.networks.diffusion_conditions import (
    NOTHING_ASKED,
    DiffusionConditions,
    Unconditional,
    require_trained_guidance,
)
from livejam.networks.diffusion_masks import BlockCausal
from livejam.networks.diffusion_transformer import DiffusionTransformer
from livejam.sampling import Noise, Sampler, row_noise
from livejam.sketch import CHANNELS, SketchAnalysis, excerpt, require_packed, unpacked
from livejam.spec import CodecSpec, LatentStatistics
from livejam.systems.blocks import BlockCausalCache, DiffusionCache
from livejam.systems.context import BlockRequest, ContextMode, cutoff_frames, require_window, with_context
from livejam.systems.lmdm_state import LMDMState, filled, heard, known_mix, played


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
        unconditional: what guidance's unconditional side lacks, as in training.
        unconditional_share: how many of the training windows were like that side, 0 to 1; None = not known.
        sketch: how the sketches are made that it follows, as in training; None = it follows none.

    Raises:
        UserError: generator, codec, cutoff and sketch do not fit together.
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
    ) -> None:
        network = generator.transformer
        require_window(network, cutoff_blocks)
        require_sketch(network, sketch)
        for name in ("latent_channels", "mix_channels"):
            if getattr(network, name) != spec.latent_channels:
                raise UserError(
                    f"the network has {name} {getattr(network, name)}, but codec {spec.name} has "
                    f"{spec.latent_channels}; set {name} to the codec's"
                )
        self.generator = generator
        self._spec, self._statistics = spec, statistics
        self._context_mode, self._sampler = context_mode, sampler
        self._cutoff_blocks, self._cached = cutoff_blocks, cached
        self._unconditional, self._unconditional_share = unconditional, unconditional_share
        self._sketch = sketch

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

    def sketched(self, curves_BTP: Tensor, first_frame: int, state: LMDMState) -> LMDMState:
        """As in `livejam.accompanist.FollowsSketches`; what a sliding window has encoded keeps its sketch."""
        if self._sketch is None:
            raise UserError(FOLLOWS_NONE)
        require_packed(curves_BTP, self._sketch.kept_notes)
        network = self.generator.transformer
        window_BTP = excerpt(curves_BTP, first_frame - network.context_frames, network.window_frames)
        return replace(state, sketch_BTP=window_BTP.to(state.played_BTC).expand(len(state.seed_B), -1, -1))

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
        return LMDMAccompanist(*parts, self._cached, self._unconditional, self._unconditional_share, self._sketch)

    def init_state(self, batch_size: int, controls: Controls) -> LMDMState:
        """The state before the first frame: nothing heard, nothing played."""
        network = self.generator.transformer
        empty = network.project_noisy.weight.new_zeros
        frames = torch.zeros(batch_size, dtype=torch.int64, device=network.project_noisy.weight.device)
        state = LMDMState(
            mix_BTC=empty(batch_size, self._cutoff_frames, network.mix_channels),
            position_B=frames,
            played_BTC=empty(batch_size, network.context_frames, network.latent_channels),
            played_B=frames,
            seed_B=controls.seed_B.to(frames.device),
            prompt=prompt_of(self.generator, controls),
            cache=None,
        )
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
        played_B = torch.minimum(state.played_B, torch.tensor(kept_B).to(state.played_B))
        return replace(state, played_B=played_B, cache=None)

    def with_controls(self, controls: Controls, state: LMDMState) -> LMDMState:
        """The state with other prompts and seeds from the next block on; what is remembered is encoded again.

        Raises:
            UserError: the model takes no prompts, or does not understand these.
        """
        prompt = prompt_of(self.generator, controls)
        state = replace(state, seed_B=controls.seed_B.to(state.seed_B.device))
        return state if prompt is None else self.asked(prompt, state)

    def with_anticipation(self, frames: int) -> LMDMAccompanist:
        """An LMDM's anticipation is that of its cutoff.

        Raises:
            UserError: it is not this one.
        """
        if frames != self.anticipation_frames:
            raise UserError(f"this LMDM plays {self.anticipation_frames} frames ahead, by its cutoff; ask for no other")
        return self

    def with_guidance(self, weight: float) -> LMDMAccompanist:
        """The same model under another weight of guidance.

        Raises:
            UserError: the weight is outside of the sampler's range, or guides away from what was hardly trained.
        """
        sampler = self._sampler.with_guidance(weight)
        if sampler.needs_unconditional and self._unconditional_share is not None:
            who, has_prompts = f"a weight of {weight:g}", self.generator.prompt_encoder is not None
            parts = self._unconditional, self._unconditional_share, has_prompts, self._cutoff_frames > 0
            require_trained_guidance(who, *parts, self._sketch is not None)
        return self.with_sampler(sampler)

    def restarted(self, rows: Tensor, controls: Controls, state: LMDMState) -> LMDMState:
        """The state in which some musicians of the batch start again, without any effect on the others.

        Args:
            rows: their indices (int64).
            controls: controls of these rows.
            state: the state before that.
        """
        fresh = self.init_state(len(rows), controls)

        def changed(old: Tensor, new: Tensor) -> Tensor:
            return old.index_copy(0, rows, new.to(old))

        prompt = state.prompt
        if prompt is not None and fresh.prompt is not None:
            masks = changed(prompt.mask_BP, fresh.prompt.mask_BP)
            prompt = Prompt(changed(prompt.embedding_BPD, fresh.prompt.embedding_BPD), masks)
        names = ("mix_BTC", "position_B", "played_BTC", "played_B", "seed_B")
        parts = {name: changed(getattr(state, name), getattr(fresh, name)) for name in names}
        cache = self._cache(state)
        if cache is not None:
            sides = torch.cat([rows + side * len(state.seed_B) for side in range(self._sides)])
            cache = None if fresh.cache is None else cache.put(sides, fresh.cache)
        return replace(state, **parts, prompt=prompt, cache=cache)

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
        return block_BTC, replace(played(state, block_BTC.detach()), cache=velocity.cache, sketch_BTP=None)

    def _noise(self, state: LMDMState, frames: int) -> Noise:
        """Noise of so many frames, the last of which is the next block's."""
        network = self.generator.transformer
        index_T = torch.arange(-frames, 0, device=state.position_B.device)
        position_BT = state.position_B[:, None] + network.block_frames + index_T
        return row_noise(state.seed_B, position_BT, network.latent_channels, state.played_BTC.dtype)

    @property
    def _cutoff_frames(self) -> int:
        """Frames of the window in which the mix is known."""
        return cutoff_frames(self.generator.transformer, self._cutoff_blocks)

    def _block_request(self, state: LMDMState) -> BlockRequest:
        played_BTC = self._played(state)
        known_BT = filled(state.played_B.repeat(self._sides), played_BTC.shape[1])
        return BlockRequest(
            self.asks(state), played_BTC, known_BT, self._cutoff_frames, self._cached, self._cache(state)
        )

    def asks(self, state: LMDMState) -> DiffusionConditions:
        """Mix, prompt, duration and sketch of the window, for every side."""
        frames, sketch = self.generator.transformer.window_frames, None
        if state.sketch_BTP is not None:
            curves = unpacked(state.sketch_BTP)
            sketch = curves.values_BTK, curves.mask_BTG
        asked = self.generator.conditions(
            state.prompt, self.spec.seconds_in(frames), mix=known_mix(state, frames), sketch=sketch
        )
        return self._unconditional.beside(asked) if self._sampler.needs_unconditional else asked

    def _played(self, state: LMDMState) -> Tensor:
        """The context, for every side."""
        return state.played_BTC.repeat(self._sides, 1, 1)

    def _cache(self, state: LMDMState) -> DiffusionCache | None:
        """The state's cache of its context; None if guidance has been switched on or off since."""
        fits = state.cache is not None and state.cache.batch_size == len(state.seed_B) * self._sides
        return state.cache if fits else None

    @property
    def _sides(self) -> int:
        """Rows of the network per musician: 2 under guidance, with the unconditional side."""
        return 1 + self._sampler.needs_unconditional

    def _silent_cache(self, state: LMDMState) -> DiffusionCache | None:
        """A sliding window's cache of a silent past, so that the first block slides as well."""
        network = self.generator.transformer
        if not self._cached or not isinstance(network.mask, BlockCausal):
            return None
        conditions = with_context(self.asks(state), self._played(state), network.block_frames)
        window = BlockCausalCache(network, conditions, self._cutoff_frames)
        rows = len(state.seed_B) * self._sides
        noise_BTC = state.played_BTC.new_zeros(rows, network.block_frames, network.latent_channels)
        window(noise_BTC, noise_BTC.new_ones(rows))
        return window.cache


def require_sketch(network: DiffusionTransformer, sketch: SketchAnalysis | None) -> None:
    """Refuse a network that does not fit its sketches.

    Raises:
        UserError: one of them is missing, or the network's controls are others.
    """
    wanted = () if sketch is None else CHANNELS
    if network.sketch_channels != wanted:
        raise UserError(
            f"the network's sketch_channels are {list(network.sketch_channels)}, but this model's sketch has "
            f"{list(wanted)}; set sketch_channels to that, or the recipe's sketch (FlowMatching alone has one)"
        )


def prompt_of(generator: ConditionedTransformer, controls: Controls) -> Prompt | None:
    """The prompt if there is one, else the instrument's name, else nothing.

    Raises:
        UserError: there is a prompt, but the model takes none.
    """
    if controls.prompt is not None:
        return generator.mixed_prompt([read_words(text) for text in controls.prompt])
    unasked_B = controls.instrument_B == NULL_CATEGORY
    prompt = generator.prompt([CATEGORIES[i] for i in controls.instrument_B.masked_fill(unasked_B, 0).tolist()])
    return None if prompt is None else prompt.without(unasked_B.to(prompt.mask_BP.device))
