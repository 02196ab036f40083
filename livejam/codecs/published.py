"""What is on record about published checkpoints, and loading them from a local folder, never from the network."""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from safetensors import SafetensorError
from torch import Tensor, nn

from livejam.checkpoints.file import read_torch_file
from livejam.checkpoints.weights import WEIGHTS
from livejam.errors import UserError
from livejam.spec import CodecSpec

SHOWN = ("sample_rate_hz", "audio_channels", "hop_samples", "latent_channels", "delay_samples")
"""Fields of a spec that can be read off a checkpoint; its name cannot."""


@dataclass(frozen=True)
class Published:
    """One published checkpoint: where it comes from, and the shapes and rates that it must show.

    Args:
        repository: owner and name of the repository that holds it.
        files: paths in that repository that an adapter reads; they share one folder.
        spec: what its latents mean; the name is the one livejam gives the checkpoint.
    """

    repository: str
    files: tuple[str, ...]
    spec: CodecSpec

    def verify(self, found: CodecSpec, weights: str | Path) -> None:
        """Refuse weights that are not this checkpoint's.

        Raises:
            UserError: names every field that differs, with both values.
        """
        different = [name for name in SHOWN if getattr(found, name) != getattr(self.spec, name)]
        if different:
            raise self.refusal(
                weights, ", ".join(f"{n} is {getattr(found, n)}, not {getattr(self.spec, n)}" for n in different)
            )

    def refusal(self, weights: str | Path, reason: str) -> UserError:
        """The error for weights that are not these."""
        return UserError(f"{weights} does not hold {self.repository} ({reason}); fetch it again or name what it is")

    def how_to_fetch(self, weights: str | Path) -> str:
        """The end of a sentence about missing weights: the command that puts them there."""
        sets = (kept for kept in WEIGHTS if any(f"/{self.repository}/" in file.url for file in kept.files))
        if (known := next(sets, None)) is None:
            return f"fetch {self.repository}"
        roots = (folder.parent for folder in (Path(weights), *Path(weights).parents) if folder.name == known.name)
        where = next((f" with LIVEJAM_WEIGHTS={root}" for root in roots), "")
        return f"run `livejam weights fetch {known.name}`{where}"


def optional_package(name: str) -> ModuleType:
    """A package of the extra `codecs`.

    Raises:
        UserError: it is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"this codec needs the package {name.partition('.')[0]}, which cannot be imported ({error}); "
            "install livejam with its extra: pip install 'livejam[codecs]'"
        ) from error


def load_folder(model_class: Any, weights: str | Path, published: Published, **options: bool) -> Any:
    """A model of transformers or diffusers from `config.json` and safetensors in a local folder.

    Args:
        model_class: the class that has `from_pretrained`.
        weights: the folder.
        published: what should be in it.
        options: further arguments of this class's `from_pretrained`.

    Raises:
        UserError: the folder or a file is missing, or the tensors are not those of the class.
    """
    if not (Path(weights) / "config.json").is_file():
        raise UserError(
            f"there is no {Path(weights) / 'config.json'}; {published.how_to_fetch(weights)}, or give the folder of "
            f"{published.repository} that holds {' and '.join(Path(file).name for file in published.files)}"
        )
    try:
        with warnings.catch_warnings():
            # diffusers normalises weights by a function that torch deprecates
            warnings.simplefilter("ignore", FutureWarning)
            model, found = model_class.from_pretrained(
                str(weights), local_files_only=True, use_safetensors=True, output_loading_info=True, **options
            )
    except (OSError, RuntimeError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise published.refusal(weights, first_line(error)) from error
    if found["missing_keys"] or found["mismatched_keys"]:
        lacking = sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))
        raise published.refusal(weights, f"it lacks {len(lacking)} tensors, as {lacking[0]}")
    return model


def load_state(model: nn.Module, weights: str | Path, published: Published) -> None:
    """Load a model from a local PyTorch file that holds its tensors under `gen_state_dict`; no code in it is run.

    Args:
        model: the model.
        weights: the file.
        published: what should be in it.

    Raises:
        UserError: the file is missing, holds more than plain values, or its tensors are not those of the model.
    """
    if not Path(weights).is_file():
        raise UserError(
            f"there is no file {weights}; {published.how_to_fetch(weights)}, or give the path of "
            f"{published.files[0]} of {published.repository}"
        )
    held = read_torch_file(weights, f"fetch {published.repository} again, and save only its tensors if it still does")
    try:
        tensors: dict[str, Tensor] = held["gen_state_dict"]
        lacking = sorted(model.load_state_dict(tensors, strict=False).missing_keys)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise published.refusal(weights, first_line(error)) from error
    if lacking:
        raise published.refusal(weights, f"it lacks {len(lacking)} tensors, as {lacking[0]}")


def first_line(error: Exception) -> str:
    """The text of an error, without the pages that some libraries add."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
