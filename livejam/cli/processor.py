"""The option that says what computes: the CPU, or a GPU."""

from __future__ import annotations

import argparse


def add_processor(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the option `--on`, whose value `livejam.load` takes as its device."""
    parser.add_argument(
        "--on", default="cpu", metavar="WHAT",
        help="what computes: cpu, which is faster for small models, or a GPU: cuda, or cuda:1 for the second (cpu)",
    )  # fmt: skip
