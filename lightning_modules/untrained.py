"""What a configuration describes, without a run: for commands and benchmarks that need its parts."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from lightning.pytorch.cli import LightningCLI

from lightning_modules.accompaniment import AccompanimentModule
from lightning_modules.cli import BEGINNING, ConfigParser, LivejamCLI, set_up_parsing
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.shipped_configs import find_config


class Unrun(LivejamCLI):
    """The command line without a command."""

    def setup_parser(self, *args: Any) -> None:
        """No subcommand has options of its own."""
        LightningCLI.setup_parser(self, *args)

    def instantiate_classes(self) -> None:
        """No subcommand has options to look at."""
        LightningCLI.instantiate_classes(self)

    def _parse_ckpt_path(self) -> None:
        """There is none."""


def untrained(words: Sequence[str]) -> Unrun:
    """Model with fresh weights, data module and trainer.

    Args:
        words: the command line, such as `--config configs/quickstart.yaml`.
    """
    set_up_parsing()
    with warnings.catch_warnings():
        # the words of the program's own command line are none of its business
        warnings.filterwarnings("ignore", message="LightningCLI's args parameter")
        return Unrun(
            args=list(words),
            run=False,
            parser_class=ConfigParser,
            parser_kwargs=BEGINNING,
            save_config_callback=None,
            auto_configure_optimizers=False,
        )


def untrained_player(configs: Sequence[str]) -> Player:
    """What the model of some configurations plays with, with random weights.

    Args:
        configs: YAML files or shipped names, later ones on top of earlier ones.

    Raises:
        UserError: a file is missing, or trains nothing that plays.
    """
    with _lightning_quiet():
        model = untrained([word for name in configs for word in ("--config", str(find_config(name)))]).model
    if not isinstance(model, AccompanimentModule):
        raise UserError(f"{' + '.join(configs)} trains {type(model).__name__}, which does not play along")
    model.hear_silence()
    model.eval().requires_grad_(False)
    return Player(model.accompanist(), model.codec, model.silence_C)


@contextmanager
def _lightning_quiet() -> Iterator[None]:
    """Hold back what Lightning says of the processors that it found, which is of no interest here."""
    log = logging.getLogger("lightning.pytorch")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)
