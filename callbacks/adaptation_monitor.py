"""How a model adapts when the music changes, while it is trained and when it is tested."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, get_args

from lightning.pytorch import LightningModule, Trainer

from callbacks.event_scenes import ANCHORS, Found, anchor_row, kept, model_row, scene_of
from callbacks.media import log_picture
from callbacks.monitor import log
from callbacks.shared_evaluation import SharedEvaluation
from callbacks.trainer_facts import data_module, is_dry_run
from callbacks.validations import ValidationCallback, logged_step
from datamodules.wide_songs.collection import EventName
from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.processes import gathered
from metrics.adaptation_report import picture, plain
from metrics.beat_tracking import BeatTracker
from metrics.beats import MadmomRNN
from metrics.recovery import Answers, Recovery, answers

EVENTS: tuple[EventName, ...] = get_args(EventName)
MODEL, TITLE = "model", "mean over songs"


class AdaptationMonitor(ValidationCallback):
    """Lets the model play to songs with an event in the middle, and says how soon it is as good again as before.

    What `python -m benchmarks.adaptation` measures, on few songs, which the composer renders with held-out grooves
    (`docs/evaluation.md`). Per event and column (`beat_f1_drums`, `phase_lock_drums`, `chord_tone_share_pitched`,
    `phase_lock_pitched`) it logs `val/adaptation/<event>/<column>`, the mean over 32 beats from the event on minus that
    before it; `…/before`, the latter, because who could do nothing has nothing to lose; and `…/beats`, the beats until
    the mean over songs is back in its usual range (0: it never leaves it, 33: it does not come back). For silent bars
    also `…/rest_<part>/silent_after` and `…/sounds_after` in beats. The same of
    a perfect player, one that is a bar late and one that ignores the event as `anchor/<row>/…`, and the curves as a
    picture. A test logs `test/…`, and writes `adaptation.json` and `adaptation.png` into the trainer's root.

    Processes share the events. Three events with three songs each take about forty seconds of one core, and
    the first time a minute more for the songs and the anchors, which are kept.

    Args:
        events: what happens; see `datamodules.wide_songs.collection.EventName`.
        songs: songs per event, at least 1.
        every_n_validations: n: measure only in every n-th validation (≥ 1).
        tracker: the beat tracker; None = `metrics.beats.MadmomRNN`.
        cache_folder: the folder for songs and anchors; None = `cache` in the trainer's root.

    Raises:
        UserError: an unknown event, none, one twice, or no songs.
    """

    def __init__(
        self,
        events: list[str] | None = None,
        songs: int = 3,
        every_n_validations: int = 1,
        tracker: BeatTracker | None = None,
        cache_folder: str | None = None,
    ) -> None:
        super().__init__(every_n_validations)
        self.events = _known(["key_up", "tempo_step", "silence"] if events is None else events)
        if songs < 1:
            raise UserError(f"AdaptationMonitor needs at least one song per event, not {songs}")
        self.songs, self.track = songs, tracker or MadmomRNN()
        self.cache_folder = Path(cache_folder) if cache_folder is not None else None
        self.results: dict[str, dict[str, Found]] = {}

    @property
    def state_key(self) -> str:
        return self._generate_state_key(events=self.events, songs=self.songs)

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse a recipe that plays nothing.

        Raises:
            UserError: it has no accompanist.
        """
        if not hasattr(pl_module, "accompanist"):
            raise UserError(f"AdaptationMonitor needs a recipe that plays, not {type(pl_module).__name__}; take it out")
        SharedEvaluation.of(trainer)
        if self.cache_folder is None:
            self.cache_folder = Path(trainer.default_root_dir) / "cache"

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not self.due:
            return
        self.results = self._measured(trainer, pl_module)
        numbers = _tagged(self.results, {MODEL: "val", **{row: f"anchor/{row}" for row in ANCHORS}})
        log(pl_module, numbers)
        SharedEvaluation.of(trainer).keep(trainer, pl_module, numbers)
        if trainer.is_global_zero:
            step = logged_step(trainer, pl_module)
            for logger in self.media_loggers(trainer, "no curves of adaptation are"):
                log_picture(logger, "val/adaptation", picture(self.results, TITLE), step)

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.results = self._measured(trainer, pl_module)
        log(pl_module, _tagged(self.results, {MODEL: "test"}))
        if trainer.is_global_zero and not is_dry_run(trainer):
            _write(self.results, Path(trainer.default_root_dir))

    def _measured(self, trainer: Trainer, module: Any) -> dict[str, dict[str, Found]]:
        """Event → row → numbers; every process does its share of the events, and gets all."""
        learnt = getattr(data_module(trainer), "instruments", ()) or module.instruments
        player = Player(module.accompanist(), module.codec, module.silence_C, tuple(learnt))
        own = self.events[trainer.global_rank :: trainer.world_size]
        shares = gathered({event: self._event(player, event) for event in own})
        found = {event: rows for share in shares for event, rows in share.items()}
        return {event: found[event] for event in self.events}

    def _event(self, player: Player, event: EventName) -> dict[str, Found]:
        assert self.cache_folder is not None
        folder, rate, track = self.cache_folder / "adaptation", player.codec.spec.sample_rate_hz, self.track
        scene = scene_of(event, self.songs, folder, player.instruments, rate)
        what = [str(self.songs), str(rate), track.identity, *player.instruments]
        anchors = {row: kept(folder, event, row, what, partial(anchor_row, row, scene, track)) for row in ANCHORS}
        return {MODEL: model_row(player, scene, track), **anchors}


def _known(names: list[str]) -> list[EventName]:
    """The names themselves, if all are events.

    Raises:
        UserError: there is none, or one is unknown or named twice.
    """
    unknown = [name for name in names if name not in EVENTS]
    if unknown or not names or len(set(names)) < len(names):
        wrong = f"no event is called {', '.join(unknown)}" if unknown else "name at least one event, and none twice"
        raise UserError(f"AdaptationMonitor: {wrong}; choose from {', '.join(EVENTS)}")
    return [event for event in EVENTS if event in names]


def _tagged(results: Mapping[str, Mapping[str, Found]], rows: Mapping[str, str]) -> dict[str, float]:
    """Numbers of some rows by their tags, without undefined ones.

    Args:
        results: event → row → numbers.
        rows: row → how its tags begin.
    """
    numbers = {
        f"{rows[row]}/adaptation/{event}/{name}": value
        for event, found in results.items()
        for row, own in found.items()
        if row in rows
        for name, value in _numbers(answers(own)).items()
    }
    return {tag: value for tag, value in numbers.items() if math.isfinite(value)}


def _numbers(said: Answers) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for name, answer in said.items():
        if isinstance(answer, Recovery):
            numbers |= {f"{name}/before": answer.before, name: answer.after - answer.before}
            numbers[f"{name}/beats"] = float(answer.beats_or_more)
        elif answer.silent_after is not None and answer.sounds_after is not None:
            numbers |= {f"{name}/silent_after": answer.silent_after, f"{name}/sounds_after": answer.sounds_after}
    return numbers


def _write(results: Mapping[str, Mapping[str, Found]], root: Path) -> None:
    """Answers and curves of a test."""
    with atomic_path(root / "adaptation.json") as temporary:
        temporary.write_text(json.dumps(plain(results), indent=1) + "\n", encoding="utf-8")
    with atomic_path(root / "adaptation.png") as temporary:
        picture(results, TITLE).savefig(temporary, dpi=110)
