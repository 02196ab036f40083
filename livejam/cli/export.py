"""`livejam export`: a model as graphs that players without PyTorch run."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam.cli.card import MODEL_HELP
from livejam.cli.processor import add_guidance, require_rescale
from livejam.cli.publish import add_trust, find_trusted
from livejam.errors import UserError
from livejam.export.signature import MUSIC, PRECISIONS
from livejam.option_ranges import LONGEST_SPAN, Range, require_number
from livejam.outputs import add_overwrite, require_folder, require_free

if TYPE_CHECKING:
    from livejam.export.model import StepModel
    from livejam.export.onnx_files import OnnxSteps
    from livejam.export.parity import Parity

DEFAULT_STEPS, DEFAULT_ITEMS = 1000, 96
MOST_STEPS, MOST_ITEMS = 10**7, 10**5


def add_export(commands: Any) -> None:
    """Add the command to the parser's commands."""
    export = commands.add_parser(
        "export",
        help="write a model as ONNX graphs of one step, for players without PyTorch",
        description="DIR then holds encoder.onnx, generator.onnx and decoder.onnx (one step each, with all states\n"
        "among their inputs and outputs), signature.json (all that a player must know), state0.safetensors (the\n"
        "states before the first step) and test_vectors.safetensors. Then both play to the same sound, and samples\n"
        "that differ by more than 0.0001 are an error. Models that take words or follow sketches do so in players as\n"
        "well: prompts.safetensors has the words, sketcher.onnx makes sketches of sound. The weights of guidance are\n"
        "part of the graph: --guidance chooses them. docs/export.md describes the files for players.",
        epilog="examples:\n  livejam export --checkpoint liveband-pocket --out exported\n"
        "  livejam export --checkpoint runs/quickstart/checkpoints/last.ckpt --out exported --parity-steps 10000\n"
        "  livejam export --checkpoint liveband-pocket --out small --precision int8 --songs data/songs",
    )
    export.add_argument("--checkpoint", type=Path, required=True, metavar="C", help=MODEL_HELP)
    export.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder for the graphs")
    export.add_argument(
        "--precision",
        choices=PRECISIONS,
        default=PRECISIONS[0],
        help="of the weights: float16 and bfloat16 take half of the space, int8 a quarter; what is computed stays in "
        "float32 (default: float32)",
    )
    export.add_argument(
        "--cutoff", type=int, metavar="N", help="blocks, of an LMDM; 1 answers the block just heard (default: its own)"
    )
    export.add_argument(
        "--anticipation", type=int, metavar="N", help="frames that it plays ahead, of a model that learnt several"
    )
    export.add_argument(
        "--like",
        type=Path,
        metavar="WAV",
        help="a recording that it will always sound like (default: it plays without a reference)",
    )
    export.add_argument(
        "--prompt",
        action="append",
        metavar="TEXT",
        help="a description in words that players can ask for; repeat it for several. The names of the instruments are "
        "always there, and of a model with tags all of its words",
    )
    add_guidance(export)
    _add_checks(export)
    add_trust(export)
    add_overwrite(export)
    export.set_defaults(run=_export)


def _add_checks(export: argparse.ArgumentParser) -> None:
    """What is measured of the graphs."""
    export.add_argument(
        "--parity-steps",
        type=int,
        default=DEFAULT_STEPS,
        metavar="N",
        help=f"steps in which ONNX Runtime is compared with PyTorch (default: {DEFAULT_STEPS})",
    )
    export.add_argument(
        "--songs",
        type=Path,
        metavar="DATA",
        help="let both play the test songs of this data set, and say whether beats, chord tones and Fréchet distance "
        f"stay the same (default: not measured; takes minutes; written to {MUSIC})",
    )
    export.add_argument(
        "--items",
        type=int,
        default=DEFAULT_ITEMS,
        metavar="N",
        help=f"stems of the test songs to play, 20 s each (default: {DEFAULT_ITEMS})",
    )


def _export(options: argparse.Namespace) -> int:
    require_number("--parity-steps", options.parity_steps, Range(1, MOST_STEPS))
    require_rescale(options)
    require_number("--cutoff", options.cutoff, Range(-1000, 1))
    require_number("--anticipation", options.anticipation, Range(0, LONGEST_SPAN))
    require_number("--items", options.items, Range(1, MOST_ITEMS))
    from livejam.checkpoints.published import find_model
    from livejam.export.directory import FILES, OPTIONAL, export, open_steps
    from livejam.export.parity import checked
    from livejam.sampling import read_weights

    folder: Path = options.out
    require_folder(folder)
    inputs = [path for path in (find_model(options.checkpoint), options.like) if path]
    require_free({f"--out {name}": folder / name for name in (*FILES, *OPTIONAL, MUSIC)}, inputs, options.overwrite)
    if options.songs and not options.songs.is_dir():
        raise UserError(f"there is no data set {options.songs}; render one with `livejam data render`")
    guidance = None if options.guidance is None else read_weights(options.guidance)
    asked = options.precision, options.cutoff, options.anticipation, options.like, options.prompt or ()
    model = export(options.checkpoint, folder, find_trusted(options.trust), *asked, guidance, options.guidance_rescale)
    (folder / MUSIC).unlink(missing_ok=True)
    held = [folder / name for name in (*FILES, *OPTIONAL) if (folder / name).is_file()]
    size = sum(path.stat().st_size for path in held)
    print(f"{folder}: {size / 1e6:.1f} MB in {options.precision}", flush=True)
    parity = checked(model, open_steps(folder), options.parity_steps)
    print(_said(parity), flush=True)
    if options.songs:
        _measure_music(options, model, open_steps(folder))
    return 0


def _measure_music(options: argparse.Namespace, model: StepModel, exported: OnnxSteps) -> None:
    from livejam.cli.export_music import TestSongs, music_facts, music_lines, write_music
    from livejam.export.playing import onnx_steps, torch_steps
    from metrics.musical_parity import compared

    songs = TestSongs(options.songs, model, options.items)
    ways = {
        "PyTorch": partial(torch_steps, model.player),
        f"ONNX Runtime, {options.precision}": partial(onnx_steps, model, exported),
    }
    reference, played = songs.scores(ways).values()
    differences = compared(reference, played)
    write_music(options.out, {"precision": options.precision, **music_facts(options.songs, differences)})
    print("\n".join(music_lines(differences)))


def _said(parity: Parity) -> str:
    worst = ", ".join(f"{found.tensor} {found.value:.1e}" for found in parity.differences)
    return (
        f"  {parity.steps} steps in ONNX Runtime compared with PyTorch's in float32; largest differences: {worst}\n"
        f"  a step takes {parity.onnx_ms:.2f} ms, in PyTorch {parity.torch_ms:.2f} ms (one thread, by turns)"
    )
