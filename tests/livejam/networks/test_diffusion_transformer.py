"""The network's promises: routing, masks, positions, and a fine-tune that starts as its base model."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from diffusion_toys import (
    BLOCK,
    BLOCK_CAUSAL,
    BLOCKS,
    CHANNELS,
    CONTEXT,
    ENCODER_DECODER,
    WINDOW,
    Song,
    in_window,
    make_network,
    noise,
    times,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from livejam.errors import UserError
from livejam.networks import Bidirectional, BlockCausal, DiffusionConditions, DiffusionTransformer, EncoderDecoder
from livejam.networks.diffusion_layers import Rotary, rotate
from livejam.networks.diffusion_masks import AttentionMask, attend_flex, dense_mask, flex_mask
from livejam.networks.packed_linear import PackedLinear, packed
from livejam.systems.blocks import bootstrap

MASKS = pytest.mark.parametrize("mask", [ENCODER_DECODER, BLOCK_CAUSAL], ids=["encoder_decoder", "block_causal"])
SONG = Song.random(BLOCKS + 1)
CONDITIONS = SONG.conditions(0, BLOCKS)


@MASKS
def test_context_is_bit_equal_for_all_noise(mask: AttentionMask) -> None:
    """Neither noise level nor noise nor anything on the target reaches the context, in any layer."""
    network, heard = make_network(mask, mix=True), SONG.conditions(0, BLOCKS, CONTEXT)
    elsewhere = SONG.conditions(0, BLOCKS, WINDOW)
    with torch.no_grad():
        for layer in range(4):
            one = network.features(in_window(noise(1), WINDOW), times(0, 2), heard, layer)
            two = network.features(in_window(5 * noise(2), WINDOW), times(1, 2), heard, layer)
            three = network.features(torch.randn(2, WINDOW, CHANNELS).double(), times(1, 2), elsewhere, layer)
            assert torch.equal(one[:, :CONTEXT], two[:, :CONTEXT])
            assert torch.equal(one[:, :CONTEXT], three[:, :CONTEXT])
            assert not torch.equal(one[:, CONTEXT:], two[:, CONTEXT:])


def test_cached_keys_are_bit_equal_for_all_noise() -> None:
    network = make_network(BLOCK_CAUSAL)
    with torch.no_grad():
        _, one = bootstrap(network, noise(1), times(0, 2), CONDITIONS)
        _, two = bootstrap(network, 9 * noise(2), times(1, 2), CONDITIONS)
    for first, second in zip((*one.key, *one.value), (*two.key, *two.value), strict=True):
        assert torch.equal(first[:, : one.frames], second[:, : two.frames])


def test_outpainting_hears_the_noise_level_in_its_context() -> None:
    """Why the baseline cannot be cached: the counter-example that gives the test above its teeth."""
    network = make_network()
    with torch.no_grad():
        one = network.features(in_window(noise(1), WINDOW), times(0, 2), CONDITIONS, 1)
        two = network.features(in_window(noise(1), WINDOW), times(1, 2), CONDITIONS, 1)
    assert not torch.allclose(one[:, :CONTEXT], two[:, :CONTEXT])


@settings(max_examples=12, deadline=None)
@given(changed=st.integers(1, BLOCKS - 1), row=st.integers(0, 1))
def test_later_context_never_changes_earlier_blocks(changed: int, row: int) -> None:
    network, other = make_network(BLOCK_CAUSAL, depth=2), CONDITIONS.context_BTC.clone()
    other[row, changed * BLOCK :] += 1
    with torch.no_grad():
        before = network.features(in_window(noise(1), WINDOW), times(0, 2), CONDITIONS, 2)
        after = network.features(
            in_window(noise(1), WINDOW), times(0, 2), dataclasses.replace(CONDITIONS, context_BTC=other), 2
        )
    past = slice(0, changed * BLOCK)
    assert torch.equal(before[:, past], after[:, past])
    assert not torch.allclose(before[row, changed * BLOCK :], after[row, changed * BLOCK :])


def test_block_causal_target_sees_the_oldest_block_only_through_others() -> None:
    other = CONDITIONS.context_BTC.clone()
    other[:, :BLOCK] += 1
    changed = dataclasses.replace(CONDITIONS, context_BTC=other)
    for depth, reached in ((1, False), (2, True)):
        network = make_network(BLOCK_CAUSAL, depth=depth)
        with torch.no_grad():
            one = network(in_window(noise(1), WINDOW), times(0, 2), CONDITIONS)
            two = network(in_window(noise(1), WINDOW), times(0, 2), changed)
        assert bool((one[:, CONTEXT:] != two[:, CONTEXT:]).any()) == reached


@MASKS
def test_fine_tune_starts_as_its_base(mask: AttentionMask) -> None:
    """With the added projection at zero, target frames get what the base gives them when it sees nothing else."""
    torch.manual_seed(0)
    fresh = DiffusionTransformer(CHANNELS, 32, 2, 2, CONTEXT, BLOCK, mask=mask, mix_channels=CHANNELS)
    assert not fresh.project_given.weight.any()
    base = make_network(context_frames=0, depth=2, mix=True)
    tuned = make_network(mask, depth=2, mix=True)
    nn.init.zeros_(base.project_given.weight)
    tuned.load_state_dict(base.state_dict())
    x, time_B = in_window(noise(4), WINDOW), times(1, 2)
    with torch.no_grad():
        heard = SONG.conditions(0, BLOCKS, CONTEXT)
        routed = base.features(x, time_B, dataclasses.replace(CONDITIONS, context_mask_BT=None, context_BTC=None), 0)
        embedded = tuned.features(x, time_B, heard, 0)
        assert torch.equal(embedded[:, CONTEXT:], routed[:, CONTEXT:])
        assert not embedded[:, :CONTEXT].any()
        # All frames to be generated: the very base, under the mask that both share.
        nothing = dataclasses.replace(
            heard, context_BTC=0 * heard.context_BTC, context_mask_BT=0 * heard.context_mask_BT
        )
        tuned.mask = base.mask
        free = dataclasses.replace(CONDITIONS, context_mask_BT=None, context_BTC=None)
        assert torch.equal(tuned(x, time_B, nothing), base(x, time_B, free))


def test_first_gradient_reaches_the_added_projection() -> None:
    network = make_network(ENCODER_DECODER)
    nn.init.zeros_(network.project_given.weight)
    network(in_window(noise(1), WINDOW), times(0, 2), CONDITIONS)[:, CONTEXT:].sum().backward()
    assert network.project_given.weight.grad.abs().sum() > 0
    assert all(parameter.grad is not None for parameter in network.parameters())


@MASKS
def test_training_may_follow_a_validation(mask: AttentionMask) -> None:
    """What inference mode left in a cache of masks must not stop a gradient."""
    dense_mask.cache_clear()
    network = make_network(mask, depth=1)
    with torch.inference_mode():
        network(in_window(noise(1), WINDOW), times(0, 2), CONDITIONS)
    network(in_window(noise(1), WINDOW), times(0, 2), CONDITIONS).sum().backward()


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@MASKS
def test_flex_attention_equals_sdpa(mask: AttentionMask) -> None:
    """One mask function, two kernels (forward on the CPU, where FlexAttention has no backward)."""
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 2, WINDOW + 1, 16, dtype=torch.float64).unbind()
    device = torch.device("cpu")
    dense = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=dense_mask(mask, WINDOW + 1, device))
    flex = attend_flex(q, k, v, flex_mask(mask, WINDOW + 1, device), compiled=False)
    assert (dense - flex).abs().max() < 1e-12


def test_masks_are_the_papers() -> None:
    """Rows are queries: four context blocks, the block, and the token, which belongs to the block."""
    index = torch.arange(5)
    assert dense_mask(Bidirectional(), 5, index.device) is None
    encoder = EncoderDecoder(2).allowed(index[:, None], index[None])
    assert encoder.int().tolist() == [[1, 1, 0, 0, 0]] * 2 + [[1, 1, 1, 1, 1]] * 3
    index = torch.arange(6)
    causal = BlockCausal(1, 4).allowed(index[:, None], index[None])
    assert causal.int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [0, 1, 1, 1, 1, 1],
        [0, 1, 1, 1, 1, 1],
    ]


@settings(max_examples=20, deadline=None)
@given(first=st.integers(-300, 300), second=st.integers(-300, 300))
def test_rotations_add_up_and_keep_distances(first: int, second: int) -> None:
    rotary = Rotary(64, 10_000.0).double()
    x = torch.randn(1, 1, 1, 2, 64, dtype=torch.float64)

    def at(position: int, y: Tensor = x) -> Tensor:
        return rotate(y, rotary.table(torch.tensor([position])))

    assert torch.allclose(at(second, at(first)), at(first + second), atol=1e-9)
    assert torch.equal(at(first)[..., 32:], x[..., 32:])
    near, far = (at(first) * at(second)).sum(-1), (at(first + 7) * at(second + 7)).sum(-1)
    assert torch.allclose(near, far, atol=1e-9)


def test_padding_is_zero_tokens_and_no_prompt_is_a_zero_prompt() -> None:
    network, x = make_network(ENCODER_DECODER), in_window(noise(1), WINDOW)
    zero = dataclasses.replace(CONDITIONS, prompt_BPD=0 * CONDITIONS.prompt_BPD)
    masked = dataclasses.replace(CONDITIONS, prompt_mask_BP=0 * CONDITIONS.prompt_mask_BP)
    absent = dataclasses.replace(CONDITIONS, prompt_BPD=None, prompt_mask_BP=None)
    with torch.no_grad():
        said, silent = network(x, times(0, 2), CONDITIONS), network(x, times(0, 2), zero)
        assert torch.equal(silent, network(x, times(0, 2), masked))
        assert torch.allclose(silent, network(x, times(0, 2), absent), atol=1e-12)
        assert not torch.allclose(said, silent)


def test_rolled_prompts_leave_the_rest() -> None:
    rolled = CONDITIONS.roll_prompt(1)
    assert torch.equal(rolled.prompt_BPD, CONDITIONS.prompt_BPD.flip(0))
    assert torch.equal(rolled.context_BTC, CONDITIONS.context_BTC)
    assert torch.equal(CONDITIONS.roll(1).context_BTC, CONDITIONS.context_BTC.flip(0))


def test_packed_weights_compute_the_same() -> None:
    torch.manual_seed(0)
    network = DiffusionTransformer(CHANNELS, 128, 2, 2, CONTEXT, BLOCK, mask=ENCODER_DECODER).eval()
    for parameter in network.parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.1)
    twin, song = packed(network, 2 * (BLOCK + 1)), Song.random(BLOCKS + 1, dtype=torch.float32)
    conditions = dataclasses.replace(song.conditions(0, BLOCKS), prompt_BPD=None, prompt_mask_BP=None, global_BD=None)
    x, time_B = in_window(noise(1, torch.float32), WINDOW), times(0, 2, torch.float32)
    with torch.no_grad():
        assert (network(x, time_B, conditions) - twin(x, time_B, conditions)).abs().max() < 1e-4
    assert isinstance(twin.layers[0].attention.project_in, PackedLinear) == torch.backends.mkldnn.is_available()
    assert isinstance(network.layers[0].attention.project_in, nn.Linear)
    assert twin.project_noisy.weight is network.project_noisy.weight


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"heads": 3}, "width 32"),
        ({"prompt_width": 6, "prompt_hidden": 20}, "prompt_hidden 20"),
        ({"context_frames": -1}, "context_frames is -1"),
        ({"block_frames": 0}, "block_frames 0"),
        ({"mask": EncoderDecoder(12)}, "context_frames 16"),
        ({"mask": BlockCausal(8, 2)}, "block_frames 4"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(change: dict[str, object], sentence: str) -> None:
    sizes = {"width": 32, "depth": 1, "heads": 2, "context_frames": CONTEXT, "block_frames": BLOCK}
    with pytest.raises(UserError, match=sentence):
        DiffusionTransformer(CHANNELS, **{**sizes, **change})


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: EncoderDecoder(0), "at least 1"),
        (lambda: BlockCausal(0, 4), "block_frames is 0"),
        (lambda: BlockCausal(4, 0), "context_blocks is 0"),
        (lambda: BlockCausal(4, 4, 6), "window_blocks is 6"),
    ],
)
def test_impossible_masks_are_refused(make: object, sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        make()


def test_windows_that_do_not_fit_are_refused() -> None:
    network, x = make_network(BLOCK_CAUSAL, depth=1), in_window(noise(1), WINDOW)
    wrong = {
        "another codec": (torch.zeros(2, WINDOW, CHANNELS + 1).double(), CONDITIONS),
        "make 20": (x[:, 1:], CONDITIONS),
        "context_mask_BT together": (x, dataclasses.replace(CONDITIONS, context_mask_BT=None)),
        "the window is": (x, CONDITIONS.frames(1, WINDOW)),
        "mix_BTC has 3 channels": (x, SONG.conditions(0, BLOCKS, CONTEXT)),
        "prompt_BPD has 7": (x, dataclasses.replace(CONDITIONS, prompt_BPD=torch.zeros(2, 1, 7))),
    }
    for sentence, (latents, conditions) in wrong.items():
        with pytest.raises(UserError, match=sentence):
            network(latents, times(0, 2), conditions)
    with pytest.raises(UserError, match="layer 2"):
        network.features(x, times(0, 2), CONDITIONS, 2)
    with pytest.raises(UserError, match="no block behind"):
        make_network(ENCODER_DECODER, depth=1)(x[:, :CONTEXT], times(0, 2), DiffusionConditions())
