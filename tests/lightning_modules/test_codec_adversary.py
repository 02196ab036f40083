"""The adversarial phase of the codec's training: where gradients flow, what counts as a step, and resuming."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import lightning
import pytest
import torch
from commands import REPOSITORY
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors import safe_open

from datamodules.stem_audio import StemAudioDataModule
from lightning_modules.codec_adversary import CodecAdversary
from lightning_modules.codec_training import CodecTraining
from livejam.codecs import CausalCodec, load_codec
from livejam.errors import UserError
from livejam.networks.spectrogram_discriminator import SpectrogramDiscriminator

START, END = 2, 6


def small_adversary(start_iteration: int = START, penalty_weight: float = 1.0) -> CodecAdversary:
    discriminator = SpectrogramDiscriminator(3, (512, 256), 4)
    optimizer = partial(torch.optim.AdamW, lr=1e-3)
    return CodecAdversary(discriminator, optimizer, start_iteration, penalty_weight=penalty_weight, penalty_every=2)


def small_training(folder: Path, adversary: CodecAdversary | None, encoder_lr_share: float = 0.5) -> CodecTraining:
    torch.manual_seed(1)
    codec = CausalCodec("small", 22050, 2, 1024, 8, width=24, subframe_width=16, blocks=1, subframe_blocks=1)
    return CodecTraining(
        codec,
        partial(torch.optim.AdamW, lr=2e-3),
        code_frames=64,
        magnitude_steps=1,
        warmup_steps=2,
        windows_samples=(2048, 1024, 512),
        mel_weight=0.3,
        encoder_lr_share=encoder_lr_share,
        latent_weight=1e-3 if encoder_lr_share else 0.0,
        adversary=adversary,
        ema_decay=0.9,
        export_path=str(folder / "small.safetensors"),
    )


class Witness(lightning.Callback):
    """Copies of all weights after every iteration."""

    def __init__(self) -> None:
        self.weights: list[dict[str, torch.Tensor]] = []
        self.iterations: list[int] = []

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: CodecTraining, *_: object) -> None:
        self.weights.append({name: weight.clone() for name, weight in pl_module.state_dict().items()})
        self.iterations.append(pl_module.iteration)


def fit(
    module: CodecTraining, songs: Path, folder: Path, max_steps: int, resume: Path | None = None, precision: str = "32"
) -> Witness:
    data = StemAudioDataModule(
        str(songs), str(songs.parent / "stereo"), 22050, 2, 8192, 2, validation_crops=2, largest_pan=0.7, workers=1
    )
    witness = Witness()
    trainer = lightning.Trainer(
        default_root_dir=folder,
        max_steps=max_steps,
        limit_train_batches=4,
        accelerator="cpu",
        precision=precision,
        logger=False,
        callbacks=[witness, ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)],
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )
    trainer.fit(module, datamodule=data, ckpt_path=resume)
    return witness


def changed(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """First names of what training moved."""
    return {".".join(n.split(".")[:2]) for n in before if not torch.equal(before[n], after[n])}


@pytest.fixture(scope="module")
def uninterrupted(rendered_songs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Witness, Path]:
    """Six iterations, the last four with the adversary: ten steps of Lightning's."""
    folder = tmp_path_factory.mktemp("adversary")
    module = small_training(folder, small_adversary())
    return fit(module, rendered_songs, folder, START + 2 * (END - START)), folder


def test_the_adversary_waits_for_its_time(uninterrupted: tuple[Witness, Path]) -> None:
    weights = uninterrupted[0].weights
    both = {"codec.decoder", "codec.projection", "averaged.decoder", "averaged.projection"}
    assert uninterrupted[0].iterations == list(range(1, END + 1))
    for step in range(1, END):
        moved = changed(weights[step - 1], weights[step])
        assert moved == (both if step < START else both | {"adversary.discriminator"}), step


@pytest.mark.parametrize("done", [1, 3, 4, 5])
def test_a_resumed_run_is_bit_equal(
    uninterrupted: tuple[Witness, Path], rendered_songs: Path, tmp_path: Path, done: int
) -> None:
    """Before the adversary, beside it, at the end of an epoch and within the next one."""
    witness, folder = uninterrupted
    steps = done if done <= START else START + 2 * (done - START)
    module = small_training(tmp_path, small_adversary())
    total = START + 2 * (END - START)
    resumed = fit(module, rendered_songs, tmp_path, total, folder / f"step={steps}.ckpt")
    assert resumed.iterations == list(range(done + 1, END + 1))
    for ours, theirs in zip(resumed.weights, witness.weights[done:], strict=True):
        assert not changed(theirs, ours)


def test_the_averaged_codec_is_the_one_exported(uninterrupted: tuple[Witness, Path]) -> None:
    witness, folder = uninterrupted
    exported = load_codec(folder / "small.safetensors").state_dict()
    last = witness.weights[-1]
    for name, weight in exported.items():
        assert torch.equal(weight, last[f"averaged.{name}"].half().float())
    assert not torch.equal(last["averaged.decoder.heads.weight"], last["codec.decoder.heads.weight"])


def test_without_its_switches_training_is_automatic_and_the_encoder_frozen(
    rendered_songs: Path, tmp_path: Path
) -> None:
    module = small_training(tmp_path, None, encoder_lr_share=0.0)
    assert module.automatic_optimization
    witness = fit(module, rendered_songs, tmp_path, 3)
    assert changed(witness.weights[0], witness.weights[2]) == {"codec.decoder", "averaged.decoder"}
    assert witness.iterations == [1, 2, 3]


