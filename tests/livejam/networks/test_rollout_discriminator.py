"""What the rollout discriminator hears, and what it scores."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from livejam.errors import UserError
from livejam.networks.conditioned_transformer import ConditionedTransformer
from livejam.networks.conditioning import TagEncoder
from livejam.networks.diffusion_conditions import DiffusionConditions
from livejam.networks.diffusion_masks import EncoderDecoder
from livejam.networks.diffusion_transformer import DiffusionTransformer
from livejam.networks.rollout_discriminator import ConvNeXtBlock, RolloutDiscriminator, ScoreHead

CONTEXT, ROLLOUT, CHANNELS, WIDTH = 8, 24, 4, 16


def awake(network: nn.Module) -> nn.Module:
    """Every weight random: what starts at zero would hide a dependence."""
    with torch.no_grad():
        for weight in network.parameters():
            weight.normal_(0, 0.3)
    return network


def make_base(**settings: object) -> ConditionedTransformer:
    sizes = {"width": WIDTH, "depth": 3, "heads": 2, "context_frames": 0, "prompt_width": 6, "mix_channels": CHANNELS}
    return ConditionedTransformer(DiffusionTransformer(CHANNELS, **(sizes | settings)), TagEncoder(6))  # type: ignore[arg-type]


def make_discriminator(layer: int = 1) -> RolloutDiscriminator:
    torch.manual_seed(3)
    network = awake(RolloutDiscriminator(make_base(), layer, ScoreHead(WIDTH, channels=8))).eval()
    assert isinstance(network, RolloutDiscriminator)
    return network


def make_conditions(batch: int = 2) -> DiffusionConditions:
    frames = CONTEXT + ROLLOUT
    return DiffusionConditions(
        mix_BTC=torch.randn(batch, frames, CHANNELS),
        mix_mask_BT=torch.ones(batch, frames),
        prompt_BPD=torch.randn(batch, 3, 6),
    )


def test_the_papers_head() -> None:
    """A quarter of the frames, and as many parameters as the widths of the paper make."""
    head = ScoreHead(1024)
    assert head(torch.randn(1, 576, 1024)).shape == (1, 144)

    def convolution(inside: int, outside: int, kernel: int, groups: int = 1) -> int:
        # weights, one length per output channel, biases
        return inside // groups * outside * kernel + 2 * outside

    def block(w: int) -> int:
        return convolution(w, w, 7, groups=w) + convolution(w, 4 * w, 1) + convolution(4 * w, w, 1)

    expected = convolution(1024, 128, 7) + 2 * block(128) + convolution(128, 128, 2) + 2 * block(128)
    expected += convolution(128, 256, 4) + 2 * block(256) + convolution(256, 512, 4) + convolution(512, 1, 3)
    assert sum(p.numel() for p in head.parameters()) == expected


def test_blocks_start_as_the_identity_and_wake_up() -> None:
    block, x_BWT = ConvNeXtBlock(4), torch.randn(2, 4, 9)
    assert torch.equal(block(x_BWT), x_BWT)
    block(x_BWT).square().sum().backward()
    length = block.reduce.parametrizations.weight.original0
    assert length.grad is not None
    assert length.grad.abs().max() > 0


def reached(head: ScoreHead, place: int, frames: int) -> list[int]:
    """The frames on which one score depends."""
    hidden_BTD = torch.randn(1, frames, WIDTH, requires_grad=True)
    (gradient,) = torch.autograd.grad(head(hidden_BTD)[0, place], hidden_BTD)
    return gradient[0].abs().sum(-1).nonzero().flatten().tolist()


def test_the_heads_receptive_field() -> None:
    """One score hears 73 frames around its place, 35 before and 37 after: the sum of all kernels, no more."""
    head = awake(ScoreHead(WIDTH, channels=8))
    assert isinstance(head, ScoreHead)
    assert reached(head, 20, frames=160) == list(range(4 * 20 - 35, 4 * 20 + 37 + 1))


def scores(network: RolloutDiscriminator, noisy_BTC: Tensor, conditions: DiffusionConditions) -> Tensor:
    return network(noisy_BTC, torch.tensor([0.3, 0.8]), conditions, ROLLOUT)


def test_only_the_rollouts_frames_are_scored() -> None:
    """The head gets the hidden states of the rollout alone: whatever stands elsewhere is not scored."""
    network, conditions = make_discriminator(), make_conditions()
    noisy_BTC = torch.randn(2, CONTEXT + ROLLOUT, CHANNELS)
    hidden_BTD = network.base.transformer.features(noisy_BTC, torch.tensor([0.3, 0.8]), conditions, 2)
    expected = network.head(hidden_BTD[:, CONTEXT:])
    assert torch.equal(scores(network, noisy_BTC, conditions), expected)
    assert expected.shape == (2, ROLLOUT // 4)
    foreign = torch.cat((torch.randn(2, CONTEXT, WIDTH), hidden_BTD[:, CONTEXT:]), dim=1)
    assert torch.equal(network.head(foreign[:, -ROLLOUT:]), expected)


def test_context_reaches_the_score_through_attention_alone() -> None:
    """Frames outside of the rollout are heard where the backbone attends to them, and nowhere else.

    With attention switched off nothing but the head mixes frames, and the context is behind its edge.
    """
    network, conditions = make_discriminator(), make_conditions()
    noisy_BTC = torch.randn(2, CONTEXT + ROLLOUT, CHANNELS)
    other_BTC = noisy_BTC.clone()
    other_BTC[:, :CONTEXT] = torch.randn(2, CONTEXT, CHANNELS)
    assert not torch.allclose(scores(network, noisy_BTC, conditions), scores(network, other_BTC, conditions))
    with torch.no_grad():
        for layer in network.base.transformer.layers:
            layer.attention.project_out.weight.zero_()
    assert torch.equal(scores(network, noisy_BTC, conditions), scores(network, other_BTC, conditions))


@pytest.mark.parametrize("name", ["prompt_BPD", "mix_BTC"])
def test_prompt_and_the_mix_of_every_frame_are_heard(name: str) -> None:
    network, conditions = make_discriminator(), make_conditions()
    noisy_BTC = torch.randn(2, CONTEXT + ROLLOUT, CHANNELS)
    told = getattr(conditions, name).requires_grad_()
    scores(network, noisy_BTC, conditions).sum().backward()
    assert (told.grad.abs().sum(-1) > 0).all()


def test_what_gives_no_score_is_not_trained() -> None:
    """Only the blocks up to the layer, the paths into them, and the head."""
    network = make_discriminator(layer=1)
    scores(network, torch.randn(2, CONTEXT + ROLLOUT, CHANNELS), make_conditions()).sum().backward()
    for name, weight in network.named_parameters():
        used = weight.requires_grad and "prompt_encoder" not in name  # the prompts here were not encoded by it
        assert (weight.grad is not None) == used, name
    assert not any(w.requires_grad for w in network.base.transformer.layers[2].parameters())


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(UserError, match="layer is 3, but the discriminator's base has the layers 0 to 2"):
        RolloutDiscriminator(make_base(), layer=3)
    with pytest.raises(UserError, match="give it mask: null"):
        RolloutDiscriminator(make_base(context_frames=CONTEXT, mask=EncoderDecoder(CONTEXT)), layer=1)
    with pytest.raises(UserError, match="the head's width is 3"):
        RolloutDiscriminator(make_base(), layer=1, head=ScoreHead(3, channels=8))
    with pytest.raises(UserError, match="one number per stage"):
        ScoreHead(WIDTH, strides=(1, 2))
    network, conditions = make_discriminator(), make_conditions()
    noisy_BTC = torch.randn(2, CONTEXT + ROLLOUT, CHANNELS)
    with pytest.raises(UserError, match="33 rollout frames cannot be scored"):
        network(noisy_BTC, torch.rand(2), conditions, ROLLOUT + CONTEXT + 1)
    with pytest.raises(UserError, match="a multiple of 4"):
        network(noisy_BTC, torch.rand(2), conditions, 10)
