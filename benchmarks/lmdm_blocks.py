"""What caching saves: `python -m benchmarks.lmdm_blocks --frames 192 48 --steps 8 --width 512 --depth 12`.

Times one block of LMDM in three ways: by outpainting, where every denoising step computes the whole window (the
paper's algorithm 1), on an Encoder-Decoder's cache, and on a Block-Causal one. All three run the same weights,
packed for inference, in turns within one process, so that all meet the same machine; each time is the fastest of
several blocks (of one, for 50 steps). The limits in the output are what token counts allow: a speed-up stays below
its limit because a short pass reads as many weights as a long one and multiplies smaller matrices, and may pass it
because attention's cost grows with the square of the window.

The last line is one JSON object. `…_ms` and `…_speedup` are of one stream, `…_speedup_4` of four streams in one batch,
`…_mb` is the peak memory of a block beyond the weights (Linux and CUDA; else null), `growth_100_blocks` the time of
the last ten of a hundred blocks over that of the first ten, `pass_ms` and `window_ms` the time of one evaluation on a
cache and of one on the whole window, of which `…_products_ms` go to matrix products, and `by_steps` holds the speed-ups
of other numbers of steps.
"""

from __future__ import annotations

import argparse
import copy
import ctypes
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from livejam.networks import Bidirectional, BlockCausal, DiffusionConditions, DiffusionTransformer, EncoderDecoder
from livejam.networks.diffusion_masks import AttentionMask
from livejam.networks.packed_linear import packed
from livejam.systems.blocks import bootstrap, denoise, fused, prefill

CHANNELS = 64
OTHER_STEPS = (1, 2, 4, 50)
BLOCKS = 100
Velocity = Callable[[Tensor, Tensor], Tensor]


