"""Stable Audio Open's diffusion transformer as a checkpoint for fine-tuning.

Reads the model_config.json and the weights that Stability AI publishes, or a checkpoint of stable-audio-tools, and
renames every tensor; nothing is trained or rounded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from livejam.checkpoints.file import read_torch_file
from livejam.checkpoints.stable_audio_names import renamed
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.networks.diffusion_transformer import DiffusionTransformer
from livejam.spec import CodecSpec

TRANSFORMER = "generator.transformer."
DURATION = "generator.duration."

OPTIONS = {
    "io_channels", "embed_dim", "depth", "num_heads", "cond_token_dim", "global_cond_dim", "project_cond_tokens",
    "transformer_type", "attn_kwargs", "input_add_dims", "postpend", "split_qkv",
}  # fmt: skip
"""The options of `model.diffusion.config` that an import understands."""


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Args:
        out: the file that was written.
        settings: arguments of `DiffusionTransformer` that the weights fit.
        objective: the quantity that the network was trained to predict.
        parameters: number of parameters in the file.
        unused: names in the checkpoint that were not used.
        zeros: names that are missing in the checkpoint and start at zero.
    """

    out: Path
    settings: dict[str, Any]
    objective: str
    parameters: int
    unused: list[str]
    zeros: list[str]


def import_stable_audio(config: Path, checkpoint: Path, out: Path, mix: bool = False) -> Imported:
    """Write a checkpoint for `base_checkpoint` of a fine-tuning config.

    Args:
        config: model_config.json.
        checkpoint: its weights, .safetensors (or .ckpt, of which only tensors are read).
        out: the file to write.
        mix: whether the fine-tuned model also hears the musician; adds columns of zeros to the added projection.

    Raises:
        UserError: a file cannot be read, the config has an option that livejam's network does not have, or the weights
            belong to another model.
    """
    described, tensors = read_config(config), read_tensors(checkpoint)
    try:
        settings, spec = transformer_settings(described, mix), codec_spec(described)
        with torch.device("meta"):
            expected = DiffusionTransformer(**settings).state_dict()
    except UserError:
        raise
    except Exception as error:  # a stranger's numbers may do anything to a network
        fault = f"{config} lacks {error}" if isinstance(error, KeyError) else f"{config} describes no network ({error})"
        raise UserError(f"{fault}; download it again") from error
    weights, unused = renamed(tensors, checkpoint)
    zeros = [name for name in ("project_given.weight",) if name not in weights]
    weights.update({name: torch.zeros(expected[name].shape) for name in zeros})
    require_same_shapes(weights, {name: tuple(x.shape) for name, x in expected.items()}, checkpoint)
    duration, duration_names = duration_weights(tensors, described)
    state = {TRANSFORMER + name: x.float().contiguous() for name, x in weights.items()}
    state |= {DURATION + name: x.float().contiguous() for name, x in duration.items()}
    ones_C = torch.ones(spec.latent_channels)
    # Its autoencoder's latents are used as they are: mean 0 and deviation 1 stand for "not normalised".
    facts = {"codec_spec": asdict(spec), "latents_hash": None, "latent_mean_C": 0 * ones_C, "latent_std_C": ones_C}
    with atomic_path(out) as temporary:
        torch.save({"state_dict": state, "livejam": facts}, temporary)
    left = sorted(set(unused) - set(duration_names))
    objective = described["model"]["diffusion"].get("diffusion_objective", "v")
    return Imported(out, settings, objective, sum(x.numel() for x in state.values()), left, zeros)


