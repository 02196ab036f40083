"""`livejam bench`: how fast a model plays on this machine, and how far ahead it has to play for that."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam.cli.card import MODEL_HELP
from livejam.cli.processor import add_processor
from livejam.cli.publish import add_trust, find_trusted
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.option_ranges import Range, require_number
from livejam.outputs import add_overwrite, require_free

if TYPE_CHECKING:
    from livejam.checkpoints.player import Player
    from livejam.streaming.measuring import Measured

PRECISIONS = ("eager", "packed", "float16", "int8", "compiled")
SHORTEST_STEPS = 10


def add_bench(commands: Any) -> None:
    """Add the command to the parser's commands."""
    bench = commands.add_parser(
        "bench",
        help="measure how fast a model plays here, and how far ahead it has to play",
        description="After a warm-up, the time of every stage of a step (encoder, model, decoder), the real-time\n"
        "factor, the deadlines that the model's anticipation would miss, and the smallest anticipation that this\n"
        "machine sustains. A step that takes long delays the next ones, which is counted. DIR then holds bench.json\n"
        "and bench.png. For a diffusion model also: block lengths, denoising steps and contexts that fit.",
        epilog="examples:\n  livejam bench --checkpoint liveband-pocket\n"
        "  livejam bench --checkpoint liveband-pocket --busy --out measured\n"
        "  livejam bench --config liveband/slakh --precision packed --precision float16",
    )
    bench.add_argument("--checkpoint", type=Path, metavar="C", help=MODEL_HELP)
    bench.add_argument(
        "--config", action="append", metavar="Y", help="the model of a config, with random weights (may be repeated)"
    )
    bench.add_argument(
        "--precision",
        action="append",
        choices=PRECISIONS,
        help="eager: PyTorch's own kernels; packed: weights laid out for single frames, as `livejam play` has them; "
        "float16, int8: smaller weights; compiled: decoder and feed-forward layers by torch.compile, which takes half "
        "a minute (may be repeated; default: all but compiled, and on a GPU eager alone)",
    )
    bench.add_argument("--seconds", type=float, default=20.0, metavar="S", help="sound per measurement (default: 20)")
    bench.add_argument("--sample-rate", type=int, metavar="HZ", help="rate of the stream (default: the codec's)")
    bench.add_argument(
        "--buffer", type=float, default=20.0, metavar="MS", help="what buffers and sound card take (default: 20 ms)"
    )
    bench.add_argument("--rows", type=int, default=1, metavar="N", help="accompanists in one batch (default: 1)")
    bench.add_argument("--threads", type=int, metavar="N", help="threads that play (default: chosen by measurement)")
    bench.add_argument("--busy", action="store_true", help="while another program computes on every core")
    bench.add_argument("--no-blocks", action="store_true", help="measure a diffusion model with its own block only")
    bench.add_argument("--out", type=Path, metavar="DIR", help="the folder for bench.json and bench.png")
    add_processor(bench)
    add_trust(bench)
    add_overwrite(bench)
    bench.set_defaults(run=_bench)


def _bench(options: argparse.Namespace) -> int:
    from livejam.cli.bench_report import block_rows, facts, report
    from livejam.cli.busy import busy, cores

    _check(options)
    player = _player(options)
    name = str(options.checkpoint or " + ".join(options.config))
    with busy(cores()) if options.busy else nullcontext():
        threads = _settle_threads(options, player)
        rows = {
            precision: facts(measured, player, options.buffer / 1000)
            for precision, measured in _measurements(options, player)
        }
        blocks = [asdict(row) for row in _block_lengths(options, player)]
    result = {
        "model": name,
        "busy": options.busy,
        "threads": threads,
        "rows": options.rows,
        "buffer_ms": options.buffer,
        "machine": _machine(options.on),
        "measured": rows,
        "blocks": blocks,
    }
    print("\n".join([*report(result), *block_rows(blocks)]))
    if options.out is not None:
        _write(options.out, result)
    return 0


def _check(options: argparse.Namespace) -> None:
    """Refuse options that cannot be met.

    Raises:
        UserError: says which, and what to do.
    """
    if (options.checkpoint is None) == (options.config is None):
        raise UserError("bench needs either --checkpoint or --config")
    require_number("--seconds", options.seconds, Range(0.1, 1e5))
    require_number("--buffer", options.buffer, Range(0, 1e4))
    require_number("--rows", options.rows, Range(1, 256))
    require_number("--threads", options.threads, Range(1, 1024))
    if options.on != "cpu" and set(options.precision or ()) & set(PRECISIONS[1:-1]):
        raise UserError(f"{', '.join(PRECISIONS[1:-1])} are for CPUs; with --on {options.on} leave --precision out")
    if options.out is not None:
        outputs = {"the numbers": options.out / "bench.json", "the picture": options.out / "bench.png"}
        require_free(outputs, (), options.overwrite)


