"""What each process of LMDM's fine-tune holds under each strategy: `python -m benchmarks.strategy_memory`.

The tensors of the real network of `configs/lmdm/encdec_sao_small.yaml` and of its real optimiser are added up on a
device without memory; T5, which is not trained, and the published codec are left out. Under DDP every process holds all
of them, and the buckets of the all-reduce, as large as the gradients. Under FSDP it holds its share (the rows of a
tensor, divided and rounded up), and for a moment what is being computed with: at most the parts outside the blocks, the
prompt's maps and two blocks, with the gradients of one. Activations come on top. The last line is one JSON object, in
gigabytes; `--markdown FILE` writes the table.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from lightning_modules.flow_matching import FlowMatching
from lightning_modules.untrained import untrained
from livejam.networks.lora import LoRA

Size = Callable[[Tensor], int]
"""Tensor → bytes."""

CONFIG = "configs/lmdm/encdec_sao_small.yaml"
STAND_INS = {
    "codec": "livejam.codecs.CausalCodec",
    "codec.init_args.latent_channels": "64",
    "generator.init_args.prompt_encoder": "livejam.networks.TagEncoder",
    "generator.init_args.prompt_encoder.init_args.width": "768",
    "ema_decay": "0.999",
}
"""In the place of what has to be fetched; and an average, which is optional."""

PROCESSES = (1, 2, 4, 8)
GROUPS = ("weights", "gradients", "optimiser", "average")


def whole(tensor: Tensor) -> int:
    """The bytes of a tensor, or of this process's share of it."""
    own = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return own.numel() * own.element_size()


def share(processes: int) -> Size:
    """The bytes of the largest share of a tensor: some of its rows."""
    return lambda tensor: whole(tensor[: -(-len(tensor) // processes)])


def held(generator: nn.Module, average: nn.Module | None, optimizer: Optimizer, size: Size = whole) -> dict[str, int]:
    """Bytes that a process holds after an optimiser step.

    Args:
        generator: the trained network, with its gradients.
        average: the averaged one, if there is one.
        optimizer: of the trained one, after a step.
        size: the bytes of a weight, and of what has its shape.
    """
    parameters = list(generator.parameters())
    states = [(p, value) for p, state in optimizer.state.items() for value in state.values()]
    return {
        "weights": _network(generator, size),
        "gradients": sum(size(p.grad) for p in parameters if p.grad is not None),
        "optimiser": sum(size(v) if v.shape == p.shape else whole(v) for p, v in states),
        "average": 0 if average is None else _network(average, size),
    }


def _network(network: nn.Module, size: Size) -> int:
    return sum(map(size, network.parameters())) + sum(map(whole, network.buffers()))


def for_a_moment(recipe: FlowMatching) -> int:
    """Bytes of weights and gradients that a process holds whole at the same time under FSDP, at most."""
    blocks = list(recipe.generator.transformer.layers)
    of_prompt = [block.prompt_attention for block in blocks if block.prompt_attention is not None]
    maps = [part for attention in of_prompt for part in (attention.project_prompt, attention.key_norm)]
    in_maps = {p for part in maps for p in part.parameters()}
    in_blocks = [set(block.parameters()) - in_maps for block in blocks]
    rest = set(recipe.generator.parameters()).difference(in_maps, *in_blocks)
    return _with_gradients(rest | in_maps | in_blocks[0]) + sum(map(whole, in_blocks[-1]))


def _with_gradients(parameters: Iterable[nn.Parameter]) -> int:
    return sum(whole(p) * (1 + p.requires_grad) for p in parameters)


def stepped(recipe: FlowMatching) -> Optimizer:
    """The recipe's optimiser after a step, all on a device without memory."""
    recipe.to("meta")
    made: Any = recipe.configure_optimizers()
    optimizer: Optimizer = made["optimizer"]
    for parameter in recipe.generator.parameters():
        if parameter.requires_grad:
            parameter.grad = torch.empty_like(parameter)
    optimizer.step()
    return optimizer


def built(config: str, replaced: dict[str, str], lora: LoRA | None) -> FlowMatching:
    """The recipe of a configuration, with random weights, of which all or low-rank updates are trained."""
    words = [word for name, value in replaced.items() for word in (f"--model.init_args.{name}", value)]
    recipe = untrained(["--config", config, *words]).model
    assert isinstance(recipe, FlowMatching)
    if lora is not None:
        lora.adapt(recipe.generator)
        if recipe.ema_generator is not None:
            lora.adapt(recipe.ema_generator)
    return recipe


def of_strategies(config: str, replaced: dict[str, str]) -> list[dict[str, Any]]:
    """Rows of the table: strategy, processes, and gigabytes of each group."""
    rows: list[dict[str, Any]] = []
    for lora, what in ((None, ""), (LoRA(), ", low-rank")):
        recipe = built(config, replaced, lora)
        optimizer = stepped(recipe)
        parts = recipe.generator, recipe.ema_generator, optimizer
        for processes in PROCESSES:
            buckets = held(*parts)["gradients"] if processes > 1 else 0
            rows.append(_row(f"DDP{what}", processes, {**held(*parts), "besides": buckets}))
        for processes in PROCESSES[1:]:
            shares = {**held(*parts, share(processes)), "besides": for_a_moment(recipe)}
            rows.append(_row(f"FSDP{what}", processes, shares))
    return rows


def _row(strategy: str, processes: int, sizes: dict[str, int]) -> dict[str, Any]:
    gigabytes = {name: round(size / 1e9, 2) for name, size in sizes.items()}
    return {"strategy": strategy, "processes": processes, **gigabytes, "sum": round(sum(sizes.values()) / 1e9, 2)}


def as_markdown(rows: list[dict[str, Any]]) -> str:
    """The table; DDP of several processes is one line."""
    lines = ["| strategy | GPUs | " + " | ".join((*GROUPS, "besides", "sum")) + " |", "|---" * 8 + "|"]
    for row in rows:
        if row["strategy"].startswith("DDP") and row["processes"] > 2:
            continue
        name, gpus = row["strategy"], str(row["processes"])
        if name.startswith("DDP"):
            name, gpus = (name.replace("DDP", "one GPU"), "1") if gpus == "1" else (name, "2, 4, 8")
        numbers = (f"{row[group]:.2f} GB" for group in (*GROUPS, "besides", "sum"))
        lines.append(f"| {name} | {gpus} | " + " | ".join(numbers) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compute, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--markdown", type=Path, help="a file for the table")
    rows = of_strategies(CONFIG, STAND_INS)
    arguments = parser.parse_args()
    if arguments.markdown is not None:
        arguments.markdown.write_text(as_markdown(rows), encoding="utf-8")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