def test_lower_precision_stays_close(uninterrupted: tuple[Witness, Path], rendered_songs: Path, tmp_path: Path) -> None:
    module = small_training(tmp_path, small_adversary())
    exact, rough = uninterrupted[0], fit(module, rendered_songs, tmp_path, START + 4, precision="bf16-mixed")
    for name, weight in rough.weights[-1].items():
        assert torch.isfinite(weight).all(), name
    name = "codec.decoder.heads.weight"
    start = small_training(tmp_path, None).state_dict()[name]
    moves = [witness.weights[START + 1][name] - start for witness in (exact, rough)]
    cosine = torch.nn.functional.cosine_similarity(moves[0].flatten(), moves[1].flatten(), dim=0)
    assert 0.7 < float(cosine) < 1


def sound(seed: int) -> torch.Tensor:
    return 0.1 * torch.randn(2, 3, 4096, generator=torch.Generator().manual_seed(seed))


def test_the_discriminator_moves_only_itself_and_the_codec_only_its_sound() -> None:
    adversary, made = small_adversary(), sound(1).requires_grad_()
    torch.stack(list(adversary.discriminator_losses(sound(0), made, 0).values())).sum().backward()
    assert made.grad is None
    assert all(bool((p.grad != 0).any()) for n, p in adversary.named_parameters() if n.endswith("weight"))
    adversary.zero_grad()
    real = sound(0).requires_grad_()
    torch.stack(list(adversary.requires_grad_(False).codec_losses(real, made).values())).sum().backward()
    assert real.grad is None
    assert float(made.grad.abs().sum()) > 0


def test_penalties_take_turns_and_are_lazy() -> None:
    adversary = small_adversary()
    names = [set(adversary.discriminator_losses(sound(0), sound(1), step)) - {"pairs"} for step in range(5)]
    assert names == [{"r1"}, set(), {"r2"}, set(), {"r1"}]
    free = small_adversary(penalty_weight=0.0)
    assert set(free.discriminator_losses(sound(0), sound(1), 0)) == {"pairs"}


def test_equal_sounds_are_a_draw() -> None:
    """Neither side gains: both relativistic losses are log 2, and all features match."""
    adversary = small_adversary(penalty_weight=0.0)
    ours = adversary.codec_losses(sound(0), sound(0))
    assert adversary.discriminator_losses(sound(0), sound(0), 1)["pairs"].item() == pytest.approx(0.6931, abs=1e-4)
    assert ours["adversarial"].item() == pytest.approx(0.1 * 0.6931, abs=1e-4)
    assert ours["features"].item() == 0


def test_the_discriminator_learns_to_tell_noise_from_tones() -> None:
    adversary = small_adversary()
    tones = 0.1 * torch.sin(torch.arange(4096) * torch.rand(2, 3, 1))
    optimizer = adversary.optimizer(adversary.parameters(), lr=3e-3)
    pairs = []
    for step in range(20):
        losses = adversary.discriminator_losses(tones, sound(step), step)
        pairs.append(losses["pairs"].item())
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    assert sum(pairs[-5:]) < 0.5 * sum(pairs[:5])


def test_the_shipped_config_plays_against_its_adversary(
    rendered_songs: Path,
    tmp_path: Path,
    lightning_command: Callable[..., tuple[int, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two iterations of configs/codec/slakh.yaml, the second one adversarial, in bf16, on two channels."""
    monkeypatch.chdir(REPOSITORY)
    monkeypatch.setenv("TINY_SONGS", str(rendered_songs))
    monkeypatch.setenv("TINY_CACHE", str(rendered_songs.parent / "cache"))
    monkeypatch.setenv("TINY_ROOT", str(tmp_path))
    configs = ("--config", "configs/codec/slakh.yaml", "--config", "tests/tiny/CodecTraining.yaml")
    adversary = "--model.init_args.adversary.init_args"
    now = (f"{adversary}.start_iteration", "1", f"{adversary}.discriminator.init_args.width", "4")
    quick = ("--trainer.max_steps", "3", "--trainer.limit_val_batches", "1", "--trainer.limit_train_batches", "2")
    quick += ("--data.init_args.crop_samples", "24576")
    status, err = lightning_command("fit", *configs, *now, *quick, "--trainer.val_check_interval", "2")
    assert status == 0, err
    with safe_open(tmp_path / "slakh.safetensors", framework="pt") as file:
        assert json.loads(file.metadata()["training"])["steps"] == 2
    codec = load_codec(tmp_path / "slakh.safetensors")
    assert (codec.spec.audio_channels, codec.spec.hop_samples, codec.spec.latent_channels) == (2, 4096, 128)


def test_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    codec = CausalCodec(width=24, subframe_width=16, blocks=1, subframe_blocks=1)
    training = partial(CodecTraining, codec, torch.optim.AdamW, export_path=str(tmp_path / "unused"))
    with pytest.raises(UserError, match="frozen encoder"):
        training(latent_weight=1e-3)
    with pytest.raises(UserError, match="no sound to judge"):
        training(adversary=small_adversary(start_iteration=5), magnitude_steps=10)
