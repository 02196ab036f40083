"""Our objectives against numbers that R3GAN's public training code (brownvc/R3GAN, Trainer.py) gave in float64.

The golden file holds weights of a small generator tanh(W·z) and a small discriminator, inputs, and what the
reference accumulated: losses, penalties and the gradients of all weights, once per network.
"""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from livejam.objectives import discriminator_loss, generator_loss, zero_centred_penalty


@pytest.fixture
def golden() -> dict[str, Tensor]:
    return load_file(Path(__file__).parent / "golden" / "r3gan.safetensors")


def discriminate(samples: Tensor, first: Tensor, second: Tensor) -> Tensor:
    return F.silu(samples.flatten(1) @ first.T) @ second


def test_discriminator_step_equals_the_reference(golden: dict[str, Tensor]) -> None:
    first, second = (golden[f"discriminator.{name}"].requires_grad_() for name in ("first", "second"))
    real = golden["real"].requires_grad_()
    fake = torch.tanh(golden["noise"] @ golden["generator.weight"].T).requires_grad_()
    real_B, fake_B = discriminate(real, first, second), discriminate(fake, first, second)
    loss_B = discriminator_loss(real_B, fake_B)
    r1_B, r2_B = zero_centred_penalty(real, real_B), zero_centred_penalty(fake, fake_B)
    (loss_B + golden["gamma"] / 2 * (r1_B + r2_B)).mean().backward()
    torch.testing.assert_close(loss_B, golden["d.loss"])
    torch.testing.assert_close(r1_B, golden["d.r1"])
    torch.testing.assert_close(r2_B, golden["d.r2"])
    torch.testing.assert_close(first.grad, golden["d.gradient.first"])
    torch.testing.assert_close(second.grad, golden["d.gradient.second"])


def test_generator_step_equals_the_reference(golden: dict[str, Tensor]) -> None:
    first, second = golden["discriminator.first"], golden["discriminator.second"]
    weight = golden["generator.weight"].requires_grad_()
    fake_B = discriminate(torch.tanh(golden["noise"] @ weight.T), first, second)
    loss_B = generator_loss(fake_B, discriminate(golden["real"], first, second))
    loss_B.mean().backward()
    torch.testing.assert_close(loss_B, golden["g.loss"])
    torch.testing.assert_close(weight.grad, golden["g.gradient.weight"])
