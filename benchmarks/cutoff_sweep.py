"""How adherence falls with what a model knows of the mix (LMDM's figure 6): t_f from what was trained, as a curve.

python -m benchmarks.cutoff_sweep --plot docs/cutoffs.png \\
    --model Encoder-Decoder runs/encdec_1/checkpoints/last.ckpt runs/encdec_2/checkpoints/last.ckpt \\
    --model Block-Causal runs/blockcausal_1/checkpoints/last.ckpt runs/blockcausal_2/checkpoints/last.ckpt

A diffusion model plays the test items of its data at every cutoff that it was trained for, by the path that is deployed
and by the columns of `lightning test`, with all anchors. t_f, in seconds, is how far the mix is known beyond the
beginning of a block: at 0 or below, the model can be played live. Several checkpoints of one name are trainings that
differ in the seed alone: their row is the mean, with 95 % intervals over seeds. Those of one checkpoint are over songs.

Every cutoff is a row of `results.json` in a folder of its own per checkpoint, items and sampler below `--folder`: what
is there is not measured again, so the command can be stopped and started as often as you like. The picture has
StreamMusicGen's published curves beside ours. They are of other data and other judges (Slakh2100, Beat This!, the
published COCOLA, VGGish), so that only their shape compares. The last line is one JSON object: `models`, per
name and row its `seconds` (t_f) and columns, `anchors`, and `published`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from lightning.pytorch import Callback, Trainer
from matplotlib.figure import Figure
from torch import Tensor
from tqdm import tqdm

from callbacks.beat_f1_monitor import BeatF1Monitor
from callbacks.cocola_monitor import COCOLAMonitor
from callbacks.fad_monitor import FADMonitor
from callbacks.harmony_monitor import HarmonyMonitor
from callbacks.results_table import ResultsTable
from datamodules import Slakh2100DataModule
from lightning_modules.accompaniment import played_audio
from livejam.accompanist import Weights
from livejam.batch import AccompanimentBatch, AccompanimentOutput
from livejam.checkpoints.player import Player, load_player
from livejam.checkpoints.published import find_model, read_model
from livejam.checkpoints.weights import sha256_of
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.sampling import read_weights
from livejam.systems.lmdm import LMDMAccompanist
from metrics.anchor_rows import ANCHORS
from metrics.cells import Rows
from metrics.headings import heading
from metrics.provenance import short_hash
from metrics.results import Table, as_markdown, as_text, known, read_table
from metrics.seeds import over_seeds

COLUMNS = ("beat_f1_drums", "cocola_full", "fad", "chord_tone_share", "phase_lock", "loudness_db")
PUBLISHED = {
    "seconds": (-4.0, -2.0, -1.0, -0.4, -0.2, 0.0, 0.2, 0.4, 1.0, 2.0, 4.0),
    "cocola_full": (54.0, 54.0, 54.5, 56.5, 56.7, 59.8, 62.1, 62.4, 62.9, 62.9, 62.9),
    "beat_f1_drums": (0.187, 0.187, 0.187, 0.191, 0.194, 0.210, 0.270, 0.365, 0.385, 0.395, 0.390),
    "fad": (3.40, 3.31, 3.45, 3.37, 3.61, 3.19, 3.42, 3.29, 3.25, 3.19, 3.19),
}
"""StreamMusicGen's online decoder (arXiv 2510.22105), as read off its figures in `baselines.json` of the public code of
Karchkhadze and Dubnov."""


@dataclass(frozen=True)
class Model:
    """What plays, and what its checkpoint says of its training.

    Args:
        player: the model with its codec.
        accompanist: at the cutoff that it was saved with.
        cutoff_blocks: that it was trained with, or some of them, in ascending order.
        data: settings of the data that it was trained on.
        sha256: of the checkpoint.
    """

    player: Player
    accompanist: LMDMAccompanist
    cutoff_blocks: tuple[int, ...]
    data: Mapping[str, Any]
    sha256: str

    def seconds(self, cutoff: int) -> float:
        """t_f of a cutoff."""
        return cutoff * self.accompanist.spec.seconds_in(self.accompanist.block_frames)

    def row(self, cutoff: int) -> str:
        """Name of a cutoff's row."""
        return f"t_f {self.seconds(cutoff):+.2f} s"

    @property
    def seconds_of_rows(self) -> dict[str, float]:
        """Name of every row, and its t_f."""
        return {self.row(cutoff): self.seconds(cutoff) for cutoff in self.cutoff_blocks}


@dataclass(frozen=True)
class Items:
    """What is played to.

    Args:
        root: the data set; None = that of the training.
        count: of the test split.
        seconds: of each.
    """

    root: str | None
    count: int
    seconds: float


class Playing(LightningModule):
    """A model at one cutoff, in a test."""

    silence_C: Tensor

    def __init__(self, player: Player, accompanist: LMDMAccompanist) -> None:
        super().__init__()
        self.codec, self._accompanist = player.codec, accompanist
        self.register_buffer("silence_C", player.silence_C)

    def accompanist(self) -> LMDMAccompanist:
        """What plays."""
        return self._accompanist

    # as the recipes' own
    def test_step(  # type: ignore[override]
        self, batch: AccompanimentBatch, batch_idx: int
    ) -> AccompanimentOutput:
        return AccompanimentOutput.played_to(
            batch, played_audio(self._accompanist, self.codec, self.silence_C, batch), self.codec.spec.sample_rate_hz
        )


