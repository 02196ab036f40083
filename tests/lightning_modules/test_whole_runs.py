"""What holds for every recipe's run as a whole: resumed is uninterrupted, and two processes stay one."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import test_consistency_distillation
import test_flow_matching
import test_r3gan
import test_streaming_distillation
import torch
import toy_rollouts
from toy_latents import CountingData, StopAfter, make_trainer, same

from lightning_modules.accompaniment import AccompanimentModule


@dataclass(frozen=True)
class Run:
    """A recipe in miniature.

    Args:
        make_module: settings → the recipe.
        make_data: its data, of the batches named below.
        settings: of the recipe, with an averaged generator.
        batches: in an epoch.
        stop: after how many the run is stopped.
        steps: optimiser steps of the whole run, as Lightning counts them.
    """

    make_module: Callable[..., AccompanimentModule[Any]]
    make_data: Callable[..., CountingData]
    settings: dict[str, Any]
    batches: int
    stop: int
    steps: int

    def module(self, **settings: Any) -> AccompanimentModule[Any]:
        return self.make_module(**self.settings, **settings)

    def data(self) -> CountingData:
        return self.make_data(batches=self.batches)


def _flow_data(batches: int) -> CountingData:
    return CountingData(batches, frames=test_flow_matching.CONTEXT + test_flow_matching.BLOCK)


ARC = {"ema_decay": 0.9, "cutoff_blocks": [-1, 0], "generator_warmup_iterations": 8, "penalty_weight": 0.5}
RUNS = {
    "R3GAN": Run(test_r3gan.make_module, test_r3gan.data, {}, 12, 7, 24),
    "FlowMatching": Run(test_flow_matching.make_module, _flow_data, {}, 6, 3, 6),
    "ARCForcing": Run(toy_rollouts.make_module, toy_rollouts.data, ARC, 4, 3, 4),
    "ConsistencyDistillation": Run(
        test_consistency_distillation.make_module, test_consistency_distillation.data, {}, 4, 2, 4
    ),
    "StreamingDistillation": Run(
        test_streaming_distillation.make_module, test_streaming_distillation.data, {}, 4, 2, 4
    ),
}


@pytest.mark.parametrize("name", RUNS)
def test_resumed_is_uninterrupted(name: str, tmp_path: Path) -> None:
    """Bit by bit, in a new process' worth of objects, whatever the networks began with there."""
    run = RUNS[name]
    whole = make_trainer(tmp_path / "whole")
    whole.fit(run.module(), run.data())
    whole.save_checkpoint(tmp_path / "whole.ckpt")
    with pytest.raises(RuntimeError, match="stop"):
        make_trainer(tmp_path, callbacks=[StopAfter(run.stop, RuntimeError("stop"))]).fit(run.module(), run.data())
    torch.manual_seed(123)
    # what goes on from trained networks needs them no more
    fresh = run.module(**({"allow_untrained": False} if hasattr(run.module(), "allow_untrained") else {}))
    for key, parameter in fresh.named_parameters():
        parameter.data.add_(0.0 if key.startswith("codec.") else 1.0)
    resumed = make_trainer(tmp_path / "resumed")
    resumed.fit(fresh, run.data(), ckpt_path=tmp_path / "stopped.ckpt")
    resumed.save_checkpoint(tmp_path / "resumed.ckpt")

    first, second = (torch.load(tmp_path / f"{kind}.ckpt", weights_only=True) for kind in ("whole", "resumed"))
    assert first["global_step"] == second["global_step"] == run.steps
    for part in ("state_dict", "optimizer_states", "lr_schedulers", "livejam"):
        assert same(first[part], second[part]), part
    assert any(weight.startswith("ema_generator.") for weight in first["state_dict"])


@pytest.mark.parametrize(
    "name", [name if name == "R3GAN" else pytest.param(name, marks=pytest.mark.slow) for name in RUNS]
)
@pytest.mark.timeout(240)
def test_two_processes_stay_one(name: str, tmp_path: Path) -> None:
    """Each rank sees other data and draws other noise; gradients are averaged, so nothing may drift apart."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    # Spawned: a forked process cannot run autograd once its parent has.
    torch.multiprocessing.spawn(_train_as_one_of_two, args=(name, str(tmp_path), port), nprocs=2)
    first, second = (torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1))
    assert not torch.equal(first.pop("probe"), second.pop("probe")), "the ranks must have seen different data"
    assert same(first, second)
    begun = RUNS[name].module().state_dict()
    assert not same({name: first[name] for name in begun}, begun), "something was learnt"


def _train_as_one_of_two(rank: int, name: str, folder: str, port: int) -> None:
    from lightning.pytorch.strategies import DDPStrategy

    torch.set_num_threads(1)
    os.environ.update(LOCAL_RANK=str(rank), NODE_RANK="0", WORLD_SIZE="2")
    os.environ.update(MASTER_ADDR="127.0.0.1", MASTER_PORT=str(port))
    module, data = RUNS[name].module(), RUNS[name].data()
    strategy = DDPStrategy(find_unused_parameters=True, process_group_backend="gloo")
    make_trainer(Path(folder), devices=2, strategy=strategy).fit(module, data)
    state = {key: value.clone() for key, value in module.state_dict().items()}
    state["probe"] = next(iter(data.train_dataloader())).mix
    torch.save(state, Path(folder) / f"rank{rank}.pt")
