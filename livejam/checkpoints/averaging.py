"""Models whose weights are averaged: what several trainings learnt, in one network of the same size.

Weights can be averaged where one training went on from another, or both from a common beginning; networks that were
initialised apart have nothing in common to average. Wortsman et al. 2022 (arXiv:2203.05482) call the result a model
soup, and Wortsman et al. 2022 (arXiv:2109.01903) average a model and what was tuned from it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from livejam.checkpoints.facts import ancestors, learnt_instruments, lineage_text, shape_difference
from livejam.checkpoints.file import played_weights
from livejam.checkpoints.published import STATISTICS, published_facts, read_model
from livejam.checkpoints.weights import sha256_of
from livejam.errors import UserError
from livejam.files import atomic_path

GENERATORS = ("generator.", "ema_generator.")
TRAINING = {"optimizer_states", "lr_schedulers", "callbacks", "loops"}
"""What a training goes on with; it would go on from weights that it never had."""


def average(models: Sequence[Path], shares: Sequence[float], out: Path) -> list[float]:
    """Write the first checkpoint with the mean of the networks that play in all of them, in float64.

    It is tested, played and published like any other; training cannot go on from it, but may begin with it. What the
    mean was made of is kept beside the facts of the first one.

    Args:
        models: at least two, with the same codec, statistics of latents and generator. The first is a checkpoint of a
            training; the others may be published models.
        shares: of each in the mean, above 0; they need not sum to 1.
        out: a .ckpt file.

    Returns:
        the cosine between the weights of each model and those of the first: about 0 if they were initialised apart.
        33 600 iterations of LiveBand left 0.74.

    Raises:
        UserError: one cannot be read, or does not fit the first.
    """
    contents = [read_model(model) for model in models]
    first = contents[0]
    if published_facts(first):
        raise UserError(f"{models[0]} holds only what plays; name a checkpoint of a training first, and it second")
    weights = [played_weights(content["state_dict"]) for content in contents]
    if not weights[0]:
        raise UserError(f"{models[0]} holds no generator; name a checkpoint of a model that plays")
    for model, content, own in zip(models[1:], contents[1:], weights[1:], strict=True):
        if difference := _difference(first, content) or shape_difference(own, weights[0]):
            raise UserError(f"{model} does not fit {models[0]}, whose weights it is averaged with ({difference})")
    parts = [share / sum(shares) for share in shares]
    mean = {name: _mean([own[name] for own in weights], parts) for name in weights[0]}
    instruments = [learnt_instruments(content) for content in contents]
    facts = {
        **first["livejam"],
        "instruments": [name for name in instruments[0] if all(name in others for others in instruments)],
        "averaged_from": [
            {"sha256": sha256_of(model), "share": part, "lineage": lineage_text(ancestors(content))}
            for model, content, part in zip(models, contents, parts, strict=True)
        ],
    }
    kept = {name: value for name, value in first.items() if name not in TRAINING}
    with atomic_path(out) as temporary:
        torch.save({**kept, "state_dict": _replaced(models[0], first["state_dict"], mean), "livejam": facts}, temporary)
    return [_cosine(weights[0], own) for own in weights]


def _mean(weights: Sequence[Tensor], parts: Sequence[float]) -> Tensor:
    """A weighted mean; of what is no floating-point number, the first."""
    if not weights[0].is_floating_point():
        return weights[0]
    mean = torch.stack([part * own.double() for part, own in zip(parts, weights, strict=True)]).sum(0)
    return mean.to(weights[0].dtype)


def _cosine(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor]) -> float:
    names = [name for name, weight in ours.items() if weight.is_floating_point()]
    one, other = (torch.cat([own[name].flatten().double() for name in names]) for own in (ours, theirs))
    return float(torch.cosine_similarity(one, other, dim=0))


def _replaced(model: Path, state: Mapping[str, Tensor], mean: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A checkpoint's weights, in which the mean takes the place of the generator and of its average.

    Raises:
        UserError: the generator has low-rank updates, which have no weights of their own to replace.
    """
    replaced = {}
    for key, weight in state.items():
        prefix = next((prefix for prefix in GENERATORS if key.startswith(prefix)), None)
        name = "" if prefix is None else key.removeprefix(prefix).replace("_orig_mod.", "")
        if prefix is not None and name not in mean:
            raise UserError(f"{model} has low-rank updates ({key}); average what it began with, or name another first")
        replaced[key] = weight if prefix is None else mean[name].clone()
    return replaced


def _difference(first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """Why two models do not hear or compute alike; empty if they do."""
    ours, theirs = first["livejam"], other["livejam"]
    if ours["codec_spec"] != theirs["codec_spec"] or ours["latents_hash"] != theirs["latents_hash"]:
        return "they have different codecs"
    if not all(_alike(ours.get(name), theirs.get(name)) for name in STATISTICS):
        return "their latents are normalised differently; begin one training with the other as base_checkpoint"
    return _setting_difference(*(_generator(content) for content in (first, other)))


def _alike(one: Any, other: Any) -> bool:
    """Whether two statistics are there and equal."""
    both = isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape
    return both and torch.allclose(one, other, rtol=1e-4, atol=1e-6)


def _generator(checkpoint: Mapping[str, Any]) -> Any:
    model = checkpoint.get("config", {}).get("model") or {}
    return (model.get("init_args") or {}).get("generator")


def _setting_difference(ours: Any, theirs: Any, name: str = "generator") -> str:
    """The first setting in which two networks differ; one that only one of them names has its default."""
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        found = (_setting_difference(ours[key], theirs[key], key) for key in ours if key in theirs)
        return next(filter(None, found), "")
    return "" if ours == theirs else f"{name} is {ours!r} and {theirs!r}"
