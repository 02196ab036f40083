"""Errors that a user can mend."""

from __future__ import annotations

import errno


class UserError(ValueError):
    """Something in the input is wrong; the message is one sentence that names the fix.

    The command line prints it as one line and exits with status 2, without a traceback.
    """


def of_the_system(error: BaseException) -> UserError | None:
    """What a user can do about a file, a package or memory that the system does not give; None for other errors."""
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        if error.errno == errno.ENOSPC:
            return UserError(f"{where}the disk is full; free some space and start again")
        reason = error.strerror or " ".join(str(error).split()) or type(error).__name__
        return UserError(f"{where}{reason}; check the path, and whether it may be read or written")
    if isinstance(error, ModuleNotFoundError) and error.name:
        package = error.name.partition(".")[0]
        extras = "pip install 'livejam[metrics,codecs,serve,export]'"
        return UserError(f"the package {package} is not installed; install it, or livejam with its extras: {extras}")
    if isinstance(error, MemoryError):
        return UserError("the memory is used up; make recordings, batches or networks smaller")
    return None
