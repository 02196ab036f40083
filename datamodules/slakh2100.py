"""Slakh2100, and everything in its format, as training, validation, test and prediction data.

Shapes: C latent channels.
"""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import LightningDataModule
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor
from torch.utils.data import DataLoader

from datamodules.annotations import midi_is_lost
from datamodules.audio_batches import AudioBatches, latent_statistics
from datamodules.bank_batches import BankBatches
from datamodules.bank_building import BankBuilder
from datamodules.bank_store import BankStore
from datamodules.beside_bank import BesideBuilder
from datamodules.categories import target_categories
from datamodules.crops import ActivityRule
from datamodules.drawing import Drawing
from datamodules.evaluation import EvaluationBatches, evaluation_frames, evaluation_plan
from datamodules.excerpts import ExcerptReader
from datamodules.latent_bank import MANIFEST, BankSettings
from datamodules.local_bank import Bank, LatentBank
from datamodules.losses import Demand, leak_line, losses_line
from datamodules.reference_bank import ReferenceFacts
from datamodules.rendering import RenderIfMissing
from datamodules.run_sampler import ResumableLoader, RunSampler, ShareSampler
from datamodules.sketch_bank import SketchFacts
from datamodules.slakh_index import INDEX, SlakhIndex
from datamodules.slakh_scan import Song
from datamodules.splits import SplitByFolder, SplitPolicy
from livejam.batch import AccompanimentBatch, named
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.reference import ReferenceAnalysis
from livejam.sketch import SketchAnalysis
from livejam.spec import CodecSpec, LatentStatistics

log = logging.getLogger(__name__)

STATISTICS_BATCHES = 16
PUBLISHED_SECONDS = 20.0
"""Of the papers' items."""


