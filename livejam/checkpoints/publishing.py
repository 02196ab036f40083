"""From any checkpoint that plays to a published model.

Shapes: B batch, T latent frames, C latent channels.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from livejam import __version__
from livejam.accompanist import Controls, accompany
from livejam.checkpoints.facts import ancestors, learnt_instruments
from livejam.checkpoints.file import part, played_weights
from livejam.checkpoints.player import Player, load_player, player_settings
from livejam.checkpoints.published import FORMAT, KEY, STATISTICS, published_facts, read_model
from livejam.checkpoints.weights import sha256_of
from livejam.codecs.causal_codec import CausalCodec
from livejam.codecs.codec import Codec, codec_identity
from livejam.codecs.pretrained import BUNDLED, pretrained_codec
from livejam.errors import UserError
from livejam.files import atomic_path
from livejam.instruments import default_instrument
from livejam.spec import LatentStatistics

LARGEST_CHANGE = 0.01
"""Half precision may change what is played by so much, in standard deviations of the latents (root mean square)."""

TRIED_FRAMES = 96
"""For so long, or two blocks, half precision is tried: about nine seconds with the bundled codec."""


@dataclass(frozen=True)
class Published:
    """What was written.

    Args:
        precision: of the generator's numbers, `float16` or `float32`.
        change: what float16 changes in what is played, in standard deviations of the latents (root mean square).
        with_codec: whether the codec is in the file, because it is not bundled.
    """

    precision: str
    change: float
    with_codec: bool


def publish(
    checkpoint: Path, out: Path, licence: str | None, results: str | None = None, trusted: Sequence[str] = ()
) -> Published:
    """Write the model of a checkpoint as one file, whole or not at all.

    The generator is written in float16 if that changes what it plays by no more than `LARGEST_CHANGE`, else in
    float32. A bundled codec is referred to by name and hash; another `CausalCodec` is part of the file; other codecs
    are refused, because their weights have licences of their own. Of folders in the configuration the last name is
    kept.

    Args:
        checkpoint: of a recipe that plays.
        out: the .safetensors file.
        licence: licence of the weights, in words; None = not stated.
        results: the table of its test, as Markdown; None = not known.
        trusted: packages besides livejam whose classes the checkpoint may name.

    Raises:
        UserError: the checkpoint does not play, or its codec can be neither referred to nor copied.
    """
    content, player = read_model(checkpoint), load_player(checkpoint, trusted)
    if published_facts(content):
        raise UserError(f"{checkpoint} is published already; copy it")
    codec, codec_weights = _codec(player.codec)
    statistics = LatentStatistics(*(content["livejam"][name] for name in STATISTICS))
    change = float16_change(player, statistics)
    precision = "float16" if change <= LARGEST_CHANGE else "float32"
    facts = {
        "licence": licence,
        "results": results,
        "precision": precision,
        "float16_change": change,
        "averaged": bool(part(content["state_dict"], "ema_generator")),
        "checkpoint_sha256": sha256_of(checkpoint),
        "codec_identity": codec_identity(player.codec),
        "livejam": __version__,
    }
    held = {"format": FORMAT, "config": _config(content["config"], codec), "facts": _facts(content), "published": facts}
    generator = played_weights(content["state_dict"])
    tensors = {f"generator.{name}": weight.to(getattr(torch, precision)) for name, weight in generator.items()}
    tensors |= {f"codec.{name}": _without_loss(weight) for name, weight in codec_weights.items()}
    tensors |= {name: content["livejam"][name] for name in STATISTICS}
    tensors |= {name: content["state_dict"][name] for name in ("silence_C", "iteration")}
    with atomic_path(out) as temporary:
        save_file({name: t.contiguous() for name, t in tensors.items()}, str(temporary), {KEY: json.dumps(held)})
    return Published(precision, change, bool(codec_weights))


def float16_change(player: Player, statistics: LatentStatistics) -> float:
    """What float16 weights change in what a model plays, in standard deviations of the latents (root mean square).

    It hears noise with the statistics of music; the weights are as before afterwards.
    """
    accompanist: Any = player.accompanist
    generator = accompanist.generator
    exact = {name: weight.clone() for name, weight in generator.state_dict().items()}
    played_BTC = _play(player, statistics)
    generator.load_state_dict({name: weight.half().to(weight) for name, weight in exact.items()})
    changed_BTC = _play(player, statistics)
    generator.load_state_dict(exact)
    return float((changed_BTC - played_BTC).square().mean().sqrt())


@torch.inference_mode()
def _play(player: Player, statistics: LatentStatistics) -> Tensor:
    """Normalised latents that a model plays to noise."""
    accompanist = player.accompanist
    frames = accompanist.block_frames * max(2, math.ceil(TRIED_FRAMES / accompanist.block_frames))
    noise_BTC = torch.randn(1, frames, len(statistics.mean_C), generator=torch.Generator().manual_seed(0))
    controls = Controls(torch.tensor([default_instrument(player.instruments)]), torch.tensor([0]))
    played_BTC = accompany(accompanist, statistics.denormalise(noise_BTC), controls, player.silence_C)
    return statistics.normalise(played_BTC)


def _codec(codec: Codec) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The codec as `{class_path, init_args}`, and the weights that go with it: none for a bundled one.

    Raises:
        UserError: it is neither bundled nor a `CausalCodec`.
    """
    if isinstance(codec, CausalCodec):
        for file in sorted(BUNDLED.glob("*.safetensors")):
            if pretrained_codec(file.stem).latents_hash == codec.latents_hash:
                return _described("pretrained_codec", {"weights": file.stem}), {}
        return _described("CausalCodec", dict(codec.config)), dict(codec.state_dict())
    raise UserError(
        f"the codec {codec.spec.name} ({type(codec).__name__}) cannot be published with the model: its weights have a "
        "licence of their own; share the checkpoint instead, or train with the bundled codec or a CausalCodec"
    )


def _described(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"class_path": f"livejam.codecs.{name}", "init_args": arguments}


def _facts(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint says about itself, in plain values."""
    facts = content["livejam"]
    return {
        "codec_spec": dict(facts["codec_spec"]),
        "latents_hash": facts["latents_hash"],
        "instruments": list(learnt_instruments(content)),
        "lineage": [dict(ancestor) for ancestor in ancestors(content)[:-1]],
        "player": player_settings(content),
    }


def _config(config: Mapping[str, Any], codec: Mapping[str, Any]) -> Any:
    """Model, data and seed of the configuration, without the folders of the machine that it was trained on."""
    kept = _without_folders({name: config[name] for name in ("seed_everything", "model", "data") if name in config})
    kept["model"]["init_args"]["codec"] = codec
    return kept


def _without_folders(value: Any) -> Any:
    """Plain values of which an absolute path keeps its last name only."""
    if isinstance(value, Mapping):
        return {key: _without_folders(held) for key, held in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_folders(held) for held in value]
    private = isinstance(value, str) and (PurePath(value).is_absolute() or value.startswith("~"))
    return PurePath(value).name if private else value


def _without_loss(weight: Tensor) -> Tensor:
    """The weight in float16 if it was stored so before, as the bundled codec's weights are."""
    half = weight.half()
    return half if torch.equal(half.to(weight), weight) else weight
