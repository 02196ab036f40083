"""The exceptions of a run that are about the user's input, as one line."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Iterator
from types import FrameType

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException

from lightning_modules.config_errors import explain
from livejam.errors import MissingCheckpointError, UserError, of_the_system
from livejam.shipped_configs import how_to_train

_JUDGES = ("lightning.", "lightning_fabric.", "jsonargparse.", "omegaconf.", "torch.optim.", "torch.utils.data.")
"""Packages that raise plain exceptions about their arguments."""

_RESTORES = "lightning.pytorch.trainer.connectors.checkpoint_connector"


def as_user_error(error: BaseException) -> UserError | None:
    """The error as one that the user can fix; None for a fault of the code, which keeps its traceback.

    One of our own errors ends the search, whatever caused it. Otherwise the first cause counts.
    """
    links = list(_causes(error))
    for link in links:
        if isinstance(link, MissingCheckpointError):
            return UserError(f"there is no checkpoint {link.path}; {how_to_train(link.path)}")
        if isinstance(link, UserError):
            return UserError(str(link))  # raising the link itself would make it its own cause
    root = links[-1]
    if isinstance(root, torch.OutOfMemoryError):
        return UserError(f"{explain(str(root))} Make batches, crops or networks smaller")
    if (reported := of_the_system(root)) is not None:
        return reported
    if not isinstance(root, NameError) and any(_restores(frame) for frame in _frames(root)):
        return UserError(f"the checkpoint does not fit this run ({type(root).__name__}: {explain(str(root))})")
    if isinstance(root, (OmegaConfBaseException, MisconfigurationException)) or _is_judged(root):
        # long enough for the names of everything that is logged, when a callback asks for another
        return UserError(explain(str(root.args[0]) if isinstance(root, KeyError) else str(root), limit=2000))
    return None


def say_of_thread(args: threading.ExceptHookArgs) -> None:
    """In place of a thread's traceback, a line: whoever next needs the thread raises the same error, and ends the run.

    TensorBoard's writer is such a thread.
    """
    reported = as_user_error(args.exc_value) if args.exc_value is not None else None
    if reported is None or os.environ.get("LIVEJAM_DEBUG"):
        threading.__excepthook__(args)
    else:
        sys.stderr.write(f"in the background: {' '.join(str(reported).split())}\n")


def refused_options(error: BaseException) -> UserError:
    """The message when an object cannot be made of its options: the reason, and its class."""
    root = list(_causes(error))[-1]
    makers = [frame.f_locals["self"] for frame in _frames(root) if frame.f_code.co_name == "__init__"]
    maker = f"{type(makers[-1]).__name__} cannot be made of these options: " if makers else ""
    return UserError(f"{maker}{explain(str(root)) or type(root).__name__}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__


def _is_judged(error: BaseException) -> bool:
    """Whether a package that checks its own options raised it to refuse a value."""
    frames = _frames(error)
    module = frames[-1].f_globals.get("__name__", "") if frames else ""
    return isinstance(error, (ValueError, TypeError, RuntimeError, KeyError)) and f"{module}.".startswith(_JUDGES)


def _restores(frame: FrameType) -> bool:
    """Whether it was raised while the states of a checkpoint were restored."""
    name = frame.f_code.co_name
    return frame.f_globals.get("__name__") == _RESTORES and name.startswith(("resume_start", "restore", "_restore"))


def _frames(error: BaseException) -> list[FrameType]:
    """The functions that an exception came through, the one that raised it last."""
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
