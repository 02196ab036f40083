"""The `livejam` command: everything that is not training."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from livejam import __version__
from livejam.cli.average import add_average
from livejam.cli.bench import add_bench
from livejam.cli.card import MODEL_HELP, add_card
from livejam.cli.codec import add_codec, fold_codec_options
from livejam.cli.compare import add_compare
from livejam.cli.configs import add_configs
from livejam.cli.data import add_data
from livejam.cli.delay import add_delay
from livejam.cli.doctor_command import add_doctor
from livejam.cli.evaluate import add_evaluate
from livejam.cli.export import add_export
from livejam.cli.listening_test import add_listening_test
from livejam.cli.perform import add_perform
from livejam.cli.play import add_play
from livejam.cli.publish import add_publish
from livejam.cli.serve import add_serve
from livejam.cli.weights import add_weights
from livejam.errors import UserError, of_the_system


class Parser(argparse.ArgumentParser):
    """argparse, except that a mistake is one line with a suggestion, and abbreviations are mistakes."""

    def __init__(self, *, allow_abbrev: bool = False, **kwargs: Any) -> None:
        super().__init__(allow_abbrev=allow_abbrev, formatter_class=argparse.RawDescriptionHelpFormatter, **kwargs)

    def error(self, message: str) -> NoReturn:
        names = set(_names(self))
        wrong = [] if "required" in message else re.findall(r"--[\w-]+|(?<=')[^', ]+(?=')", message)
        near = [match for word in wrong if word not in names for match in get_close_matches(word, names, n=1)]
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"{message}{hint} (see `{self.prog} --help`)")


def _names(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every option and every command below a parser."""
    for action in parser._actions:
        yield from action.option_strings
        if isinstance(action, argparse._SubParsersAction):
            for name, child in action.choices.items():
                yield name
                yield from _names(child)


def build_parser() -> Parser:
    """The whole command line."""
    everything = "Everything but training: songs, codecs, checkpoints, playing and results."
    parser = Parser(prog="livejam", description=everything, epilog=_EXAMPLES)
    parser.add_argument("--version", action="version", version=f"livejam {__version__}")
    parser.add_argument("--debug", action="store_true", help="show tracebacks (as does LIVEJAM_DEBUG=1)")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    add_data(commands)
    add_play(commands)
    add_delay(commands)
    add_serve(commands)
    add_perform(commands)
    add_bench(commands)
    add_codec(commands)
    add_weights(commands)
    add_configs(commands)
    add_evaluate(commands)
    add_compare(commands)
    add_listening_test(commands)
    checkpoint = commands.add_parser(
        "describe",
        help="say what a checkpoint is and where it comes from",
        description="Recipe, iteration, instruments, codec, statistics and lineage. Runs no code from the checkpoint.",
        epilog="examples:\n  livejam describe runs/quickstart/checkpoints/last.ckpt\n"
        "  livejam describe liveband-pocket",
    )
    checkpoint.add_argument("checkpoint", type=Path, help=MODEL_HELP)
    checkpoint.set_defaults(run=_describe)
    add_card(commands)
    add_average(commands)
    add_publish(commands)
    add_export(commands)
    add_doctor(commands)
    return parser


_EXAMPLES = """\
examples:
  livejam doctor
  livejam data render --out data/pocket --songs 40 --seed 0
  livejam data index data/pocket
  livejam describe runs/quickstart/checkpoints/last.ckpt
  livejam play --checkpoint liveband-pocket --mix song.wav --instrument drums --out played
  livejam evaluate played --out judged
  livejam codec roundtrip --codec pocket song.wav decoded.wav
  livejam weights list
  livejam configs

Training and evaluation are done by the `lightning` command. A mistake gives one line and exit status 2."""


def _describe(options: argparse.Namespace) -> int:
    from livejam.checkpoints.description import describe

    print(describe(options.checkpoint))
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Entry point of the console script.

    Args:
        arguments: the command line without the program's name; None takes `sys.argv`.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    try:
        options = build_parser().parse_args(fold_codec_options(arguments))
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # the reader has seen enough, as `head` has; what is left in the buffer goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        sys.stderr.write("stopped\n")
        return 130
    except Exception as error:
        reported = error if isinstance(error, UserError) else of_the_system(error)
        if reported is None or os.environ.get("LIVEJAM_DEBUG") or "--debug" in arguments:
            raise
        sys.stderr.write(f"error: {' '.join(str(reported).split())}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
