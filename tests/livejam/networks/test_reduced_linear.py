"""Smaller weights play nearly the same, and the network that they were made of stays as it is."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from livejam.accompanist import Controls
from livejam.errors import UserError
from livejam.networks import CausalTransformer, packed, reduced
from livejam.networks.packed_linear import PackedLinear
from livejam.networks.reduced_linear import KINDS
from livejam.spec import CodecSpec, LatentStatistics
from livejam.systems.liveband import LiveBandAccompanist
from livejam.systems.precision import in_precision

pytestmark = pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="PyTorch has no such kernels for this processor"
)


def make_generator() -> CausalTransformer:
    torch.manual_seed(0)
    return CausalTransformer(96, 32, 128, 2, 4, window_frames=16, class_channels=8).eval().requires_grad_(False)


def play(generator: CausalTransformer, frames: int = 40) -> Tensor:
    rng = torch.Generator().manual_seed(1)
    cache, played = generator.init_cache(1), []
    for _ in range(frames):
        noise, mix = (torch.randn(1, 1, channels, generator=rng) for channels in (32, 96))
        out_BTC, cache = generator.step(noise, mix, torch.tensor([4]), cache)
        played.append(out_BTC)
    return torch.cat(played, dim=1)


@pytest.mark.parametrize(("precision", "error"), [("float16", 2e-3), ("int8", 0.06)])
def test_a_stream_stays_close_however_long(precision: str, error: float) -> None:
    generator = make_generator()
    before = {name: weight.clone() for name, weight in generator.state_dict().items()}
    twin = reduced(generator, precision)
    whole_BTC, reduced_BTC = play(generator), play(twin)
    for part in (slice(0, 20), slice(20, 40)):
        difference = (reduced_BTC[:, part] - whole_BTC[:, part]).square().mean().sqrt()
        assert 0 < difference < error * whole_BTC.square().mean().sqrt()
    assert sum(isinstance(module, KINDS[precision]) for module in twin.modules()) == 2 * 4 + 1
    assert generator.state_dict().keys() == before.keys()
    assert all(torch.equal(weight, before[name]) for name, weight in generator.state_dict().items())


@pytest.mark.parametrize(("precision", "error"), [("float16", 1e-3), ("int8", 0.03)])
@pytest.mark.parametrize("rows", [1, 3])
def test_a_map_computes_nearly_the_same(precision: str, error: float, rows: int) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(256, 192).requires_grad_(False), torch.randn(rows, 2, 256)
    made, exact = KINDS[precision](linear)(x), linear(x)
    assert made.shape == exact.shape
    assert (made - exact).abs().max() < error * exact.abs().max()


def test_a_channel_of_zeros_stays_zero() -> None:
    linear = nn.Linear(128, 128, bias=False).requires_grad_(False)
    linear.weight[3] = 0
    assert (KINDS["int8"](linear)(torch.randn(1, 128))[:, 3] == 0).all()


def test_what_cannot_be_reduced_is_refused() -> None:
    with pytest.raises(UserError, match="choose one of float16, int8"):
        reduced(make_generator(), "int3")
    with pytest.raises(UserError, match="float32 weights on the CPU"):
        reduced(make_generator().double(), "int8")


@pytest.mark.parametrize("kind", [*KINDS.values(), lambda linear: PackedLinear(linear, 1)])
def test_weights_laid_out_for_a_cpu_say_that_they_cannot_move(kind: Callable[[nn.Linear], nn.Module]) -> None:
    network = nn.Sequential(kind(nn.Linear(128, 128)))
    assert network.to("cpu").float().eval() is network
    for move in (network.double, lambda: network.to("meta")):
        with pytest.raises(UserError, match="load_player"):
            move()


def test_one_row_packs_large_maps_only() -> None:
    large, small = nn.Linear(512, 512).requires_grad_(False), nn.Linear(256, 256).requires_grad_(False)
    twin = packed(nn.Sequential(large, small), 1)
    assert [type(module) for module in twin] == [PackedLinear, nn.Linear]
    assert isinstance(packed(nn.Sequential(small), 8)[0], PackedLinear)


def test_a_short_pass_runs_on_the_kernel_of_a_long_one(capfd: pytest.CaptureFixture[str]) -> None:
    linear = nn.Linear(512, 1024).requires_grad_(False)
    for rows in (9, 49, 241):
        maps = packed(nn.Sequential(linear), rows)
        with torch.backends.mkldnn.verbose(torch.backends.mkldnn.VERBOSE_ON):
            maps(torch.zeros(rows, 512))
    short, block, long = re.findall(r"exec,cpu,inner_product,([^,]*)", capfd.readouterr().out)
    assert short == block == long


@pytest.mark.parametrize("precision", ["float32", "float16", "int8"])
def test_an_accompanist_changes_its_precision_while_it_plays(precision: str) -> None:
    spec = CodecSpec("test", 22050, 1, 2048, 96, 0)
    accompanist = LiveBandAccompanist(make_generator(), spec, LatentStatistics(torch.zeros(96), torch.ones(96)), 1)
    state = accompanist.init_state(1, Controls(torch.tensor([4]), torch.tensor([0])))
    mix_BTC = torch.randn(1, 3, 96, generator=torch.Generator().manual_seed(2))
    _, state = accompanist.step(mix_BTC[:, :2], state)
    expected, _ = accompanist.step(mix_BTC[:, 2:], state)
    other, _ = in_precision(accompanist, precision).step(mix_BTC[:, 2:], state)
    assert (other - expected).abs().max() < 0.2
    assert (precision == "float32") == torch.allclose(other, expected, atol=1e-5)
