"""The recipe on a tiny codec and tiny synthetic latents: what must hold whatever the data."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import toy_latents
from lightning.pytorch import Trainer
from torch import Tensor
from toy_latents import CountingData, ToyCodec, make_trainer, same

from lightning_modules import R3GAN
from livejam.accompanist import Controls, accompany
from livejam.batch import AccompanimentBatch, AccompanimentOutput
from livejam.codecs.codec import Codec
from livejam.errors import UserError
from livejam.networks import CausalTransformer, SequenceDiscriminator

FRAMES = 16


def frame_codec(gain: float = 2.0, name: str = "frame") -> ToyCodec:
    """A codec whose latent is the frame itself, scaled."""
    return ToyCodec(name, channels=6, samples=1, gain=gain)


def make_batch(frames: int, size: int, seed: int, is_audio: bool = False) -> AccompanimentBatch:
    return toy_latents.make_batch(frames, size, seed, is_audio, frame_codec())


def data(batches: int = 12, frames: int = FRAMES + 2, **settings: Any) -> CountingData:
    return CountingData(batches, frames, codec=frame_codec(), **settings)


def make_module(width: int = 16, codec: Codec | None = None, **settings: Any) -> R3GAN:
    torch.manual_seed(0)
    causal = settings.get("anticipation_frames", 1) >= 0
    known = settings.pop("anticipations", 0)
    generator = CausalTransformer(
        6, 4, width, 2, 2, window_frames=FRAMES, causal=causal, class_channels=8, anticipations=known
    )
    discriminator = SequenceDiscriminator(
        6, 16, levels=3, blocks_per_level=1, groups=4, residual_gain=0.3, anticipations=settings.pop("judged", known)
    )
    fast: dict[str, Any] = {"warmup_iterations": 2, "penalty_every": 3, "ema_decay": 0.9, "penalty_step": 0.05}
    return R3GAN(generator, discriminator, codec or frame_codec(), **(fast | settings))


EXPECTED = {
    "train/score/real",
    "train/score/fake",
    "train/advantage",
    "train/target_advantage",
    "train/penalty_weight",
    "train/r1",
    "train/r2",
    "train/gradient_norm/generator",
    "train/gradient_norm/discriminator",
    "train/loss/generator",
    "train/loss/discriminator",
    "train/mismatch",
    "train/regression",
    "train/spread",
    "train/collapse_alarm",
    "train/ema",
}


@pytest.mark.parametrize(
    "settings", [{}, {"mismatch_weight": 1.0, "reuse_fakes": True, "ema_decay": None, "gradient_clip": 0.5}]
)
def test_both_networks_learn_and_everything_is_logged(tmp_path: Path, settings: dict[str, Any]) -> None:
    module = make_module(**settings)
    before = copy.deepcopy(module.state_dict())
    trainer = make_trainer(tmp_path)
    trainer.fit(module, data())
    after = module.state_dict()
    assert int(module.iteration) == 12
    assert {name for name in trainer.logged_metrics if name.startswith("train/")} == EXPECTED
    assert all(math.isfinite(value) for value in trainer.logged_metrics.values())
    for network in ("generator", "discriminator"):
        changed = [
            name for name in after if name.startswith(network + ".") and not torch.equal(after[name], before[name])
        ]
        learnable = [name for name, _ in getattr(module, network).named_parameters()]
        assert len(changed) >= len(learnable) - 1
    assert torch.equal(after["codec.gain"], before["codec.gain"])
    assert module.penalty_weight != 5.0


def test_regression_pulls_the_generator_and_leaves_the_discriminator_alone(tmp_path: Path) -> None:
    """After one step of plain gradient descent at lr 1 the weights differ by the weighted gradient of the L1 alone."""
    sgd = lambda p: torch.optim.SGD(p, lr=1.0)  # noqa: E731
    settings = {"generator_optimizer": sgd, "discriminator_optimizer": sgd, "warmup_iterations": 0, "ema_decay": None}

    def step(weight: float) -> R3GAN:
        module = make_module(regression_weight=weight, generator_class_dropout=0.0, **settings)
        make_trainer(tmp_path).fit(module, data(batches=1))
        return module

    plain, pulled, fresh = step(0.0), step(0.25), make_module(**settings)
    assert same(plain.discriminator.state_dict(), pulled.discriminator.state_dict())
    batch = make_batch(FRAMES + 2, 4, seed=1)
    statistics = data().latent_statistics
    mix_BTC, real_BTC = statistics.normalise(batch.mix), statistics.normalise(batch.target)
    rng = torch.Generator().manual_seed(0)
    for draw in (4, 4):
        torch.rand(draw, generator=rng)
    noise = lambda: torch.randn(4, FRAMES, 4, generator=rng)  # noqa: E731
    noise()
    fake_BTC = fresh.generator(noise(), mix_BTC[:, :FRAMES], batch.instrument_B)
    (fake_BTC - real_BTC[:, 2:]).abs().mean().backward()
    for (name, with_pull), without, moved in zip(
        pulled.generator.named_parameters(), plain.generator.parameters(), fresh.generator.parameters(), strict=True
    ):
        gradient = torch.zeros_like(moved) if moved.grad is None else moved.grad
        torch.testing.assert_close(without - with_pull, 0.25 * gradient, atol=1e-6, rtol=1e-4, msg=name)


def test_every_item_is_played_at_an_anticipation_of_its_own(tmp_path: Path) -> None:
    """What is judged lies where the item's anticipation puts it, and both networks are told."""
    module, told = make_module(anticipations=5, ema_decay=None), []
    assert module.crop_frames == FRAMES + 5
    judged: list[Any] = []
    hidden = module.generator.hidden
    module.generator.hidden = lambda *heard: told.append(heard[3]) or hidden(*heard)  # type: ignore[func-returns-value,method-assign]
    module.discriminator.register_forward_hook(lambda _, inputs, out: judged.append(inputs))
    batches: list[AccompanimentBatch] = []
    crop = module._crop
    module._crop = lambda batch: batches.append(batch) or crop(batch)  # type: ignore[func-returns-value,method-assign]
    before = copy.deepcopy(module.state_dict())
    make_trainer(tmp_path).fit(module, data(frames=FRAMES + 5))
    anticipation_B = torch.cat([rows for rows in told[::2]])
    assert set(anticipation_B.tolist()) == {0, 1, 2, 3, 4}
    statistics = data().latent_statistics
    real_BTC, mix_BTC, _, asked_B, _ = judged[0]
    size = len(batches[0])
    assert torch.equal(asked_B, told[0].repeat(2))
    for item, frames in enumerate(told[0].tolist()):
        window = slice(1 + frames, 1 + frames + FRAMES)
        assert torch.equal(real_BTC[item], statistics.normalise(batches[0].target)[item, window])
        assert torch.equal(mix_BTC[size + item], statistics.normalise(batches[0].mix)[item, window])
    for name in ("generator.anticipation_embedding.weight", "discriminator.blocks.0.anticipation_scale.weight"):
        assert (module.state_dict()[name] != before[name]).any(dim=1).all(), name


