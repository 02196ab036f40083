"""COCOLA's training with echoes and noise as negatives, in two processes: the shipped overlay on real songs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from commands import REPOSITORY
from run_facts import NOTES, trace
from test_two_processes import FORKED, Command, Runs, cocola_words

from metrics.cocola_weights import pretrained_cocola

pytestmark = pytest.mark.filterwarnings("ignore")

ITEMS = {"data.init_args.eval_items": "5", "data.init_args.eval_batch_size": "2"}
"""Three batches of a validation, of which one process has two."""


@pytest.fixture(scope="module")
def runs(rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(rendered_songs, tmp_path_factory.mktemp("runs"))


@pytest.fixture(autouse=True)
def _at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(REPOSITORY)


def words(name: str, runs: Runs) -> list[str]:
    """A run of the recipe with the overlay on top, which begins with the bundled weights."""
    config, path, *sizes = cocola_words(name, runs, **ITEMS)
    return [config, path, "--config", "configs/overlays/cocola_cheats.yaml", *sizes]


def test_processes_hear_other_crops_and_take_the_same_steps(runs: Runs, lightning_command: Command) -> None:
    """Moments of equal gradients are equal; running statistics are a process's own until the first one's are sent."""
    root = runs.root("cheats")
    status, err = lightning_command("fit", *words("cheats", runs), "--trainer.callbacks+", "run_facts.Notes", *FORKED)
    assert status == 0, err
    first, second = (
        [json.loads(line) for line in (root / NOTES.format(rank)).read_text().splitlines()] for rank in (0, 1)
    )
    assert len(first) == len(second) == 2
    for one, two in zip(first, second, strict=True):
        assert one["batch"] != two["batch"]
        assert one["optimisers"] == two["optimisers"]
    assert first[0]["optimisers"] != first[1]["optimisers"]
    trained, begun = (pretrained_cocola(weights) for weights in (str(root / "cocola.safetensors"), "pocket"))
    assert all(torch.isfinite(value).all() for value in trained.state_dict().values())
    assert not torch.equal(trained.similarity.w, begun.similarity.w)


def test_a_validation_gives_the_same_numbers(runs: Runs, lightning_command: Command) -> None:
    found = []
    for name, processes in (("one", ()), ("two", FORKED)):
        status, err = lightning_command("validate", *words(name, runs), *processes)
        assert status == 0, err
        found.append({tag: list(points.values()) for tag, points in trace(runs.root(name)).items()})
    one, two = found
    assert {f"model:val/auc_{kind}" for kind in ("late", "foreign", "echo", "noise")} <= one.keys() == two.keys()
    for tag, values in one.items():
        assert two[tag] == pytest.approx(values, rel=1e-5)
