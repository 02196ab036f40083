"""Learning to follow sketches: what is drawn of the targets' curves, and what the recipe does with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from toy_latents import CHANNELS, CountingData, ToyCodec, make_batch, make_trainer, same

from lightning_modules import FlowMatching
from livejam.batch import AccompanimentBatch
from livejam.errors import UserError
from livejam.networks import ConditionedTransformer, DiffusionTransformer, EncoderDecoder, TagEncoder, Unconditional
from livejam.sampling import Euler
from livejam.sketch import CHANNELS as CONTROL_CHANNELS
from livejam.sketch import SketchAnalysis, SketchTraining, unpacked
from livejam.systems.context import RoutedContext

CONTEXT, BLOCK = 12, 4
ANALYSIS = SketchAnalysis(window_seconds=0.02, windows=4)
SKETCH = SketchTraining(ANALYSIS, whole_dropout=0.1)


def curves_of(batch: AccompanimentBatch) -> Tensor:
    return ANALYSIS.at(ToyCodec().spec)(batch.target if batch.is_audio else ToyCodec().decode(batch.target))


class SketchedData(CountingData):
    """Batches with the curves of their targets, as a bank gives them."""

    def on_before_batch_transfer(self, batch: AccompanimentBatch, dataloader_idx: int) -> AccompanimentBatch:
        return batch if batch.is_audio else replace(batch, sketch_BTP=curves_of(batch).half())


def make_module(sketch: SketchTraining | None = SKETCH, **changes: Any) -> FlowMatching:
    torch.manual_seed(0)
    controls = None if sketch is None else list(CONTROL_CHANNELS)
    network = DiffusionTransformer(
        CHANNELS,
        16,
        2,
        2,
        CONTEXT,
        BLOCK,
        prompt_width=8,
        mix_channels=CHANNELS,
        mask=EncoderDecoder(CONTEXT),
        sketch_channels=controls,
    )
    parts: dict[str, Any] = {
        "context_mode": RoutedContext(),
        "sampler": Euler(2),
        "cutoff_blocks": [0, 1],
        "optimizer": lambda p: torch.optim.AdamW(p, lr=3e-3),
        "ema_decay": 0.9,
        "sketch": sketch,
    }
    return FlowMatching(ConditionedTransformer(network, TagEncoder(8)), ToyCodec(), **(parts | changes))


def fit(module: FlowMatching, root: Path, batches: int = 4, **options: Any) -> FlowMatching:
    make_trainer(root, **options).fit(module, SketchedData(batches, frames=CONTEXT + BLOCK))
    return module


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 2**31), st.floats(0, 1), st.floats(0, 1), st.tuples(*[st.floats(0, 1)] * 3), st.integers(1, 13))
def test_whatever_is_left_out_is_zero_and_says_so(
    seed: int, whole: float, partial: float, controls: tuple[float, float, float], widest: int
) -> None:
    training, curves_BTP = (
        SketchTraining(ANALYSIS, whole, partial, controls, (widest, widest, widest)),
        curves_of(make_batch(20, 6, seed)),
    )
    asked = training.draw(curves_BTP, torch.Generator().manual_seed(seed))
    again = training.draw(curves_BTP, torch.Generator().manual_seed(seed))
    assert torch.equal(asked.values_BTK, again.values_BTK)
    assert torch.equal(asked.values_BTK, asked.values_BTK.clamp(0, 1))
    kept_BTK = asked.mask_BTG.repeat_interleave(torch.tensor(CONTROL_CHANNELS), dim=-1)
    assert torch.equal(asked.values_BTK * kept_BTK, asked.values_BTK)
    flips_BG = asked.mask_BTG.diff(dim=1).abs().sum(dim=1)
    assert (flips_BG <= 1).all(), "a sketch begins or ends once in a window"


def test_dropouts_are_what_they_say() -> None:
    curves_BTP, rng = curves_of(make_batch(20, 6, 1)), torch.Generator().manual_seed(0)
    exact = SketchTraining(ANALYSIS, 0.0, 0.0, (0.0, 0.0, 0.0), (1, 1, 1)).draw(curves_BTP, rng)
    assert torch.equal(exact.values_BTK, unpacked(curves_BTP).values_BTK)
    assert exact.mask_BTG.all()
    assert not SketchTraining(ANALYSIS, 1.0).draw(curves_BTP, rng).mask_BTG.any()
    for control in range(3):
        shares: Any = tuple(float(place == control) for place in range(3))
        mask_BTG = SketchTraining(ANALYSIS, 0.0, 0.0, shares).draw(curves_BTP, rng).mask_BTG
        assert mask_BTG.mean(dim=(0, 1)).tolist() == [float(place != control) for place in range(3)]
    many = SketchTraining(ANALYSIS, 0.3, 0.0, (0.5, 0.0, 0.0)).draw(curves_BTP[:1].expand(4000, -1, -1), rng)
    assert (many.mask_BTG[:, 0].mean(dim=0) - torch.tensor([0.35, 0.7, 0.7])).abs().max() < 0.03


def test_every_control_has_filters_of_its_own() -> None:
    """With a widest filter of one frame a control stays exact, whatever the others' are."""
    rng = torch.Generator().manual_seed(1)
    curves_BTP = torch.rand(16, 40, ANALYSIS.numbers, generator=rng)
    curves_BTP[..., 2 : 2 + ANALYSIS.kept_notes] = torch.randint(30, 90, (16, 40, ANALYSIS.kept_notes), generator=rng)
    exact = unpacked(curves_BTP).values_BTK.split(CONTROL_CHANNELS, dim=-1)
    for smoothed in range(3):
        widest = tuple(13 if control == smoothed else 1 for control in range(3))
        asked = SketchTraining(ANALYSIS, 0.0, 0.0, (0.0, 0.0, 0.0), widest).draw(curves_BTP, rng)
        same_as = [
            torch.equal(a, b) for a, b in zip(asked.values_BTK.split(CONTROL_CHANNELS, dim=-1), exact, strict=True)
        ]
        assert same_as == [control != smoothed for control in range(3)]