def model_of(
    checkpoint: str,
    steps: int | None = None,
    guidance: Weights | None = None,
    cutoff_blocks: Sequence[int] | None = None,
) -> Model:
    """A trained diffusion model.

    Args:
        checkpoint: of FlowMatching or what follows it, or the name of a bundled model.
        steps: of the sampler; None = the checkpoint's.
        guidance: its weight, or those of some controls; None = the checkpoint's.
        cutoff_blocks: those to play at; None = all that it was trained with.

    Raises:
        UserError: it does not play in blocks, does not say what it was trained with, or was trained with other cutoffs.
    """
    player, config = load_player(checkpoint), read_model(checkpoint)["config"]
    if not isinstance(player.accompanist, LMDMAccompanist):
        raise UserError(f"{checkpoint} has no cutoff; name a checkpoint of FlowMatching or of what follows it")
    accompanist = player.accompanist
    if steps is not None:
        accompanist = accompanist.with_sampler(replace(accompanist.sampler, steps=steps))  # type: ignore[type-var]
    if guidance is not None:
        accompanist = accompanist.with_guidance(guidance)
    trained = tuple(sorted(set(config["model"]["init_args"]["cutoff_blocks"])))
    cutoffs = trained if cutoff_blocks is None else tuple(sorted(set(cutoff_blocks)))
    if not set(cutoffs) <= set(trained):
        raise UserError(
            f"{checkpoint} was trained with cutoff_blocks {list(trained)}, not {list(cutoffs)}; choose of those"
        )
    return Model(player, accompanist, cutoffs, config["data"]["init_args"], sha256_of(find_model(checkpoint)))


def data_of(model: Model, items: Items) -> Slakh2100DataModule:
    """Test items as in the model's own tests, but for their number and length."""
    known = {name: model.data[name] for name in ("targets", "full_mix", "seed") if name in model.data}
    root = model.data["root"] if items.root is None else items.root
    return Slakh2100DataModule(
        root, model.player.codec, test_items=items.count, eval_seconds=items.seconds, eval_batch_size=12, **known
    )


def monitors() -> list[Callback]:
    """The judges of `lightning test`, but for those that many items would take long."""
    beats = BeatF1Monitor(categories=["Percussive"], together=False)
    return [HarmonyMonitor(), beats, FADMonitor(), COCOLAMonitor()]


def folder_of(model: Model, items: Items, folder: Path) -> Path:
    """Where the rows of this model, these items and this sampler are kept."""
    measured = short_hash([model.sha256, repr(model.accompanist.sampler), repr(items), str(model.data.get("root"))])
    return folder / measured


def sweep(model: Model, items: Items, folder: Path, judges: Sequence[Callback] | None = None) -> Rows:
    """The rows of all cutoffs, of which those that are there are not measured again.

    Args:
        model: what plays.
        items: what it plays to.
        folder: holds the table of this model, these items and this sampler. The folder above keeps the anchors.
        judges: monitors; None = those of `lightning test`.
    """
    path = folder / "results.json"
    missing = [cutoff for cutoff in model.cutoff_blocks if model.row(cutoff) not in read_table(path).rows]
    for cutoff in tqdm(missing, desc="cutoffs"):
        trainer = Trainer(
            default_root_dir=folder.parent,  # anchors are the same for every model
            callbacks=[*(monitors() if judges is None else judges), ResultsTable(model.row(cutoff), str(path))],
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        playing = Playing(model.player, model.accompanist.with_cutoff(cutoff))
        trainer.test(playing, data_of(model, items), verbose=False)
    return read_table(path).rows


@dataclass(frozen=True)
class Curve:
    """What was measured of a model, or of several that differ in the seed alone.

    Args:
        name: as it is shown.
        seconds: name of every row → its t_f.
        table: the rows, and the anchors.
    """

    name: str
    seconds: Mapping[str, float]
    table: Table

    def points(self, column: str, of: str = "") -> tuple[list[float], list[float], list[list[float]]]:
        """t_f in seconds, values, and their intervals, of the cutoffs that have them.

        Args:
            column: of the table.
            of: what the names of the rows end with.
        """
        found = [(t, self.table.rows.get(row + of, {}).get(column)) for row, t in self.seconds.items()]
        points = [(t, cell) for t, cell in found if cell and cell["value"] is not None]
        values = [cell["value"] for _, cell in points]
        return [t for t, _ in points], values, [cell["interval"] or [cell["value"]] * 2 for _, cell in points]


def measured(name: str, models: Sequence[Model], items: Items, folder: Path) -> Curve:
    """The curve of a model, or the mean over seeds of several.

    Args:
        name: as it is shown.
        models: trained alike.
        items: what they play to.
        folder: holds what was measured.

    Raises:
        UserError: they were not trained for the same cutoffs, or otherwise differ in more than the seed.
    """
    if len({model.cutoff_blocks for model in models}) > 1:
        raise UserError(f"the checkpoints of {name} were trained for different cutoffs; give each a --model of its own")
    tables = []
    for model in tqdm(models, desc=f"checkpoints of {name}"):
        place = folder_of(model, items, folder)
        sweep(model, items, place)
        tables.append((model.sha256[:8], read_table(place / "results.json")))
    return Curve(name, models[0].seconds_of_rows, over_seeds(name, tables) if len(tables) > 1 else tables[0][1])


def draw(curves: Sequence[Curve], out: Path) -> None:
    """One chart per column over t_f: models with their intervals, the first one's lag copy and anchors, and theirs."""
    figure = Figure(figsize=(13, 7), layout="constrained")
    for axes, column in zip(figure.subplots(2, 3).flat, COLUMNS, strict=True):
        for place, each in enumerate(curves):
            seconds, values, intervals = each.points(column)
            axes.plot(seconds, values, "o-", color=f"C{place}", label=each.name)
            if seconds:
                axes.fill_between(seconds, *zip(*intervals, strict=True), color=f"C{place}", alpha=0.2)
        copied, values, _ = curves[0].points(column, ": lag copy")
        axes.plot(copied, values, ".:", color="C6", label="lag copy")
        for row, colour in (("ground_truth", "C8"), ("random_pairing", "C9")):
            value = curves[0].table.rows.get(row, {}).get(column, {}).get("value")
            if value is not None:
                axes.axhline(value, color=colour, ls="--", lw=1, label=row.replace("_", " "))
        if column in PUBLISHED:
            axes.plot(
                PUBLISHED["seconds"], PUBLISHED[column], "x-", color="0.6", lw=1, label="StreamMusicGen, published"
            )
        axes.axvspan(0, axes.get_xlim()[1], color="0.95", zorder=0)
        axes.set(title=heading(column), xlabel="t_f in seconds (grey: not live)")
        axes.grid(alpha=0.3)
    figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=5, frameon=False)
    with atomic_path(out) as temporary:
        figure.savefig(temporary, dpi=110, format="png")