def read_config(path: Path) -> dict[str, Any]:
    """The published configuration.

    Raises:
        UserError: it is missing, or not that of a Stable Audio diffusion transformer.
    """
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
        diffusion = described["model"]["diffusion"]
        kind, options = diffusion["type"], dict(diffusion["config"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{path} is not a model_config.json of Stable Audio ({reason})") from error
    if kind != "dit":
        raise UserError(f"model.diffusion.type in {path} is {kind!r}; only diffusion transformers ('dit') are imported")
    unknown = sorted(set(options) - OPTIONS)
    if options.get("transformer_type", "continuous_transformer") != "continuous_transformer":
        unknown.append("transformer_type")
    if unknown:
        raise UserError(f"model.diffusion.config in {path} sets {', '.join(unknown)}, unknown to livejam's network")
    return dict(described)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The published weights; nothing in the file is executed.

    Raises:
        UserError: it is missing, damaged, or tries to run code.
    """
    if not path.is_file():
        raise UserError(f"there is no checkpoint {path}; download it from its publisher after accepting the licence")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        loaded = read_torch_file(path, "download it again", mmap=True)
        return {name: x for name, x in loaded.get("state_dict", loaded).items() if isinstance(x, Tensor)}
    except UserError:
        raise
    except Exception as error:  # every reader has its own exceptions, which all mean the same to a user
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"{path} cannot be read as a checkpoint ({reason}); download it again") from error


def transformer_settings(described: Mapping[str, Any], mix: bool) -> dict[str, Any]:
    """Arguments of the base model's `DiffusionTransformer`.

    Args:
        described: the published configuration.
        mix: whether the network also hears the musician.

    Raises:
        UserError: queries and keys are normalised in a way that livejam's network does not have.
    """
    options = described["model"]["diffusion"]["config"]
    norm = options.get("attn_kwargs", {}).get("qk_norm", "none")
    if norm not in ("ln", "none"):
        raise UserError(f"attn_kwargs.qk_norm is {norm!r}; livejam's network has 'ln' and 'none'")
    added = [name for name, _ in options.get("input_add_dims", [])]
    prompt = options.get("cond_token_dim", 0)
    return {
        "latent_channels": options["io_channels"],
        "width": options["embed_dim"],
        "depth": options["depth"],
        "heads": options["num_heads"],
        "context_frames": 0,
        "prompt_width": prompt,
        "global_width": options.get("global_cond_dim", 0),
        "mix_channels": options["io_channels"] if mix or "accomp_input" in added else 0,
        "prompt_hidden": None if options.get("project_cond_tokens", True) else prompt,
        "query_key_norm": norm == "ln",
    }


def duration_weights(
    tensors: Mapping[str, Tensor], described: Mapping[str, Any]
) -> tuple[dict[str, Tensor], list[str]]:
    """The encoder of the duration, where that alone is the global embedding, and the names it had."""
    if described["model"]["diffusion"].get("global_cond_ids", []) != ["seconds_total"]:
        return {}, []
    marks = {"0.weights": "frequency_F", "1.weight": "project.weight", "1.bias": "project.bias"}
    names = {
        name: marks[end]
        for name in tensors
        for end in marks
        if name.endswith(f"conditioners.seconds_total.embedder.embedding.{end}")
    }
    return {new: tensors[name] for name, new in names.items()}, list(names)


def codec_spec(described: Mapping[str, Any]) -> CodecSpec:
    """The spec of the latents."""
    latent = described["model"]["diffusion"]["config"]["io_channels"]
    hop = described["model"]["pretransform"]["config"]["downsampling_ratio"]
    return CodecSpec("stable-audio-vae", described["sample_rate"], described["audio_channels"], hop, latent, 0)


def require_same_shapes(weights: dict[str, Tensor], expected: Mapping[str, tuple[int, ...]], path: Path) -> None:
    """Refuse weights that do not fit the configuration; a narrower added projection gets columns of zeros.

    Raises:
        UserError: names the first tensor that differs.
    """
    given = weights["project_given.weight"]
    missing = expected["project_given.weight"][1] - given.shape[1]
    if missing > 0:
        weights["project_given.weight"] = torch.nn.functional.pad(given, (0, missing))
    for name in sorted(expected.keys() | weights.keys()):
        theirs = tuple(weights[name].shape) if name in weights else "missing"
        if theirs != expected.get(name, "unknown"):
            raise UserError(
                f"{path} does not fit its configuration ({name}: {theirs} in the checkpoint, "
                f"{expected.get(name, 'unknown')} after model_config.json); take both files from the same model"
            )