@pytest.mark.parametrize(
    "wrong",
    [
        {"whole_dropout": 1.5},
        {"control_dropout": (0.1, 0.1)},
        {"widest_median": (3, 0, 3)},
        {"widest_median": (3, 3)},
        {"partial_dropout": -0.1},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UserError):
        SketchTraining(ANALYSIS, **wrong)


def test_every_control_is_learnt_and_a_resumed_run_is_the_same(tmp_path: Path) -> None:
    module = fit(make_module(), tmp_path / "one")
    assert all(weight.abs().max() > 0 for weight in module.generator.transformer.project_sketch.parameters())
    assert same(fit(make_module(), tmp_path / "two").state_dict(), module.state_dict())


def test_a_base_that_follows_no_sketch_is_where_it_begins(tmp_path: Path) -> None:
    base = fit(make_module(sketch=None), tmp_path)
    path = tmp_path / "base.ckpt"
    base.trainer.save_checkpoint(path)
    module = make_module(base_checkpoint=str(path))
    module.adopt_statistics(module.base)
    module.hear_silence()
    base.eval(), module.eval()
    batch = make_batch(40, 2, 3, is_audio=True)
    plain_BAN = base.played(base.accompanist(), batch)
    assert torch.allclose(module.played(module.accompanist(), batch), plain_BAN, atol=1e-6), "asked, but not learnt yet"


def test_validation_asks_for_the_curves_of_the_true_stem() -> None:
    module, batch = make_module(ema_decay=None).eval(), make_batch(40, 2, 3, is_audio=True)
    with torch.no_grad():
        for weight in module.generator.transformer.project_sketch.parameters():
            weight.normal_(generator=torch.Generator().manual_seed(1))
    own_BAN = module.validation_step(batch, 0).generated_BAN
    louder_BAN = module.validation_step(replace(batch, target=8 * batch.target), 0).generated_BAN
    assert (own_BAN - louder_BAN).abs().max() > 1e-3


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    module = make_module()
    with pytest.raises(UserError, match=r"data.init_args.sketch"):
        make_trainer(tmp_path).fit(module, CountingData(1, frames=CONTEXT + BLOCK))
    with pytest.raises(UserError, match="sketch_channels"):
        FlowMatching(module.generator, ToyCodec(), RoutedContext(), Euler(2), [0])
    with pytest.raises(UserError, match="sketch_channels"):
        FlowMatching(make_module(sketch=None).generator, ToyCodec(), RoutedContext(), Euler(2), [0], sketch=SKETCH)


def test_guidance_by_the_sketch_needs_items_without_one(tmp_path: Path) -> None:
    side = Unconditional(without_prompt=False, without_mix=False, without_sketch=True)
    guided = {"sampler": Euler(2, guidance=2.0), "unconditional": side, "prompt_dropout": 0.0, "mix_dropout": 0.0}
    for share, trained in ((0.1, True), (0.0, False)):
        module = make_module(SketchTraining(ANALYSIS, share), **guided)
        trainer = make_trainer(tmp_path)
        if trained:
            trainer.fit(module, SketchedData(1, frames=CONTEXT + BLOCK))
        else:
            with pytest.raises(UserError, match="without sketch"):
                trainer.fit(module, SketchedData(1, frames=CONTEXT + BLOCK))
