"""A player as the graphs of one step, and the same step in PyTorch, which the graphs must equal.

Shapes: A audio channels, N samples of a block, T latent frames of a block, C latent channels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from livejam.accompanist import Controls
from livejam.batch import NAMES
from livejam.checkpoints.player import Player
from livejam.codecs.causal_codec import CausalCodec
from livejam.errors import UserError
from livejam.export.codec_graphs import DecoderGraph, EncoderGraph
from livejam.export.graphs import StepGraph
from livejam.export.liveband_graph import LiveBandGraph
from livejam.export.lmdm_graph import LMDMGraph
from livejam.export.signature import InstrumentFacts, NoiseFacts
from livejam.export.sketcher_graph import SketcherGraph
from livejam.export.words import StoredPrompts, stored_prompts
from livejam.instruments import default_instrument
from livejam.networks.conditioning import Prompt
from livejam.noise import DRAW_STRIDE, seeded_noise
from livejam.sketch import SketchAnalysis
from livejam.systems.liveband import LiveBandAccompanist
from livejam.systems.lmdm import LMDMAccompanist

ALGORITHM = "splitmix64-box-muller"
"""`livejam.noise.seeded_noise`."""

COMPARED = ("mix_latents", "accompaniment_latents", "accompaniment")
"""What the graphs give, in order."""

EXAMPLE_STEPS = 4
"""Steps for which `example_controls` asks for the same."""

ALIASES = {"Percussive": ("Drums",)}


@dataclass(frozen=True)
class StepModel:
    """What is exported.

    Args:
        player: that it is made of.
        graphs: one step, in order; their weights are the player's.
        noise: what the input `noise` holds.
        prompts: what players make prompts of; None = the model takes none.
        sketcher: the graph that makes sketches of sound; None = the model follows none.
    """

    player: Player
    graphs: tuple[StepGraph, ...]
    noise: NoiseFacts
    prompts: StoredPrompts | None = None
    sketcher: StepGraph | None = None

    @property
    def block_samples(self) -> int:
        """Samples of a step."""
        return self.player.codec.spec.samples_in(self.player.accompanist.block_frames)

    @property
    def offset_frames(self) -> int:
        """Frames of silence before the first one that the model plays."""
        return 1 + self.player.accompanist.anticipation_frames

    @property
    def first_output_sample(self) -> int:
        """Where what is played in step 0 belongs."""
        spec = self.player.codec.spec
        return spec.samples_in(self.offset_frames) - spec.delay_samples

    def noise_of(self, seed: int, step: int) -> Tensor:
        """The input `noise` of a step."""
        facts = self.noise
        first = facts.first_position + step * facts.positions_per_step
        frame_F = torch.arange(facts.frames) + first
        position_DF = frame_F + torch.arange(facts.draws)[:, None] * facts.draw_stride
        return seeded_noise(torch.full((facts.draws,), seed), position_DF, facts.channels)

    def states(self, instrument: int) -> dict[str, Tensor]:
        """All states before the first step of an instrument, and the controls that ask for nothing."""
        states = {name: x for graph in self.graphs for name, x in (graph.states | graph.controls).items()}
        for graph in self.graphs:
            states |= graph.begun[instrument] if graph.begun else {}
        return states

    def stored_states(self) -> dict[str, Tensor]:
        """The states of the default instrument by their names, and those of others that differ as `name@index`."""
        stored = self.states(self.default_instrument())
        for graph in self.graphs:
            for one in self.instruments() if graph.begun else ():
                stored |= {f"{name}@{one.index}": state for name, state in graph.begun[one.index].items()}
        return stored

    @property
    def controls(self) -> dict[str, Tensor]:
        """What else may be asked of a step, by its name: the values that ask for nothing."""
        return {name: x for graph in self.graphs for name, x in graph.controls.items()}

    @property
    def first_sketch_frame(self) -> int:
        """The frame of the accompaniment of the first row of the control `sketch` in step 0."""
        return self.offset_frames + self.player.accompanist.block_frames - self.controls["sketch"].shape[1]

    def instruments(self) -> tuple[InstrumentFacts, ...]:
        """What the model learnt; all that there are if it does not say."""
        return instruments_of(self.player)

    def default_instrument(self) -> int:
        """What it plays if nobody chooses."""
        return default_instrument(self.player.instruments)


def instruments_of(player: Player) -> tuple[InstrumentFacts, ...]:
    """What a model learnt; all that there are if it does not say."""
    names = player.instruments or NAMES
    return tuple(InstrumentFacts(name, NAMES.index(name), ALIASES.get(name, ())) for name in names)


def step_model(player: Player, prompts: Sequence[str] = ()) -> StepModel:
    """The graphs of a player.

    Args:
        player: as `livejam.checkpoints.player.load_player` gives it, in float32 on the CPU.
        prompts: that players can ask for besides those of its instruments.

    Raises:
        UserError: its codec or its model cannot be played block by block from a graph, or it does not understand a
            prompt.
    """
    accompanist, codec = player.accompanist, player.codec
    if not isinstance(codec, CausalCodec):
        raise UserError(
            f"the codec {codec.spec.name} ({type(codec).__name__}) hears ahead or has no graph; only models of the "
            "bundled kind of codec (CausalCodec) can be exported: train with it"
        )
    generator, noise = _generator(accompanist)
    frames = accompanist.block_frames
    with torch.no_grad():
        state = _begun(player, codec)
        graphs = EncoderGraph(codec, frames), generator, DecoderGraph(codec, frames, state)
        words = generator if isinstance(generator, LMDMGraph) else None
        facts = (False, False) if words is None else (not words.layers, words.leads_away)
        own = None if words is None else words.own_prompts
        stored = stored_prompts(accompanist, own, instruments_of(player), prompts, *facts)
    sketch = getattr(accompanist, "sketch", None)
    sketcher = SketcherGraph(sketch.at(codec.spec), frames) if isinstance(sketch, SketchAnalysis) else None
    for graph in graphs if sketcher is None else (*graphs, sketcher):
        graph.eval().requires_grad_(False)
    return StepModel(player, graphs, noise, stored, sketcher)


def _generator(accompanist: Any) -> tuple[StepGraph, NoiseFacts]:
    if isinstance(accompanist, LiveBandAccompanist) and accompanist.generator.causal:
        channels = accompanist.generator.noise_channels
        return LiveBandGraph(accompanist), NoiseFacts(ALGORITHM, 1, 1, channels, 0, 1, 0)
    if isinstance(accompanist, LMDMAccompanist):
        graph = LMDMGraph(accompanist)
        draws, frames, channels = graph.inputs["noise"].shape
        block = accompanist.block_frames
        return graph, NoiseFacts(ALGORITHM, draws, frames, channels, graph.first_position, block, DRAW_STRIDE)
    raise UserError(
        f"{type(accompanist).__name__} cannot be exported as it is; export an LMDM, or a LiveBand that does not hear "
        "the future"
    )


def _begun(player: Player, codec: CausalCodec) -> Any:
    """The decoder's state after the silence that sounds before the first block."""
    state = codec.init_decoder_state(1)
    offset = 1 + player.accompanist.anticipation_frames
    if not offset:
        return state
    audio_BAN, state = codec.decode_step(player.silence_C.expand(1, offset, -1), state)
    if float(audio_BAN.abs().max()) > 0:
        raise UserError("the codec's silence sounds; export a model whose checkpoint holds the right latent of silence")
    return state


