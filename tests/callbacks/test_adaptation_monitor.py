"""A model in training and in test plays to songs in which something happens, in any number of processes."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from playing_recipe import DRUMS, SEGMENT_SECONDS, Energetic, Player, loader
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import Tensor

from callbacks import AdaptationMonitor
from callbacks.event_scenes import ANCHORS, performed, scene_of
from datamodules.event_songs import EventSong
from livejam.accompanist import Controls
from livejam.batch import CATEGORIES
from livejam.checkpoints.player import Player as TrainedPlayer
from livejam.errors import UserError
from livejam.spec import CodecSpec
from metrics.anchor_rows import PLAYERS, anchor_of, anchor_tag
from metrics.loudness import silence_rate

EVENTS = ["key_up", "silence"]


@dataclass(frozen=True)
class Echo:
    """Plays the mix half as loud, a frame late, as whatever it is asked for."""

    spec: CodecSpec
    block_frames: int = 200
    anticipation_frames: int = 0

    def init_state(self, batch_size: int, controls: Controls) -> None:
        assert len(controls.seed_B) == batch_size

    def step(self, mix_BTC: Tensor, state: None) -> tuple[Tensor, None]:
        return mix_BTC / 2, None


class Echoing(Player):
    """A recipe that plays an echo."""

    instruments = ("Piano", "Guitar", "Bass", "Percussive")

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("silence_C", torch.zeros(self.codec.spec.latent_channels))

    def accompanist(self) -> Any:
        return Echo(self.codec.spec)


@pytest.fixture(scope="session")
def songs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with one song of either event."""
    folder = tmp_path_factory.mktemp("events")
    for event in EVENTS:
        scene_of(event, 1, folder / "adaptation", (), 16_000)  # type: ignore[arg-type]  # a name of an event
    return folder


def trainer(root: Path, monitor: AdaptationMonitor, devices: int = 1, **options: Any) -> lightning.Trainer:
    torch.set_num_threads(1)
    return lightning.Trainer(
        default_root_dir=root,
        callbacks=[monitor],
        accelerator="cpu",
        devices=devices,
        strategy="ddp_fork" if devices > 1 else "auto",
        max_epochs=1,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        **options,
    )


def monitor(songs: Path, **options: Any) -> AdaptationMonitor:
    return AdaptationMonitor(EVENTS, 1, tracker=Energetic(), cache_folder=str(songs), **options)


@pytest.mark.filterwarnings("ignore")
def test_two_processes_say_what_one_says(tmp_path: Path, songs: Path) -> None:
    said = []
    for devices in (1, 2):
        root = tmp_path / str(devices)
        play = trainer(root, monitor(songs), devices, logger=False)
        play.test(Echoing(), loader(items=2, seconds=SEGMENT_SECONDS, batch_size=1), verbose=False)
        said.append(json.loads((root / "adaptation.json").read_text()))
        assert (root / "adaptation.png").stat().st_size > 10_000
    assert said[0] == said[1]
    assert list(said[0]) == EVENTS
    for rows in said[0].values():
        assert list(rows) == ["model", "perfect", "late", "ignores"]
        # an echo plays the others' notes, but is no perfect player
        assert 0 < rows["model"]["chord_tone_share_pitched"]["before"] < 1
        assert rows["perfect"]["phase_lock_drums"]["before"] > rows["model"]["phase_lock_pitched"]["before"]
    rests = {row: found["rest_drums"] for row, found in said[0]["silence"].items()}
    assert rests["model"]["silent_songs"] == rests["perfect"]["silent_songs"] == 1
    assert rests["ignores"]["silent_songs"] == 0
    assert rests["late"]["silent_after"] > rests["perfect"]["silent_after"]