class Slakh2100DataModule(LightningDataModule):
    """A target stem and a mix that does not contain it, from any data set in Slakh2100's format.

    Training reads latents from a bank (`mode: bank`; built at the first start), or mixes audio on the fly
    (`mode: audio`). Validation and test give audio, the same items to every run. All of it follows from `seed`: batch
    k of a rank is a pure function of (seed, rank, k), whatever the workers, and a resumed run goes on at its k.

    Args:
        root: the data set's folder: pocket-Slakh, Slakh2100 (original, redux), BabySlakh; split folders or flat.
        codec: gives the latents, and the rate and channels of all audio.
        mode: what training batches hold: latents from the bank, or audio.
        bank_root: the bank's folder; None is one under the cache, named after the codec and the settings.
        bank_store: a finished bank in an object store, in place of `bank_root`; None: it is on this machine.
        cache_root: keeps the index of the data set, evaluation items and banks; None is `.livejam` under the root.
        crop_frames: latent frames of a training item, at least 1.
        batch_size: training items per batch and rank.
        batches_per_epoch: training batches per epoch and rank. Items are drawn, so epochs only set the rhythm of
            validation and checkpoints.
        targets: names of the categories that may be played by the model; None is all but Vocal and Unknown.
        full_mix: the model always hears all other stems; otherwise random subsets of them too.
        submixes_per_song: random sub-mixes that the bank holds of each song, at least 2; unused with `full_mix`.
        gain_db: stems get louder or softer by up to this much in training, in dB, at least 0; in audio mode only,
            because the codec is not linear.
        threshold_dbfs: a frame sounds above this RMS level in dB below full scale, −120 to 0.
        min_active_ratio: share of a crop in which target and mix both sound, at least, 0 to 1.
        eval_seconds: length of validation and test items in seconds, less where most songs are shorter.
        eval_items: validation items, at least 1.
        test_items: test items, at least 1; None is as many as `eval_items`.
        eval_batch_size: validation and test items per batch; processes share whole batches.
        drawing: how validation and test items are drawn; None is balanced over songs and instruments
            (`datamodules.drawing`).
        bad_stems: a text file with stems that are left out, one per line, as Track00001/S05; None leaves out none but
            those that cannot be used.
        splits: which songs are for training, validation and test; None is `SplitByFolder`.
        render_if_missing: render songs where there are none; None raises an error that says what to do.
        sketch: how the targets' curves are made that batches hold for recipes which learn to follow sketches; the bank
            gets them when it has none. None: no curves.
        reference: how embeddings of other excerpts of the targets' stems are made that batches hold for recipes which
            learn to sound like a reference; the bank gets them when it has none. None: no references.
        beats: whether batches hold where their frames lie between beats, for recipes that learn to hear the beat; from
            the bank only.
        seed: of items and sub-mixes, at least 0.
        num_workers: processes that load training batches; 0 loads them in the training process, which is enough for
            the bank (a batch takes a fraction of a millisecond per item).
        bank_workers: processes that build the bank; None is one per core, or the GPU where there is one; 0 is none.
        one_disk_per_node: prepare the data on every node, because they do not share `root`.
    """

    def __init__(
        self,
        root: str,
        codec: Codec,
        mode: Literal["bank", "audio"] = "bank",
        bank_root: str | None = None,
        bank_store: BankStore | None = None,
        cache_root: str | None = None,
        crop_frames: int = 64,
        batch_size: int = 16,
        batches_per_epoch: int = 500,
        targets: list[str] | None = None,
        full_mix: bool = False,
        submixes_per_song: int = 6,
        gain_db: float = 0.0,
        threshold_dbfs: float = -60.0,
        min_active_ratio: float = 0.5,
        eval_seconds: float = 20.0,
        eval_items: int = 16,
        test_items: int | None = None,
        eval_batch_size: int = 8,
        drawing: Drawing | None = None,
        bad_stems: str | None = None,
        splits: SplitPolicy | None = None,
        render_if_missing: RenderIfMissing | None = None,
        seed: int = 0,
        num_workers: int = 0,
        bank_workers: int | None = None,
        one_disk_per_node: bool = False,
        sketch: SketchAnalysis | None = None,
        reference: ReferenceAnalysis | None = None,
        beats: bool = False,
    ) -> None:
        super().__init__()
        self.root = Path(root)
        self.codec = codec
        self.mode = mode
        self._cache_root = None if cache_root is None else Path(cache_root)
        self.cache_root = self._cache_root or self.root / ".livejam"
        self.crop_frames, self.batch_size, self.batches_per_epoch = crop_frames, batch_size, batches_per_epoch
        self.categories = target_categories(targets)
        self.full_mix, self.submixes_per_song, self.gain_db = full_mix, submixes_per_song, gain_db
        self.rule = ActivityRule(threshold_dbfs, min_active_ratio)
        self.eval_seconds, self.eval_batch_size = eval_seconds, eval_batch_size
        self.drawing = drawing or Drawing()
        self.items = {"validation": eval_items, "test": eval_items if test_items is None else test_items}
        self.bad_stems, self.splits = bad_stems, splits or SplitByFolder()
        self.render_if_missing = render_if_missing
        self.seed, self.num_workers, self.bank_workers = seed, num_workers, bank_workers
        self.prepare_data_per_node = one_disk_per_node
        # with fewer items than ranks some have none
        self.allow_zero_length_dataloader_with_multiple_devices = True
        if bank_root is not None and bank_store is not None:
            raise UserError("a bank has one place: name data.bank_root or data.bank_store, not both")
        self._bank_root, self.bank_store = bank_root, bank_store
        if beats and mode == "audio":
            raise UserError("beats are read from the bank; leave data.beats out, or set data.mode to bank")
        self.sketch, self.reference, self.beats = sketch, reference, beats
        self._index: SlakhIndex | None = None
        self._statistics: LatentStatistics | None = None
        self._training: BankBatches | AudioBatches | None = None
        self._evaluation: dict[str, EvaluationBatches] = {}

    @property
    def codec_spec(self) -> CodecSpec:
        """What latents mean, and the rate and channels of audio."""
        return self.codec.spec

    @property
    def latent_statistics(self) -> LatentStatistics | None:
        """Mean and deviation per latent channel over the training set; None while there is no bank.

        Raises:
            UserError: the bank is of another codec or of other settings.
        """
        if self._statistics is None and self.mode == "audio":
            self._statistics = latent_statistics(self._audio_batches(), self.codec, STATISTICS_BATCHES)
        elif self._statistics is None and (self.bank_store or (self.bank_root / MANIFEST).is_file()):
            self._statistics = self.open_bank().manifest.statistics
        return self._statistics

    @property
    def reference_statistics(self) -> tuple[Tensor, Tensor] | None:
        """Mean_E and deviation_E of the training set's references; None without any, and before setup."""
        held = self._training.references if isinstance(self._training, BankBatches) else None
        return None if held is None else held.statistics

    @property
    def instruments(self) -> tuple[str, ...]:
        """Names of the categories that training asks for, in other stages those of the items; nothing before setup."""
        items = self._training or next(iter(self._evaluation.values()), None)
        return () if items is None else named(items.categories)

    @property
    def tested_on(self) -> dict[str, Any] | None:
        """The data set and the songs of the test, for its table; None before a test."""
        if "test" not in self._evaluation:
            return None
        songs = {song.folder: song.digest for song in self._evaluation["test"].songs}
        digest = hashlib.sha256(json.dumps(songs, sort_keys=True).encode()).hexdigest()[:12]
        return {"root": str(self.root), "songs": len(songs), "sha256": digest, "protocol": self._items_protocol}

    @property
    def _items_protocol(self) -> str:
        """The papers' if items are drawn like theirs, and as long."""
        return self.drawing.name if self.eval_seconds == PUBLISHED_SECONDS else Drawing.name

    @property
    def bank_settings(self) -> BankSettings:
        """What the bank must have been built with."""
        return BankSettings(
            codec=self.codec.spec,
            latents_hash=self.codec.latents_hash,
            split="train",
            seed=self.seed,
            submixes_per_song=0 if self.full_mix else self.submixes_per_song,
            targets=self.categories,
            threshold_dbfs=self.rule.threshold_dbfs,
        )

    @property
    def bank_root(self) -> Path:
        """The bank's folder."""
        if self._bank_root is not None:
            return Path(self._bank_root)
        settings = self.bank_settings
        return self.cache_root / "banks" / f"{settings.codec.name}-{settings.digest()}"

    @property
    def bank_builder(self) -> BankBuilder:
        """Builds the bank of the training songs."""
        return BankBuilder(self.bank_root, self.root, self.songs("train"), self.bank_settings)

    @property
    def index(self) -> SlakhIndex:
        """Everything in the data set, usable or not."""
        if self._index is None:
            index = SlakhIndex.open(self.root, self.cache_root / INDEX)
            self._index = index if self.bad_stems is None else index.without(self.bad_stems)
        return self._index

    def songs(self, split: str) -> tuple[Song, ...]:
        """The songs of "train", "validation" or "test".

        Raises:
            UserError: there are none.
        """
        songs = self.index.split(split, self.splits)
        if not songs:
            raise UserError(
                f"none of the {len(self.index.songs)} songs in {self.root} is for {split}; set data.splits, "
                "for example to datamodules.SplitByHash, or render a data set with `livejam data render`"
            )
        return songs

    def prepare_data(self) -> None:
        """Render and index the songs, and build the bank; what is done already is only checked."""
        if self.render_if_missing is not None:
            self.render_if_missing.render(self.root)
            self._index = None
        if self._is(TrainerFn.FITTING) and self.mode == "bank":
            if self.bank_store is None:
                self.bank_builder.build(self.codec, self.bank_workers)
                self._build_beside()
            else:
                self.open_bank()

    def _build_beside(self) -> None:
        """What is kept beside the bank for recipes that learn to follow sketches, or to sound like references."""
        sketches = [] if self.sketch is None else [SketchFacts(self.sketch)]
        references = [] if self.reference is None else [ReferenceFacts(self.reference)]
        for facts in (*sketches, *references):
            builder = BesideBuilder(self.bank_root, self.root, self.songs("train"), self.codec.spec, facts)
            builder.build(self.bank_workers)

    def setup(self, stage: str) -> None:
        """Open what the stage needs, on every rank."""
        if stage == "fit":
            self._training = self._bank_batches() if self.mode == "bank" else self._audio_batches()
            self._say_what_is_left_out(self._training)
        if stage in ("fit", "validate"):
            self._evaluation["validation"] = self._evaluation_batches("validation")
        if stage in ("test", "predict"):
            self._evaluation["test"] = self._evaluation_batches("test")

    def _say_what_is_left_out(self, training: BankBatches | AudioBatches) -> None:
        """By one process, one line of what is never trained on, and one of what is trained on and held out."""
        songs, batches = self.songs("train"), training if isinstance(training, BankBatches) else None
        demand = Demand(self.codec.spec.seconds_in(self.crop_frames), self.categories)
        damaged = set(batches.bank.manifest.refusals if batches else ()) - set(self.index.refusals)
        beatless = batches.songs_without_beats if batches else ()
        unread = [song for song in songs if song.name in beatless and midi_is_lost(self.root / song.folder)]
        line = losses_line(
            self.root,
            self._cache_root,
            songs,
            demand,
            refused=self.index.refused,
            damaged=len(damaged),
            mute=[song.name for song in songs if song.name not in training.songs_heard and not demand.missing(song)],
            unread=len(unread),
            bad_stems=self.bad_stems,
        )
        leaking = leak_line(self.root, self._cache_root, self.index.copies, self.splits)
        for said in filter(None, (line, leaking) if self._rank == 0 else ()):
            log.warning(said)

    def train_dataloader(self) -> DataLoader[AccompanimentBatch]:
        """Batches of latents, or of audio, from where the run stands."""
        assert self._training is not None
        sampler = RunSampler(self._batches_consumed, self.batches_per_epoch, self._rank)
        return ResumableLoader(
            self._training,
            batch_size=None,
            sampler=sampler,
            num_workers=self.num_workers,
            persistent_workers=self.num_workers > 0,
            # a connection to an object store does not survive a fork
            multiprocessing_context="spawn" if self.bank_store and self.num_workers else None,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> DataLoader[AccompanimentBatch]:
        """Batches of audio."""
        return self._evaluation_loader("validation")

    def test_dataloader(self) -> DataLoader[AccompanimentBatch]:
        """Batches of audio."""
        return self._evaluation_loader("test")

    def predict_dataloader(self) -> DataLoader[AccompanimentBatch]:
        """The items of the test, to be heard."""
        return self._evaluation_loader("test")

    def open_bank(self) -> Bank:
        """The bank that training reads.

        Raises:
            UserError: there is none, or one of other settings.
        """
        bank: Bank = LatentBank(self.bank_root) if self.bank_store is None else self.bank_store.open()
        self.bank_settings.require_same(bank.manifest.settings, bank.place)
        return bank

    def _bank_batches(self) -> BankBatches:
        return BankBatches(
            self.open_bank(),
            self.categories,
            self.crop_frames,
            self.batch_size,
            self.rule,
            self.seed,
            self.num_workers,
            self.sketch,
            self.reference,
            self.beats,
        )

    def _audio_batches(self) -> AudioBatches:
        reader = ExcerptReader(self.root, self.codec.spec, self.crop_frames, self.rule)
        return AudioBatches(
            reader, self.songs("train"), self.categories, self.batch_size, self.full_mix, self.gain_db, self.seed
        )

    def _evaluation_batches(self, split: str) -> EvaluationBatches:
        songs = self.songs(split)
        frames = evaluation_frames(songs, self.codec.spec, self.eval_seconds)
        reader = ExcerptReader(self.root, self.codec.spec, frames, self.rule)
        training, items = self.index.split("train", self.splits), self.items[split]
        plan = evaluation_plan(
            reader, songs, training, self.categories, items, self.seed, self.cache_root, self.drawing
        )
        return EvaluationBatches(reader, plan, self.eval_batch_size)

    def _evaluation_loader(self, split: str) -> DataLoader[AccompanimentBatch]:
        batches = self._evaluation[split]
        return DataLoader(
            batches,
            batch_size=None,
            sampler=ShareSampler(len(batches), self._ranks, self._rank),
            # items that stay in memory must stay in this process's
            num_workers=0 if batches.keeps_audio else self.num_workers,
            pin_memory=torch.cuda.is_available(),
        )

    def _batches_consumed(self) -> int:
        """Training batches that this run has processed, since it first began."""
        if not self.trainer:
            return 0
        # declared as the tracker's base class
        return self.trainer.fit_loop.epoch_loop.batch_progress.total.processed  # type: ignore[attr-defined]

    @property
    def _rank(self) -> int:
        return self.trainer.global_rank if self.trainer else 0

    @property
    def _ranks(self) -> int:
        return self.trainer.world_size if self.trainer else 1

    def _is(self, function: TrainerFn) -> bool:
        """Whether the trainer does this; without a trainer the data are prepared for training."""
        return (self.trainer.state.fn if self.trainer else TrainerFn.FITTING) == function
