"""Codec weights as one safetensors file: float16 tensors, and the constructor's arguments as JSON beside them."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from livejam.codecs.causal_codec import CausalCodec
from livejam.codecs.codec import Plain
from livejam.errors import UserError, require_finite_weights
from livejam.files import atomic_path

BUNDLED = Path(__file__).parent / "weights"


def save_codec(codec: CausalCodec, path: str | Path, training: Mapping[str, Plain]) -> None:
    """Write a codec's weights and configuration, whole or not at all.

    Args:
        codec: the codec.
        path: the .safetensors file.
        training: a note of how it was trained (seed, steps, data).

    Raises:
        UserError: a weight is not finite, or too large for float16; an older file stays as it was.
    """
    tensors = {name: tensor.detach().cpu().half().contiguous() for name, tensor in codec.state_dict().items()}
    require_finite_weights(tensors, f"codec {codec.spec.name}")
    metadata = {"config": json.dumps(codec.config), "training": json.dumps(dict(training))}
    with atomic_path(path) as temporary:
        save_file(tensors, str(temporary), metadata)


def load_codec(path: str | Path) -> CausalCodec:
    """The codec in a .safetensors file, frozen, in evaluation mode.

    Raises:
        UserError: the file is missing, is no codec, does not fit its own configuration, or is not finite.
    """
    if not Path(path).is_file():
        raise UserError(f"there is no codec file {path}; train one with configs/codec/pocket.yaml or use 'pocket'")
    try:
        with safe_open(str(path), framework="pt") as file:
            config = json.loads((file.metadata() or {})["config"])
        codec = CausalCodec(**config)
        weights = {name: tensor.float() for name, tensor in load_file(str(path)).items()}
        require_finite_weights(weights, str(path))
        codec.load_state_dict(weights)
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, RuntimeError, struct.error) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} is not a codec written by livejam ({reason}); fetch or train it again") from error
    return codec.eval().requires_grad_(False)


def pretrained_codec(weights: str = "pocket") -> CausalCodec:
    """A trained codec, frozen.

    Args:
        weights: name of bundled weights ("pocket"), or the path of a .safetensors file.

    Raises:
        UserError: no such weights.
    """
    bundled = BUNDLED / f"{weights}.safetensors"
    if bundled.is_file():
        return load_codec(bundled)
    if not weights.endswith(".safetensors"):
        names = ", ".join(sorted(file.stem for file in BUNDLED.glob("*.safetensors")))
        raise UserError(f"no bundled codec is called '{weights}' (there is: {names}); or give a .safetensors file")
    return load_codec(weights)
