"""`livejam weights`: published weights that codecs and metrics may need."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from livejam.checkpoints.weights import WEIGHTS, Weights, faults, find_sets, weights_root
from livejam.cli.stable_audio import add_import


def add_weights(commands: Any) -> None:
    """Add the command to the parser's commands."""
    weights = commands.add_parser(
        "weights",
        help="list, fetch or verify published weights",
        description="Published weights that codecs and metrics may need. Only `fetch` uses the network.",
    )
    actions = weights.add_subparsers(metavar="ACTION", required=True)
    listing = actions.add_parser(
        "list",
        help="list all weights, with licence and size, and whether they are here",
        description="Models that come with livejam, and weights of others: all by name, with purpose, licence and\n"
        "size. LIVEJAM_WEIGHTS names another folder for the latter.",
        epilog="example:\n  livejam weights list",
    )
    listing.set_defaults(run=_list)
    fetch = actions.add_parser(
        "fetch",
        help="download weights",
        description="Download weights; those that are here stay. An interrupted download continues where it stopped.",
        epilog="examples:\n  livejam weights fetch encodec_24khz\n  livejam weights fetch metrics",
    )
    fetch.add_argument(
        "names",
        nargs="+",
        metavar="NAME",
        help="a name that `livejam weights list` shows; `metrics` for all of theirs",
    )
    fetch.set_defaults(run=_fetch)
    verify = actions.add_parser(
        "verify",
        help="check files against what was published and fetched",
        description="Compare size and SHA-256 of every file. Exit status 1 if one is damaged or, if named, missing.",
        epilog="example:\n  livejam weights verify",
    )
    verify.add_argument("names", nargs="*", metavar="NAME", help="weights to check (default: all that are here)")
    verify.set_defaults(run=_verify)
    add_import(actions)


def _list(options: argparse.Namespace) -> int:
    from livejam.checkpoints.published import BUNDLED, SUFFIX, bundled_names

    for name in bundled_names():
        path = BUNDLED / f"{name}{SUFFIX}"
        print(f"{name:<17} {'here':<5} {path.stat().st_size / 1e6:>5.0f} MB  {_bundled(path)}")
    print(f"folder: {weights_root()}")
    for weights in WEIGHTS:
        here = "here" if not weights.missing else "–"
        size = f"{weights.size_bytes / 1e6:.0f} MB" if weights.size_bytes else "size ?"
        gate = "; on request" if weights.gate else ""
        print(f"{weights.name:<17} {here:<5} {size:>8}  {weights.purpose} ({weights.licence}{gate})")
    return 0


def _bundled(path: Path) -> str:
    """Purpose and licence of a model that comes with livejam."""
    from livejam.checkpoints.facts import learnt_instruments
    from livejam.checkpoints.published import published_facts, read_model

    content = read_model(path)
    plays, licence = ", ".join(learnt_instruments(content)), published_facts(content)["licence"] or "not stated"
    return f"comes with livejam: an accompanist that plays {plays} ({licence})"


def _fetch(options: argparse.Namespace) -> int:
    from livejam.checkpoints.download import fetch

    for weights in [weights for name in options.names for weights in find_sets(name)]:
        print(f"{weights.name}: {fetch(weights)}; licence: {weights.licence}")
    return 0


def _verify(options: argparse.Namespace) -> int:
    named = [weights for name in options.names for weights in find_sets(name)]
    found = named or [weights for weights in WEIGHTS if len(weights.missing) < len(weights.files)]
    good = True
    for weights in found:
        good &= _report(weights)
    if not found:
        print(f"no weights in {weights_root()}")
    return 0 if good else 1


def _report(weights: Weights) -> bool:
    wrong = faults(weights)
    print(f"{'FAIL' if wrong else 'ok  '}  {weights.name}")
    for sentence in wrong:
        print(f"      {sentence}")
    return not wrong
