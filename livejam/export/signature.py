"""`signature.json`: everything that a host must know about an exported model. docs/export.md explains it to hosts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from livejam.errors import UserError

FORMAT = 1
"""Hosts refuse directories of another format."""

PRECISIONS = ("float32", "float16", "bfloat16", "int8")
"""Of the weights; only the first plays what PyTorch plays."""

SIGNATURE, STATES, VECTORS = "signature.json", "state0.safetensors", "test_vectors.safetensors"
PROMPTS, SKETCHER = "prompts.safetensors", "sketcher.onnx"

MUSIC = "music.json"
"""How well the directory's model plays test songs, where that was measured; no host needs it."""


@dataclass(frozen=True)
class TensorFacts:
    """An input or an output of a graph.

    Args:
        name: in the graph.
        dtype: "float32" or "int32".
        shape: never varies.
        feeds: of an output, the input of the same name as this that takes it: a state in the next step, or an input of
            a later graph in the same step; "" for `accompaniment`, which is what is played. Of an input, always "".
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    feeds: str = ""


@dataclass(frozen=True)
class GraphFacts:
    """One of the graphs of a step, in the order in which they run.

    Args:
        name: the stage: "encoder", "generator" or "decoder".
        file: in the directory.
        sha256: of the file.
        inputs: in the graph's order.
        outputs: in the graph's order.
    """

    name: str
    file: str
    sha256: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]


@dataclass(frozen=True)
class InstrumentFacts:
    """An instrument that the model plays.

    Args:
        name: as `livejam` names it.
        index: value of the input `instrument`.
        aliases: other names for it.
    """

    name: str
    index: int
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptFacts:
    """What the controls `prompt`, of shape (1, tokens, channels), and `prompt_mask`, of shape (1, tokens), are made of.

    The mask is 1 where there is a token. Without any, the instrument's own prompt is played. `negative_prompt` and
    `negative_prompt_mask` are made of the same; without any token, guidance leads away from no prompt.

    Args:
        tokens: of a prompt.
        channels: of a token.
        words: each is one token, in any prompt, in its order: the rows of `words` in the file of prompts; none = only
            the prompts that are stored whole can be asked for.
        texts: prompts that are stored whole, beginning with the instruments: the rows of `texts` and `texts_mask`.
        reencodes: whether a step encodes its context again, under the prompt that it is given; otherwise context keeps
            the prompt under which it was encoded.
        negative: whether there are negative prompts, which needs a weight of guidance of the prompt.
    """

    tokens: int
    channels: int
    words: tuple[str, ...]
    texts: tuple[str, ...]
    reencodes: bool
    negative: bool = False


@dataclass(frozen=True)
class SketchFacts:
    """The controls `sketch`, of shape (1, frames, numbers), and `sketch_mask`, of shape (1, frames, 3).

    Row i of step k is asked of frame `first_frame` + k · `frames_per_step` + i of the accompaniment. The mask is 1
    where loudness, brightness or pitch is asked for; 0 everywhere is no sketch.

    Args:
        frames: of the model's window, which ends with the block that the step plays.
        numbers: of a frame: loudness, brightness, notes and their strengths.
        first_frame: of the window of step 0.
        frames_per_step: of a block.
        sketcher: the graph that makes curves of sound; it is no part of a step.
    """

    frames: int
    numbers: int
    first_frame: int
    frames_per_step: int
    sketcher: GraphFacts


@dataclass(frozen=True)
class NoiseFacts:
    """The input `noise` of step k, of shape (draws, frames, channels): the noise of a seed at positions
    `first_position` + k · `positions_per_step` + frame + draw · `draw_stride`.

    Args:
        algorithm: "splitmix64-box-muller", as docs/export.md says.
        draws: noise of one block that is drawn at different moments of sampling.
        frames: of each.
        channels: numbers per frame.
        first_position: of frame 0 in step 0.
        positions_per_step: from one step to the next.
        draw_stride: from one draw to the next.
    """

    algorithm: str
    draws: int
    frames: int
    channels: int
    first_position: int
    positions_per_step: int
    draw_stride: int


@dataclass(frozen=True)
class Signature:
    """An exported model.

    Step k (0, 1, 2, …) hears samples k · `block_samples` … (k + 1) · `block_samples` - 1 of the mix, and plays as many:
    sample i that it gives should sound with sample k · `block_samples` + `first_output_sample` + i of the mix. Before
    the first of them there is silence.

    Args:
        format: of the directory.
        livejam: version that wrote it.
        model: name of what was exported.
        model_sha256: of its file.
        system: class of the accompanist.
        precision: of the weights: "float32", "float16", "bfloat16" or "int8".
        sample_rate_hz: of mix and accompaniment.
        audio_channels: 1 or 2.
        block_samples: that a step hears and plays.
        block_frames: latent frames of a step.
        anticipation_frames: δ; the first frame emitted in step k sounds 1 + δ frames after the first one heard in it.
        encoder_delay_samples: by which what the generator hears is late.
        decoder_delay_samples: by which sound is later than its latents.
        first_output_sample: the sample of the mix with which the first sample played in step 0 should sound.
        lead_samples: after n samples heard, at least n + lead samples of the output are known: the time for computing,
            for buffers and for the sound card. Negative: it plays so many samples late.
        instruments: what the model learnt.
        default_instrument: value of the input `instrument` when nobody chose one.
        noise: of the input `noise`.
        graphs: run one after another, they are one step.
        licences: of the weights, by what they are of; "" = not stated.
        prompts: of a model that takes words; None = it takes none.
        sketch: of a model that follows sketches; None = it follows none.
    """

    format: int
    livejam: str
    model: str
    model_sha256: str
    system: str
    precision: str
    sample_rate_hz: int
    audio_channels: int
    block_samples: int
    block_frames: int
    anticipation_frames: int
    encoder_delay_samples: int
    decoder_delay_samples: int
    first_output_sample: int
    lead_samples: int
    instruments: tuple[InstrumentFacts, ...]
    default_instrument: int
    noise: NoiseFacts
    graphs: tuple[GraphFacts, ...]
    licences: Mapping[str, str]
    prompts: PromptFacts | None = None
    sketch: SketchFacts | None = None

    def to_json(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"


def read_signature(folder: Path) -> Signature:
    """The signature of a directory.

    Raises:
        UserError: there is none, or it is of another format.
    """
    path = folder / SIGNATURE
    if not path.is_file():
        raise UserError(f"{folder} has no {SIGNATURE}; make it with `livejam export --checkpoint C --out {folder}`")
    try:
        held = json.loads(path.read_text(encoding="utf-8"))
        if held["format"] != FORMAT:
            raise UserError(
                f"{path} has format {held['format']}, but this livejam reads {FORMAT}; export the model again"
            )
        return _signature(held)
    except UserError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"{path} is damaged; export the model again") from error


def _signature(held: Mapping[str, Any]) -> Signature:
    instruments = tuple(InstrumentFacts(**{**one, "aliases": tuple(one["aliases"])}) for one in held["instruments"])
    parts: dict[str, Any] = {
        "graphs": tuple(_graph(graph) for graph in held["graphs"]),
        "instruments": instruments,
        "noise": NoiseFacts(**held["noise"]),
        "prompts": None,
        "sketch": None,
    }
    if (prompts := held.get("prompts")) is not None:
        parts["prompts"] = PromptFacts(
            **{**prompts, "words": tuple(prompts["words"]), "texts": tuple(prompts["texts"])}
        )
    if (sketch := held.get("sketch")) is not None:
        parts["sketch"] = SketchFacts(**{**sketch, "sketcher": _graph(sketch["sketcher"])})
    names = [field.name for field in fields(Signature)]
    return Signature(**{name: parts[name] if name in parts else held[name] for name in names})


def _graph(held: Mapping[str, Any]) -> GraphFacts:
    def tensors(side: str) -> tuple[TensorFacts, ...]:
        return tuple(TensorFacts(**{**tensor, "shape": tuple(tensor["shape"])}) for tensor in held[side])

    return GraphFacts(**{**held, "inputs": tensors("inputs"), "outputs": tensors("outputs")})
