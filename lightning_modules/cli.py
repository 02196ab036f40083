"""The `lightning` command: fit, validate, test and predict any recipe from one YAML."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import warnings
from argparse import SUPPRESS, RawDescriptionHelpFormatter
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn

import yaml
from jsonargparse import DefaultHelpFormatter, Namespace, set_parsing_settings
from jsonargparse._deprecated import JsonargparseDeprecationWarning
from lightning import __version__ as VERSION
from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO
from lightning.pytorch import Callback, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, ProgressBar
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_info
from lightning.pytorch.utilities.exceptions import SIGTERMException

from callbacks.interrupt_checkpoint import InterruptCheckpoint
from lightning_modules.checkpoint_io import PlainCheckpointIO
from lightning_modules.config_errors import explain
from lightning_modules.config_option import ConfigFile, plain
from lightning_modules.kept_config import PLACEHOLDER, ROOT, KeptConfig, movable
from lightning_modules.named_checkpoints import NAMES, require_named_checkpoint
from lightning_modules.resolvers import register
from lightning_modules.run_errors import as_user_error, refused_options, say_of_thread
from lightning_modules.run_folder import one_run_at_a_time, remove_interrupted, starting_point
from lightning_modules.trainer_options import require_shardable, require_sound
from lightning_modules.training import is_dry_run, require_precision
from lightning_modules.working_directory import put_last
from livejam.errors import UserError
from livejam.option_ranges import require_ranges
from livejam.shipped_configs import DEFAULTS
from livejam.slurm import need_no_requeue, requeue_no_more

DESCRIPTION = """\
Train and evaluate livejam's recipes. Every experiment is one YAML, a file of yours or a shipped one by its name (see
`livejam configs`); further --config files and options overlay it, and values that must match follow the override. A
file that begins with `base: FILE` goes on top of that file.

  lightning fit --config configs/quickstart.yaml
  lightning fit --config configs/quickstart.yaml --data.init_args.batch_size 8 --print_config
  lightning test --config configs/quickstart.yaml --ckpt_path runs/quickstart/checkpoints/last.ckpt

A mistake in the configuration is one line and exit status 2; LIVEJAM_DEBUG=1 shows the whole traceback.
"""


BEGINNING = {"default_config_files": [str(DEFAULTS)]}
"""What a parser of experiments reads before all files."""


class HelpFormatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """jsonargparse's help with the description's own line breaks."""


class ConfigParser(LightningArgumentParser):
    """Lightning's parser, except that it raises what it would print.

    Interpolation is resolved once, after all files and options are merged (`omegaconf+`), so `${…}` follows
    overrides. Abbreviated options are unknown options: a typing slip must not pass for another key.

    Attributes:
        unresolved: what was read, before interpolation, as YAML.
        subcommand: whose parser this is, where it is one's; set by jsonargparse.
    """

    unresolved = "{}"
    subcommand: str

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # jsonargparse makes parsers of this class for nested classes too, with settings of its own
        own = {
            "description": DESCRIPTION,
            "parser_mode": "omegaconf+",
            "allow_abbrev": False,
            "formatter_class": HelpFormatter,
        }
        super().__init__(*args, **{**own, **kwargs})

    def parse_string(self, content: str, *args: Any, **kwargs: Any) -> Namespace:
        return super().parse_string(plain(content), *args, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        if isinstance(ex, UserError):
            raise ex
        if not self.exit_on_error:
            # a nested class: its message becomes a part of the whole configuration's message
            super().error(message, ex)
        parser = getattr(ex, "subcommand_parser", None) or self
        known_keys = [action.dest for action in parser._actions]
        raise UserError(explain(message, known_keys)) from ex

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """As YAML; of a subcommand, what is printed and saved follows the run's folder."""
        if hasattr(self, "parent_parser"):
            read = yaml.safe_load(self.parent_parser.unresolved).get(self.subcommand, {})
            namespace = movable(namespace, read)
            namespace.pop("overwrite", None)
            return super().dump(namespace, *args, **kwargs).replace(PLACEHOLDER, ROOT)
        text = super().dump(namespace, *args, **kwargs)
        # the parser interpolates by way of this text
        self.unresolved = text if "${" in text else self.unresolved
        return text


