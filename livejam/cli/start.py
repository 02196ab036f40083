"""Where the console scripts begin: what has to be settled before PyTorch is loaded."""

from __future__ import annotations

import os

from livejam.slurm import requeue_when_told

SPINS = "3000"
"""How often a thread of GNU's OpenMP, which PyTorch's wheels for Linux bring, looks for work before it gives way.

Its own choice is 300 000. That is a tenth faster on an idle machine, and up to twenty times slower on one that is busy:
docs/threads.md."""

OWN_CHOICES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
"""Environment variables with which a user says it otherwise."""


def settle_threads() -> None:
    """Threads that wait for each other soon give way to other programs, unless the user wants it otherwise.

    OpenMP reads its environment once, while PyTorch is imported.
    """
    if not any(name in os.environ for name in OWN_CHOICES):
        os.environ["GOMP_SPINCOUNT"] = SPINS


def livejam() -> int:
    """Entry point of `livejam`."""
    settle_threads()
    from livejam.cli.main import main

    return main()


def lightning() -> int:
    """Entry point of `lightning`."""
    settle_threads()
    requeue_when_told()
    from lightning_modules.cli import main

    return main()
