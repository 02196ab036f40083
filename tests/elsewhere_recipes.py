"""Every recipe of the shipped configs on the pretended accelerator: a program that `test_elsewhere.py` starts.

    python tests/elsewhere_recipes.py [--shallow] CASE...

Prints one JSON object: case → what crossed between host and device in steps of training and of playing.
"""

from __future__ import annotations

import json
import logging
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from elsewhere import Crossing, Crossings, PretendedStrategy, pretended, register
from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
from torch.utils.data import DataLoader

from datamodules.stem_audio import HeldOutCrops
from lightning_modules import cli
from lightning_modules.accompaniment import AccompanimentModule
from lightning_modules.codec_training import CodecTraining
from livejam.accompanist import Controls
from livejam.batch import AccompanimentBatch
from livejam.spec import LatentStatistics

WARM = 2
"""Batches that do not count: what happens once is done then (logged values get their place, masks are made)."""
COUNTED = 2
"""Batches that count; ARC-Forcing trains its networks in turns."""


def _set(**options: str) -> tuple[str, ...]:
    return tuple(word for name, value in options.items() for word in (f"--model.init_args.{name}", value))


UNTRAINED = _set(allow_untrained="true")
ROLLOUTS = (*UNTRAINED, *_set(base_checkpoint="null", discriminator_checkpoint="null", **{"rollout.blocks": "2"}))
ADVERSARY = "--model.init_args.adversary.init_args."
CASES: dict[str, tuple[str, ...]] = {
    "liveband/pocket": _set(penalty_every="1"),  # R1 and R2 in turn
    "lmdm/base_pocket": (),
    "lmdm/encdec_pocket": (),
    "lmdm/blockcausal_pocket": (),
    "lmdm/outpainting_pocket": (),
    "lookahead/pocket": (),
    "lmdm/arc_forcing_pocket": ROLLOUTS,
    "lmdm/arc_forcing_discriminator_warmup_pocket": (),
    "lookahead/consistency_pocket": (*UNTRAINED, *_set(teacher_checkpoint="null")),
    "cocola/pocket": (),
    "codec/pocket": _set(magnitude_steps="1"),
    "codec/pocket+codec_adversary": (
        *_set(magnitude_steps="1", mel_weight="0.3", spectral_gap_weight="0.1"),
        *(f"{ADVERSARY}start_iteration", "1", f"{ADVERSARY}penalty_every", "1"),
    ),
}
SHALLOW: dict[str, tuple[str, ...]] = {
    "liveband/pocket": _set(**{"generator.blocks": "1", "discriminator.blocks_per_level": "1"}),
    "lmdm/encdec_pocket": _set(**{"generator.transformer.depth": "1", "sampler.steps": "1"}),
}
"""Fewer layers, which are all alike, for the tests that must be quick."""


@dataclass(frozen=True)
class Built:
    """What the command makes of a config, and its options."""

    model: LightningModule
    trainer: Any
    data: Any


def build(config: str, *overrides: str) -> Built:
    """The parts that `lightning fit` would train; `A+B` is config A under overlay B."""
    built: list[Built] = []

    def keep(self: Any, **arguments: Any) -> None:
        options = self.config["fit"]
        built.append(Built(self.model, options["trainer"], options["data"]["init_args"]))

    name, _, overlay = config.partition("+")
    overlays = ("--config", f"configs/overlays/{overlay}.yaml") if overlay else ()
    words = ["lightning", "fit", "--config", name, *overlays, "--trainer.accelerator", "cpu", *overrides]
    with patch.object(cli.LivejamCLI, "fit", keep), patch.object(sys, "argv", words):
        cli.run()
    return built[0]


class Values(LightningDataModule):
    """Batches in the shape of the config's own, whose values do not matter."""

    def __init__(self, built: Built, batches: int) -> None:
        super().__init__()
        channels = built.model.codec.spec.latent_channels
        self.latent_statistics = LatentStatistics(torch.zeros(channels), torch.ones(channels))
        self.batch, self.batches = batch_of(built), batches

    def train_dataloader(self) -> DataLoader[Any]:
        return DataLoader([self.batch] * self.batches, batch_size=None)


def batch_of(built: Built) -> Any:
    """A batch of training."""
    spec, size = built.model.codec.spec, built.data["batch_size"]
    if isinstance(built.model, CodecTraining):
        return torch.zeros(size, spec.audio_channels, built.data["crop_samples"])
    return pairs(torch.zeros(size, built.data["crop_frames"], spec.latent_channels), is_audio=False)