def _player(options: argparse.Namespace) -> Player:
    from livejam.checkpoints.player import load_player

    if options.checkpoint is not None:
        return load_player(options.checkpoint, find_trusted(options.trust)).on(options.on)
    from lightning_modules.untrained import untrained_player

    return untrained_player(options.config).on(options.on)


def _settle_threads(options: argparse.Namespace, player: Player) -> int:
    """Set PyTorch's threads to what was asked for, or to the fewest that are fast enough."""
    import torch

    from livejam.streaming import Session
    from livejam.streaming.threads import fewest_threads

    threads = options.threads
    if threads is None:
        session = Session(player, sample_rate_hz=options.sample_rate, seeds=range(options.rows))
        silence_AN = torch.zeros(session.channels, session.timing.block_samples)
        seconds = session.timing.block_samples / session.sample_rate_hz
        threads = fewest_threads(lambda: session.advance(silence_AN), seconds)
    torch.set_num_threads(threads)
    return int(threads)


def _measurements(options: argparse.Namespace, player: Player) -> Iterator[tuple[str, Measured]]:
    """One measurement for every precision that the model can be played in."""
    from tqdm import tqdm

    from livejam.streaming import Session
    from livejam.streaming.measuring import WARM_UP_STEPS, measure

    asked = options.precision or (PRECISIONS[:-1] if options.on == "cpu" else PRECISIONS[:1])
    block_seconds = player.codec.spec.seconds_in(player.accompanist.block_frames)
    steps = max(SHORTEST_STEPS, round(options.seconds / block_seconds))
    for precision in dict.fromkeys(asked):
        try:
            changed = _in_precision(player, precision)
        except UserError:
            if options.precision:
                raise
            continue
        with tqdm(total=WARM_UP_STEPS + steps, desc=precision, unit="step", delay=2, leave=False, disable=None) as bar:

            def session_of(listener: Callable[[Any], None], changed: Player = changed) -> Session:
                return Session(changed, sample_rate_hz=options.sample_rate, seeds=range(options.rows), on_step=listener)

            yield precision, measure(session_of, steps, bar.update)


def _in_precision(player: Player, precision: str) -> Player:
    """The player with other weights or kernels; the given one does not change.

    Raises:
        UserError: this model or this machine has no such precision.
    """
    from livejam.systems.liveband import LiveBandAccompanist
    from livejam.systems.playing import for_playing
    from livejam.systems.precision import compiled, in_precision

    if precision == "eager":
        return player
    if not isinstance(player.accompanist, LiveBandAccompanist):
        raise UserError(f"only LiveBand can be played {precision}; leave --precision out")
    if precision == "compiled":
        accompanist, codec = compiled(player.accompanist, player.codec)
        return replace(player, accompanist=accompanist, codec=codec)
    accompanist = in_precision(player.accompanist, "float32" if precision == "packed" else precision)
    return replace(for_playing(player), accompanist=accompanist)


def _block_lengths(options: argparse.Namespace, player: Player) -> Iterator[Any]:
    from tqdm import tqdm

    from livejam.streaming.block_lengths import block_lengths
    from livejam.systems.lmdm import LMDMAccompanist

    if isinstance(player.accompanist, LMDMAccompanist) and not options.no_blocks:
        yield from tqdm(
            block_lengths(player.accompanist), desc="block lengths", total=3, delay=2, leave=False, disable=None
        )


def _machine(device: str) -> str:
    """Processor and cores, and the GPU that computes, for those who compare."""
    import platform

    import torch

    from livejam.cli.busy import cores

    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    gpu = f"{torch.cuda.get_device_name(device)}, " if device.startswith("cuda") else ""
    return f"{gpu}{names[0] if names else platform.processor() or platform.machine()}, {cores()} cores"


def _write(folder: Path, result: dict[str, Any]) -> None:
    from livejam.cli.bench_report import draw

    folder.mkdir(parents=True, exist_ok=True)
    with atomic_path(folder / "bench.json") as temporary:
        temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    with atomic_path(folder / "bench.png") as temporary:
        draw(result, temporary)
    print(f"{folder / 'bench.json'}\n{folder / 'bench.png'}")
