"""The monitors, end to end: what is logged, what is kept, and what the numbers say."""

from __future__ import annotations

import csv
import json
import math
import re
import warnings
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import pytest
import soundfile
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from playing_recipe import SAMPLE_RATE_HZ, SEGMENT_SECONDS, Energetic, Player, loader
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2

from callbacks import shared_evaluation
from callbacks.audio_logger import AudioLogger
from callbacks.beat_f1_monitor import BeatF1Monitor
from callbacks.fad_monitor import FADMonitor
from callbacks.harmony_monitor import HarmonyMonitor
from callbacks.metrics_file import MetricsFile
from callbacks.monitor import Monitor
from callbacks.results_table import ResultsTable
from callbacks.shared_evaluation import SharedEvaluation
from livejam.errors import UserError
from metrics.anchor_rows import ANCHORS
from metrics.embeddings import LogMel
from metrics.evaluation.anchors import LATENT_NOISE, Reconstructions, anchor_stems
from metrics.evaluation.clips import clips_of
from metrics.evaluation.evaluate import MODEL
from metrics.evaluation.harmony_measure import ADHERENCE, TEXTURE
from metrics.results import read_rows, read_table

HARMONY = (*ADHERENCE, *TEXTURE)
METRICS = ("beat_f1", "beat_f1_truth", "fad/log_mel", *HARMONY)


def monitors(tracker: Energetic | None = None, **limits: int) -> list[Monitor]:
    return [
        BeatF1Monitor(tracker or Energetic(), segment_seconds=SEGMENT_SECONDS, **limits),
        FADMonitor(LogMel(bands=4, window_seconds=0.5), segment_seconds=SEGMENT_SECONDS, **limits),
        HarmonyMonitor(segment_seconds=SEGMENT_SECONDS, **limits),
    ]


def trainer(
    root: Path, callbacks: list[lightning.Callback], logger: object = False, epochs: int = 1
) -> lightning.Trainer:
    return lightning.Trainer(
        default_root_dir=root,
        callbacks=callbacks,
        logger=logger,
        max_epochs=epochs,
        accelerator="cpu",
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        log_every_n_steps=1,
    )


@pytest.fixture(autouse=True)
def _quiet() -> None:
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")


def measured(root: Path, player: Player, callbacks: list[Monitor] | None = None) -> dict[str, dict[str, object]]:
    """Results of all monitors together, per row."""
    callbacks = callbacks or monitors()
    trainer(root, list(callbacks)).test(player, loader(), verbose=False)
    return {row: {k: v for m in callbacks for k, v in m.results[row].items()} for row in (MODEL, *ANCHORS)}


