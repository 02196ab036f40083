"""What madmom 0.16.1 expects of older Python and NumPy, put back before it is imported.

madmom was released for Python ≤ 3.9 and NumPy < 1.20: it imports `collections.MutableSequence` (since Python
3.10 only in `collections.abc`) and uses `numpy.float`, `numpy.int` and `numpy.bool` (removed in NumPy 1.24, where
they were nothing but the builtins). Each alias is set only where it is missing; nothing else is touched.
"""

from __future__ import annotations

import collections
import collections.abc

import numpy as np

from livejam.errors import UserError


def prepare_madmom() -> None:
    """Set the aliases, so that `import madmom` works afterwards (idempotent).

    Raises:
        UserError: madmom is not installed.
    """
    if not hasattr(collections, "MutableSequence"):
        collections.MutableSequence = collections.abc.MutableSequence  # type: ignore[attr-defined]
    for name, builtin in (("float", float), ("int", int), ("bool", bool)):
        if name not in vars(np):
            setattr(np, name, builtin)
    try:
        import madmom  # noqa: F401
    except ImportError as error:
        raise UserError("beat tracking needs madmom; install it with `make install` or the extra `metrics`") from error
