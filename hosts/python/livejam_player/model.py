"""An exported directory in ONNX Runtime: one step after another, with all of its memory in one dictionary."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from livejam_player.noise import seeded_noise

Array = npt.NDArray[Any]

FORMAT = 1
DTYPES = {"F32": np.float32, "I32": np.int32, "I64": np.int64}
AGAIN = "export the model again with `livejam export --checkpoint C --out DIR`"


class ModelError(ValueError):
    """Something that the user can fix; the message is one sentence that says how."""


def read_tensors(path: Path) -> dict[str, Array]:
    """The tensors of a safetensors file.

    Raises:
        ModelError: it is missing or damaged.
    """
    try:
        held = path.read_bytes()
        size = int.from_bytes(held[:8], "little")
        header, data = json.loads(held[8 : 8 + size]), held[8 + size :]
        header.pop("__metadata__", None)
        return {name: _tensor(facts, data) for name, facts in header.items()}
    except OSError as error:
        raise ModelError(f"{path} cannot be read; {AGAIN}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ModelError(f"{path} is damaged or was not copied whole; copy it again") from error


def _tensor(facts: Mapping[str, Any], data: bytes) -> Array:
    begin, end = facts["data_offsets"]
    return np.frombuffer(data[begin:end], DTYPES[facts["dtype"]]).reshape(facts["shape"])


def read_signature(folder: Path) -> dict[str, Any]:
    """The signature of a directory.

    Raises:
        ModelError: there is none, it is damaged, or it is of another format.
    """
    path = folder / "signature.json"
    if not path.is_file():
        raise ModelError(f"{folder} is no exported model, as it has no signature.json; {AGAIN}")
    try:
        signature: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        version = signature["format"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise ModelError(f"{path} is damaged; {AGAIN}") from error
    if version != FORMAT:
        raise ModelError(f"{path} has format {version}, but this player reads format {FORMAT}; {AGAIN}, or update")
    return signature


class StepModel:
    """A model that hears a block and plays a block.

    Args:
        folder: the exported directory.
        threads: that a graph may use.

    Attributes:
        controls: what else may be asked of a step, by its name: the values that ask for nothing.

    Raises:
        ModelError: the directory is incomplete, damaged or of another format.
    """

    def __init__(self, folder: str | Path, threads: int = 1) -> None:
        folder = Path(folder)
        self.signature = read_signature(folder)
        try:
            self._noise = self.signature["noise"]
            self.block_samples: int = self.signature["block_samples"]
            self.channels: int = self.signature["audio_channels"]
            self._graphs = [(graph, open_graph(folder / graph["file"], threads)) for graph in self.signature["graphs"]]
            self._states0 = read_tensors(folder / "state0.safetensors")
            _require_sizes(self.signature)
            fed = {tensor["feeds"] for graph, _ in self._graphs for tensor in graph["outputs"]}
            self.controls = {name: x for name, x in self._states0.items() if name not in fed and "@" not in name}
        except (KeyError, TypeError) as error:
            raise ModelError(f"{folder}/signature.json is damaged; {AGAIN}") from error
        self.reset()

    def reset(self) -> None:
        """Begin anew."""
        self._values: dict[str, Array] | None = None
        self.steps = 0

    def _begun(self, instrument: int) -> dict[str, Array]:
        """The states before the first step; some models have their own for an instrument."""
        names = [name for name in self._states0 if "@" not in name]
        return {name: self._states0.get(f"{name}@{instrument}", self._states0[name]) for name in names}

    def instrument_index(self, name: str | None) -> int:
        """The number of an instrument; None = the model's default.

        Raises:
            ModelError: it never learnt that one.
        """
        if name is None:
            return int(self.signature["default_instrument"])
        known = self.signature["instruments"]
        for one in known:
            if name.lower() in (other.lower() for other in (one["name"], *one["aliases"])):
                return int(one["index"])
        learnt = ", ".join(one["name"] for one in known)
        raise ModelError(f"this model never learnt to play {name}; it learnt {learnt}")

    def step(
        self, mix_AN: Array, instrument: int, seed: int, controls: Mapping[str, Array] = MappingProxyType({})
    ) -> Array:
        """Hear the next block and play one; silence, and no memory, if that is not finite.

        Args:
            mix_AN: a block, finite.
            instrument: its number.
            seed: of the noise.
            controls: what else is asked of this step; the others ask for nothing.
        """
        before = self._begun(instrument) if self._values is None else self._values
        given = (
            before
            | self.controls
            | dict(controls)
            | {
                "mix": np.ascontiguousarray(mix_AN[None], np.float32),
                "instrument": np.array([instrument], np.int32),
                "noise": self._noise_of(seed),
            }
        )
        for graph, session in self._graphs:
            out = session.run(None, {tensor["name"]: given[tensor["name"]] for tensor in graph["inputs"]})
            given |= {
                tensor["feeds"] or tensor["name"]: made for tensor, made in zip(graph["outputs"], out, strict=True)
            }
        self.steps += 1
        played_AN: Array = given["accompaniment"][0]
        if np.isfinite(played_AN).all():
            self._values = given
            return played_AN
        self.reset()
        return np.zeros_like(played_AN)

    def _noise_of(self, seed: int) -> Array:
        facts = self._noise
        first = facts["first_position"] + self.steps * facts["positions_per_step"]
        frame_F = np.arange(facts["frames"], dtype=np.int64) + first
        draw_D1 = np.arange(facts["draws"], dtype=np.int64)[:, None] * facts["draw_stride"]
        return seeded_noise(seed, frame_F + draw_D1, facts["channels"])


def _require_sizes(signature: Mapping[str, Any]) -> None:
    """Refuse a rate that is none, and a block that is not what the graphs hear.

    Raises:
        TypeError: names the field.
    """
    if not isinstance(signature["sample_rate_hz"], int) or signature["sample_rate_hz"] < 1:
        raise TypeError("sample_rate_hz")
    block = [1, signature["audio_channels"], signature["block_samples"]]
    inputs = [tensor for graph in signature["graphs"] for tensor in graph["inputs"]]
    if [tensor["shape"] for tensor in inputs if tensor["name"] == "mix"] != [block]:
        raise TypeError("block_samples")


def open_graph(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A graph that can be run.

    Raises:
        ModelError: it is missing or damaged.
    """
    if not path.is_file():
        raise ModelError(f"{path} is missing; {AGAIN}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime has many, and no common class for them
        raise ModelError(f"{path} is damaged or needs a newer onnxruntime; copy it again, or update") from error


def require_seed(seed: int) -> None:
    """Refuse what is no seed.

    Raises:
        ModelError: it is outside of 0 … 2^63 - 1.
    """
    if not 0 <= seed <= math.ldexp(1, 63) - 1:
        raise ModelError(f"the seed {seed} is outside of 0 … 2^63 - 1; choose another one")
