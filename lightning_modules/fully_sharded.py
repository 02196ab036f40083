"""FSDP (Zhao et al. 2023): every process keeps its share of a network, of its gradients, optimiser and average."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer
from lightning.pytorch.strategies import ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed.constants import default_pg_timeout
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim import Optimizer
from torch.utils._pytree import tree_map_only

from livejam.networks.conditioned_transformer import ConditionedTransformer

STEPS = ("training_step", "validation_step", "test_step", "predict_step")
"""What counts as the forward pass of a recipe: in it, the parts that belong to no block are whole.

The first of them tells torch that the recipe is the root; a part that came before it would take itself for one."""


class FullyShardedStrategy(ModelParallelStrategy):
    """Lightning's FSDP2, on any device, with checkpoints that are those of one process.

    Lightning restores a checkpoint after a recipe has read its iteration, numbers the optimiser's states as no other
    strategy does, and reads files past the trainer's `CheckpointIO`. Here all that is as under DDP: any number of
    processes goes on from what any other number has saved.

    In validation every process holds the whole network that plays. Otherwise each of its passes would be a collective,
    and processes with different numbers of items would wait for each other for good.

    Args:
        timeout: for how long a process waits for the others.
    """

    def __init__(self, timeout: timedelta | None = default_pg_timeout) -> None:
        super().__init__(save_distributed_checkpoint=False, timeout=timeout)

    @property
    def restore_checkpoint_after_setup(self) -> bool:
        return False

    @property
    def lightning_restore_optimizer(self) -> bool:
        return True

    def setup_environment(self) -> None:
        self._data_parallel_size, self._tensor_parallel_size = self.num_nodes * self.num_processes, 1
        super().setup_environment()

    def spread(self, networks: Sequence[ConditionedTransformer]) -> None:
        """What a recipe calls in `configure_model`, with the network that it trains first."""
        recipe = self.lightning_module
        assert recipe is not None
        if not isinstance(recipe, FSDPModule):
            shard(recipe, networks, self.device_mesh["data_parallel"])

    def lightning_module_state_dict(self) -> dict[str, Any]:
        """The whole of it; every process takes part, and the first one gets it."""
        assert self.lightning_module is not None
        return self._for_the_first(self.lightning_module.state_dict())

    def load_model_state_dict(self, checkpoint: Mapping[str, Any], strict: bool = True) -> None:
        module = self.lightning_module
        assert module is not None
        own = module.state_dict()
        shares = {name: share_of(whole, own.get(name)) for name, whole in checkpoint["state_dict"].items()}
        module.load_state_dict(shares, strict=strict)

    def optimizer_state(self, optimizer: Optimizer) -> dict[str, Any]:
        """The whole of it, as one process would save it."""
        bare = optimizer.optimizer if isinstance(optimizer, LightningOptimizer) else optimizer
        return self._for_the_first(bare.state_dict())

    def load_optimizer_state_dict(self, checkpoint: Mapping[str, Any]) -> None:
        for optimizer, saved in zip(self.optimizers, checkpoint["optimizer_states"], strict=True):
            numbers = [number for group in saved["param_groups"] for number in group["params"]]
            weights = [weight for group in optimizer.param_groups for weight in group["params"]]
            own = dict(zip(numbers, weights, strict=True))
            state = {
                number: {name: share_of(value, own[number]) for name, value in of_one.items()}
                for number, of_one in saved["state"].items()
            }
            optimizer.load_state_dict({**saved, "state": state})

    def load_checkpoint(self, checkpoint_path: Any, weights_only: bool | None = None) -> dict[str, Any]:
        return Strategy.load_checkpoint(self, checkpoint_path, weights_only)

    def on_validation_start(self) -> None:
        hold_whole(self._playing())

    def on_validation_end(self) -> None:
        hold_shares(self._playing())

    on_test_start = on_predict_start = on_validation_start
    on_test_end = on_predict_end = on_validation_end

    def _playing(self) -> list[FSDPModule]:
        """What has a share of the network that plays."""
        recipe: Any = self.lightning_module
        return [module for module in (recipe, *recipe.playing_generator.modules()) if isinstance(module, FSDPModule)]

    def _for_the_first(self, state: dict[str, Any]) -> dict[str, Any]:
        # one after the other, so that never more than one tensor is whole on a device
        whole: dict[str, Any] = tree_map_only(DTensor, lambda share: self._kept(share.full_tensor()), state)
        return whole if self.is_global_zero else {}

    def _kept(self, whole: Tensor) -> Tensor | None:
        return whole.cpu() if self.is_global_zero else None


def shard(recipe: LightningModule, networks: Sequence[ConditionedTransformer], mesh: DeviceMesh) -> None:
    """Spread networks over processes: a group of tensors per block, one of the prompt's maps, one of the rest.

    The maps from the prompt to keys and values are used before the blocks, so they are whole at another time.

    Args:
        recipe: what trains the first network; its codec stays as it is.
        networks: the trained network, and those that are no part of a training step.
        mesh: of processes with a batch each.
    """
    for network in networks:
        blocks = network.transformer.layers
        of_prompt = [block.prompt_attention for block in blocks if block.prompt_attention is not None]
        maps: list[nn.Module] = [
            part for attention in of_prompt for part in (attention.project_prompt, attention.key_norm)
        ]
        # without normalisation of keys there is a part without tensors
        if of_tensors := [part for part in maps if next(part.parameters(), None) is not None]:
            fully_shard(of_tensors, mesh=mesh)
        for block in blocks:
            fully_shard(block, mesh=mesh)
    for network in networks[1:]:
        fully_shard(network, mesh=mesh)
    codec: Any = recipe.codec
    fully_shard(recipe, mesh=mesh, reshard_after_forward=True, ignored_params=set(codec.parameters()))
    for step in STEPS:
        register_fsdp_forward_method(recipe, step)


def hold_whole(modules: Iterable[FSDPModule]) -> None:
    """Let every process hold all of some modules' tensors until `hold_shares`."""
    # what is gathered in inference mode could never be trained on
    with torch.inference_mode(False), torch.no_grad():
        for module in modules:
            module.set_reshard_after_forward(False, recurse=False)
            module.unshard()


def hold_shares(modules: Iterable[FSDPModule]) -> None:
    """Go back to shares."""
    for module in modules:
        module.set_reshard_after_forward(True, recurse=False)
        module.reshard()


def share_of(whole: Any, like: Any) -> Any:
    """This process's share of what every process has, if it is a tensor that belongs to a sharded one."""
    if not isinstance(like, DTensor) or not isinstance(whole, Tensor) or whole.shape != like.shape:
        return whole
    return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements, src_data_rank=None)