class Reference:
    """The step in PyTorch, as a session makes it.

    Args:
        player: as in `step_model`.
        instrument: class index.
        seed: of the noise.
    """

    def __init__(self, player: Player, instrument: int, seed: int) -> None:
        self.player = player
        controls = Controls(torch.tensor([instrument]), torch.tensor([seed]))
        self._memory = player.accompanist.init_state(1, controls)
        self._own_prompt: Any = getattr(self._memory, "prompt", None)
        self._encoder = player.codec.init_encoder_state(1)
        self._decoder = player.codec.init_decoder_state(1)
        if offset := 1 + player.accompanist.anticipation_frames:
            _, self._decoder = player.codec.decode_step(player.silence_C.expand(1, offset, -1), self._decoder)

    def ask(self, controls: Mapping[str, Tensor]) -> None:
        """Let the next step play what these controls ask for, as a session does that encodes no context again.

        Args:
            controls: of the graphs, all that there are.
        """
        who = self.player.accompanist
        if not controls:
            return
        assert isinstance(who, LMDMAccompanist), "nothing else has controls"
        if "negative_prompt" in controls:
            avoided = Prompt(controls["negative_prompt"], controls["negative_prompt_mask"] > 0.5)
            self._memory = who.avoiding(avoided if avoided.mask_BP.any() else None, self._memory, reencode=False)
        if "prompt" in controls:
            mask_BP = controls["prompt_mask"] > 0.5
            prompt = Prompt(controls["prompt"], mask_BP) if mask_BP.any() else self._own_prompt
            self._memory = who.asked(prompt, self._memory, reencode=False)
        if "sketch" in controls:
            gone_BG = controls["sketch_mask"] < 0.5
            parts = controls["sketch"].clone().split((1, 1, controls["sketch"].shape[-1] - 2), dim=-1)
            for part, control in zip(parts, range(gone_BG.shape[-1]), strict=True):
                part[gone_BG[..., control]] = torch.nan
            before = controls["sketch"].shape[1] - who.block_frames
            self._memory = who.sketched(torch.cat(parts, dim=-1), before, self._memory)

    def step(self, mix_BAN: Tensor) -> dict[str, Tensor]:
        """What every graph gives, by its name."""
        codec = self.player.codec
        mix_BTC, self._encoder = codec.encode_step(mix_BAN, self._encoder)
        out_BTC, self._memory = self.player.accompanist.step(mix_BTC, self._memory)
        audio_BAN, self._decoder = codec.decode_step(out_BTC, self._decoder)
        return {"mix_latents": mix_BTC, "accompaniment_latents": out_BTC, "accompaniment": audio_BAN}


