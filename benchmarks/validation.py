"""What a validation costs: `python -m benchmarks.validation [--config configs/quickstart.yaml]`.

Validates the untrained model of a configuration, whose work is that of a trained one, three times: the first also
computes the anchors, the later ones are what a training waits for, and their mean is reported. Seconds are of one
processor core, so that other work on the machine does not count, or of the clock where there is a GPU. The last line
is one JSON object: `first` and `later`, each with `generation_and_decoding`, one entry per monitor, and the
AudioLogger's pictures; and `metrics_share`: all later monitors over later generation and decoding, which has to stay
below 1.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.profilers import SimpleProfiler

from benchmarks.configuration import Experiment, experiment
from callbacks.audio_logger import AudioLogger
from callbacks.beat_f1_monitor import BeatF1Monitor
from callbacks.monitor import Monitor

PLAYING = "generation_and_decoding"


class Stopwatch(SimpleProfiler):
    """Seconds of what a validation epoch consists of: of the processor, or of the clock where a GPU computes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = time.monotonic if torch.cuda.is_available() else time.process_time

    def start(self, action_name: str) -> None:
        self.current_actions[action_name] = self.clock()

    def stop(self, action_name: str) -> None:
        self.recorded_durations[action_name].append(self.clock() - self.current_actions.pop(action_name))

    def seconds(self) -> dict[str, float]:
        """Seconds per part since the last call."""
        spent: dict[str, float] = defaultdict(float)
        for action, durations in self.recorded_durations.items():
            if action.endswith(".validation_step"):
                spent[PLAYING] += sum(durations)
            elif action.startswith("[Callback]") and "on_validation_epoch_end" in action:
                spent[action.removeprefix("[Callback]").partition(".")[0].partition("{")[0]] += sum(durations)
        self.recorded_durations.clear()
        return dict(spent)


def measure(made: Experiment, root: Path, later: int) -> dict[str, Any]:
    """Validate once with, and `later` times without, computing the anchors."""
    watch = Stopwatch()
    for callback in made.callbacks:
        if isinstance(callback, BeatF1Monitor):
            # Work in other processes would not count.
            callback.beats.workers = 0
    trainer = Trainer(
        default_root_dir=root,
        callbacks=[callback for callback in made.callbacks if isinstance(callback, Monitor | AudioLogger)],
        profiler=watch,
        logger=TensorBoardLogger(root, name="", version=""),
        accelerator="auto",
        devices=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    rounds = []
    for _ in range(1 + later):
        trainer.validate(made.model, made.data, verbose=False)
        rounds.append(watch.seconds())
    first = rounds[0]
    mean = {name: sum(seconds[name] for seconds in rounds[1:]) / later for name in rounds[1]}
    monitors = {type(callback).__name__ for callback in made.callbacks if isinstance(callback, Monitor)}
    metrics = sum(seconds for name, seconds in mean.items() if name in monitors)
    return {
        "first": {name: round(seconds, 3) for name, seconds in first.items() if seconds > 1e-3},
        "later": {name: round(seconds, 3) for name, seconds in mean.items() if seconds > 1e-3},
        "metrics_share": round(metrics / mean[PLAYING], 3),
        "items": sum(len(batch.song) for batch in made.data.val_dataloader()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, action="append", help="YAML, may be repeated (default: the quickstart)")
    parser.add_argument("--data_root", type=Path, help="data set instead of the configuration's")
    parser.add_argument("--later", type=int, default=2, help="validations with anchors from disk")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch, at least 1")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    made = experiment(given.config or [Path("configs/quickstart.yaml")], given.data_root)
    with tempfile.TemporaryDirectory() as root:
        print(json.dumps(measure(made, Path(root), given.later)))


if __name__ == "__main__":
    main()
