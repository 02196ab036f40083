"""The discriminator: shape, initialisation, conditioning, double backward."""

from __future__ import annotations

import pytest
import torch

from livejam.networks import SequenceDiscriminator


def make_network(**settings: float) -> SequenceDiscriminator:
    torch.manual_seed(0)
    return SequenceDiscriminator(6, width=12, levels=3, blocks_per_level=2, groups=4, **settings).double()


def make_pair(frames: int) -> list[torch.Tensor]:
    rng = torch.Generator().manual_seed(1)
    return [torch.randn(3, frames, 6, generator=rng, dtype=torch.float64) for _ in range(2)]


@pytest.mark.parametrize("frames", [4, 16, 20, 64])
def test_one_logit_per_sequence_of_any_length(frames: int) -> None:
    network = make_network(residual_gain=0.3)
    accompaniment_BTC, mix_BTC = make_pair(frames)
    instrument_B = torch.tensor([0, 5, 18])
    logit_B = network(accompaniment_BTC, mix_BTC, instrument_B)
    assert logit_B.shape == (3,)
    for row in range(3):
        one = slice(row, row + 1)
        alone = network(accompaniment_BTC[one], mix_BTC[one], instrument_B[one])
        assert torch.allclose(alone, logit_B[one]), "rows of a batch must not interact: the penalty relies on it"


def test_every_frame_of_both_inputs_is_judged() -> None:
    network = make_network(residual_gain=0.3)
    inputs = [x.requires_grad_() for x in make_pair(16)]
    network(*inputs, torch.tensor([0, 5, 18])).sum().backward()
    for x in inputs:
        assert x.grad is not None
        assert (x.grad.abs().sum(dim=2) > 0).all()


def test_zero_residual_gain_starts_linear() -> None:
    network = make_network()
    (first, mix_BTC), instrument_B = make_pair(16), torch.tensor([0, 5, 18])
    second = first.flip(0)
    with torch.no_grad():
        middle = network((first + second) / 2, mix_BTC, instrument_B)
        ends = network(first, mix_BTC, instrument_B) + network(second, mix_BTC, instrument_B)
        assert torch.allclose(middle, ends / 2)
        bent = make_network(residual_gain=0.3)
        ends = bent(first, mix_BTC, instrument_B) + bent(second, mix_BTC, instrument_B)
        assert not torch.allclose(bent((first + second) / 2, mix_BTC, instrument_B), ends / 2)


def test_instrument_scales_the_residual_branches() -> None:
    network = make_network(residual_gain=0.3)
    accompaniment_BTC, mix_BTC = make_pair(16)
    zeros = torch.zeros(3, dtype=torch.int64)
    with torch.no_grad():
        before = network(accompaniment_BTC, mix_BTC, zeros)
        for block in network.blocks:
            block.class_scale.weight[3] = 0.5
        assert torch.equal(network(accompaniment_BTC, mix_BTC, zeros), before)
        assert not torch.allclose(network(accompaniment_BTC, mix_BTC, zeros + 3), before)


def test_variance_survives_depth() -> None:
    """Fixup: at gain 1 in the last map, a deep network still has logits of the order of a shallow one's."""
    torch.manual_seed(0)
    deep = SequenceDiscriminator(6, width=64, levels=3, blocks_per_level=8, groups=4, residual_gain=0.3)
    logit_B = deep(torch.randn(64, 16, 6), torch.randn(64, 16, 6), torch.zeros(64, dtype=torch.int64))
    assert 0.01 < logit_B.std() < 10


def test_refuses_what_it_cannot_halve() -> None:
    with pytest.raises(ValueError, match="multiple of 4"):
        make_network()(*make_pair(18), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="groups"):
        SequenceDiscriminator(6, width=10, groups=16)


def test_paper_size() -> None:
    """LiveBand section 4.7: about 150 M parameters."""
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in SequenceDiscriminator(latent_channels=128).parameters())
    assert 140e6 < count < 160e6