class LivejamCLI(LightningCLI):
    """LightningCLI with the values tied that must match.

    The data module gets the very codec object of the model: latents and audio are always of one codec.
    """

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.link_arguments("model.codec", "data.init_args.codec", apply_on="instantiate")
        parser.add_argument(
            "--variant",
            type=list[str],
            default=[],
            help="names that the run's folder ends with; overlays add their own (variant+: [no_sink])",
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        parser: LightningArgumentParser = self.parser_class(
            **{"dump_header": [f"lightning.pytorch=={VERSION}"], **kwargs}
        )
        parser.add_argument(
            "-c", "--config", action=ConfigFile, help="a YAML file, or a shipped config's name (see `livejam configs`)"
        )
        return parser

    def setup_parser(self, *args: Any) -> None:
        super().setup_parser(*args)
        self._subcommand_parsers["fit"].add_argument(
            "--overwrite",
            action="store_true",
            help="start again where another run's checkpoint is, overwrite that run, and delete its interrupted.ckpt; "
            "without it, fit refuses",
        )
        # a configuration that one subcommand saved is read by all
        known = {name: {action.dest for action in parser._actions} for name, parser in self._subcommand_parsers.items()}
        for name, parser in self._subcommand_parsers.items():
            for key in sorted(set().union(*known.values()) - known[name] - {"overwrite"}):
                parser.add_argument(f"--{key}", type=Any, default=None, help=SUPPRESS)

    def fit(self, **arguments: Any) -> None:
        """Train, where that destroys no other run."""
        if is_dry_run(self.trainer):
            self.trainer.fit(**arguments)
            return
        overwrite = self.config_init["fit"]["overwrite"]
        begin = starting_point(self.trainer, self.model, arguments["ckpt_path"], overwrite)
        self.config["fit"]["ckpt_path"] = begin
        with one_run_at_a_time(Path(self.trainer.default_root_dir)):
            if overwrite and begin is None:
                remove_interrupted(self.trainer)
            self.trainer.fit(**{**arguments, "ckpt_path": begin})

    @staticmethod
    def subcommands() -> dict[str, set[str]]:
        """Lightning's, without the switch that would unpickle checkpoints."""
        return {name: skipped | {"weights_only"} for name, skipped in LightningCLI.subcommands().items()}

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        options = self._get(self.config_init, "trainer")
        if options["enable_progress_bar"] is False and isinstance(options["callbacks"], list):
            # the bar is one of the default callbacks; to Lightning that contradicts the option
            kwargs["callbacks"] = [c for c in options["callbacks"] if not isinstance(c, ProgressBar)]
        trainer = super().instantiate_trainer(**kwargs)
        if type(trainer.strategy.checkpoint_io) is TorchCheckpointIO:
            trainer.strategy.checkpoint_io = PlainCheckpointIO()
        if self._get(self.config, "trainer")["strategy"] == "auto" and isinstance(trainer.strategy, DDPStrategy):
            # networks take turns, and a prompt that is dropped leaves its encoder without gradients: the choice that
            # is left to us is ddp_find_unused_parameters_true
            trainer.strategy._ddp_kwargs["find_unused_parameters"] = True
        if not getattr(trainer._accelerator_connector.cluster_environment, "auto_requeue", True):
            requeue_no_more()
        trainer.callbacks.sort(key=_turn)  # type: ignore[attr-defined]  # keeps the order of the others
        return trainer

    def _prepare_subcommand_kwargs(self, subcommand: str) -> dict[str, Any]:
        # for strategies that read checkpoints in a way of their own
        return {**super()._prepare_subcommand_kwargs(subcommand), "weights_only": True}

    def before_predict(self) -> None:
        """Callbacks write what is predicted; the command line has no use for it, and it would fill the memory."""
        self.config_init[self.subcommand]["return_predictions"] = False

    def _parse_ckpt_path(self) -> None:
        # Lightning would let the hyper-parameters inside the checkpoint overrule the YAML; here the YAML is the truth
        # and the checkpoint brings the state.
        path = self.config[self.config.subcommand].get("ckpt_path")
        if path and path not in NAMES and "://" not in path and not Path(path).is_file():
            fault = "is a folder" if Path(path).is_dir() else "does not exist"
            raise UserError(f"--ckpt_path {path} {fault}{_nearest_checkpoints(Path(path))}")

    def after_instantiate_classes(self) -> None:
        if is_dry_run(self.trainer):
            rank_zero_info("fast_dev_run: a dry run that writes no results, no curves, no audio and no weights")

    def instantiate_classes(self) -> None:
        options = self.config[self.subcommand].as_dict()
        require_sound(options)
        require_ranges(options)
        try:
            super().instantiate_classes()
        except Exception as error:  # jsonargparse wraps what a constructor refuses into a tree of all alternatives
            raise as_user_error(error) or refused_options(error) from error
        require_precision(self.trainer)
        require_shardable(self.trainer, self.model)
        name = self.config[self.subcommand].get("ckpt_path")
        if name in NAMES and (self.subcommand, name) != ("fit", "last"):  # of which fit takes a wider view
            require_named_checkpoint(name, self.trainer)


def _turn(callback: Callback) -> int:
    """Who saves last knows what the others have found in the same validation.

    First, checkpoints of the best ones, then those to go on from, then what stops the run.
    """
    if isinstance(callback, InterruptCheckpoint):
        return 3
    if isinstance(callback, ModelCheckpoint):
        return 2 if callback.monitor is None else 1
    return 0


def _nearest_checkpoints(path: Path) -> str:
    """The checkpoints under the nearest existing folder of a path, as the end of a sentence."""
    folder = next(parent for parent in path.absolute().parents if parent.is_dir())
    found = sorted(folder.rglob("*.ckpt"))[:5] if folder != Path(folder.anchor) and folder != Path.cwd() else []
    if not found:
        return "; train first, or leave it out to start from untrained weights"
    return f"; found {', '.join(os.path.relpath(name) for name in found)}"


def quieten() -> None:
    """Hold back what third parties say to their own developers, and advertisements."""
    warnings.filterwarnings("ignore", message=r".*LeafSpec.*deprecated.*")
    warnings.filterwarnings("ignore", message=r".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=r".*smaller than the logging interval.*")
    # the frozen codec stays in evaluation mode on purpose
    warnings.filterwarnings("ignore", message=r".*module\(s\) in eval mode.*")
    warnings.filterwarnings("ignore", category=JsonargparseDeprecationWarning)
    # some of Lightning's own defaults are enums, which YAML cannot write
    yaml.SafeDumper.add_multi_representer(Enum, lambda dumper, member: dumper.represent_str(str(member.value)))
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.rank_zero"):
        logging.getLogger(name).addFilter(lambda record: "Tip: For seamless" not in str(record.msg))


def set_up_parsing() -> None:
    """What configurations are written in, for whoever reads them."""
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
    register()


def run(command: type[LivejamCLI] = LivejamCLI) -> None:
    """Parse the command line, instantiate and run one subcommand.

    Args:
        command: what runs it.

    Raises:
        UserError: something in the configuration or in the input is wrong.
    """
    set_up_parsing()
    try:
        command(
            parser_class=ConfigParser,
            parser_kwargs={name: BEGINNING for name in LivejamCLI.subcommands()},
            save_config_callback=KeptConfig,
            save_config_kwargs={"overwrite": True},
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )
    except Exception as error:
        reported = as_user_error(error)
        if reported is None:
            raise
        raise reported from error


def main() -> int:
    """Entry point of the console script."""
    quieten()
    threading.excepthook = say_of_thread
    put_last(Path.cwd())
    try:
        run()
    except UserError as error:
        if os.environ.get("LIVEJAM_DEBUG"):
            raise
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return 2
    except SIGTERMException:  # whose status would be that of success
        return 128 + signal.SIGTERM
    need_no_requeue()
    return 0


if __name__ == "__main__":
    sys.exit(main())
