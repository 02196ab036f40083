"""Which exceptions of a run are about what the user gave, and what they say on one line."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from types import FrameType

import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from omegaconf.errors import OmegaConfBaseException

from lightning_modules.config_errors import explain
from livejam.errors import UserError, of_the_system

_JUDGES = ("lightning.", "lightning_fabric.", "jsonargparse.", "omegaconf.", "torch.optim.", "torch.utils.data.")
"""Packages that raise plain exceptions about the values that they were given."""

_RESTORES = "lightning.pytorch.trainer.connectors.checkpoint_connector"


def as_user_error(error: BaseException) -> UserError | None:
    """What the user can mend; None for a fault of the code, which deserves its traceback.

    Our own sentence ends the search, whatever it was made of. Otherwise the first cause counts.
    """
    links = list(_causes(error))
    for link in links:
        if isinstance(link, UserError):
            return UserError(str(link))  # raising the link itself would make it its own cause
    root = links[-1]
    if isinstance(root, torch.OutOfMemoryError):
        return UserError(f"{explain(str(root))} Make batches, crops or networks smaller")
    if (told := of_the_system(root)) is not None:
        return told
    if not isinstance(root, NameError) and any(_restores(frame) for frame in _frames(root)):
        return UserError(f"the checkpoint does not fit this run ({type(root).__name__}: {explain(str(root))})")
    if isinstance(root, (OmegaConfBaseException, MisconfigurationException)) or _is_judged(root):
        # long enough for the names of all that is logged, where a callback asks for another
        return UserError(explain(str(root.args[0]) if isinstance(root, KeyError) else str(root), limit=2000))
    return None


def refused_options(error: BaseException) -> UserError:
    """What is said when objects cannot be made of their options: the reason, and the class that gave it."""
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
    """Whether it was raised, as a refusal of values, by a package that knows its own options."""
    frames = _frames(error)
    module = frames[-1].f_globals.get("__name__", "") if frames else ""
    return isinstance(error, (ValueError, TypeError, RuntimeError, KeyError)) and f"{module}.".startswith(_JUDGES)


def _restores(frame: FrameType) -> bool:
    """Whether a function is putting the states of a checkpoint in their places."""
    name = frame.f_code.co_name
    return frame.f_globals.get("__name__") == _RESTORES and name.startswith(("resume_start", "restore", "_restore"))


def _frames(error: BaseException) -> list[FrameType]:
    """The functions that an exception came through, the one that raised it last."""
    return [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
