"""Names of Stable Audio's diffusion transformer, and what they are called in livejam's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from livejam.errors import UserError

ROOT = "transformer.project_in.weight"
"""The tensor that tells under which prefix the network lies."""

UNKNOWN = "?"
"""Marks a name of the network that livejam's has nothing for."""

WHOLE_NAMES = {
    "timestep_features.weight": "noise_features.frequency_F",
    "transformer.project_in.weight": "project_noisy.weight",
    "transformer.project_out.weight": "project_out.weight",
    "transformer.rotary_pos_emb.inv_freq": "rotary.inverse_frequency",
    "preprocess_conv.weight": "before.linear.weight",
    "postprocess_conv.weight": "after.linear.weight",
    "to_input_add_embed.weight": "project_given.weight",
}
"""Names that change as a whole."""

NAME_PARTS = {
    r"^to_timestep_embed\.": "noise_embedding.",
    r"^to_cond_embed\.": "prompt_embedding.",
    r"^to_global_embed\.": "global_embedding.",
    r"^transformer\.layers\.": "blocks.",
    r"\.pre_norm\.gamma$": ".attention_norm.weight",
    r"\.cross_attend_norm\.gamma$": ".prompt_norm.weight",
    r"\.ff_norm\.gamma$": ".feed_forward_norm.weight",
    r"\.self_attn\.to_qkv\.": ".attention.project_in.",
    r"\.cross_attn\.to_q\.": ".prompt_attention.project_query.",
    r"\.cross_attn\.to_kv\.": ".prompt_attention.project_prompt.",
    r"_attn\.to_out\.": "_attn.project_out.",
    r"\.self_attn\.": ".attention.",
    r"\.cross_attn\.": ".prompt_attention.",
    r"\.q_norm\.": ".query_norm.",
    r"\.k_norm\.": ".key_norm.",
    r"\.ff\.ff\.0\.proj\.": ".feed_forward.project_in.",
    r"\.ff\.ff\.2\.": ".feed_forward.project_out.",
}
"""Parts of names that change, in this order."""

ZERO_BUFFERS = re.compile(r"norm\.beta$")
"""The biases of layer normalisations, which are no parameters and always 0."""


def renamed(tensors: Mapping[str, Tensor], path: Path) -> tuple[dict[str, Tensor], list[str]]:
    """The network's tensors under livejam's names, and the names of everything else.

    Raises:
        UserError: there is no such network in the checkpoint.
    """
    prefixes = [name.removesuffix(ROOT) for name in tensors if name.endswith(ROOT)]
    if not prefixes:
        raise UserError(f"{path} holds no diffusion transformer of Stable Audio; name its model checkpoint")
    # A training checkpoint has two networks; the averaged one is what its authors publish.
    prefix = max(prefixes, key=lambda name: "ema" in name)
    weights, unused = {}, []
    for name, x in tensors.items():
        own = name.removeprefix(prefix)
        if not name.startswith(prefix):
            unused.append(name)
        elif not (ZERO_BUFFERS.search(own) and not x.any()):
            weights[new_name(own)] = flat(own, x)
    join_projections(weights)
    known = {name for name in weights if not name.startswith(UNKNOWN)}
    unused += [prefix + name.removeprefix(UNKNOWN) for name in weights if name not in known]
    return {name: weights[name] for name in known}, unused


def new_name(name: str) -> str:
    """livejam's name of a tensor."""
    if name in WHOLE_NAMES:
        return WHOLE_NAMES[name]
    changed = name
    for pattern, replacement in NAME_PARTS.items():
        changed = re.sub(pattern, replacement, changed)
    return UNKNOWN + name if changed == name else changed


def flat(name: str, x: Tensor) -> Tensor:
    """Convolutions of one tap and features of one number without the dimension of size one."""
    return x.squeeze(-1) if name in WHOLE_NAMES and x.ndim > 1 and x.shape[-1] == 1 else x


def join_projections(weights: dict[str, Tensor]) -> None:
    """Queries, keys and values in one map, for checkpoints that keep queries apart."""
    for name in [name for name in weights if name.endswith(".attention.to_q.weight")]:
        layer = name.removesuffix("to_q.weight")
        weights[f"{layer}project_in.weight"] = torch.cat((weights.pop(name), weights.pop(f"{layer}to_kv.weight")))