def test_the_regression_counts_less_the_further_ahead() -> None:
    module, batch = make_module(anticipations=5, regression_half_life=2.0), make_batch(FRAMES + 5, 8, seed=1)
    module._rng = torch.Generator()
    crop, fake_BTC = module._crop(batch), torch.randn(8, FRAMES, 6)
    difference_B = (fake_BTC - crop.real_BTC).abs().mean(dim=(1, 2))
    expected = sum(d * 2 ** (-a / 2) for d, a in zip(difference_B.tolist(), crop.anticipation_B.tolist(), strict=True))
    assert module._regression(crop, fake_BTC) == pytest.approx(expected / 8)
    module.regression_half_life = None
    assert module._regression(crop, fake_BTC) == pytest.approx(difference_B.mean().item())


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"anticipations": 5, "judged": 0}, r"anticipations \(5\) and the discriminator's \(0\) must be equal"),
        ({"anticipations": 5, "anticipation_frames": 5}, "the generator knows 0 to 4"),
    ],
)
def test_networks_that_are_told_differently_are_refused(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        make_module(**settings)


def test_mixed_precision_keeps_the_penalty_in_float32(tmp_path: Path) -> None:
    kinds: set[torch.dtype] = set()
    module = make_module()
    generated = module.generator.project_out.register_forward_hook(lambda *args: kinds.add(args[-1].dtype))
    judged: list[tuple[torch.dtype, torch.dtype]] = []
    module.discriminator.register_forward_hook(lambda _, inputs, out: judged.append((inputs[0].dtype, out.dtype)))
    make_trainer(tmp_path, precision="bf16-mixed").fit(module, data(batches=4))
    generated.remove()
    assert kinds == {torch.bfloat16}
    assert judged.count((torch.float32, torch.float32)) == 2, (
        "iterations 0 and 3 have a penalty, nothing else is float32"
    )
    assert all(value.dtype == torch.float32 for name, value in module._latest.items() if name in ("r1", "r2"))


def test_trains_towards_the_mix(tmp_path: Path) -> None:
    """The deterministic target is approached by gradient through the discriminator alone."""
    adam = lambda p: torch.optim.Adam(p, lr=2e-3, betas=(0.5, 0.9))  # noqa: E731
    module = make_module(generator_optimizer=adam, discriminator_optimizer=adam, anticipation_frames=-1)
    probe = make_batch(FRAMES, 8, seed=99)

    def error() -> float:
        made = module.accompanist().parallel(probe.mix, Controls(probe.instrument_B, torch.arange(8)))
        return float((made - probe.target).square().mean())

    with torch.no_grad():
        before = error()
        with torch.enable_grad():
            make_trainer(tmp_path).fit(module, data(batches=100, frames=FRAMES))
        after = error()
    assert after < 0.5 * before


def test_validation_plays_step_by_step(tmp_path: Path) -> None:
    module = make_module()
    outputs: list[AccompanimentOutput] = []

    class Collect(lightning.Callback):
        def on_validation_batch_end(self, trainer: Any, module: Any, out: Any, *_: Any) -> None:
            outputs.append(out)

    latents = data(std=3.0)
    make_trainer(tmp_path, limit_val_batches=1, callbacks=[Collect()]).validate(module, latents)
    batch, out = next(iter(latents.val_dataloader())), outputs[0]
    assert out.generated_BAN.shape == batch.mix.shape
    assert torch.equal(out.generated_BAN[..., : 2 * 6], torch.zeros(2, 1, 12)), "1 + δ frames of silence come first"
    assert out.generated_BAN[..., 12:].abs().min() > 0
    assert torch.equal(module.latent_std_C, torch.full((6,), 3.0)), "statistics come from the data module"
    # equal items get equal notes, however they are batched
    with torch.no_grad():
        rolled = module.validation_step(batch.roll(1), 5)
    assert torch.allclose(rolled.generated_BAN.roll(-1, 0), out.generated_BAN, atol=1e-6)


def test_bidirectional_upper_bound_plays_any_length() -> None:
    module = make_module(anticipation_frames=-1).eval()
    with torch.no_grad():
        out = module.validation_step(make_batch(40, 3, seed=7, is_audio=True), 0)
    assert out.generated_BAN.shape == (3, 1, 240)
    with pytest.raises(UserError, match="-1"):
        make_module(anticipation_frames=-2)


def test_ctrl_c_keeps_a_finite_checkpoint(tmp_path: Path) -> None:
    from callbacks.interrupt_checkpoint import InterruptCheckpoint

    class CtrlC(lightning.Callback):
        def on_train_batch_start(self, trainer: Trainer, module: R3GAN, batch: Any, index: int) -> None:
            if index == 5:
                raise KeyboardInterrupt

    with pytest.raises(SystemExit):
        make_trainer(tmp_path, callbacks=[CtrlC(), InterruptCheckpoint()]).fit(make_module(), data())
    kept = torch.load(tmp_path / "interrupted.ckpt", weights_only=True)["state_dict"]
    assert kept["iteration"] == 5


@pytest.mark.parametrize("victim", ["generator", "discriminator"])
def test_divergence_stops_with_finite_weights_and_keeps_no_half_iteration(tmp_path: Path, victim: str) -> None:
    from callbacks.interrupt_checkpoint import InterruptCheckpoint

    class Poison(lightning.Callback):
        def on_train_batch_start(self, trainer: Trainer, module: R3GAN, batch: Any, index: int) -> None:
            if index == 4:
                network = getattr(module, victim)
                first = next(network.parameters())
                last = network.project_out if victim == "generator" else network
                last.register_forward_hook(lambda *args: args[-1] * (first.sum() * 0 + float("nan")))

    module = make_module()
    with pytest.raises(UserError, match=r"diverged at iteration 4.*gradient norm nan.*last norms: .*discriminator \d"):
        make_trainer(tmp_path, callbacks=[Poison(), InterruptCheckpoint()]).fit(module, data())
    assert all(torch.isfinite(value).all() for value in module.state_dict().values())
    assert not (tmp_path / "interrupted.ckpt").exists(), "one network may be a step ahead of the other"


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path)
    trainer.fit(make_module(), data(batches=1))
    path = tmp_path / "one.ckpt"
    trainer.save_checkpoint(path)

    def resume(module: R3GAN, latents: CountingData) -> None:
        make_trainer(tmp_path).fit(module, latents, ckpt_path=path)

    with pytest.raises(UserError, match=r"does not fit this model.*config it was trained with"):
        resume(make_module(width=32), data())
    with pytest.raises(UserError, match="latents_hash"):
        resume(make_module(codec=frame_codec(gain=1.0)), data())
    with pytest.raises(UserError, match="name: 'frame' != 'other'"):
        resume(make_module(codec=frame_codec(name="other")), data())
    with pytest.raises(UserError, match="latent_std_C"):
        resume(make_module(), data(std=2.0))
    with pytest.raises(UserError, match="set crop_frames to 18"):
        make_trainer(tmp_path).fit(make_module(), data(frames=FRAMES))