def example_mix(model: StepModel, steps: int, seed: int = 0, tuning: float = 0.0) -> Tensor:
    """Sound for so many steps (1AN): chords that decay, strokes of noise, and rests.

    Nothing is asked of it but that all parts of a codec and of a model have something to do.

    Args:
        model: says rate, channels and samples of a step.
        steps: how many.
        seed: of chords and strokes.
        tuning: semitones above A = 440 Hz.
    """
    spec = model.player.codec.spec
    rng = torch.Generator().manual_seed(seed)
    beat = spec.sample_rate_hz // 4
    beats = math.ceil(steps * model.block_samples / beat)
    pitch_S3 = 36 + tuning + torch.randint(0, 48, (beats, 3), generator=rng)
    level_S = torch.rand(beats, generator=rng) * (torch.rand(beats, generator=rng) < 0.8)
    time_N = torch.arange(beat) / spec.sample_rate_hz
    hertz_S3 = 440 * 2 ** ((pitch_S3 - 69) / 12)
    pieces = []
    for hertz_3, level in zip(hertz_S3, level_S, strict=True):
        tone_N = torch.sin(2 * math.pi * hertz_3[:, None] * time_N).sum(dim=0) * torch.exp(-4 * time_N)
        stroke_N = torch.randn(beat, generator=rng) * torch.exp(-40 * time_N)
        pieces.append(level * (0.2 * tone_N + 0.2 * stroke_N))
    mix_N = torch.cat(pieces)[: steps * model.block_samples]
    pan_A1 = torch.linspace(1.0, 0.7, spec.audio_channels)[:, None]
    return (pan_A1 * mix_N)[None]


def example_controls(model: StepModel, step: int, seed: int = 0) -> dict[str, Tensor]:
    """Controls of a step: for some steps nothing is asked, then a prompt, then a mix of two; and, in other turns,
    negative prompts, and sketches with gaps.

    Args:
        model: says which controls there are.
        step: its number.
        seed: of prompts and curves.
    """
    controls, phase = model.controls, step // EXAMPLE_STEPS
    rng = torch.Generator().manual_seed(1_000_003 * seed + phase)
    if model.prompts is not None and phase % 3:
        first, second = (
            model.prompts.text(int(n)) for n in torch.randint(len(model.prompts.texts_SPD), (2,), generator=rng)
        )
        prompt = first if phase % 3 == 1 else first.faded(second, float(torch.rand(1, generator=rng)))
        controls |= {"prompt": prompt.embedding_BPD, "prompt_mask": prompt.mask_BP.float()}
    if model.prompts is not None and "negative_prompt" in controls and phase % 4 in (1, 2):
        avoided = model.prompts.text(int(torch.randint(len(model.prompts.texts_SPD), (), generator=rng)))
        controls |= {
            "negative_prompt": avoided.embedding_BPD,
            "negative_prompt_mask": avoided.mask_BP.float(),
        }
    if "sketch" in controls and phase % 2:
        sketch, kept = torch.rand(controls["sketch"].shape, generator=rng), controls["sketch"].shape[-1] // 2 - 1
        sketch[..., 2 : 2 + kept] = (130 * sketch[..., 2 : 2 + kept] - 1).floor()
        mask = (torch.rand(controls["sketch_mask"].shape, generator=rng) < 0.8).float()
        controls |= {"sketch": sketch, "sketch_mask": mask}
    return controls
