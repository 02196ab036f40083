"""A pretended accelerator: its tensors have shapes and a device, but no memory and no values.

What is on the CPU is computed as always. So a recipe trains as on a GPU of any size, except that nothing costs
anything: two tensors on different devices are an error, and what crosses between host and device is noted.
The device is registered for the whole process, so tests use it in a process of its own.
"""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from lightning.fabric.utilities.device_dtype_mixin import _DeviceDtypeModuleMixin
from lightning.pytorch.accelerators import Accelerator
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode, unset_fake_temporarily
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

NAME = "elsewhere"
OURS = tuple(f"{Path(__file__).parent.parent}/{name}/" for name in ("livejam", "lightning_modules", "metrics"))
ROOT = f"{Path(__file__).parent.parent}/"

Crossing = tuple[str, str]
"""(what happened, file and function): `waits` for a value, copies `up` to the device or `down` from it."""


class Rng(torch.Generator):
    """A generator of any device; nothing is drawn on the pretended one, and the host's is a real one."""

    def __new__(cls, device: Any = "cpu") -> Rng:
        there = torch.device(device).type == NAME
        rng = super().__new__(cls, "cpu" if there else device)
        rng.there = there
        return rng

    @property
    def device(self) -> torch.device:
        return torch.device(NAME, 0) if self.there else torch.device("cpu")


class Crossings(TorchDispatchMode):
    """Whatever goes from device to host or back; what is on the host alone is computed for real."""

    def __init__(self) -> None:
        super().__init__()
        self.found: Counter[Crossing] = Counter()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
        pretended = any(isinstance(x, FakeTensor) for x in tensors)
        target = kwargs.get("device")
        there = target is not None and torch.device(target).type == NAME
        if func is torch.ops.aten._local_scalar_dense.default and pretended:
            self.note("waits")
            return {torch.bool: True}.get(args[0].dtype, 1.0 if args[0].is_floating_point() else 1)
        if func is torch.ops.aten._to_copy.default and target is not None and there != pretended:
            self.note("up" if there else "down")
            return func(*args, **kwargs) if there else self._on_host(args[0], kwargs)
        if func is torch.ops.aten.copy_.default and isinstance(args[0], FakeTensor) != isinstance(args[1], FakeTensor):
            self.note("up" if isinstance(args[0], FakeTensor) else "down")
            return func(*args, **kwargs) if isinstance(args[0], FakeTensor) else args[0]
        if pretended or there:
            return func(*args, **kwargs)
        with unset_fake_temporarily():
            return func(*args, **kwargs)

    def note(self, what: str) -> None:
        self.found[what, place()] += 1

    @staticmethod
    def _on_host(tensor: Tensor, kwargs: dict[str, Any]) -> Tensor:
        with unset_fake_temporarily():
            return torch.zeros(tensor.shape, dtype=kwargs.get("dtype") or tensor.dtype)


class SameDevice(TorchFunctionMode):
    """Refuses a draw from another device's generator, as CUDA does."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out, rng = func(*args, **kwargs), kwargs.get("generator")
        if isinstance(rng, Rng) and isinstance(out, Tensor) and out.device.type != rng.device.type:
            raise RuntimeError(f"{place()} draws on {out.device} with a generator on {rng.device}")
        return out


def place() -> str:
    """The innermost function of ours that is running, else the innermost one of Lightning."""
    frame, others = sys._getframe(), ""
    while frame is not None:
        file = frame.f_code.co_filename
        if file.endswith("logger_connector/result.py"):
            return "lightning:log"
        if file.startswith(OURS):
            return f"{file.removeprefix(ROOT)}:{frame.f_code.co_name}"
        if "/lightning/" in file and not others:
            others = f"lightning:{frame.f_code.co_name}"
        frame = frame.f_back  # type: ignore[assignment]
    return others or "torch"


def register() -> None:
    """Once per process."""
    _setup_privateuseone_for_python_backend(NAME)
    getattr(torch, NAME).get_amp_supported_dtype = lambda: [torch.bfloat16, torch.float16]


@contextlib.contextmanager
def pretended() -> Iterator[Crossings]:
    """Within it there is the device, and what crosses to it is noted."""
    crossings = Crossings()

    def tolist(tensor: Tensor) -> Any:
        crossings.note("waits")
        with unset_fake_temporarily():
            return torch.ones(tensor.shape, dtype=tensor.dtype).tolist()

    fakes = FakeTensorMode(allow_non_fake_inputs=True)
    with patch("torch.Generator", Rng), patch.object(FakeTensor, "tolist", tolist), fakes, crossings, SameDevice():
        yield crossings


def move(module: nn.Module) -> None:
    """`module.to("elsewhere")`, which cannot change the class of a parameter's data."""
    moved: dict[int, Tensor] = {}

    def there(tensor: Tensor) -> Tensor:
        if isinstance(tensor, FakeTensor):
            return tensor
        if id(tensor) not in moved:
            with torch.no_grad():
                new = torch.empty_like(tensor, device=f"{NAME}:0")
            trained = isinstance(tensor, nn.Parameter)
            moved[id(tensor)] = nn.Parameter(new, tensor.requires_grad) if trained else new
        return moved[id(tensor)]

    for part in module.modules():
        for held in (part._parameters, part._buffers):
            held.update({name: there(tensor) for name, tensor in held.items() if tensor is not None})
        if isinstance(part, _DeviceDtypeModuleMixin):
            part._device = torch.device(NAME, 0)


class PretendedAccelerator(Accelerator):
    """For Lightning's trainer."""

    def setup_device(self, device: torch.device) -> None:
        pass

    def teardown(self) -> None:
        pass

    @staticmethod
    def parse_devices(devices: Any) -> Any:
        return devices

    @staticmethod
    def get_parallel_devices(devices: Any) -> list[torch.device]:
        return [torch.device(NAME, 0)]

    @staticmethod
    def auto_device_count() -> int:
        return 1

    @staticmethod
    def is_available() -> bool:
        return True

    @staticmethod
    def name() -> str:
        return NAME


class PretendedStrategy(SingleDeviceStrategy):
    """One process, whose model is moved by `move`."""

    def __init__(self) -> None:
        super().__init__(device=f"{NAME}:0", accelerator=PretendedAccelerator())

    def model_to_device(self) -> None:
        assert self.model is not None
        move(self.model)

    def teardown(self) -> None:
        """The model stays there: its values are nowhere."""
