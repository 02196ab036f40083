"""Spectrogram discriminators: what they can see, and that rows, silence and rates of learning are safe."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.networks.spectrogram_discriminator import FAINT, SpectrogramDiscriminator, compressed_image
from livejam.objectives.spectral import complex_spectrum

SAMPLES = 4096


@pytest.fixture(scope="module")
def judge() -> SpectrogramDiscriminator:
    torch.manual_seed(0)
    return SpectrogramDiscriminator(2, (1024, 512), 4)


def noise(batch: int = 3) -> torch.Tensor:
    return 0.1 * torch.randn(batch, 2, SAMPLES)


def test_an_image_is_the_whole_sound() -> None:
    """The compression can be undone, so nothing is hidden from the discriminators, phase included."""
    audio = noise().double()
    image = compressed_image(audio, 512).unflatten(1, (2, 2))
    made = torch.complex(image[:, :, 0], image[:, :, 1])
    # |image|² = m² / sqrt(m² + 1), solved for m²
    squared = made.abs() ** 2
    magnitude_squared = (squared.square() + squared * torch.sqrt(squared.square() + 4)) / 2
    true = complex_spectrum(audio.flatten(0, 1), 512, 128).unflatten(0, (3, 2)) / FAINT
    assert torch.allclose(made / made.abs() * magnitude_squared.sqrt(), true, rtol=1e-6)


@settings(max_examples=10, deadline=None)
@given(gain_db=st.floats(-50, -1))
def test_quiet_sounds_lose_only_half_of_their_level(gain_db: float) -> None:
    loud = compressed_image(noise().double() * 10, 512)
    quiet = compressed_image(noise().double() * 10 * 10 ** (gain_db / 20), 512)
    lost_db = 20 * torch.log10(quiet.abs().mean() / loud.abs().mean())
    assert 0.9 * gain_db / 2 - 1 > float(lost_db) > gain_db - 1 or abs(float(lost_db) - gain_db / 2) < 1.5


def test_rows_are_judged_alone(judge: SpectrogramDiscriminator) -> None:
    audio = noise()
    together, alone = judge(judge.images(audio)), [judge(judge.images(row[None])) for row in audio]
    for index, logits_BP in enumerate(together.logits):
        assert torch.allclose(logits_BP, torch.cat([each.logits[index] for each in alone]), atol=1e-5)
        assert logits_BP.dtype == torch.float32


def test_a_wrong_stereo_picture_is_seen(judge: SpectrogramDiscriminator) -> None:
    """Mid and side are each right alone; exchanged between rows, they are another sound."""
    audio = noise(2)
    wrong = torch.stack([audio[:, 0], audio.flip(0)[:, 1]], dim=1)
    for true, made in zip(judge(judge.images(audio)).logits, judge(judge.images(wrong)).logits, strict=True):
        assert not torch.allclose(true.mean(1), made.mean(1), atol=1e-3)


def test_silence_has_a_gradient_and_no_infinities(judge: SpectrogramDiscriminator) -> None:
    silence = torch.zeros(1, 2, SAMPLES, requires_grad=True)
    judged = judge(judge.images(silence))
    sum(logits.sum() for logits in judged.logits).backward()
    assert torch.isfinite(silence.grad).all()
    assert all(torch.isfinite(feature).all() for feature in judged.features)


def test_patches_stay_where_they_are(judge: SpectrogramDiscriminator) -> None:
    """A click changes the patches around it and no others: pairs of patches are pairs in time."""
    audio = noise(1)
    changed = audio.clone()
    changed[..., SAMPLES // 2] += 1
    frames = [image.shape[2] for image in judge.images(audio)]
    pairs = zip(judge(judge.images(audio)).logits, judge(judge.images(changed)).logits, strict=True)
    for count, (before, after) in zip(frames, pairs, strict=True):
        difference_M = (before - after).abs().view(count, -1).amax(1)
        assert float(difference_M[count // 2]) > 0
        assert int(difference_M.argmax()) == pytest.approx(count / 2, abs=4)
