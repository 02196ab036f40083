"""The recipe on a tiny codec and tiny synthetic latents: what must hold whatever the data."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import pytest
import torch
from toy_latents import CHANNELS, CountingData, ToyCodec, make_batch, make_trainer, same

from lightning_modules import FlowMatching
from livejam.accompanist import Controls, accompany
from livejam.batch import AccompanimentOutput
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.networks import (
    BlockCausal,
    ConditionedTransformer,
    DiffusionTransformer,
    EncoderDecoder,
    TagEncoder,
    Unconditional,
)
from livejam.networks.diffusion_masks import AttentionMask
from livejam.sampling import Euler, NoiseFree
from livejam.systems.context import InpaintedContext, RoutedContext
from metrics.lag_copy import Horizon, horizon_of

CONTEXT, BLOCK = 12, 4


def make_module(
    context: int = CONTEXT,
    mask: AttentionMask | None = None,
    width: int = 16,
    codec: Codec | None = None,
    **settings: Any,
) -> FlowMatching:
    torch.manual_seed(0)
    block = CONTEXT + BLOCK - context
    network = DiffusionTransformer(
        CHANNELS, width, 2, 2, context, block, prompt_width=8, mix_channels=CHANNELS, mask=mask
    )
    fast: dict[str, Any] = {
        "context_mode": RoutedContext(),
        "sampler": Euler(2),
        "cutoff_blocks": [0, 1] if context else [1],
        "optimizer": lambda p: torch.optim.AdamW(p, lr=3e-3),
        "ema_decay": 0.9,
        "warmup_iterations": 2,
    }
    return FlowMatching(ConditionedTransformer(network, TagEncoder(8)), codec or ToyCodec(), **(fast | settings))


def fit(module: FlowMatching, root: Path, batches: int = 6, **settings: Any) -> FlowMatching:
    make_trainer(root, **settings).fit(module, CountingData(batches, frames=CONTEXT + BLOCK))
    return module


VARIANTS: dict[str, dict[str, Any]] = {
    "base": {"context": 0},
    "outpainting": {},
    "encdec": {"mask": EncoderDecoder(CONTEXT)},
    "blockcausal": {"mask": BlockCausal(BLOCK, CONTEXT // BLOCK)},
    "lookahead": {"context_mode": InpaintedContext(), "cutoff_blocks": [0, -1, 1]},
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_one_recipe_trains_and_plays_every_variant(variant: str, tmp_path: Path) -> None:
    module = make_module(**VARIANTS[variant])
    before = {name: value.clone() for name, value in module.generator.named_parameters()}
    fit(module, tmp_path, batches=4)
    assert int(module.iteration) == 4
    changed = {name for name, value in module.generator.named_parameters() if not torch.equal(value, before[name])}
    assert "transformer.project_out.weight" in changed
    assert "transformer.project_given.weight" in changed, "the mix enters here"
    context_weights = module.generator.transformer.project_given.weight[:, : CHANNELS + 1]
    assert bool(context_weights.any()) == (variant in ("outpainting", "encdec", "blockcausal"))
    output = module.eval().validation_step(make_batch(40, 3, seed=7, is_audio=True), 0)
    assert isinstance(output, AccompanimentOutput)
    assert output.generated_BAN.shape == output.target_BAN.shape
    assert output.generated_BAN.isfinite().all()


def test_validation_is_what_a_server_would_play(tmp_path: Path) -> None:
    module = fit(make_module(mask=EncoderDecoder(CONTEXT)), tmp_path, batches=2).eval()
    batch = make_batch(40, 2, seed=3, is_audio=True)
    with torch.no_grad():
        output = module.validation_step(batch, 0)
        mix_BTC = module.codec.encode(batch.mix)
        seed_B = torch.tensor([zlib.crc32(f"song{i}@0.000".encode()) for i in range(2)])
        controls = Controls(batch.instrument_B, seed_B)
        played_BTC = accompany(module.accompanist(), mix_BTC, controls, module.silence_C)
    assert torch.equal(output.generated_BAN, module.codec.decode(played_BTC))


@pytest.mark.parametrize("cutoff", [1, 0, -1])
def test_a_test_also_says_what_the_model_expects(tmp_path: Path, cutoff: int) -> None:
    """The estimate of one step, played block by block without noise; and the horizon of the cutoff that is played."""
    module = fit(make_module(mask=EncoderDecoder(CONTEXT), cutoff_blocks=[cutoff]), tmp_path, batches=2).eval()
    batch = make_batch(40, 2, seed=3, is_audio=True)
    with torch.no_grad():
        tested, validated = module.test_step(batch, 0), module.validation_step(batch, 0)
        player = module.accompanist().with_sampler(NoiseFree())
        played = [module.played(player, batch) for _ in range(2)]
    assert torch.equal(tested.generated_BAN, validated.generated_BAN)
    assert tested.estimate_BAN is not None
    assert torch.equal(tested.estimate_BAN, played[0])
    assert torch.equal(*played)
    assert validated.estimate_BAN is None
    hop = module.codec.spec.hop_samples
    assert horizon_of(module.accompanist()) == Horizon(BLOCK * hop, (1 - cutoff) * BLOCK * hop)


def test_learns_what_the_mix_tells(tmp_path: Path) -> None:
    """The target is a function of the same frame of the mix, which is heard at cutoff +1."""
    module = make_module(
        mask=EncoderDecoder(CONTEXT), cutoff_blocks=[1], mix_dropout=0.0, mix_partial_dropout=0.0, width=32,
        optimizer=lambda p: torch.optim.AdamW(p, lr=1e-2), ema_decay=0.97,
    )  # fmt: skip
    fit(module, tmp_path, batches=250).eval()
    batch = make_batch(40, 4, seed=99, is_audio=True)
    with torch.no_grad():
        played, wanted = module.validation_step(batch, 0).generated_BAN, batch.target
    error = (played - wanted).square().mean() / wanted.var()
    swapped = (played - wanted.roll(1, 0)).square().mean() / wanted.var()
    assert error < 0.5 < swapped


def _saved_base(root: Path, **settings: Any) -> tuple[FlowMatching, Path]:
    base = make_module(context=0, **settings)
    trainer = make_trainer(root)
    trainer.fit(base, CountingData(3, frames=CONTEXT + BLOCK))
    trainer.save_checkpoint(root / "base.ckpt")
    return base, root / "base.ckpt"


def test_a_fine_tune_begins_as_its_base(tmp_path: Path) -> None:
    base, path = _saved_base(tmp_path)
    assert base.ema_generator is not None
    tuned = make_module(mask=EncoderDecoder(CONTEXT), base_checkpoint=str(path))
    assert same(dict(tuned.generator.state_dict()), dict(base.ema_generator.state_dict()))
    assert same(dict(tuned.generator.state_dict()), dict(tuned.ema_generator.state_dict()))
    fit(tuned, tmp_path / "tuned", batches=2)


def test_a_base_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    _, path = _saved_base(tmp_path)
    with pytest.raises(UserError, match=r"does not fit this generator.*set width, depth and encoders"):
        make_module(width=8, base_checkpoint=str(path))
    with pytest.raises(UserError, match=r"use different codecs.*hop_samples"):
        make_module(codec=ToyCodec(samples=3), base_checkpoint=str(path))
    with pytest.raises(UserError, match="there is no checkpoint"):
        make_module(base_checkpoint=str(tmp_path / "none.ckpt"))


def test_the_base_brings_its_normalisation(tmp_path: Path) -> None:
    """A published base says neither which weights its codec has nor that its latents were normalised."""
    _, path = _saved_base(tmp_path)
    saved = torch.load(path, weights_only=True)
    saved["livejam"] |= {
        "latents_hash": None,
        "latent_mean_C": torch.zeros(CHANNELS),
        "latent_std_C": torch.ones(CHANNELS),
    }
    torch.save({"state_dict": saved["state_dict"], "livejam": saved["livejam"]}, path)
    tuned = make_module(base_checkpoint=str(path))
    make_trainer(tmp_path / "tuned").fit(tuned, CountingData(2, frames=CONTEXT + BLOCK, std=2.0))
    assert torch.equal(tuned.latent_std_C, torch.ones(CHANNELS))
    assert not tuned.latent_mean_C.any()


def test_wrong_settings_are_refused_before_any_compute(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cutoff_blocks is 2, outside of the window"):
        make_module(cutoff_blocks=[0, 2])
    with pytest.raises(UserError, match="cutoff_blocks is -4, outside of the window"):
        make_module(play_cutoff_blocks=-4)
    with pytest.raises(UserError, match="cutoff_blocks is empty"):
        make_module(cutoff_blocks=[])
    with pytest.raises(UserError, match=r"set data.init_args.crop_frames to 16"):
        make_trainer(tmp_path).fit(make_module(), CountingData(2, frames=15))


def test_divergence_stops_before_the_weights_are_touched(tmp_path: Path) -> None:
    module = make_module()
    module.generator.transformer.after.register_forward_hook(lambda m, i, o: o * float("inf"))
    before = {name: value.clone() for name, value in module.generator.named_parameters()}
    with pytest.raises(UserError, match="training diverged at iteration 0"):
        fit(module, tmp_path)
    assert all(torch.equal(value, before[name]) for name, value in module.generator.named_parameters())


@pytest.mark.parametrize(
    ("unconditional", "settings"),
    [
        (Unconditional(True, True), {"unconditional_dropout": 0.3, "mix_dropout": 0.05, "prompt_dropout": 0.1}),
        (Unconditional(True, False), {"unconditional_dropout": 0.0, "mix_dropout": 0.05, "prompt_dropout": 0.3}),
        (Unconditional(False, True), {"unconditional_dropout": 0.0, "mix_dropout": 0.3, "prompt_dropout": 0.1}),
    ],
    ids=str,
)
def test_guidance_is_trained_as_it_is_used(unconditional: Unconditional, settings: dict[str, float]) -> None:
    """As often as said, a window is told just what the unconditional side is told in playing."""
    module = make_module(unconditional=unconditional, mix_partial_dropout=0.0, **settings)
    assert module.accompanist()._unconditional == unconditional
    module._rng = torch.Generator().manual_seed(0)
    conditions = module._window(make_batch(CONTEXT + BLOCK, 3000, seed=2)).conditions
    assert conditions.prompt_mask_BP is not None
    assert conditions.mix_mask_BT is not None
    asked_B, hears_B = conditions.prompt_mask_BP.any(1), conditions.mix_mask_BT.any(1)
    as_used_B = (asked_B != unconditional.without_prompt) & (hears_B != unconditional.without_mix)
    others = 1 - settings["mix_dropout" if unconditional.without_prompt else "prompt_dropout"]
    expected = 0.3 + 0.7 * 0.05 * 0.1 if settings["unconditional_dropout"] else 0.3 * others
    assert float(as_used_B.float().mean()) == pytest.approx(expected, abs=0.03)


def test_guidance_away_from_what_is_never_trained_is_refused(tmp_path: Path) -> None:
    for unconditional, settings, words in (
        (Unconditional(True, True), {}, "prompt and mix"),
        (Unconditional(True, True), {"mix_dropout": 0.0, "prompt_dropout": 0.0}, "prompt and mix"),
        (Unconditional(True, False), {"prompt_dropout": 0.0}, "prompt"),
        (Unconditional(False, True), {"mix_dropout": 0.0}, "mix"),
    ):
        module = make_module(unconditional=unconditional, sampler=Euler(2, guidance=3.0), **settings)
        with pytest.raises(UserError, match=rf"without {words}, but 0.[04] % of .*set unconditional_dropout"):
            fit(module, tmp_path)
        fit(make_module(unconditional=unconditional, **settings), tmp_path, batches=1)  # does not guide
        trained = settings | {"unconditional_dropout": 0.1}
        fit(make_module(unconditional=unconditional, sampler=Euler(2, guidance=3.0), **trained), tmp_path, batches=1)


def test_dropouts_drop_as_often_as_they_say(tmp_path: Path) -> None:
    module = make_module(cutoff_blocks=[-1, 0, 1], mix_dropout=0.1, mix_partial_dropout=0.3)
    module._rng = torch.Generator().manual_seed(0)
    mix_BTC = torch.randn(6000, CONTEXT + BLOCK, CHANNELS)
    known_BTC, mask_BT = module._mix_condition(mix_BTC)
    assert torch.equal(known_BTC, mix_BTC * mask_BT[..., None])
    heard_B = mask_BT.sum(1)
    first_B = mask_BT.argmax(1)
    # 3 of the 9 pairs of start and stop leave nothing
    assert float((heard_B == 0).float().mean()) == pytest.approx(0.1 + 0.9 * 0.3 * 3 / 9, abs=0.02), (
        "3 of 9 pairs of start and stop"
    )
    whole_B = (heard_B > 0) & (first_B == 0)
    assert float(whole_B.float().mean()) == pytest.approx(0.9 * 0.7, abs=0.02)
    stops = (first_B + heard_B)[heard_B > 0]
    assert set(stops.tolist()) == {CONTEXT - BLOCK, CONTEXT, CONTEXT + BLOCK}

    given = RoutedContext(0.2, 0.3).draw(mix_BTC, module.generator.transformer, module._rng)
    assert given.context is not None
    context_BTC, context_mask_BT = given.context
    assert torch.equal(context_mask_BT, (~given.target_BT).float()), "dropped context counts as given"
    assert not context_BTC[:, CONTEXT:].any()
    kept_BT = (context_BTC != 0).any(-1)
    kept_B = kept_BT.sum(1)
    index_T = torch.arange(CONTEXT + BLOCK)
    newest_BT = (index_T >= CONTEXT - kept_B[:, None]) & (index_T < CONTEXT)
    assert torch.equal(kept_BT, newest_BT), "the oldest blocks are dropped: what is left was played last"
    assert torch.equal(context_BTC, mix_BTC * newest_BT[..., None])
    share = {n: float((kept_B == n).float().mean()) for n in (0, BLOCK, 2 * BLOCK, CONTEXT)}
    assert share[CONTEXT] == pytest.approx(0.5, abs=0.02)
    assert share[0] == pytest.approx(0.2 + 0.1, abs=0.02)
    assert share[BLOCK] == pytest.approx(0.1, abs=0.02)
    assert share[2 * BLOCK] == pytest.approx(0.1, abs=0.02)
