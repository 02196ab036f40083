"""What smaller weights cost in music: the whole test of a model, once in every precision.

python -m benchmarks.precision_parity --checkpoint runs/liveband_pocket_wide/checkpoints/last.ckpt

Every precision plays the same songs with the same noise, step by step, and leaves a table that `livejam compare` joins
with the others. The last line is one JSON object: per precision, the difference to float32 of drums beat F1, chord
tones and Fréchet distance (relative), and whether they lie within 0.01, 0.01 and 5 %.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer

from benchmarks.configuration import Experiment, experiment
from livejam.systems.precision import in_precision

BEAT, CHORDS, DISTANCE = "test/beat_f1_truth/Percussive", "test/chord_tone_share", "test/fad/log_mel"
PRECISIONS = ("float32", "float16", "int8")


def tested(made: Experiment, checkpoint: Path, precision: str, root: Path) -> dict[str, float]:
    """The numbers of a test in one precision; its table lies in a folder of its own."""
    model: Any = made.model
    as_trained = type(model).accompanist
    model.accompanist = lambda: in_precision(as_trained(model), precision)
    trainer = Trainer(
        default_root_dir=root / precision, callbacks=made.callbacks, accelerator="cpu", devices=1, logger=False
    )
    return dict(trainer.test(model, made.data, ckpt_path=str(checkpoint), weights_only=False, verbose=False)[0])


def differences(here: dict[str, float], reference: dict[str, float]) -> dict[str, float | bool]:
    """Beat F1, chord tones and distance against float32."""
    beat, chords = here[BEAT] - reference[BEAT], here[CHORDS] - reference[CHORDS]
    distance = here[DISTANCE] / reference[DISTANCE] - 1
    kept = max(abs(beat), abs(chords)) <= 0.01 and abs(distance) <= 0.05
    return {"beat_f1": round(beat, 4), "chord_tones": round(chords, 4), "distance": round(distance, 4), "kept": kept}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="a checkpoint of LiveBand")
    parser.add_argument("--config", type=Path, default=Path("configs/liveband/pocket_wide.yaml"), help="its YAML")
    parser.add_argument("--data_root", type=Path, help="data set instead of the configuration's")
    parser.add_argument("--out", type=Path, default=Path("runs/precision_parity"), help="folder of the tables")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, help="the first is the reference")
    given = parser.parse_args()
    torch.set_num_threads(1)
    numbers = {}
    for precision in given.precisions:
        made = experiment([given.config], given.data_root)
        numbers[precision] = tested(made, given.checkpoint, precision, given.out)
        chosen = {name: round(numbers[precision][name], 4) for name in (BEAT, CHORDS, DISTANCE)}
        print(precision, chosen, flush=True)
    first, *others = numbers.values()
    print(json.dumps(dict(zip(given.precisions[1:], (differences(other, first) for other in others), strict=True))))


if __name__ == "__main__":
    main()
