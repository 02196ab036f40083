"""COCOLA's recipe: its loss falls, its negatives are what they say, and a bank holds what the metric sees.

Shapes: B batch, T frames, C levels, S stems, A audio channels, N audio samples.
"""

from __future__ import annotations

import math
from pathlib import Path

import lightning
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lightning_modules.cocola_training import CocolaTraining, pooled_contrast
from lightning_modules.spectrogram_latents import SpectrogramLatents, as_spectrogram
from livejam.batch import AccompanimentBatch
from livejam.errors import UserError
from metrics.cocola import Cocola, PocketEncoder
from metrics.cocola_spectrogram import FRAMES, harmonic_percussive_db, relative_db
from metrics.cocola_weights import load_cocola, save_cocola

SIZE = 4


def batch(crop_frames: int = 560, size: int = SIZE) -> AccompanimentBatch:
    """Pairs that share a rhythm of their own, as levels."""
    rng = torch.Generator().manual_seed(5)
    pulse_BT1 = torch.rand(size, crop_frames // 20 + 1, 1, generator=rng).repeat_interleave(20, 1)[:, :crop_frames]
    noise = [10 * torch.randn(size, crop_frames, 128, generator=rng) for _ in range(2)]
    mix_BTC, target_BTC = (part - 60 + 40 * pulse_BT1 for part in noise)
    return AccompanimentBatch(
        mix=mix_BTC,
        target=target_BTC,
        is_audio=False,
        instrument_B=torch.zeros(size, dtype=torch.int64),
        active_BT=torch.ones(size, crop_frames, dtype=torch.bool),
        prompt=("",) * size,
        song=tuple(str(i) for i in range(size)),
        start_seconds=(0.0,) * size,
        annotations=(None,) * size,
    )


def recipe(path: str, **options: object) -> CocolaTraining:
    torch.manual_seed(0)
    network = Cocola(PocketEncoder(dimension=16, channels=16, curves=8, harmonics=20, dropout=0.0), 16)
    optimizer = lambda parameters: torch.optim.AdamW(parameters, lr=3e-3)  # noqa: E731
    return CocolaTraining(network, optimizer, export_path=path, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("published", [False, True])
def test_it_learns_and_exports(tmp_path_factory: pytest.TempPathFactory, published: bool) -> None:
    folder = tmp_path_factory.mktemp("run")
    options = {"late_stems": None, "pooled_weight": 0.0, "parts_per_item": True} if published else {}
    module = recipe(str(folder / "small.safetensors"), **options)
    trainer = lightning.Trainer(
        default_root_dir=folder,
        max_epochs=8,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    first = [float(loss) for loss in losses(module)]
    loader = DataLoader([batch()] * 5, batch_size=None)
    trainer.fit(module, loader, DataLoader([batch()], batch_size=None))
    assert sum(float(loss) for loss in losses(module)) < 0.6 * sum(first)
    assert published or trainer.callback_metrics["val/auc_foreign"] > 0.8
    loaded = load_cocola(folder / "small.safetensors")
    assert loaded.dimension == 16


def losses(module: CocolaTraining) -> list[Tensor]:
    """Loss on one batch, for the parts as they are drawn in three steps."""
    module.log = module.log_dict = lambda *args, **options: None  # type: ignore[method-assign, assignment]
    with torch.no_grad():
        found = [module.training_step(batch(), 0)]
    del module.log, module.log_dict
    return found


def test_cheats_are_negatives_only_where_they_are_asked_for() -> None:
    one, rng = batch(), torch.Generator().manual_seed(0)
    kinds = {}
    for cheats, late in ((False, None), (False, 30), (True, None), (True, 30)):
        module = recipe("unused", cheats=cheats)
        kinds[cheats, late] = [len(windows) for windows in module._negatives(one.mix, one.target, late, rng)]
    assert kinds == {
        (False, None): [],
        (False, 30): [SIZE, 1],
        (True, None): [SIZE],
        (True, 30): [SIZE, 1, SIZE, SIZE],
    }
    _, _, late_mix_B2FT, noise_B2FT = module._negatives(one.mix, one.target, 30, rng)
    assert torch.allclose(late_mix_B2FT, relative_db(as_spectrogram(one.mix[:, 30 : 30 + FRAMES])))
    spread_F = noise_B2FT[0, 0].mean(-1)
    assert float(spread_F.max() - spread_F.min()) < 12, "white noise is as loud in every band but for their widths"


@pytest.mark.parametrize("cheats", [False, True])
def test_validation_scores_cheats_where_they_are_negatives(cheats: bool) -> None:
    module, one = recipe("unused", cheats=cheats).eval(), batch()
    with torch.no_grad():
        module.validation_step(one, 0)
        heard_BD = module.cocola.embed(relative_db(as_spectrogram(one.mix[:, :FRAMES])))
    assert set(module._scores) == {"true", "late", "foreign"} | ({"echo", "noise"} if cheats else set())
    if cheats:
        torch.testing.assert_close(
            module._scores["echo"][0], module.cocola.similarity.pairwise(heard_BD, heard_BD), atol=1e-2, rtol=0
        )
        assert module._scores["noise"][0].shape == (SIZE,)


def test_it_begins_with_trained_weights(tmp_path: Path) -> None:
    trained = recipe("unused").cocola
    with torch.no_grad():
        trained.similarity.w.add_(1)
    save_cocola(trained, tmp_path / "trained.safetensors", {})
    started = recipe("unused", initial_weights=str(tmp_path / "trained.safetensors")).cocola
    assert torch.allclose(started.similarity.w, trained.similarity.w, atol=1e-3)
    assert started.similarity.w.requires_grad
    with pytest.raises(UserError, match="of another network"):
        recipe("unused", initial_weights="pocket")


def test_late_stems_are_late_by_what_is_asked_for() -> None:
    module = recipe("unused", late_stems=(0.1, 0.5))
    for seed in range(50):
        begin, late = module._moments(600, torch.Generator().manual_seed(seed))
        assert late is not None
        assert 10 <= abs(late - begin) <= 50
        assert 0 <= min(begin, late) <= max(begin, late) <= 600 - FRAMES


def test_too_short_items_are_refused() -> None:
    with pytest.raises(UserError, match=r"crop_frames at least 561"):
        recipe("unused", late_stems=(0.1, 0.6))._moments(505, torch.Generator())


def test_delays_must_make_sense() -> None:
    with pytest.raises(UserError, match="late_stems"):
        recipe("unused", late_stems=(0.5, 0.1))


def test_pooled_contrast_compares_with_every_wrong_pair() -> None:
    logits_BS = torch.tensor([[2.0, 0.0, 1.0], [-1.0, 3.0, 0.5]])
    wrong = sum(math.exp(x) for x in (0.0, 1.0, -1.0, 0.5))
    expected = sum(-math.log(math.exp(true) / (math.exp(true) + wrong)) for true in (2.0, 3.0)) / 2
    assert float(pooled_contrast(logits_BS)) == pytest.approx(expected, rel=1e-5)
    # a softmax per mix would not see that one mix's scores lie higher than the other's
    assert pooled_contrast(logits_BS + torch.tensor([[5.0], [0.0]])) > pooled_contrast(logits_BS)


def test_latents_are_the_metrics_spectrograms() -> None:
    """In pieces, and but for the frame at the very end."""
    rng = torch.Generator().manual_seed(2)
    audio_BAN = 0.1 * torch.randn(2, 1, 160 * 1300, generator=rng)
    levels_BTC = SpectrogramLatents().encode(audio_BAN)
    assert levels_BTC.shape == (2, 1300, 128)
    whole_B2FT = harmonic_percussive_db(audio_BAN[:, 0])[..., :-1]
    assert float((as_spectrogram(levels_BTC) - whole_B2FT).abs().max()) < 0.1


def test_latents_cannot_be_played() -> None:
    with pytest.raises(UserError, match="cannot be played"):
        SpectrogramLatents().decode(torch.zeros(1, 4, 128))
