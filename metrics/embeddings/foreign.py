"""Networks and tensors of other packages, without the side effects of importing those packages."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from livejam.checkpoints.file import read_torch_file
from livejam.checkpoints.weights import find_weights
from livejam.errors import UserError

EXTRA = "install livejam with its extra: pip install 'livejam[metrics]'"


def optional_module(name: str) -> ModuleType:
    """A module of a package of the extra `metrics`, imported as usual.

    Raises:
        UserError: it cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(f"{name.partition('.')[0]} cannot be imported ({error}); {EXTRA}") from error


def module_inside(package: str, folder: str, name: str) -> ModuleType:
    """A module from a folder of a package whose own `__init__` is not run.

    laion_clap asks a model hub for text tokenizers when it is imported, and frechet_audio_distance imports it: without
    a network that takes minutes, and neither is needed for a network's definition.

    Args:
        package: the installed package.
        folder: a folder inside it.
        name: the module in that folder; it may import its neighbours relatively.

    Raises:
        UserError: the package or one that it needs is not installed.
    """
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(f"{package} is not installed; {EXTRA}")
    alias = f"_livejam_{package}_{folder}"
    if alias not in sys.modules:
        stand_in = ModuleType(alias)
        stand_in.__path__ = [str(Path(spec.submodule_search_locations[0]) / folder)]
        sys.modules[alias] = stand_in
    return optional_module(f"{alias}.{name}")


def weights_file(name: str, path: str | Path | None) -> Path:
    """The path itself, or where `livejam weights fetch NAME` puts the file.

    Raises:
        UserError: there is no file.
    """
    if path is None:
        return find_weights(name).require()
    if not Path(path).is_file():
        raise UserError(f"there is no file {path}; give the path of the weights, or run `livejam weights fetch {name}`")
    return Path(path)


def load_tensors(path: Path, network: nn.Module, tensors_in: Callable[[Any], Mapping[str, Tensor]]) -> None:
    """Load a checkpoint into a network: tensors only, no foreign code, every tensor in its place.

    Args:
        path: the file.
        network: the network, which is then frozen and in evaluation mode.
        tensors_in: a function that selects the network's tensors from the content of the file.

    Raises:
        UserError: the file is damaged, holds more than tensors and numbers, or another network.
    """
    with torch.serialization.safe_globals(_numpy_values()):
        held = read_torch_file(path, "fetch it again")
    try:
        network.load_state_dict(dict(tensors_in(held)))
    except (RuntimeError, KeyError, TypeError, ValueError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{path} does not hold the weights expected ({reason}); fetch it again") from error
    network.eval().requires_grad_(False)


def _numpy_values() -> list[Any]:
    """What NumPy's numbers and arrays are unpickled with: checkpoints hold some beside the tensors, all harmless."""
    scalar, array = (value.__reduce__()[0] for value in (np.float64(0), np.zeros(0)))
    names = [(scalar, "numpy.core.multiarray.scalar"), (array, "numpy.core.multiarray._reconstruct")]
    return [np.ndarray, np.dtype, *(type(np.dtype(kind)) for kind in "fdilqB?"), *names]