class PolishedCodec(ToyCodec):
    """The latents of `frame_codec`, with a decoder weight that a later training may change."""

    latents_hash = "equal"

    def __init__(self, polish: float) -> None:
        super().__init__("frame", channels=6, samples=1, gain=2.0)
        self.register_buffer("polish", torch.tensor(polish))


def test_a_checkpoint_plays_through_the_codec_of_the_configuration(tmp_path: Path) -> None:
    trainer = make_trainer(tmp_path, max_steps=2)
    trainer.fit(make_module(codec=PolishedCodec(1.0)), data(batches=1))
    trainer.save_checkpoint(tmp_path / "one.ckpt")
    module = make_module(codec=PolishedCodec(2.0))
    make_trainer(tmp_path).fit(module, data(), ckpt_path=tmp_path / "one.ckpt")
    assert float(module.codec.polish) == 2.0


def test_the_lazy_penalty_reaches_the_weights_as_the_equation_says() -> None:
    """The gradient of the scaled lazy penalty, averaged over a cycle, is that of (R1 + R2) / 2."""
    from livejam.objectives import PenaltyScale, lazy_penalty_scale

    module = make_module()
    crop = make_crop(module)
    fake_BTC = torch.randn(crop.real_BTC.shape, generator=torch.Generator().manual_seed(3))

    def gradient(scale: PenaltyScale) -> Tensor:
        value = module._penalty(crop, fake_BTC, scale)
        if not value.requires_grad:
            return torch.zeros(sum(p.numel() for p in module.discriminator.parameters()))
        parts = torch.autograd.grad(
            value, list(module.discriminator.parameters()), allow_unused=True, materialize_grads=True
        )
        return torch.cat([part.flatten() for part in parts])

    lazy = torch.stack([gradient(lazy_penalty_scale(i, 4)) for i in range(8)]).mean(dim=0)
    every = gradient(PenaltyScale(0.5, 0.5))
    assert every.norm() > 0
    assert torch.allclose(lazy, every, rtol=1e-4, atol=1e-6)


