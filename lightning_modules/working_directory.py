"""Where Python looks for the classes that a config names."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def put_last(folder: Path) -> None:
    """Let configs name classes in a folder, without letting these replace ours or those of an installed package.

    Our own packages have common names (`callbacks`, `metrics`), and an editable installation finds them last on the
    path. So they come just before the folder, also for processes that this one starts.
    """
    if _is_module_run() and sys.path and Path(sys.path[0] or ".").absolute() == folder:
        del sys.path[0]  # `python -m` puts it first
    ours = Path(__file__).absolute().parent.parent
    sys.path += [path for path in (os.fspath(ours), os.fspath(folder)) if path not in sys.path]


def _is_module_run() -> bool:
    return getattr(sys.modules["__main__"], "__spec__", None) is not None
