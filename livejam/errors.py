"""Errors that a user can fix, as one sentence that names the fix."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # commands that compute nothing start without PyTorch
    from torch import Tensor


FULL = (errno.ENOSPC, errno.EDQUOT)
"""Numbers of the system's errors when nothing more can be written: no space is left, or none that one may use."""

LIBSNDFILE_SYSTEM = 2
"""Libsndfile's code for a refusal of the operating system."""


class UserError(ValueError):
    """Something in the input is wrong; the message is one sentence that names the fix.

    The command line prints it as one line and exits with status 2, without a traceback.
    """


class MissingCheckpointError(UserError):
    """There is no checkpoint; commands that know the shipped configs say which one trains it.

    Args:
        path: where it was looked for.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(f"there is no checkpoint {path}; train one with `make demo` or `lightning fit`")
        self.path = path


def of_the_system(error: BaseException) -> UserError | None:
    """Advice for a file, a package or memory that the system does not provide; None for other errors."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        if error.errno in FULL:
            return UserError(f"{where}the disk is full; free some space and start again")
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        return UserError(f"{where}{reason}; check the path and its permissions")
    # of soundfile, which is not loaded here; of a full disk it says no more than this
    if type(error).__name__ == "LibsndfileError" and getattr(error, "code", None) == LIBSNDFILE_SYSTEM:
        return UserError("a sound file cannot be written; the disk may be full: free some space and start again")
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        extras = "pip install 'livejam[metrics,codecs,serve,export]'"
        return UserError(f"the package {package} is not installed; install it, or livejam with its extras: {extras}")
    if isinstance(error, MemoryError):
        return UserError("there is not enough memory; make recordings, batches or networks smaller")
    return None


def require_finite_weights(weights: Mapping[str, Tensor], owner: str) -> None:
    """Refuse the weights of a training that diverged.

    Args:
        weights: tensors by name.
        owner: the owner of the weights, as the beginning of a sentence.

    Raises:
        UserError: names the first weight that is not finite.
    """
    bad = [name for name, weight in weights.items() if not weight.isfinite().all()]
    if bad:
        raise UserError(
            f"{owner} holds weights that are not finite ({bad[0]}, {len(bad)} of {len(weights)} in all): its training "
            "has diverged; use an earlier one, or train again with a lower learning rate"
        )


def require_finite_sound(audio: Tensor, made_by: str) -> None:
    """Refuse audio that a file would store as silence.

    Raises:
        UserError: a sample is not finite.
    """
    if not audio.isfinite().all():
        raise UserError(
            f"{made_by} gave samples that are not finite, so nothing was written; its training has diverged"
        )
