"""Every recipe in bf16: three batches whose losses are near those in float32."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import pytest
import test_cocola_training
import test_consistency_distillation
import test_flow_matching
import test_r3gan
import test_streaming_distillation
import toy_rollouts
from lightning.pytorch import LightningModule, Trainer
from test_codec_adversary import small_adversary, small_training
from torch.utils.data import DataLoader
from toy_latents import CountingData, make_trainer

from datamodules.stem_audio import StemAudioDataModule

BATCHES = 3
FARTHEST = {"adversary": 0.3, "StreamingDistillation": 0.06}
"""Largest difference of a loss, as a share of it; 2 % where nothing is said, bf16 rounds to 0.4 %. The adversary judges
the sound of a codec that was trained for one step, whose magnitudes are exponentials of what is rounded; in streaming
distillation, what is rounded is played on, in many steps and blocks of untrained networks."""

Parts = tuple[LightningModule, Any]


def cocola(root: Path, songs: Path) -> Parts:
    batches = DataLoader([test_cocola_training.batch()] * BATCHES, batch_size=None)
    return test_cocola_training.recipe(str(root / "cocola.safetensors")), batches


def codec(root: Path, songs: Path) -> Parts:
    data = StemAudioDataModule(str(songs), str(root / "cache"), 22050, 2, 8192, 2, validation_crops=2)
    return small_training(root, small_adversary(start_iteration=1)), data


def flow_data() -> CountingData:
    return CountingData(BATCHES, test_flow_matching.CONTEXT + test_flow_matching.BLOCK)


RECIPES: dict[str, Callable[[Path, Path], Parts]] = {
    "R3GAN": lambda root, songs: (test_r3gan.make_module(penalty_every=1), test_r3gan.data(BATCHES)),
    "FlowMatching": lambda root, songs: (test_flow_matching.make_module(), flow_data()),
    "ARCForcing": lambda root, songs: (
        toy_rollouts.make_module(penalty_weight=1.0),
        toy_rollouts.data(batches=BATCHES),
    ),
    "ConsistencyDistillation": lambda root, songs: (
        test_consistency_distillation.make_module(),
        test_consistency_distillation.data(BATCHES),
    ),
    "StreamingDistillation": lambda root, songs: (
        test_streaming_distillation.make_module(),
        test_streaming_distillation.data(BATCHES),
    ),
    "CocolaTraining": cocola,
    "CodecTraining": codec,
}


class Losses(lightning.Callback):
    """The loss of every step, with the name of the network that it moves."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, float]] = []

    def on_before_optimizer_step(self, trainer: Trainer, module: Any, optimizer: Any) -> None:
        name, loss = module._stepping
        self.steps.append((name, float(loss)))


@pytest.mark.filterwarnings("ignore:.*in eval mode.*")
@pytest.mark.parametrize("recipe", RECIPES)
def test_losses_stay_near_those_in_float32(recipe: str, rendered_songs: Path, tmp_path: Path) -> None:
    traces = []
    for precision in ("32-true", "bf16-mixed"):
        module, data = RECIPES[recipe](tmp_path, rendered_songs)
        losses = Losses()
        trainer = make_trainer(tmp_path, precision=precision, callbacks=[losses], limit_train_batches=BATCHES)
        trainer.fit(module, data)
        traces.append(losses.steps)
    exact, rough = traces
    assert len(exact) >= BATCHES
    assert [name for name, _ in exact] == [name for name, _ in rough]
    for (name, loss), (_, found) in zip(exact, rough, strict=True):
        assert math.isfinite(found)
        assert found == pytest.approx(loss, rel=FARTHEST.get(name, FARTHEST.get(recipe, 0.02))), name
    assert exact != rough, "bf16 was not used"