def pairs(values: torch.Tensor, is_audio: bool) -> AccompanimentBatch:
    """A batch of mixes and targets."""
    size, frames = values.shape[:2]
    return AccompanimentBatch(
        mix=values,
        target=values,
        is_audio=is_audio,
        instrument_B=torch.arange(size) % 4,
        active_BT=torch.ones(size, frames, dtype=torch.bool),
        prompt=("a warm sound",) * size,
        song=("song",) * size,
        start_seconds=(0.0,) * size,
        annotations=(None,) * size,
    )


class Counted(Callback):
    """What crosses after the first batches."""

    def __init__(self, crossings: Crossings) -> None:
        self.crossings, self.found = crossings, Counter[Crossing]()

    def on_train_batch_end(self, trainer: Trainer, module: Any, out: Any, batch: Any, index: int) -> None:
        if index == WARM - 1:
            self.crossings.found.clear()
        self.found = self.crossings.found.copy()


def trainer_of(built: Built, *callbacks: Callback, **settings: Any) -> Trainer:
    """Lightning's trainer on the pretended device, silent."""
    quiet: dict[str, Any] = {
        **dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False),
        **{"max_epochs": 1, "limit_val_batches": 0, "num_sanity_val_steps": 0},
    }
    clip = {"gradient_clip_val": built.trainer["gradient_clip_val"]}
    return Trainer(strategy=PretendedStrategy(), callbacks=list(callbacks), **{**quiet, **clip, **settings})


def trained(built: Built, crossings: Crossings, batches: int = WARM + COUNTED) -> Counter[Crossing]:
    """What crosses while batches are trained on."""
    if isinstance(built.model, CodecTraining):
        built.model.code_is_fitted.fill_(True)
    counted = Counted(crossings)
    trainer_of(built, counted).fit(built.model, Values(built, batches))
    return counted.found


@torch.no_grad()
def validated(built: Built) -> None:
    """A validation step, up to where metrics take over."""
    module, spec = built.model.eval(), built.model.codec.spec
    seconds = 7.0 if not isinstance(module, AccompanimentModule | CodecTraining) else 1.0
    samples = spec.frames_in(seconds) * spec.hop_samples
    audio_BAN = torch.zeros(2, spec.audio_channels, samples)
    if isinstance(module, CodecTraining):
        module.validation_step(HeldOutCrops(audio_BAN.to(module.device), False), 0)
        return
    module.validation_step(pairs(audio_BAN, is_audio=True).to(module.device), 0)


@torch.no_grad()
def played(built: Built, crossings: Crossings) -> Counter[Crossing]:
    """What crosses while a model plays two blocks, codec included, as a `Session` does."""
    module, found = built.model, Counter[Crossing]()
    if not isinstance(module, AccompanimentModule):
        return found
    codec, player = module.codec, module.accompanist()
    controls = Controls(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64))
    state, heard, made = player.init_state(1, controls), codec.init_encoder_state(1), codec.init_decoder_state(1)
    samples = player.block_frames * codec.spec.hop_samples
    for block in range(2):
        audio_BAN = torch.zeros(1, codec.spec.audio_channels, samples).to(module.device)
        crossings.found.clear()
        mix_BTC, heard = codec.encode_step(audio_BAN, heard)
        accompaniment_BTC, state = player.step(mix_BTC, state)
        _, made = codec.decode_step(accompaniment_BTC, made)
        found = crossings.found.copy() if block else found
    return found


def crossed(case: str, *overrides: str) -> dict[str, list[Any]]:
    """What crosses in training and in playing."""
    built = build(case, *CASES[case], *overrides)
    with pretended() as crossings:
        training = trained(built, crossings)
        validated(built)
        playing = played(built, crossings)
    return {"training": _plain(training), "playing": _plain(playing)}


def _plain(found: Counter[Crossing]) -> list[Any]:
    return sorted([what, place, count] for (what, place), count in found.items())


def main(cases: Iterable[str], shallow: bool) -> None:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    register()
    print(json.dumps({case: crossed(case, *(SHALLOW[case] if shallow else ())) for case in cases}))  # noqa: T201


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--shallow"]
    main(words or CASES, shallow="--shallow" in sys.argv)
