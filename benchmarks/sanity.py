"""Whether the metrics can be trusted, on real audio: `python -m benchmarks.sanity [--config configs/quickstart.yaml]`.

No model is needed: the anchors are measured on the test split of a configuration's data, through its codec, by its
monitors. Every metric of adherence has to prefer the true stem to that of another song, with 95 % intervals that do
not overlap, and the Fréchet and the kernel distance of true stems have to grow through the codec and again with noise
in its latents.

`--cocola strict` judges by other weights of COCOLA than the configuration's. Anchors and the whole table (`results.md`,
`.csv`, `.json`) are kept in `--folder`: a run that was stopped, or one with other weights, measures the rest only.

The last line is one JSON object: `columns`, one entry per metric with both rows, and `holds`, whether all of it is
true. Exit status 1 if it is not.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch import Callback, Trainer

from benchmarks.configuration import Experiment, experiment
from callbacks.cocola_monitor import COCOLAMonitor
from callbacks.monitor import Monitor
from callbacks.results_table import ResultsTable
from livejam.batch import AccompanimentBatch, AccompanimentOutput
from livejam.codecs.codec import Codec
from metrics.adherence import cheats_that_win
from metrics.cells import Rows, separate
from metrics.results import Table, as_text, known, read_table

ADHERENCE = ("apa", "beat_f1", "cocola", "chord_tone_share", "chroma_agreement", "key_agreement", "phase_lock")
"""How the names of columns begin in which the true stem must win."""


class TrueStem(LightningModule):
    """Plays the true stem: nothing but the anchors is of interest."""

    def __init__(self, codec: Codec) -> None:
        super().__init__()
        self.codec = codec

    # as the recipes' own
    def test_step(  # type: ignore[override]
        self, batch: AccompanimentBatch, batch_idx: int
    ) -> AccompanimentOutput:
        return AccompanimentOutput.played_to(batch, batch.target, self.codec.spec.sample_rate_hz)


def monitors(made: Experiment, cocola: str | None) -> list[Callback]:
    """What measures, and what writes the table.

    Args:
        made: the experiment.
        cocola: COCOLA's weights; None = the experiment's.
    """
    chosen: list[Callback] = [callback for callback in made.callbacks if isinstance(callback, Monitor | ResultsTable)]
    if cocola is None:
        return chosen
    return [
        COCOLAMonitor(cocola, max_test_items=own.max_test_items) if isinstance(own, COCOLAMonitor) else own
        for own in chosen
    ]


def anchors(made: Experiment, root: Path, cocola: str | None = None) -> Table:
    """The table of a model that plays the true stem.

    Args:
        made: the experiment.
        root: the folder for anchors and table.
        cocola: COCOLA's weights; None = the experiment's.
    """
    codec: Any = made.model.codec
    trainer = Trainer(
        default_root_dir=root,
        callbacks=monitors(made, cocola),
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.test(TrueStem(codec), made.data, verbose=False)
    return read_table(root / "results.json")


def verdicts(rows: Rows) -> dict[str, dict[str, Any]]:
    """Per column what was compared, and whether it is as it should be."""
    judged = {}
    for column, truth in rows["ground_truth"].items():
        other = rows["random_pairing"][column]
        if column.startswith(ADHERENCE) and truth["value"] is not None and other["value"] is not None:
            holds = truth["value"] > other["value"] and separate(truth, other)
            won = cheats_that_win(rows, column)
            judged[column] = {"ground_truth": truth, "random_pairing": other, "holds": holds, "cheats_that_win": won}
        if column.startswith(("fad", "kad")):
            distances = [rows[row][column]["value"] for row in ("ground_truth", "codec", "latent_noise")]
            judged[column] = {"distances": distances, "holds": distances[0] < distances[1] < distances[2]}
    return judged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, action="append", help="YAML, may be repeated (default: the quickstart)")
    parser.add_argument("--data_root", type=Path, help="data set instead of the configuration's")
    parser.add_argument("--cocola", help="pocket, strict, cocola or a file, instead of the configuration's weights")
    parser.add_argument("--folder", type=Path, default=Path("runs/sanity"), help="where anchors and the table are kept")
    parser.add_argument("--threads", type=int, default=1, help="threads of PyTorch, at least 1")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    made = experiment(given.config or [Path("configs/quickstart.yaml")], given.data_root)
    table = anchors(made, given.folder, given.cocola)
    judged = verdicts(table.rows)
    print(as_text(table.rows, measured_on=known(table.measured_on)))
    holds = all(verdict["holds"] for verdict in judged.values())
    print(json.dumps({"columns": judged, "holds": holds}))
    sys.exit(0 if holds else 1)


if __name__ == "__main__":
    main()
