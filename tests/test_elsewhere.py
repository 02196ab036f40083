"""Nothing is left on the CPU, and no step waits for the device more than it must: proven without one.

The recipes of the shipped configs are trained, validated and played on the pretended accelerator of `elsewhere.py`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from commands import REPOSITORY
from elsewhere_recipes import CASES, COUNTED, SHALLOW

ALLOWED = {
    ("waits", "lightning_modules/training.py:has_diverged"): "a gradient that is not finite must not touch the weights",
    ("waits", "livejam/batch.py:words"): "prompts are text, which is put together on the host",
    ("up", "livejam/batch.py:<dictcomp>"): "the batch itself",
    ("up", "lightning:batch_to"): "the batch itself, where it is one tensor",
    ("up", "livejam/networks/conditioning.py:encode"): "the words of the prompts, as numbers",
    ("up", "lightning_modules/cocola_training.py:_masked"): "the masks, which are drawn on the host",
    ("up", "lightning:log"): "what is logged for the first time gets its place",
    ("waits", "livejam/codecs/checks.py:require_audio"): "what a musician plays is checked before it is heard",
    ("waits", "livejam/codecs/checks.py:require_latents"): "what a model plays is checked before it is decoded",
}
"""Every crossing between host and device in a step, and why it is there."""

MOST_WAITS = {"training": 3, "playing": 2}
"""Per batch of training (two optimisers, or one, the words of a prompt and their instruments), and per block of
playing."""


def require_few_crossings(*words: str) -> None:
    words = (sys.executable, "tests/elsewhere_recipes.py", *words)
    # the script's own folder holds tests/livejam, which would hide the package
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(words, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    for case, crossings in json.loads(done.stdout.splitlines()[-1]).items():
        for kind, batches in (("training", COUNTED), ("playing", 1)):
            found = {(what, place): count for what, place, count in crossings[kind]}
            assert not found.keys() - ALLOWED.keys(), f"{case}, {kind}"
            waits = sum(count for (what, _), count in found.items() if what == "waits")
            assert waits <= MOST_WAITS[kind] * batches, f"{case}, {kind}: {found}"
            assert not any(what == "down" for what, _ in found), f"{case}, {kind}"


def test_recipes_run_on_another_device() -> None:
    require_few_crossings("--shallow", *SHALLOW)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_every_recipe_runs_on_another_device(case: str) -> None:
    require_few_crossings(case)
