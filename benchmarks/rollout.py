"""What rollouts cost: `python -m benchmarks.rollout [--blocks 2 4 8 12]`.

One step of ARC-Forcing's generator and one of its discriminator, forward and backward, at the size of
configs/lmdm/arc_forcing_pocket.yaml (or, on a GPU, at any `--width` and `--depth`), for rollouts of several lengths,
with and without activation checkpointing. Each block takes the same number of sampling steps, so that lengths compare.

Memory is the peak of the allocator on a GPU. On a CPU it is what the graph keeps for the backward pass, every tensor
once: with checkpointing the activations of one block come on top of it while they are computed anew.

The last line is one JSON object: `steps`, a list with `blocks`, `checkpointing`, `network`, `seconds` and `memory_mb`,
and `linear_fit_r2`, the least share of the variance of memory over blocks that a straight line explains.
"""

from __future__ import annotations

import argparse
import itertools
import json
import time
from statistics import median
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lightning_modules import ARCForcing
from livejam.batch import AccompanimentBatch
from livejam.codecs import pretrained_codec
from livejam.networks import BlockCausal, ConditionedTransformer, DiffusionTransformer, RolloutDiscriminator, TagEncoder
from livejam.networks.rollout_discriminator import ScoreHead
from livejam.objectives.arc import ARCObjective
from livejam.sampling import PingPong
from livejam.systems.context import RoutedContext
from livejam.systems.rollout import Rollout

CONTEXT, BLOCK, PROMPT = 40, 8, 64
HEADS = 4


def transformer(width: int, depth: int, channels: int, **window: Any) -> ConditionedTransformer:
    """A network with random weights and its encoder."""
    network = DiffusionTransformer(
        channels, width=width, depth=depth, heads=HEADS, mix_channels=channels, prompt_width=PROMPT, **window
    )
    return ConditionedTransformer(network, TagEncoder(PROMPT))


def make_module(width: int, depth: int, blocks: int, checkpointing: bool, device: str) -> ARCForcing:
    """The recipe with untrained networks."""
    codec = pretrained_codec()
    channels = codec.spec.latent_channels
    mask = BlockCausal(BLOCK, CONTEXT // BLOCK)
    generator = transformer(width, depth, channels, context_frames=CONTEXT, block_frames=BLOCK, mask=mask)
    base = transformer(width, depth, channels, context_frames=0, block_frames=CONTEXT + blocks * BLOCK)
    module = ARCForcing(
        generator,
        RolloutDiscriminator(base, layer=depth * 3 // 4 - 1, head=ScoreHead(width, channels=width // 4)),
        codec,
        RoutedContext(),
        PingPong(steps=2),
        cutoff_blocks=[0],
        allow_untrained=True,
        # the same number of steps for every block
        rollout=Rollout(blocks, schedule_steps=3, fewest_steps=2, most_steps=2, checkpointing=checkpointing),
        objective=ARCObjective(),
    ).to(device)
    module._rng, module._shared_rng = torch.Generator(device), torch.Generator()
    return module


def make_batch(module: ARCForcing, size: int, device: str) -> AccompanimentBatch:
    """Noise."""
    shape = (size, module.crop_frames, module.codec.spec.latent_channels)
    return AccompanimentBatch(
        mix=torch.randn(shape, device=device),
        target=torch.randn(shape, device=device),
        is_audio=False,
        instrument_B=torch.arange(size, device=device) % 4,
        active_BT=torch.ones(shape[:2], dtype=torch.bool, device=device),
        prompt=("",) * size,
        song=("",) * size,
        start_seconds=(0.0,) * size,
        annotations=(None,) * size,
    )


class KeptBytes:
    """Counts the memory that a graph keeps for its backward pass, each storage once, weights left out."""

    def __init__(self, module: torch.nn.Module) -> None:
        self._own = {p.untyped_storage().data_ptr() for p in module.parameters()}
        self._seen: dict[int, Tensor] = {}

    def pack(self, tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in self._own:
            self._seen[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    @property
    def total(self) -> int:
        return sum(tensor.untyped_storage().nbytes() for tensor in self._seen.values())


def one_step(module: ARCForcing, batch: AccompanimentBatch, network: str) -> tuple[float, float]:
    """Seconds and megabytes of forward and backward."""
    on_gpu = batch.mix.is_cuda
    trained, other = (module.generator, module.discriminator)[:: 1 if network == "generator" else -1]
    trained.requires_grad_(True)
    other.requires_grad_(False)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    kept = KeptBytes(module)
    begin = time.perf_counter()
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        crop = module._crop(batch)
        loss = module._generator_loss(crop) if network == "generator" else module._discriminator_loss(crop)
    memory = kept.total
    del kept
    loss.backward()
    if on_gpu:
        torch.cuda.synchronize()
        memory = torch.cuda.max_memory_allocated()
    seconds = time.perf_counter() - begin
    module.zero_grad(set_to_none=True)
    return seconds, memory / 1e6


def straightness(blocks: list[int], memory: list[float]) -> float:
    """R² of a straight line."""
    fitted = np.polyval(np.polyfit(blocks, memory, 1), blocks)
    spread = np.var(memory)
    return float(1 - np.mean((np.asarray(memory) - fitted) ** 2) / spread) if spread else 1.0


def measure(options: argparse.Namespace, device: str) -> dict[str, Any]:
    """All lengths, with and without checkpointing, both networks."""
    rows: list[dict[str, Any]] = []
    for checkpointing, blocks in itertools.product((False, True), options.blocks):
        torch.manual_seed(0)
        module = make_module(options.width, options.depth, blocks, checkpointing, device)
        batch = make_batch(module, options.batch, device)
        for network in ("generator", "discriminator"):
            tries = [one_step(module, batch, network) for _ in range(1 + options.repeats)][1:]
            row = {"blocks": blocks, "checkpointing": checkpointing, "network": network}
            row |= {"seconds": median(s for s, _ in tries), "memory_mb": median(m for _, m in tries)}
            rows.append(row)
            print("{network:>13} {blocks:>3} blocks  checkpointing {checkpointing!s:>5}".format(**row), end="  ")
            print("{seconds:.3f} s  {memory_mb:.1f} MB".format(**row), flush=True)
    fits = []
    for checkpointing, network in itertools.product((False, True), ("generator", "discriminator")):
        chosen = [row for row in rows if (row["checkpointing"], row["network"]) == (checkpointing, network)]
        fits.append(straightness([row["blocks"] for row in chosen], [row["memory_mb"] for row in chosen]))
    return {"device": device, "batch": options.batch, "steps": rows, "linear_fit_r2": min(fits)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, nargs="+", default=[2, 4, 8, 12], help="of a rollout")
    parser.add_argument("--width", type=int, default=128, help="channels of the networks")
    parser.add_argument("--depth", type=int, default=4, help="blocks of the networks")
    parser.add_argument("--batch", type=int, default=4, help="items")
    parser.add_argument("--repeats", type=int, default=3, help="steps that are counted; the median is kept")
    options = parser.parse_args()
    print(json.dumps(measure(options, "cuda" if torch.cuda.is_available() else "cpu")))


if __name__ == "__main__":
    main()
