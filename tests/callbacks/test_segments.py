"""Both segments of the same items, true stems cut as those that are judged, and songs that are left out as one."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest
import torch
from playing_recipe import SAMPLE_RATE_HZ, SEGMENT_SECONDS, Player, Songs, collate, loader
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from callbacks.fad_monitor import FADMonitor
from callbacks.harmony_monitor import HarmonyMonitor
from callbacks.monitor import Monitor
from livejam.batch import AccompanimentBatch
from metrics.embeddings import Embedding, LogMel
from metrics.embeddings.embedding import chunks_of
from metrics.evaluation.evaluate import MODEL
from metrics.evaluation.measure import Result

pytestmark = pytest.mark.filterwarnings("ignore")


class Chunks(Embedding):
    """Chunks as long as a segment that begin every half second, as CLAP's of ten seconds do; their mean levels."""

    name = "chunks"
    identity = "chunks"
    dimension = 4

    def __call__(self, audio_N: Tensor, sample_rate_hz: int) -> Tensor:
        chunks_WN = chunks_of(audio_N, round(SEGMENT_SECONDS * sample_rate_hz), sample_rate_hz // 2)
        return chunks_WN.abs().unflatten(1, (self.dimension, -1)).mean(2)


class Repeated(Dataset):
    """Items whose second segment repeats the first."""

    def __init__(self, items: int) -> None:
        self.once = Songs(items, SEGMENT_SECONDS)

    def __len__(self) -> int:
        return len(self.once)

    def __getitem__(self, index: int) -> tuple[object, ...]:
        mix_N, target_N, *rest = self.once[index]
        twice = torch.from_numpy(mix_N).repeat(2).numpy(), torch.from_numpy(target_N).repeat(2).numpy()
        return *twice, *rest


class SomeEndEarly(Dataset):
    """Every other song ends with its first segment."""

    def __init__(self, items: int) -> None:
        self.songs = Songs(items, 2 * SEGMENT_SECONDS)

    def __len__(self) -> int:
        return len(self.songs)

    def __getitem__(self, index: int) -> tuple[object, ...]:
        mix_N, target_N, *rest = self.songs[index]
        end = round((1 if index // 2 % 2 else 2) * SEGMENT_SECONDS * SAMPLE_RATE_HZ)
        return mix_N[:end], target_N[:end], *rest


class WorseWhereItIsShort(Player):
    """Plays songs that end early much too softly, the others softly throughout."""

    def validation_step(self, batch: AccompanimentBatch, batch_idx: int) -> object:
        long = batch.mix.shape[-1] > SEGMENT_SECONDS * SAMPLE_RATE_HZ
        self.gain = 0.5 if long else 0.05
        return super().validation_step(batch, batch_idx)

    test_step = validation_step


def monitors() -> list[Monitor]:
    return [
        HarmonyMonitor(segment_seconds=SEGMENT_SECONDS),
        FADMonitor(LogMel(bands=4, window_seconds=0.5), segment_seconds=SEGMENT_SECONDS),
    ]


def run(root: Path, callbacks: list[Monitor]) -> lightning.Trainer:
    return lightning.Trainer(
        default_root_dir=root, callbacks=list(callbacks), logger=False, accelerator="cpu", enable_progress_bar=False
    )


def results_of(root: Path, monitor: Monitor, items: DataLoader) -> dict[str, dict[str, Result]]:
    run(root, [monitor]).test(Player(gain=0.5), items, verbose=False)
    return monitor.results


@pytest.mark.parametrize("embedding", [Chunks(), LogMel(bands=4, window_seconds=0.5)], ids=lambda e: e.name)
def test_the_truth_twice_is_no_farther_from_itself_than_rounding(embedding: Embedding, tmp_path: Path) -> None:
    """The reference has the very windows of the stems: none that ends in silence, none across a seam."""
    monitor = FADMonitor(embedding, segment_seconds=SEGMENT_SECONDS)
    rows = results_of(tmp_path, monitor, DataLoader(Repeated(12), batch_size=2, collate_fn=collate))
    truth, model = (rows[row][f"fad/{embedding.name}"] for row in ("ground_truth", MODEL))
    assert truth.value < 0.01 * model.value
    assert truth.count == 12 * len(embedding(torch.zeros(int(SEGMENT_SECONDS * SAMPLE_RATE_HZ)), SAMPLE_RATE_HZ))


def test_items_that_end_early_have_no_share_in_the_drift(tmp_path: Path) -> None:
    data = DataLoader(SomeEndEarly(12), batch_size=2, collate_fn=collate)
    callbacks = monitors()
    run(tmp_path, callbacks).test(WorseWhereItIsShort(), data, verbose=False)
    loudness = callbacks[0].results[MODEL]["loudness_db"]
    assert loudness.value == pytest.approx(-16, abs=1), "half of the items at -6 dB, half at -26 dB"
    assert loudness.drift == pytest.approx(0, abs=0.5)
    assert (loudness.count, loudness.drift_count) == (12, 6)
    distance = callbacks[1].results[MODEL]["fad/log_mel"]
    assert distance.drift_count == distance.count / 2
    long_alone = FADMonitor(LogMel(bands=4, window_seconds=0.5), segment_seconds=SEGMENT_SECONDS)
    long_alone = results_of(tmp_path / "long", long_alone, loader(items=12))[MODEL]["fad/log_mel"]
    assert abs(distance.drift) < 2 * abs(long_alone.drift) + 0.1 * long_alone.value


def test_a_validation_counts_drifts_and_keeps_nothing_that_grows(tmp_path: Path) -> None:
    callbacks = monitors()
    data = DataLoader(SomeEndEarly(8), batch_size=2, collate_fn=collate)
    logged = run(tmp_path, callbacks).validate(WorseWhereItIsShort(), data, verbose=False)[0]
    assert (logged["val/loudness_db/count"], logged["val/loudness_db/drift/count"]) == (8, 4)
    sizes = set()
    for items in (2, 8):
        row = callbacks[1].measure.new_metrics()
        for _ in range(items):
            row["fad/log_mel"].update_pair(torch.randn(9, 12), torch.randn(9, 12), "a")
        sizes.add(sum(state.nbytes for state in row["fad/log_mel"].metric_state.values()))
    assert len(sizes) == 1


def test_stems_of_other_songs_are_as_sure_as_songs_are(tmp_path: Path) -> None:
    """Random pairing deals the same stems out otherwise: its distance is the truth's, and so is its interval."""
    rows = results_of(tmp_path, monitors()[1], loader(items=16))
    truth, foreign = (rows[row]["fad/log_mel"] for row in ("ground_truth", "random_pairing"))
    assert foreign.value == pytest.approx(truth.value, rel=1e-6)
    assert tuple(foreign.interval) == pytest.approx(tuple(truth.interval), rel=1e-6)
    assert tuple(foreign.drift_interval) == pytest.approx(tuple(truth.drift_interval), rel=1e-6)
