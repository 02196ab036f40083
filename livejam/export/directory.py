"""The directory that hosts play from: graphs, signature, states and test vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from torch import Tensor

from livejam import __version__
from livejam.accompanist import Weights
from livejam.checkpoints.player import Player, load_player
from livejam.checkpoints.published import find_model, published_facts, read_model
from livejam.checkpoints.weights import sha256_of
from livejam.errors import UserError
from livejam.export.graphs import StepGraph
from livejam.export.model import Reference, StepModel, example_mix, step_model
from livejam.export.onnx_files import OnnxSteps, inputs_of, outputs_of, write_onnx
from livejam.export.precisions import reduce_weights
from livejam.export.signature import (
    FORMAT,
    PROMPTS,
    SIGNATURE,
    SKETCHER,
    STATES,
    VECTORS,
    GraphFacts,
    Signature,
    SketchFacts,
    read_signature,
)
from livejam.files import atomic_path
from livejam.streaming.references import read_reference
from livejam.streaming.timing import counter_of
from livejam.systems.liveband import LiveBandAccompanist
from livejam.systems.lmdm import LMDMAccompanist

VECTOR_SECONDS = 6.0
"""Length of the test vectors; at least four steps."""

GRAPHS = ("encoder.onnx", "generator.onnx", "decoder.onnx")
FILES = (*GRAPHS, STATES, VECTORS, SIGNATURE)
"""What a directory holds; the signature is written last."""

OPTIONAL = (PROMPTS, SKETCHER)
"""What it holds as well, of models that take words and of models that follow sketches."""


def export(
    checkpoint: str | Path,
    folder: Path,
    trusted: Sequence[str] = (),
    precision: str = "float32",
    cutoff_blocks: int | None = None,
    anticipation_frames: int | None = None,
    reference: Path | None = None,
    prompts: Sequence[str] = (),
    guidance: Weights | None = None,
    guidance_rescale: float | None = None,
) -> StepModel:
    """Write the directory of a model; nothing is compared yet.

    Args:
        checkpoint: a checkpoint, a published model, or the name of a bundled one.
        folder: the directory; files of an earlier export are replaced.
        trusted: packages besides livejam whose classes the checkpoint may name.
        precision: of the weights, one of `PRECISIONS`.
        cutoff_blocks: of an LMDM, instead of its own; 1 answers the block that it has just heard.
        anticipation_frames: of a model that learnt several, instead of its own.
        reference: a recording that it will always sound like; None = it plays without a reference.
        prompts: descriptions in words that its players can ask for besides those of its instruments.
        guidance: weights of guidance of an LMDM, instead of its own.
        guidance_rescale: share of `livejam.sampling.rescaled`, 0 to 1, of an LMDM, instead of its own.

    Returns:
        The model that was exported.

    Raises:
        UserError: the model cannot be exported, and why.
    """
    player = at_cutoff(load_player(checkpoint, trusted), cutoff_blocks)
    if anticipation_frames is not None:
        player = replace(player, accompanist=player.accompanist.with_anticipation(anticipation_frames))
    if reference is not None:
        player = always_like(player, reference)
    if guidance is not None:
        player = replace(player, accompanist=player.accompanist.with_guidance(guidance))
    if guidance_rescale is not None:
        player = rescaling(player, guidance_rescale)
    model = step_model(player, prompts)
    folder.mkdir(parents=True, exist_ok=True)
    for name in (SIGNATURE, *OPTIONAL):
        (folder / name).unlink(missing_ok=True)
    for graph in _all_graphs(model):
        with atomic_path(folder / f"{graph.name}.onnx") as temporary:
            write_onnx(graph, temporary)
            if graph is not model.sketcher:  # its filters are no weights
                reduce_weights(temporary, precision)
    _write_tensors(folder / STATES, model.stored_states())
    if model.prompts is not None:
        _write_tensors(folder / PROMPTS, model.prompts.tensors())
    _write_tensors(folder / VECTORS, vectors(model))
    with atomic_path(folder / SIGNATURE) as temporary:
        temporary.write_text(signature_of(model, checkpoint, folder, precision).to_json(), encoding="utf-8")
    return model


def always_like(player: Player, reference: Path) -> Player:
    """The same model, which sounds like a recording wherever it is asked for nothing else.

    Raises:
        UserError: the model takes no reference, or the recording is none.
    """
    embedding_E, accompanist = read_reference(reference, player), player.accompanist
    assert isinstance(accompanist, LiveBandAccompanist), "nothing else takes references"
    return replace(player, accompanist=accompanist.sounding_like(embedding_E))


def at_cutoff(player: Player, blocks: int | None) -> Player:
    """The same model at another cutoff.

    Raises:
        UserError: it is no LMDM, or the cutoff is outside of its window.
    """
    if blocks is None:
        return player
    if not isinstance(player.accompanist, LMDMAccompanist):
        raise UserError("only an LMDM has a cutoff; leave it out")
    return replace(player, accompanist=player.accompanist.with_cutoff(blocks))


def rescaling(player: Player, share: float) -> Player:
    """The same model with another share of `livejam.sampling.rescaled`.

    Raises:
        UserError: it is no LMDM, its guidance is not rescaled, or the share is out of range.
    """
    accompanist = player.accompanist
    if not isinstance(accompanist, LMDMAccompanist):
        raise UserError("only an LMDM has guidance to rescale; leave it out")
    return replace(player, accompanist=accompanist.with_sampler(accompanist.sampler.with_rescale(share)))


def signature_of(model: StepModel, checkpoint: str | Path, folder: Path, precision: str) -> Signature:
    """The signature of a directory whose graphs are written."""
    accompanist, codec = model.player.accompanist, model.player.codec
    spec, path = codec.spec, find_model(checkpoint)
    licence = published_facts(read_model(checkpoint)).get("licence") or ""
    delay = spec.samples_in(codec.encoder_delay_frames)
    return Signature(
        format=FORMAT,
        livejam=__version__,
        model=path.stem,
        model_sha256=sha256_of(path),
        system=type(accompanist).__name__.removesuffix("Accompanist"),
        precision=precision,
        sample_rate_hz=spec.sample_rate_hz,
        audio_channels=spec.audio_channels,
        block_samples=model.block_samples,
        block_frames=accompanist.block_frames,
        anticipation_frames=accompanist.anticipation_frames,
        encoder_delay_samples=delay,
        decoder_delay_samples=spec.delay_samples - delay,
        first_output_sample=model.first_output_sample,
        lead_samples=counter_of(accompanist, codec, spec.sample_rate_hz).lead_samples,
        instruments=model.instruments(),
        default_instrument=model.default_instrument(),
        noise=model.noise,
        graphs=tuple(_graph_facts(graph, folder, last=graph is model.graphs[-1]) for graph in model.graphs),
        licences={"model": licence, "codec": codec.licence},
        prompts=None if model.prompts is None else model.prompts.facts,
        sketch=_sketch_facts(model, folder),
    )


def _all_graphs(model: StepModel) -> tuple[StepGraph, ...]:
    return model.graphs if model.sketcher is None else (*model.graphs, model.sketcher)


def _graph_facts(graph: StepGraph, folder: Path, last: bool) -> GraphFacts:
    file = f"{graph.name}.onnx"
    return GraphFacts(graph.name, file, sha256_of(folder / file), inputs_of(graph), outputs_of(graph, last))


def _sketch_facts(model: StepModel, folder: Path) -> SketchFacts | None:
    if model.sketcher is None:
        return None
    _, frames, numbers = model.controls["sketch"].shape
    sketcher = _graph_facts(model.sketcher, folder, last=True)
    return SketchFacts(frames, numbers, model.first_sketch_frame, model.player.accompanist.block_frames, sketcher)


def vectors(model: StepModel, seed: int = 7) -> dict[str, Tensor]:
    """What PyTorch plays to some sound, and every tensor between, for tests of a host."""
    steps = max(4, round(VECTOR_SECONDS * model.player.codec.spec.sample_rate_hz / model.block_samples))
    mix_BAN, instrument = example_mix(model, steps, seed), model.default_instrument()
    reference = Reference(model.player, instrument, seed)
    with torch.inference_mode():
        made = [reference.step(block_BAN) for block_BAN in mix_BAN.split(model.block_samples, dim=-1)]
        latents = {
            name: torch.stack([step[name] for step in made]) for name in ("mix_latents", "accompaniment_latents")
        }
        return {
            "mix": mix_BAN,
            "instrument": torch.tensor([instrument], dtype=torch.int32),
            "seed": torch.tensor([seed]),
            "noise": torch.stack([model.noise_of(seed, step) for step in range(steps)]),
            **latents,
            "accompaniment": torch.cat([step["accompaniment"] for step in made], dim=-1),
        }


def open_steps(folder: Path, threads: int = 1) -> OnnxSteps:
    """The model of a directory in ONNX Runtime, before its first step.

    Raises:
        UserError: the directory is of another format, or incomplete.
    """
    signature = read_signature(folder)
    optional = [PROMPTS] if signature.prompts else []
    optional += [signature.sketch.sketcher.file] if signature.sketch else []
    for name in (*(graph.file for graph in signature.graphs), STATES, *optional):
        if not (folder / name).is_file():
            raise UserError(f"{folder} has no {name}; export the model again")
    return OnnxSteps(folder, signature, load_file(folder / STATES), threads)


def _write_tensors(path: Path, tensors: dict[str, Tensor]) -> None:
    with atomic_path(path) as temporary:
        save_file({name: tensor.contiguous().clone() for name, tensor in tensors.items()}, str(temporary))
