"""A weight of guidance for each control: nested sides, and one weight for all as one case.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from livejam.errors import UserError
from livejam.sampling import (
    CONTROLS,
    Euler,
    EulerPlusPlus,
    NoiseFree,
    PingPong,
    Sampler,
    clean_estimate,
    generator_noise,
    guided,
    read_weights,
    rescaled,
)
from livejam.sampling.guidance import Side, nested, nested_sides, weights_text

WEIGHTS = st.dictionaries(st.sampled_from(CONTROLS), st.sampled_from([0.0, 0.5, 1.0, 2.0, 3.0]) | st.floats(0, 9))
EFFECT = {name: torch.randn(1, 3, 2, generator=torch.Generator().manual_seed(i)) for i, name in enumerate(CONTROLS)}
PAIRS = list(itertools.combinations(CONTROLS, 2))


def velocity_of(lacks: Side, x_BTC: Tensor) -> Tensor:
    """A model whose controls work on each other, so that it matters what else is there."""
    given = [name for name in CONTROLS if name not in lacks]
    made = x_BTC.sin()
    for name in given:
        made = made + EFFECT[name]
    for first, second in PAIRS:
        if first in given and second in given:
            made = made + 0.3 * EFFECT[first] * EFFECT[second] * x_BTC
    return made


def asked(weights: dict[str, float]) -> Tensor:
    """The guided velocity, and the rows by which it was asked for."""
    sides = (Side(), *nested_sides(weights))

    def velocity(x_BTC: Tensor, time_B: Tensor) -> Tensor:
        parts = zip(sides, x_BTC.chunk(len(sides)), strict=True)
        return torch.cat([velocity_of(side, part) for side, part in parts])

    x_BTC = torch.linspace(-1, 1, 12).view(2, 3, 2)
    return guided(velocity, *nested(weights))(x_BTC, torch.tensor([0.3, 0.9]))


X_BTC = torch.linspace(-1, 1, 12).view(2, 3, 2)


@given(WEIGHTS)
def test_every_different_weight_costs_an_evaluation(weights: dict[str, float]) -> None:
    sides = nested_sides(weights)
    assert len(sides) == len(nested(weights)) == len(set(weights.values()) - {1})
    assert all(less > more for more, less in itertools.pairwise(sides)), "each lacks more than the one before it"
    assert not any(weights[name] == 1 for side in sides for name in side), "a weight of 1 is on every side"


@given(st.sets(st.sampled_from(CONTROLS), min_size=1), st.floats(0, 9).filter(lambda w: w != 1))
def test_equal_weights_are_one_weight_for_all(names: set[str], weight: float) -> None:
    """Bit for bit what guidance with one weight gives."""
    full, none = (velocity_of(lacks, X_BTC) for lacks in (Side(), Side(names)))
    assert torch.equal(asked(dict.fromkeys(names, weight)), none + weight * (full - none))
    together = Side(names)
    for sampler in (Euler(2), PingPong(2), EulerPlusPlus(2)):
        inside = min(weight, 0.9) if isinstance(sampler, EulerPlusPlus) else weight
        one, each = sampler.with_guidance(inside), sampler.with_guidance(dict.fromkeys(names, inside))
        assert one.sides(together) == each.sides(Side())
        assert torch.equal(sampled(one, together), sampled(each, Side()))


def sampled(sampler: Sampler, together: Side) -> Tensor:
    sides = (Side(), *sampler.sides(together))

    def velocity(x_BTC: Tensor, time_B: Tensor) -> Tensor:
        return torch.cat([velocity_of(s, part) for s, part in zip(sides, x_BTC.chunk(len(sides)), strict=True)])

    return sampler.sample(velocity, generator_noise((2, 3, 2), torch.Generator().manual_seed(0), torch.float32))


@given(WEIGHTS)
def test_weights_of_one_are_the_conditional_model(weights: dict[str, float]) -> None:
    weights = dict.fromkeys(weights, 1.0)
    assert torch.equal(asked(weights), velocity_of(Side(), X_BTC))
    assert Euler(2).with_guidance(weights).sides(Side(CONTROLS)) == ()
    assert not EulerPlusPlus(2).with_guidance(weights).needs_unconditional


@given(st.permutations(CONTROLS), st.floats(1.5, 4), st.floats(0, 2))
def test_v_does_not_jump_where_weights_meet(order: list[str], weight: float, apart: float) -> None:
    first, second, *rest = order
    others = dict(zip(rest, (weight + apart, 1.0), strict=True))
    at, below, above = (asked({first: weight, second: weight + gap, **others}) for gap in (0.0, -1e-4, 1e-4))
    assert torch.allclose(below, at, atol=1e-2)
    assert torch.allclose(above, at, atol=1e-2)


def test_two_weights_are_those_of_instruct_pix2pix() -> None:
    """Its equation 3, with the mix as the image and the prompt as the words."""
    nothing, mix, both = (velocity_of(Side(lacks), X_BTC) for lacks in (("mix", "prompt"), ("prompt",), ()))
    expected = nothing + 1.5 * (mix - nothing) + 7.5 * (both - mix)
    assert torch.allclose(asked({"mix": 1.5, "prompt": 7.5}), expected)


@given(WEIGHTS.filter(len))
def test_weights_are_read_as_they_are_written(weights: dict[str, float]) -> None:
    weights = {name: float(f"{weight:g}") for name, weight in weights.items()}
    assert read_weights(weights_text(weights)) == weights


@pytest.mark.parametrize("text", ["", "mix", "mix=", "mix=two", "mix=2,mix=3", "mix=2;prompt=3", "2,3"])
def test_a_text_that_is_no_weight_is_one_sentence(text: str) -> None:
    with pytest.raises(UserError, match="guidance"):
        read_weights(text)


@pytest.mark.parametrize(
    ("weights", "said"),
    [
        ({"mix": -1.0}, "guidance of the mix is -1"),
        ({"mix": float("nan")}, "guidance of the mix is nan"),
        ({"beat": 2.0}, "no weight of 'beat'; there are mix, past, prompt, sketch"),
        (float("inf"), "guidance is inf"),
    ],
)
def test_a_weight_out_of_range_is_refused(weights: dict[str, float] | float, said: str) -> None:
    for sampler in (Euler(2), EulerPlusPlus(2)):
        with pytest.raises(UserError, match=said):
            sampler.with_guidance(weights)


LATENTS = st.integers(0, 2**31 - 1).map(
    lambda seed: torch.randn(3, 2, 5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
)


@given(LATENTS, st.floats(0.01, 1), st.floats(0, 1), st.floats(0.1, 20), st.integers(0, 4))
def test_a_rescaled_estimate_is_as_large_as_is_asked(
    drawn: Tensor, time: float, share: float, weight: float, known: int
) -> None:
    """Between its own size and that of the conditional one; frames that guidance leaves alone stay as they are."""
    x_BTC, asked_BTC, guided_BTC = drawn
    guided_BTC = asked_BTC + weight * guided_BTC
    guided_BTC[:, :known] = asked_BTC[:, :known]
    time_B = torch.full((2,), time, dtype=torch.float64)
    sizes = []
    for velocity_BTC in (asked_BTC, guided_BTC, rescaled(x_BTC, time_B, asked_BTC, guided_BTC, share)):
        clean_BTC = clean_estimate(x_BTC, time_B, velocity_BTC)[:, known:]
        sizes.append(clean_BTC.square().mean(dim=(1, 2)).sqrt())
    assert torch.allclose(sizes[2], share * sizes[0] + (1 - share) * sizes[1])
    again_BTC = rescaled(x_BTC, time_B, asked_BTC, guided_BTC, share)
    assert torch.allclose(again_BTC[:, :known], guided_BTC[:, :known])
    if share == 0:
        assert torch.allclose(again_BTC, guided_BTC)


def test_without_a_share_guidance_is_as_it_was() -> None:
    for sampler in (Euler(3, {"mix": 2.0, "prompt": 4.0}), PingPong(2, 3.0)):
        together = Side(("mix", "prompt"))
        assert torch.equal(sampled(sampler, together), sampled(sampler.with_rescale(0.0), together))
        assert not torch.allclose(sampled(sampler, together), sampled(sampler.with_rescale(0.7), together))
        plain = sampler.with_guidance(1.0)
        assert torch.equal(sampled(plain, Side()), sampled(plain.with_rescale(1.0), Side())), "there is no guidance"


def test_shares_that_cannot_be_are_one_sentence() -> None:
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(UserError, match="it is a share of 0 to 1"):
            Euler(rescale=wrong)
    for sampler in (EulerPlusPlus(), NoiseFree()):
        with pytest.raises(UserError, match="is not rescaled"):
            sampler.with_rescale(0.5)