def make_crop(module: R3GAN) -> Any:
    module._rng = torch.Generator()
    return module._crop(make_batch(FRAMES + 2, 4, seed=5))


def test_crop_pairs_what_is_heard_with_what_sounds_later() -> None:
    for anticipation in (0, 1, 5):
        module = make_module(
            anticipation_frames=anticipation, generator_class_dropout=0.0, discriminator_class_dropout=1.0
        )
        module._rng = torch.Generator()
        batch = make_batch(module.crop_frames, 4, seed=5)
        crop = module._crop(batch)
        assert torch.equal(crop.mix_BTC, batch.mix[:, :FRAMES])
        longer = make_batch(module.crop_frames + 9, 4, seed=5)
        assert torch.equal(module._crop(longer).real_BTC, longer.target[:, 1 + anticipation : -9]), "the rest is cut"
        assert torch.equal(crop.judged_mix_BTC, batch.mix[:, 1 + anticipation :])
        assert torch.equal(crop.real_BTC, batch.target[:, 1 + anticipation :])
        assert torch.equal(crop.generator_instrument_B, batch.instrument_B)
        assert (crop.discriminator_instrument_B == 18).all()


def test_audio_batches_are_encoded_on_the_fly() -> None:
    module = make_module()
    module._rng = torch.Generator()
    crop = module._crop(make_batch(FRAMES + 2, 4, seed=5, is_audio=True))
    assert torch.equal(crop.mix_BTC, make_batch(FRAMES + 2, 4, seed=5).mix[:, :FRAMES])


def test_trained_alignment_is_played_alignment() -> None:
    """What the G step judges at crop frame t is what `accompany` plays at frame t."""
    module = make_module(anticipation_frames=3).eval()
    mix_BTC = make_batch(FRAMES, 2, seed=1).mix
    controls = Controls(torch.tensor([3, 18]), torch.tensor([5, 6]))
    with torch.no_grad():
        played = accompany(module.accompanist(), mix_BTC, controls, module.silence_C)
        ahead = module.accompanist().parallel(mix_BTC, controls)
    assert torch.allclose(played[:, 4:], ahead[:, :-4], atol=1e-5)
