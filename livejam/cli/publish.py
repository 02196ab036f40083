"""`livejam publish`: a trained model as one small file."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from livejam.errors import UserError
from livejam.outputs import add_overwrite, require_free


def add_publish(commands: Any) -> None:
    """Add the command to the parser's commands."""
    publish = commands.add_parser(
        "publish",
        help="write a model as one small file, with its card",
        description="Write the network that plays, its settings and the statistics of its latents as one safetensors\n"
        "file, and the model card beside it. In float16 where that changes what it plays by no more than 1 %.\n"
        "A bundled codec is referred to by its name and hash, another CausalCodec is part of the file, and others are\n"
        "refused: their weights have licences of their own. Whatever takes a checkpoint for playing takes the file.",
        epilog="example:\n  livejam publish runs/quickstart/checkpoints/last.ckpt --out my-band.safetensors "
        "--licence 'CC BY 4.0'",
    )
    publish.add_argument("checkpoint", type=Path, help="a .ckpt file written by `lightning fit`")
    publish.add_argument("--out", type=Path, required=True, metavar="FILE", help="the file, NAME.safetensors")
    publish.add_argument("--licence", metavar="TEXT", help="licence of these weights (default: not stated)")
    publish.add_argument(
        "--songs", metavar="TEXT",
        help="what it learnt from, and under which licences (default: what its configuration says)",
    )  # fmt: skip
    publish.add_argument(
        "--results", type=Path, metavar="JSON",
        help="the table that `lightning test` wrote (default: as for `livejam card`)",
    )  # fmt: skip
    add_trust(publish)
    add_overwrite(publish)
    publish.set_defaults(run=_publish)


def add_trust(parser: argparse.ArgumentParser) -> None:
    """Add the option `--trust`, for checkpoints of other people's recipes."""
    parser.add_argument(
        "--trust", action="append", default=[], metavar="MODULE",
        help="a module or package besides livejam whose code the checkpoint may run, such as that of your own recipe; "
        "it is also looked for in this folder (may be repeated)",
    )  # fmt: skip


def find_trusted(modules: list[str]) -> list[str]:
    """What `--trust` names; the working directory is where it is looked for last."""
    if modules and os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    return modules


def _publish(options: argparse.Namespace) -> int:
    from livejam.checkpoints.published import SUFFIX, find_model
    from livejam.checkpoints.publishing import publish
    from livejam.checkpoints.weights import sha256_of
    from livejam.cli.card import found_results, write_card

    out: Path = options.out
    if out.suffix != SUFFIX:
        raise UserError(f"--out {out} does not end in {SUFFIX}; call it {out.stem}{SUFFIX}")
    checkpoint, card = find_model(options.checkpoint), out.with_suffix(".md")
    read = [path for path in (checkpoint, options.results) if path]
    require_free({"--out": out, "the card": card}, read, options.overwrite)
    results, said = found_results(checkpoint, [sha256_of(checkpoint)], options.results)
    made = publish(checkpoint, out, options.licence, results, find_trusted(options.trust), options.songs)
    write_card(out, card, results)
    codec = "with its codec" if made.with_codec else "without its codec, which is bundled"
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB in {made.precision} {codec}")
    print(f"  float16 changes what it plays by {100 * made.change:.2g} % of the latents' standard deviation")
    print(f"{card}: {said}")
    return 0
