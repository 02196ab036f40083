"""Spectrogram discriminators: what they can see, and that rows, silence and rates of learning are safe."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.networks.spectrogram_discriminator import SpectrogramDiscriminator, phase_steps

SAMPLES = 4096


@pytest.fixture(scope="module")
def judge() -> SpectrogramDiscriminator:
    torch.manual_seed(0)
    return SpectrogramDiscriminator(2, (1024, 512), 4)


def noise(batch: int = 3) -> torch.Tensor:
    return 0.1 * torch.randn(batch, 2, SAMPLES)


def tone(pitch_hz: float, phase: float) -> torch.Tensor:
    seconds = torch.arange(SAMPLES, dtype=torch.float64) / 22050
    return 0.5 * torch.sin(2 * torch.pi * pitch_hz * seconds + phase)[None, None]


@settings(max_examples=10, deadline=None)
@given(pitch_hz=st.floats(200, 8000), phase=st.floats(0, 6.28))
def test_absolute_phase_is_not_seen_but_pitch_is(pitch_hz: float, phase: float) -> None:
    """Compared where the tone is: far from it, windows leak something that depends on phase."""
    here, turned, other = (phase_steps(tone(*t), 512) for t in ((pitch_hz, 0), (pitch_hz, phase), (pitch_hz * 1.03, 0)))
    loud = here.abs() > 0.3 * here.abs().max()
    assert float((turned - here)[loud].abs().max()) < 0.05 * float(here.abs().max())
    assert float((other - here)[loud].abs().max()) > 0.1 * float(here.abs().max())


def test_a_broken_phase_is_seen() -> None:
    """The same magnitudes with phases at random are another image."""
    spectrum = torch.stft(tone(440, 0)[0], 512, 128, window=torch.hann_window(512).double(), return_complex=True)
    scrambled = torch.polar(spectrum.abs(), 2 * torch.pi * torch.rand_like(spectrum.abs()))
    made = torch.istft(scrambled, 512, 128, window=torch.hann_window(512).double(), length=SAMPLES)
    images = [phase_steps(audio, 512) for audio in (tone(440, 0), made[None])]
    assert float((images[0] - images[1]).abs().mean()) > 0.3 * float(images[0].abs().mean())


def test_angles_are_frequency_and_time() -> None:
    """A tone in the middle of a bin and a click in the middle of a window have angle 0."""
    steps = phase_steps(tone(20 * 22050 / 512, 0.3), 512)[0]
    loud_M = steps[:2, :, 19].T
    assert float((loud_M[:, 1] / loud_M[:, 0]).abs().max()) < 1e-2
    assert float(loud_M[:, 0].min()) > 0
    click = torch.zeros(1, 1, SAMPLES, dtype=torch.float64)
    click[..., 128 * 10 + 256] = 1
    across_F = phase_steps(click, 512)[0, 2:, 9]
    assert float((across_F[1] / across_F[0]).abs().max()) < 1e-2
    assert float(across_F[0].min()) > 0


@settings(max_examples=10, deadline=None)
@given(gain_db=st.floats(-20, -1))
def test_levels_are_compressed_to_half(gain_db: float) -> None:
    loud, quiet = (phase_steps(tone(440, 0) * gain, 512).abs().amax() for gain in (1, 10 ** (gain_db / 20)))
    assert float(20 * torch.log10(quiet / loud)) == pytest.approx(gain_db / 2, abs=0.1)


def test_rows_are_judged_alone(judge: SpectrogramDiscriminator) -> None:
    audio = noise()
    together, alone = judge(judge.images(audio)), [judge(judge.images(row[None])) for row in audio]
    for index, logits_BP in enumerate(together.logits):
        assert torch.allclose(logits_BP, torch.cat([each.logits[index] for each in alone]), atol=1e-5)
        assert logits_BP.dtype == torch.float32


def test_a_wrong_stereo_picture_is_seen(judge: SpectrogramDiscriminator) -> None:
    """Both channels are right alone; exchanged between rows, they are another sound."""
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
