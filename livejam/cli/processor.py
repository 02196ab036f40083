"""Options that several commands share: what computes, and how closely a model keeps to what it is told."""

from __future__ import annotations

import argparse

from livejam.option_ranges import Range, require_number


def add_processor(parser: argparse.ArgumentParser | argparse._ArgumentGroup) -> None:
    """Add the option `--on`, whose value `livejam.load` takes as its device."""
    parser.add_argument(
        "--on", default="cpu", metavar="WHAT",
        help="what computes: cpu, which is faster for small models, or a GPU: cuda, or cuda:1 for the second (cpu)",
    )  # fmt: skip


def add_guidance(parser: argparse.ArgumentParser) -> None:
    """Add the options `--guidance`, which `livejam.sampling.read_weights` reads, and `--guidance-rescale`."""
    parser.add_argument(
        "--guidance", metavar="W",
        help="weight of guidance, 0 or more: one, as 3, or of some of mix, past, prompt and sketch, as mix=2,prompt=3 "
        "(default: the model's own)",
    )  # fmt: skip
    parser.add_argument(
        "--guidance-rescale", type=float, metavar="S",
        help="share, 0 to 1, that is taken back of what guidance does to the level (default: the model's own)",
    )  # fmt: skip


def require_rescale(options: argparse.Namespace) -> None:
    """Refuse a share of `--guidance-rescale` that is out of range.

    Raises:
        UserError: it is.
    """
    require_number("--guidance-rescale", options.guidance_rescale, Range(0, 1))