def one_table(curves: Sequence[Curve]) -> Rows:
    """The rows of all models, and below them the first one's anchors."""
    shown = {
        f"{each.name}, {row}": cells
        for each in curves
        for row, cells in each.table.rows.items()
        if row in each.seconds or row.endswith(": lag copy")
    }
    shown |= {row: cells for row, cells in curves[0].table.rows.items() if row in ANCHORS}
    return {row: {column: cells[column] for column in COLUMNS if column in cells} for row, cells in shown.items()}


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--model",
        action="append",
        nargs="+",
        required=True,
        metavar=("NAME", "CHECKPOINT"),
        help="a diffusion model that was trained with several cutoffs; several checkpoints: of other seeds; repeatable",
    )
    parser.add_argument("--cutoffs", type=int, nargs="+", help="in blocks; default: all that a model was trained with")
    parser.add_argument("--root", help="data set; default: that of the training")
    parser.add_argument("--items", type=int, default=48, help="of the test split, at least 1 (default: 48)")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each, at least 20 for drifts (default: 20)")
    parser.add_argument("--steps", type=int, help="of the sampler, at least 1; default: the checkpoint's")
    parser.add_argument("--guidance", type=read_weights, help="as of livejam play; default: the checkpoint's")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch, at least 1 (default: 1)")
    parser.add_argument("--folder", type=Path, default=Path("runs/cutoff_sweep"), help="where rows are kept")
    parser.add_argument("--plot", type=Path, help="where to draw the curves (PNG)")
    parser.add_argument("--markdown", type=Path, help="where to write the table")
    given = parser.parse_args()
    if min(given.items, given.threads) < 1 or given.seconds <= 0:
        parser.error("items and threads must be 1 or more, seconds above 0")
    names = [name for name, *_ in given.model]
    if len(set(names)) < len(names) or not all(checkpoints for _, *checkpoints in given.model):
        parser.error("every --model needs a name of its own and then its checkpoints")
    return given


def main() -> None:
    """Print the table and the JSON object."""
    given = arguments()
    torch.set_num_threads(given.threads)
    items = Items(given.root, given.items, given.seconds)
    asked = given.steps, given.guidance, given.cutoffs
    groups = [(name, [model_of(each, *asked) for each in checkpoints]) for name, *checkpoints in given.model]
    curves = [measured(name, models, items, given.folder) for name, models in groups]
    rows = one_table(curves)
    if given.plot is not None:
        draw(curves, given.plot)
    facts = known(*(each.table.measured_on for each in curves))
    if given.markdown is not None:
        given.markdown.write_text(as_markdown(rows, measured_on=facts) + "\n", encoding="utf-8")
    print(as_text(rows, measured_on=facts))
    found = {
        each.name: {row: {"seconds": t, "columns": each.table.rows[row]} for row, t in each.seconds.items()}
        for each in curves
    }
    anchors = {row: cells for row, cells in rows.items() if row in ANCHORS}
    print(json.dumps({"models": found, "anchors": anchors, "published": PUBLISHED}))


if __name__ == "__main__":
    main()
