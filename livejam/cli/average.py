"""`livejam average`: what several trainings learnt, in one model."""

from __future__ import annotations

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from livejam.errors import UserError
from livejam.outputs import add_overwrite, require_free

RELATED = 0.3
"""Cosine of weights. Two seeds of one training had 0.05, bundled models with a common beginning 0.68 to 0.995."""


def add_average(commands: Any) -> None:
    """Add the command to the parser's commands."""
    command = commands.add_parser(
        "average",
        help="average the weights of several trained models (a model soup)",
        description="Write a checkpoint whose network is the mean of those of several models, as large and as fast as\n"
        "one of them. It pays where a training went on from another, or several began with the same weights: a model\n"
        "that went on with other songs, averaged with what it began with, may keep the best of both. Measure it with\n"
        "`lightning test` before you trust it. Runs no code from the checkpoints.",
        epilog="example:\n  livejam average runs/liveband_anticipation/checkpoints/last.ckpt liveband-wide "
        "--shares 2 1 --out average.ckpt",
    )
    command.add_argument("checkpoint", type=Path, help="a .ckpt file of `lightning fit`; all but its network is kept")
    command.add_argument(
        "others", type=Path, nargs="+", metavar="model",
        help="a .ckpt file, a published .safetensors file, or the name of a bundled model",
    )  # fmt: skip
    command.add_argument(
        "--shares", type=float, nargs="+", metavar="SHARE",
        help="of each model in the mean, in their order; 2 1 are two thirds and one third (default: equal)",
    )  # fmt: skip
    command.add_argument("--out", type=Path, required=True, metavar="FILE", help="the average, NAME.ckpt")
    add_overwrite(command)
    command.set_defaults(run=_average)


def _average(options: argparse.Namespace) -> int:
    from livejam.checkpoints.averaging import average
    from livejam.checkpoints.published import find_model

    out: Path = options.out
    if out.suffix != ".ckpt":
        raise UserError(
            f"--out {out} does not end in .ckpt; call it {out.stem}.ckpt (`livejam publish` makes it small)"
        )
    named = [options.checkpoint, *options.others]
    shares: list[float] = [1.0] * len(named) if options.shares is None else options.shares
    if len(shares) != len(named):
        raise UserError(f"--shares has {len(shares)} numbers for {len(named)} models; give each model one")
    if not all(math.isfinite(share) and share > 0 for share in shares):
        raise UserError("--shares has a number that is not above 0; leave that model out instead")
    models = [find_model(name) for name in named]
    require_free({"--out": out}, models, options.overwrite)
    cosines = average(models, shares, out)
    print(f"{out}: the mean of")
    for name, share, cosine in zip(named, shares, cosines, strict=True):
        print(f"  {share / sum(shares):5.0%}  {name} (cosine with the first: {cosine:.2f})")
        if cosine < RELATED:
            print(
                f"warning: the weights of {name} have nothing in common with those of {named[0]}: do not expect their "
                "mean to play; average models of which one began with the other",
                file=sys.stderr,
            )
    print(f"measure it: lightning test --config CONFIG --ckpt_path {out}")
    return 0