class Streams:
    """Networks, conditions and the Block-Causal cache of some streams in one batch.

    Args:
        sizes: the command line.
        streams: rows of the batch.
    """

    def __init__(self, sizes: argparse.Namespace, streams: int) -> None:
        context, block = sizes.frames
        network = make_network(sizes).to(sizes.device)
        step = packed(network, streams * (block + 1))
        self.whole = with_mask(packed(network, streams * (context + block + 1)), Bidirectional())
        self.encoder = with_mask(step, EncoderDecoder(context))
        self.causal = with_mask(step, BlockCausal(block, context // block))
        mask_BT = torch.zeros(streams, context + block, device=sizes.device)
        mask_BT[:, :context] = 1
        self.context_BTC = torch.randn(streams, context, CHANNELS, device=sizes.device)
        self.noise_BTC = torch.randn(streams, block, CHANNELS, device=sizes.device)
        empty_BTC = torch.zeros_like(self.noise_BTC)
        self.conditions = DiffusionConditions(torch.cat((self.context_BTC, empty_BTC), dim=1), mask_BT)
        _, self.cache = bootstrap(self.causal, self.noise_BTC, self.level(1.0), self.conditions)

    def level(self, value: float) -> Tensor:
        """A noise level for every row."""
        return torch.full((len(self.noise_BTC),), value, device=self.noise_BTC.device)

    def play(self, velocity: Velocity, steps: int) -> None:
        """One block in Euler steps."""
        x_BTC = self.noise_BTC
        for step in range(steps):
            x_BTC = x_BTC - velocity(x_BTC, self.level(1 - step / steps)) / steps

    def outpaint(self, steps: int) -> None:
        """Every step computes context and block."""
        frames = self.context_BTC.shape[1]

        def velocity(x_BTC: Tensor, time_B: Tensor) -> Tensor:
            window_BTC = torch.cat((self.context_BTC, x_BTC), dim=1)
            return self.whole(window_BTC, time_B, self.conditions)[:, frames:]

        self.play(velocity, steps)

    def encdec(self, steps: int) -> None:
        """The context once, then the block alone."""
        cache = prefill(self.encoder, self.conditions)
        self.play(lambda x_BTC, time_B: denoise(self.encoder, x_BTC, time_B, self.conditions, cache), steps)

    def blockcausal(self, steps: int) -> None:
        """The block just finished together with the first step, then the block alone."""
        slid = False

        def velocity(x_BTC: Tensor, time_B: Tensor) -> Tensor:
            nonlocal slid
            if slid:
                return denoise(self.causal, x_BTC, time_B, self.conditions, self.cache)
            slid = True
            velocity_BTC, self.cache = fused(self.causal, x_BTC, time_B, self.conditions, self.cache)
            return velocity_BTC

        self.play(velocity, steps)

    @property
    def ways(self) -> dict[str, Callable[[int], None]]:
        return {"outpaint": self.outpaint, "encdec": self.encdec, "blockcausal": self.blockcausal}


def make_network(sizes: argparse.Namespace) -> DiffusionTransformer:
    """Random weights of the command line's size."""
    context, block = sizes.frames
    network = DiffusionTransformer(CHANNELS, sizes.width, sizes.depth, sizes.heads, context, block)
    for parameter in network.parameters():
        if parameter.ndim == 2:
            nn.init.normal_(parameter, std=0.02)
    return network.eval().requires_grad_(False)


def with_mask(network: DiffusionTransformer, mask: AttentionMask) -> DiffusionTransformer:
    """The same modules under another mask."""
    twin = copy.copy(network)
    twin.mask = mask
    return twin


def milliseconds(block: Callable[[int], object], steps: int, device: str) -> float:
    """Time of one block."""
    begin = time.perf_counter()
    block(steps)
    if device == "cuda":
        torch.cuda.synchronize()
    return 1e3 * (time.perf_counter() - begin)


def fastest(streams: Streams, steps: int, repeats: int, device: str) -> dict[str, float]:
    """The fastest block of each way, taken in turns."""
    times: dict[str, list[float]] = {way: [] for way in streams.ways}
    for _ in range(repeats):
        for way, block in streams.ways.items():
            times[way].append(milliseconds(block, steps, device))
    return {way: min(values) for way, values in times.items()}


def speedups(one: dict[str, float], four: dict[str, float], steps: int, frames: tuple[int, int]) -> dict[str, float]:
    """The numbers of one number of steps."""
    context, block = frames
    window = steps * (context + block)
    return {
        **{f"{way}_ms": round(value, 1) for way, value in one.items()},
        **{f"{way}_speedup": round(one["outpaint"] / one[way], 3) for way in ("encdec", "blockcausal")},
        **{f"{way}_speedup_4": round(four["outpaint"] / four[way], 3) for way in ("encdec", "blockcausal")},
        "encdec_limit": round(window / (context + steps * block), 3),
        "blockcausal_limit": round(window / (block + steps * block), 3),
    }


def growth(streams: Streams, device: str) -> float:
    """Time of the last ten of many blocks over that of the first ten, one step each."""
    times = [milliseconds(streams.blockcausal, 1, device) for _ in range(BLOCKS)]
    return round(median(times[-10:]) / median(times[:10]), 3)


def share_of_products(streams: Streams, repeats: int, device: str) -> dict[str, float]:
    """Times of a short pass and of a whole window, and of their matrix products alone."""
    conditions, level = streams.conditions, streams.level(0.5)
    window_BTC = torch.cat((streams.context_BTC, streams.noise_BTC), dim=1)
    turns: dict[str, Callable[[int], object]] = {
        "pass_ms": lambda _: denoise(streams.causal, streams.noise_BTC, level, conditions, streams.cache),
        "pass_products_ms": lambda _: products(streams.causal, streams.noise_BTC.shape[1] + 1),
        "window_ms": lambda _: streams.whole(window_BTC, level, conditions),
        "window_products_ms": lambda _: products(streams.whole, window_BTC.shape[1] + 1),
    }
    times = [{name: milliseconds(turn, 1, device) for name, turn in turns.items()} for _ in range(4 * repeats)]
    return {name: round(min(row[name] for row in times), 2) for name in turns}


def products(network: DiffusionTransformer, rows: int) -> None:
    """The matrix products of all layers for one stream, on the same numbers in every layer."""
    x_TD = network.project_noisy.weight.new_ones(1, rows, network.width)
    wide_TD = x_TD.repeat(1, 1, 4)
    for layer in network.layers:
        layer.attention.project_in(x_TD)
        layer.attention.project_out(x_TD)
        layer.feed_forward.project_in(x_TD)
        layer.feed_forward.project_out(wide_TD)


def peak_megabytes(block: Callable[[int], None], device: str) -> float | None:
    """Memory that one block needs beyond what is there before it."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        block(1)
        return round((torch.cuda.max_memory_allocated() - before) / 1e6, 1)
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        before = resident_kilobytes("VmRSS")
        block(1)
        return round((resident_kilobytes("VmHWM") - before) / 1e3, 1)
    except OSError:
        return None


def resident_kilobytes(field: str) -> int:
    """A line of the process's memory status."""
    match = re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text())
    if match is None:
        raise OSError(f"no {field}")
    return int(match[1])


@torch.inference_mode()
def measure(sizes: argparse.Namespace) -> dict[str, Any]:
    """All numbers."""
    one, four = Streams(sizes, 1), Streams(sizes, 4)
    result: dict[str, dict[str, float]] = {}
    for steps in (sizes.steps, *(steps for steps in OTHER_STEPS if steps != sizes.steps)):
        repeats = sizes.repeats if steps <= 8 else 1
        best = [fastest(streams, steps, repeats, sizes.device) for streams in (one, four)]
        result[str(steps)] = speedups(best[0], best[1], steps, tuple(sizes.frames))
        print(f"{steps} steps: {json.dumps(result[str(steps)])}", flush=True)
    memory = {f"{way}_mb": peak_megabytes(block, sizes.device) for way, block in one.ways.items()}
    first, *others = result
    return {
        **result[first],
        **memory,
        **share_of_products(one, sizes.repeats, sizes.device),
        "growth_100_blocks": growth(one, sizes.device),
        "by_steps": {steps: result[steps] for steps in others},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, nargs=2, default=(192, 48), help="context and block")
    parser.add_argument("--steps", type=int, default=8, help="denoising steps of a block")
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--depth", type=int, default=12)
    parser.add_argument("--heads", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5, help="blocks of each way; the fastest counts")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, help="CPU threads; left out: torch's own choice")
    sizes = parser.parse_args()
    if sizes.threads:
        torch.set_num_threads(sizes.threads)
    torch.manual_seed(0)
    print(json.dumps(measure(sizes)))


if __name__ == "__main__":
    main()