@pytest.mark.filterwarnings("ignore")
def test_a_training_logs_numbers_anchors_and_curves_and_measures_anchors_once(tmp_path: Path, songs: Path) -> None:
    tracker = Energetic()
    own = monitor(songs, every_n_validations=2)
    own.track = tracker
    logger = TensorBoardLogger(tmp_path, name="", version="")
    fit = trainer(tmp_path, own, logger=logger, log_every_n_steps=1)
    fit.fit(Echoing(), loader(2), loader(2))
    tags = {f"adaptation/key_up/{name}" for name in ("phase_lock_drums", "chord_tone_share_pitched/beats")}
    tags |= {"adaptation/key_up/phase_lock_drums/before"}
    tags |= {"adaptation/silence/rest_drums/silent_after", "adaptation/silence/rest_drums/sounds_after"}
    assert {f"val/{tag}" for tag in tags} | {f"anchor/perfect/{tag}" for tag in tags} <= set(fit.callback_metrics)
    assert float(fit.callback_metrics["anchor/ignores/adaptation/key_up/chord_tone_share_pitched"]) < 0
    with (tmp_path / "metrics.csv").open() as file:
        assert {f"val/{tag}" for tag in tags} <= {row["tag"] for row in csv.DictReader(file)}
    events = EventAccumulator(str(tmp_path))
    events.Reload()
    assert events.Tags()["images"] == ["val/adaptation"]
    tracked = tracker.calls
    fit = trainer(tmp_path, own, logger=False)
    fit.validate(Echoing(), loader(2), verbose=False)
    assert tracker.calls == tracked + 2 * len(EVENTS), "before and after each event, of the model alone"


def test_other_players_have_runs_of_their_own() -> None:
    assert tuple(ANCHORS) == PLAYERS
    assert [anchor_of(anchor_tag(row, "adaptation/x")) for row in PLAYERS] == [(row, "adaptation/x") for row in PLAYERS]


def test_what_cannot_be_measured_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no event is called key_down; choose from key_up, tempo_step"):
        AdaptationMonitor(["key_down"])
    for names in ([], ["silence", "silence"]):
        with pytest.raises(UserError, match="name at least one event, and none twice"):
            AdaptationMonitor(names)
    with pytest.raises(UserError, match="at least one song per event, not 0"):
        AdaptationMonitor(songs=0)
    with pytest.raises(UserError, match="needs a recipe that plays, not Player"):
        trainer(tmp_path, AdaptationMonitor(), logger=False).test(Player(), loader(2), verbose=False)


def test_event_songs_are_what_the_composer_says(songs: Path) -> None:
    scene = scene_of("silence", 1, songs / "adaptation", (), 16_000)
    assert [CATEGORIES[song.category] for song in scene.drums] == [CATEGORIES[DRUMS]]
    assert len(scene.pitched) == 1
    song = scene.drums[0]
    silent, rate = slice(*(round(t * 16_000) for t in (song.event_seconds + 1, song.resumes_seconds))), 16_000
    assert silence_rate(song.mix_N[silent], rate) > 0.5 > silence_rate(song.mix_N[: silent.start - rate], rate)
    assert silence_rate(song.target_N[silent], rate) > 0.5
    assert song.resumes_seconds - song.event_seconds > 2
    assert not scene_of("drums_out", 1, songs / "drumless", ("Percussive",), rate).songs


def test_a_model_plays_songs_of_any_lengths_and_knows_no_future() -> None:
    codec = Echoing().codec
    player = TrainedPlayer(Echo(codec.spec), codec, torch.zeros(codec.spec.latent_channels))  # type: ignore[arg-type]
    made = torch.linspace(-0.5, 0.5, 40_000).numpy()
    whole, short = (EventSong("a", made[:n], made[:n], 16_000, DRUMS, None, 0, 0) for n in (40_000, 17_000))  # type: ignore[arg-type]
    together, alone = performed(player, [whole, short]), performed(player, [short])
    assert [len(stem_N) for stem_N in together] == [40_000, 17_000]
    torch.testing.assert_close(torch.from_numpy(together[0][:17_000]), torch.from_numpy(alone[0]))
    assert abs(together[0][160:] - made[:-160] / 2).max() < 0.02
    codec.loudness = float("nan")
    assert not performed(player, [short])[0].any()
