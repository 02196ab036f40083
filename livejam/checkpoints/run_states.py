"""How far a training run had come in each of its checkpoints."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livejam.checkpoints.file import read_torch_file
from livejam.errors import UserError

PARTS = {"state_dict", "optimizer_states", "loops", "global_step"}
"""Training goes on only from a checkpoint that has all of these; bare weights lack some."""

JOB, RESTARTS, BEGAN = "slurm_job", "slurm_restarts", "run_began"
"""What `InterruptCheckpoint` keeps in a checkpoint; not every one has it."""


@dataclass(frozen=True)
class RunState:
    """A checkpoint that training can go on from.

    Args:
        path: the file.
        iteration: iterations done.
        job: the SLURM job that wrote it; None = none, or an older livejam.
        restarts: how often that job had been restarted.
        began: when the run began, in seconds since 1970, however often it went on; 0 = an older livejam.
    """

    path: Path
    iteration: int
    job: str | None
    restarts: int
    began: float


def read_state(path: Path) -> RunState:
    """What a checkpoint says of its run; its tensors are not read.

    Raises:
        UserError: the file is damaged, or training cannot go on from it.
    """
    remedy = "go on from another checkpoint"
    try:
        checkpoint = read_torch_file(path, remedy, mmap=True)
    except UserError:  # a file that cannot be mapped has no reason to show
        checkpoint = read_torch_file(path, remedy)
    if not isinstance(checkpoint, Mapping) or not checkpoint.keys() >= PARTS:
        raise UserError(f"{path} is not a training checkpoint (perhaps a file of bare weights); {remedy}")
    # not Lightning's own count, which is of optimiser steps
    iteration = checkpoint["state_dict"].get("iteration", checkpoint["global_step"])
    kept = _kept(checkpoint)
    return RunState(path, int(iteration), kept.get(JOB), int(kept.get(RESTARTS, 0)), float(kept.get(BEGAN, 0.0)))


def furthest_first(paths: Iterable[Path]) -> tuple[list[RunState], list[UserError]]:
    """The checkpoints that training can go on from, the furthest first; of equals, the first.

    Those of a run that took the place of another one come before that one's, however far it had come.

    Returns:
        These, and what is wrong with the others.
    """
    states: list[RunState] = []
    faults: list[UserError] = []
    for path in paths:
        try:
            states.append(read_state(path))
        except UserError as error:
            faults.append(error)
    return sorted(states, key=lambda state: (-state.began, -state.iteration)), faults


def _kept(checkpoint: Mapping[str, Any]) -> Mapping[str, Any]:
    states = (state for state in checkpoint.get("callbacks", {}).values() if isinstance(state, Mapping))
    return next((state for state in states if state.keys() & {JOB, BEGAN}), {})
