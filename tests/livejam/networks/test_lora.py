"""Low-rank adaptation: what is trained, what is not, and that merging changes nothing that is heard."""

from __future__ import annotations

import copy

import pytest
import torch
from diffusion_toys import BLOCKS, ENCODER_DECODER, WINDOW, Song, in_window, make_network, noise, times
from torch import Tensor, nn

from livejam.checkpoints.file import merged
from livejam.errors import UserError
from livejam.networks import DiffusionTransformer
from livejam.networks.lora import LoRA
from livejam.networks.packed_linear import packed

PARTS = (
    *(f"attention.project_{name}" for name in ("in", "out")),
    *(f"prompt_attention.project_{name}" for name in ("query", "prompt", "out")),
    *(f"feed_forward.project_{name}" for name in ("in", "out")),
)
"""Of every block."""

CONDITIONS = Song.random(BLOCKS + 1).conditions(0, BLOCKS, WINDOW)


def velocity(network: DiffusionTransformer) -> Tensor:
    return network(in_window(noise(1), WINDOW), times(0.5, 2), CONDITIONS)


def trained(network: nn.Module) -> dict[str, nn.Parameter]:
    return {name: parameter for name, parameter in network.named_parameters() if parameter.requires_grad}


def tune(network: DiffusionTransformer, steps: int = 5) -> None:
    """Training steps towards nothing in particular, with a decay that would move whatever the optimiser holds."""
    optimizer = torch.optim.AdamW([p for p in network.parameters() if p.requires_grad], lr=0.02, weight_decay=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (velocity(network) - 1).square().mean().backward()
        optimizer.step()


@pytest.fixture
def network() -> DiffusionTransformer:
    return make_network(ENCODER_DECODER, mix=True)


def test_it_begins_as_the_network_that_it_adapts(network: DiffusionTransformer) -> None:
    with torch.no_grad():
        before = velocity(network)
        LoRA(rank=4).adapt(network)
        assert torch.equal(velocity(network), before)


def test_only_updates_are_trained_and_what_begins_at_zero(network: DiffusionTransformer) -> None:
    LoRA(rank=4).adapt(network)
    names = trained(network)
    assert {name.rpartition(".")[2] for name in names} == {"lora_down_RI", "lora_up_OR", "weight"}
    assert [name for name in names if name.endswith("weight")] == ["project_given.weight"]
    assert {name.rpartition(".")[0] for name in names if "lora" in name} == {
        f"blocks.{index}.{part}" for index in range(len(network.blocks)) for part in PARTS
    }
    velocity(network).square().mean().backward()
    assert {name for name, p in network.named_parameters() if p.grad is not None} == names.keys()


def test_the_base_stays_bit_equal_in_training(network: DiffusionTransformer) -> None:
    base = copy.deepcopy(network.state_dict())
    LoRA(rank=4).adapt(network)
    moved = {name: parameter.detach().clone() for name, parameter in trained(network).items()}
    tune(network)
    for name, weight in network.state_dict().items():
        if name in moved:
            assert not torch.equal(weight, moved[name]), name
        elif not name.endswith("lora_scale"):
            assert torch.equal(weight, base.get(name, base.get(name.replace(".linear.", ".")))), name


@pytest.mark.parametrize("alpha", [2.0, 16.0])
def test_merged_it_is_the_same_function_as_a_plain_network(network: DiffusionTransformer, alpha: float) -> None:
    LoRA(rank=4, alpha=alpha).adapt(network)
    tune(network)
    plain = make_network(ENCODER_DECODER, mix=True)
    with torch.no_grad():
        before = velocity(plain)
        plain.load_state_dict(merged(network.state_dict()))
        assert (velocity(plain) - velocity(network)).abs().max() < 1e-5
        assert (velocity(plain) - before).abs().max() > 1e-2


def test_merging_leaves_plain_weights_alone(network: DiffusionTransformer) -> None:
    state = network.state_dict()
    assert all(plain is weight for plain, weight in zip(merged(state).values(), state.values(), strict=True))


@pytest.mark.parametrize("part", ["lora_up_OR", "lora_down_RI", "linear.weight", "lora_scale"])
@pytest.mark.parametrize("damaged", [None, torch.zeros(3, 3), torch.zeros(3)])
def test_damaged_updates_are_left_for_who_loads_them_to_refuse(
    network: DiffusionTransformer, part: str, damaged: Tensor | None
) -> None:
    LoRA(rank=4).adapt(network)
    state = network.state_dict()
    name = f"blocks.0.attention.project_in.{part}"
    if damaged is None:
        del state[name]
    else:
        state[name] = damaged
    with pytest.raises(RuntimeError, match="project_in"):
        make_network(ENCODER_DECODER, mix=True).load_state_dict(merged(state))


def test_rank_zero_trains_nothing_but_what_begins_at_zero(network: DiffusionTransformer) -> None:
    before = copy.deepcopy(network.state_dict())
    LoRA(rank=0).adapt(network)
    assert trained(network).keys() == {"project_given.weight"}
    tune(network)
    unmoved = {name for name, weight in network.state_dict().items() if torch.equal(weight, before[name])}
    assert before.keys() - unmoved == {"project_given.weight"}


def test_a_packed_twin_plays_with_its_updates() -> None:
    """Packing replaces linear maps, of which an adapted one holds one."""
    torch.manual_seed(1)
    network = nn.Sequential(nn.Linear(256, 256), nn.Linear(256, 128))
    LoRA(rank=4, targets=("*",), also=()).adapt(network)
    for name, parameter in network.named_parameters():
        if "lora" in name:
            nn.init.normal_(parameter, std=0.1)
    x = torch.randn(3, 256)
    with torch.no_grad():
        assert (packed(network, 3)(x) - network(x)).abs().max() < 1e-4


@pytest.mark.parametrize(
    ("lora", "says"),
    [
        (LoRA(targets=("*.query",)), r"targets name \*\.query, but nothing here is called so; there are .*project_in"),
        (LoRA(also=("head",)), "also name head"),
        (LoRA(rank=10_000), r"rank 10000 is larger than blocks\.0\.attention\.project_in \("),
    ],
)
def test_what_means_nothing_is_refused(network: DiffusionTransformer, lora: LoRA, says: str) -> None:
    with pytest.raises(UserError, match=says):
        lora.adapt(network)


@pytest.mark.parametrize("numbers", [{"rank": -1}, {"alpha": 0.0}, {"alpha": float("nan")}])
def test_numbers_that_make_no_sense_are_refused(numbers: dict[str, float]) -> None:
    with pytest.raises(UserError, match="rank must be 0 or more, alpha a number above 0"):
        LoRA(**numbers)