def test_validation_logs_curves_with_anchors_audio_and_pictures(tmp_path: Path) -> None:
    callbacks = [*monitors(), AudioLogger(max_items=2, tracker=Energetic())]
    logger = TensorBoardLogger(tmp_path, name="", version="")
    fit = trainer(tmp_path, callbacks, logger, epochs=2)
    fit.fit(Player(), loader(2), loader())
    logged = set(fit.callback_metrics)
    for metric in METRICS:
        assert {f"val/{metric}", f"val/{metric}/drift", f"val/{metric}/count"} <= logged
        assert {f"anchor/{row}/{metric}" for row in ANCHORS} - {
            "anchor/silence/click_db",
            "anchor/silence/copied",
            "anchor/silence/copied_spectrum",
        } <= logged
    assert {"val/beat_f1_truth/Percussive", "val/beat_f1_truth/Bass", "val/chord_tone_share/Bass"} <= logged
    assert not any("Piano" in name or name == "val/chord_tone_share/Percussive" for name in logged)
    assert not any(math.isnan(float(value)) for value in fit.callback_metrics.values())

    events = EventAccumulator(str(tmp_path), size_guidance={"audio": 0, "images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    assert {f"val/{metric}" for metric in METRICS} <= set(tags["scalars"])
    assert len(events.Scalars("anchor/ground_truth/beat_f1")) == len(events.Scalars("val/beat_f1")) == 2
    names = ["val/Track00000_Percussive", "val/Track00000_Bass"]
    assert set(tags["images"]) == set(names)
    assert set(tags["audio"]) == {f"{name}/{part}" for name in names for part in ("mix", "generated", "both")}
    assert len(events.Audio(f"{names[0]}/mix")) == 2
    layout = layout_pb2.Layout.FromString(events.Tensors("custom_scalars__config__")[0].tensor_proto.string_val[0])
    charts = {chart.title: list(chart.multiline.tag) for chart in layout.category[0].chart}
    assert set(charts) == set(METRICS)
    for metric, (curve, anchors) in charts.items():
        assert [tag for tag in tags["scalars"] if re.search(curve, tag)] == [f"val/{metric}"]
        # Silence has no clicks, not even none.
        shown = len(ANCHORS) - (metric in ("click_db", "copied", "copied_spectrum"))
        assert len([tag for tag in tags["scalars"] if re.search(anchors, tag)]) == shown

    # Whatever the logger: one line per number of every validation.
    with (tmp_path / "metrics.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert {line["tag"] for line in lines} == {tag for tag in tags["scalars"] if tag.startswith(("val/", "anchor/"))}
    assert [line["epoch"] for line in lines if line["tag"] == "val/beat_f1"] == ["0", "1"]
    for line in lines:
        curve = {event.step: event.value for event in events.Scalars(line["tag"])}
        assert float(line["value"]) in [pytest.approx(value, rel=1e-4, abs=1e-5) for value in curve.values()]


def test_items_are_taken_from_the_output_once_for_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[int] = []
    monkeypatch.setattr(shared_evaluation, "clips_of", lambda output: taken.append(1) or clips_of(output))
    callbacks = [*monitors(max_items=2), AudioLogger(max_items=1)]
    run = trainer(tmp_path, callbacks)
    run.test(Player(), loader(), verbose=False)
    assert len(taken) == 3
    run.validate(Player(), loader(), verbose=False)
    assert len(taken) == 3 + 1, "of the first batch only: nothing more is looked at"
    assert sum(isinstance(callback, SharedEvaluation) for callback in run.callbacks) == 1
    assert not any(callback.clips for callback in callbacks)


def test_numbers_mean_what_they_say(tmp_path: Path) -> None:
    rows = measured(tmp_path, Player(gain=0.5))
    assert rows[MODEL]["loudness_db"].value == pytest.approx(-6.02, abs=0.01)
    assert rows["ground_truth"]["loudness_db"].value == pytest.approx(0, abs=1e-9)
    assert rows["silence"]["silence_rate"].value == 1
    assert rows["silence"]["chord_tone_share"].value == rows["silence"]["phase_lock"].value == 0
    assert rows["ground_truth"]["beat_f1_truth/Percussive"].value > 0.9
    assert (
        rows["ground_truth"]["beat_f1_truth/Percussive"].value
        > rows["random_pairing"]["beat_f1_truth/Percussive"].value
    )
    assert rows["silence"]["beat_f1_truth/Percussive"].value == 0
    assert rows["ground_truth"]["chord_tone_share"].value > 0.9 > 0.5 > rows["random_pairing"]["chord_tone_share"].value
    assert (
        rows["ground_truth"]["fad/log_mel"].value
        < rows[MODEL]["fad/log_mel"].value
        < rows["silence"]["fad/log_mel"].value
    )
    assert rows["random_pairing"]["fad/log_mel"].value == pytest.approx(
        rows["ground_truth"]["fad/log_mel"].value, rel=1e-6
    )
    assert rows["codec"]["fad/log_mel"].value > rows["ground_truth"]["fad/log_mel"].value
    # Every row judges the same items; the count of a distance is that of embeddings: 3 s in steps of a quarter.
    assert {rows[row]["chord_tone_share"].count for row in rows} == {3}
    assert {rows[row]["beat_f1_truth"].count for row in rows} == {6}
    assert {rows[row]["fad/log_mel"].count for row in rows} == {6 * 7}


def test_anchors_and_beats_are_computed_once(tmp_path: Path) -> None:
    tracker, player = Energetic(), Player()
    first = measured(tmp_path, player, monitors(tracker))
    # Two segments of 3 mixes that differ, 6 targets, 6 reconstructions, spoilt or not, 6 accompaniments, noise and
    # silence; and each again with its mix, also the stems of other songs and the mix itself.
    assert tracker.calls <= 2 * (6 + 6 + 6 + 6 + 6 + 6 + 1 + 7 * 6)
    calls, encoded = tracker.calls, player.codec.encoded
    again = measured(tmp_path, player, monitors(tracker))
    assert repr(first) == repr(again)
    assert player.codec.encoded == encoded
    assert tracker.calls == calls + 2 * (6 + 6)
    quieter = measured(tmp_path, Player(gain=0.1), monitors(tracker))
    assert repr([quieter[row] for row in ANCHORS]) == repr([first[row] for row in ANCHORS])
    # Another codec has other anchors.
    coarse = measured(tmp_path, Player(steps=4.0), monitors(tracker))
    assert coarse["codec"]["fad/log_mel"].value > first["codec"]["fad/log_mel"].value
    # So has the same codec with other settings than its weights.
    player.codec.loudness = 0.5
    softer = measured(tmp_path, player, monitors(tracker))
    assert softer["codec"]["loudness_db"].value == pytest.approx(first["codec"]["loudness_db"].value - 6.02, abs=0.01)
    player.codec.loudness = 1.0
    for path in (tmp_path / "cache" / "anchors").iterdir():
        path.write_bytes(b"damaged")
    assert repr(measured(tmp_path, player, monitors(tracker))) == repr(first)


def test_audio_that_is_not_finite_counts_as_silence(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="counts as silence: Track00000"):
        broken = measured(tmp_path, Player(gain=math.nan))
    for name in ("beat_f1", "chord_tone_share", "silence_rate"):
        assert repr(broken[MODEL][name]) == repr(broken["silence"][name])
    assert broken[MODEL]["broken_rate"].value == 1
    assert all(broken[row]["broken_rate"].value == 0 for row in ANCHORS)
    with pytest.warns(UserWarning, match="counts as silence"):
        loud = measured(tmp_path, Player(gain=1e30))
    assert repr(loud[MODEL]) == repr(broken[MODEL])


def test_a_table_shows_what_was_no_sound_and_predictions_refuse_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for gain, shown in ((1.0, False), (math.nan, True)):
        root = tmp_path / str(gain)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer(root, [*monitors(), ResultsTable()]).test(Player(gain=gain), loader(2), verbose=False)
        assert ("broken ↓" in capsys.readouterr().out) is shown
    output = Player(gain=math.nan).validation_step(next(iter(loader(2))), 0)
    with pytest.warns(UserWarning, match="counts as silence"), pytest.raises(UserError, match="is no sound"):
        AudioLogger(folder=str(tmp_path / "heard")).on_predict_batch_end(
            trainer(tmp_path, []), Player(), output, None, 0
        )
    assert not (tmp_path / "heard").exists()


def test_short_items_have_no_drift_and_no_items_have_no_value(tmp_path: Path) -> None:
    callbacks = monitors()
    trainer(tmp_path, list(callbacks)).test(Player(), loader(seconds=1.0), verbose=False)
    assert callbacks[0].results[MODEL]["beat_f1"].count == 6
    assert math.isnan(callbacks[0].results[MODEL]["beat_f1"].drift)
    none = [BeatF1Monitor(Energetic(), categories=["Piano"]), FADMonitor(max_items=0, max_test_items=0)]
    run = trainer(tmp_path, list(none))
    run.test(Player(), loader(), verbose=False)
    assert none[0].results[MODEL]["beat_f1"].count == 0
    assert math.isnan(none[1].results[MODEL]["fad/log_mel"].value)
    assert "test/beat_f1" not in run.callback_metrics
    assert float(run.callback_metrics["test/beat_f1/count"]) == 0


def test_every_nth_validation_and_no_sanity_check(tmp_path: Path) -> None:
    monitor = HarmonyMonitor(every_n_validations=2, segment_seconds=SEGMENT_SECONDS, max_items=2)
    # CSV only: nothing here may assume TensorBoard.
    audio = AudioLogger(max_items=1)
    logger = CSVLogger(tmp_path)
    fit = trainer(tmp_path, [monitor, audio], logger, epochs=4)
    with pytest.warns(UserWarning, match="no logger in use takes sounds and pictures"):
        fit.fit(Player(), loader(2), loader(2))
    with (Path(logger.log_dir) / "metrics.csv").open() as lines:
        epochs = [int(line["epoch"]) for line in csv.DictReader(lines) if line["val/loudness_db"]]
    assert epochs == [0, 2]
    assert monitor.state_dict() == {"validations": 4}


def test_results_table_merges_runs_and_files_are_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    for row, player in (("trained", Player(gain=1.0)), ("untrained", Player(gain=0.0, noise=0.01))):
        callbacks = [*monitors(), ResultsTable(row=row), AudioLogger(max_test_items=2, folder=str(tmp_path / row))]
        trainer(tmp_path, callbacks).test(player, loader(), verbose=False)
    rows = read_rows(tmp_path / "results.json")
    assert list(rows) == ["trained", "untrained", *ANCHORS]
    for cells in rows.values():
        assert {"beat_f1_drums", "beat_f1_mix", "chord_tone_share", "fad", "loudness_db"} <= set(cells)
        parts = {"value", "drift", "count", "drift_count", "interval", "drift_interval"}
        assert all(set(cell) == parts for cell in cells.values())
    assert rows["trained"]["beat_f1_drums"]["value"] > rows["untrained"]["beat_f1_drums"]["value"]
    assert rows["trained"]["fad"]["value"] == pytest.approx(rows["ground_truth"]["fad"]["value"])
    assert rows["trained"]["beat_f1_drums"]["count"] == 3
    table = capsys.readouterr().out
    lines = [line for line in table.splitlines() if line.startswith(("trained", "random pairing", "─"))]
    assert len({len(line) for line in lines}) <= 4, "one width per block"

    written = sorted(path.name for path in (tmp_path / "trained").iterdir())
    parts = ("both", "codec", "generated", "mix", "noise", "target")
    assert written == sorted(f"Track00000_{i}_{part}.wav" for i in ("Bass", "Percussive") for part in parts)
    info = soundfile.info(tmp_path / "trained" / written[0])
    assert (info.samplerate, info.subtype, info.frames) == (
        SAMPLE_RATE_HZ,
        "PCM_16",
        int(2 * SEGMENT_SECONDS * SAMPLE_RATE_HZ),
    )
    mix_N, generated_N, both_N = (
        soundfile.read(tmp_path / "trained" / f"Track00000_Bass_{part}.wav")[0] for part in ("mix", "generated", "both")
    )
    np.testing.assert_allclose(both_N, (mix_N + generated_N) / max(1, np.abs(mix_N + generated_N).max()), atol=2e-4)


def test_every_number_of_a_test_has_an_interval(tmp_path: Path) -> None:
    callbacks = monitors()
    trainer(tmp_path, list(callbacks)).test(Player(gain=0.5), loader(items=12), verbose=False)
    for monitor in callbacks:
        for row, results in monitor.results.items():
            for name in monitor.charts:
                result = results[name]
                if result.count:
                    assert result.interval.low <= result.value <= result.interval.high, (row, name)
                    assert result.drift_interval.low <= result.drift_interval.high
    results = callbacks[-1].results
    assert results[MODEL]["chord_tone_share"].count == 6
    assert results[MODEL]["loudness_db"].interval == pytest.approx((-6.02, -6.02), abs=0.1)
    assert results["ground_truth"]["chord_tone_share"].interval.low > 0.9
    assert results["random_pairing"]["chord_tone_share"].interval.high < 0.5
    # Too few songs to draw from: no interval, rather than a narrow one.
    few = HarmonyMonitor(segment_seconds=SEGMENT_SECONDS)
    trainer(tmp_path, [few]).test(Player(), loader(items=6), verbose=False)
    assert math.isnan(few.results[MODEL]["loudness_db"].interval.low)


def test_latent_noise_rises_and_is_the_same_every_time() -> None:
    batch = next(iter(loader(items=2, batch_size=2)))
    clip = clips_of(Player().validation_step(batch, 0))[0]
    through, again = Reconstructions(Player().codec), Reconstructions(Player().codec)
    noise_N = through(clip, LATENT_NOISE) - through(clip)
    half = len(noise_N) // 2
    assert np.std(noise_N[half:]) > 2 * np.std(noise_N[:half]) > 0
    assert np.array_equal(through(clip, LATENT_NOISE), again(clip, LATENT_NOISE))
    assert np.array_equal(through(clip), anchor_stems("codec", [clip], again)[0].audio_N)


def test_a_run_that_goes_on_writes_its_curves_once(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv")
    file.begin(0)
    for step, epoch in ((10, 0), (20, 1), (30, 2)):
        file.append(step, epoch, {"val/a": step / 3, "val/b": -1.0})
    with file.path.open("a") as text:
        text.write("40,3,val/a")  # the machine went down here
    file.begin(20)
    file.append(30, 2, {"val/a": 7.0})
    lines = file.path.read_text().splitlines()
    assert lines == [
        "step,epoch,tag,value",
        "10,0,val/a,3.33333",
        "10,0,val/b,-1",
        "20,1,val/a,6.66667",
        "20,1,val/b,-1",
        "30,2,val/a,7",
    ]


def test_a_run_that_begins_anew_keeps_the_curves_of_the_one_before(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv")
    for value in (1.0, 2.0, 3.0):
        file.begin(0)
        file.append(10, 0, {"val/a": value})
    kept = {path.name: path.read_text().splitlines()[1] for path in tmp_path.iterdir()}
    assert kept == {"metrics.1.csv": "10,0,val/a,1", "metrics.2.csv": "10,0,val/a,2", "metrics.csv": "10,0,val/a,3"}


def fill_row(root: Path, row: str, items: int = 6, steps: float = 64.0, bands: int = 4) -> None:
    """A row of a table that one monitor fills."""
    fad = FADMonitor(LogMel(bands=bands, window_seconds=0.5), segment_seconds=SEGMENT_SECONDS)
    trainer(root, [fad, ResultsTable(row=row)]).test(Player(steps=steps), loader(items), verbose=False)


def test_a_table_says_what_it_was_measured_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for row in ("untrained", "trained"):
        fill_row(tmp_path, row)
    assert "is now" not in capsys.readouterr().out
    said = read_table(tmp_path / "results.json").measured_on
    assert said is not None
    assert set(said["models"]) == {"untrained", "trained"}
    assert said["codec"]["name"] == "rounding"
    measure = said["measures"]["fad/log_mel"]
    assert (measure["items"], measure["segment_seconds"]) == (6, SEGMENT_SECONDS)
    page = (tmp_path / "results.md").read_text()
    assert f"- fad/log_mel: 6 items ({measure['sha256']}), segments of 2.0 s, log_mel" in page


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"items": 4}, "items 6 instead of 4"),
        ({"steps": 4.0}, "codec rounding ("),
        ({"bands": 5}, "fad/log_mel: method"),
        ({}, "does not say what it was measured on"),
    ],
)
def test_rows_that_were_measured_otherwise_are_set_aside(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changed: dict[str, Any], says: str
) -> None:
    path = tmp_path / "results.json"
    fill_row(tmp_path, "untrained")
    if not changed:  # as older versions wrote it
        path.write_text(json.dumps(read_rows(path)))
    before = path.read_bytes()
    capsys.readouterr()
    fill_row(tmp_path, "trained", **changed)
    out = capsys.readouterr().out
    assert f"the table of before (untrained) is now {tmp_path / 'results.1.json'}: " in out
    assert says in out
    assert set(read_rows(path)) == {"trained", *ANCHORS}
    assert (tmp_path / "results.1.json").read_bytes() == before
    assert {"results.1.md", "results.1.csv"} <= {file.name for file in tmp_path.iterdir()}


def test_mistakes_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Drums"):
        BeatF1Monitor(Energetic(), categories=["Drums"])
    with pytest.raises(UserError, match="silence"):
        ResultsTable(row="silence")
    with pytest.raises(UserError, match="AccompanimentOutput, got NoneType"):
        clips_of(None)
    (tmp_path / "results.json").write_text("[1]")
    with pytest.raises(UserError, match="move it away"):
        trainer(tmp_path, [*monitors(), ResultsTable()]).test(Player(), loader(2), verbose=False)
