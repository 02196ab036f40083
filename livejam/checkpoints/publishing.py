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
from torch import Tensor, nn

from livejam import __version__
from livejam.accompanist import Controls, accompany
from livejam.batch import NAMES
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
    checkpoint: Path,
    out: Path,
    licence: str | None,
    results: str | None = None,
    trusted: Sequence[str] = (),
    songs: str | None = None,
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
        songs: what it learnt from and under which licences, in words; None = what the configuration says.

    Raises:
        UserError: the checkpoint does not play, or its codec can be neither referred to nor copied.
    """
    content, player = read_model(checkpoint), load_player(checkpoint, trusted)
    if published_facts(content):
        raise UserError(f"{checkpoint} is published already; copy it")
    codec, codec_weights = _codec(player.codec)
    statistics = LatentStatistics(*(content["livejam"][name] for name in STATISTICS))
    change = float16_change(player, statistics)
    half = change <= LARGEST_CHANGE
    precision = "float16" if half else "float32"
    facts = {
        "licence": licence,
        "songs": songs,
        "results": results,
        "precision": precision,
        "float16_change": change,
        "averaged": bool(part(content["state_dict"], "ema_generator")),
        "checkpoint_sha256": sha256_of(checkpoint),
        "codec_identity": codec_identity(player.codec),
        "livejam": __version__,
    }
    held = {"format": FORMAT, "config": _config(content["config"], codec), "facts": _facts(content), "published": facts}
    tensors = _tensors(content, player, half) | {f"codec.{name}": _without_loss(w) for name, w in codec_weights.items()}
    with atomic_path(out) as temporary:
        save_file({name: t.contiguous() for name, t in tensors.items()}, str(temporary), {KEY: json.dumps(held)})
    return Published(precision, change, bool(codec_weights))


def _tensors(content: Mapping[str, Any], player: Player, half: bool) -> dict[str, Tensor]:
    """The network that plays, statistics, silence, and the number of its iterations."""
    accompanist: Any = player.accompanist
    state, exact = content["state_dict"], played_weights(content["state_dict"])
    generator = in_float16(exact, accompanist.generator) if half else exact
    tensors = {f"generator.{name}": weight for name, weight in generator.items()}
    tensors |= {name: content["livejam"][name] for name in STATISTICS}
    return tensors | {name: state[name] for name in ("silence_C", "iteration") if name in state}


def float16_change(player: Player, statistics: LatentStatistics) -> float:
    """What float16 weights change in what a model plays, in standard deviations of the latents (root mean square).

    It hears noise with the statistics of music, and plays every instrument that it learnt; the one that changes most
    counts. The weights are as before afterwards. Infinite, if a weight is too large for float16.
    """
    accompanist: Any = player.accompanist
    generator = accompanist.generator
    exact = {name: weight.clone() for name, weight in generator.state_dict().items()}
    halved = {name: weight.float() for name, weight in in_float16(exact, generator).items()}
    if not all(weight.isfinite().all() for weight in halved.values()):
        return math.inf
    played_BTC = _play(player, statistics)
    generator.load_state_dict(halved)
    changed_BTC = _play(player, statistics)
    generator.load_state_dict(exact)
    return float((changed_BTC - played_BTC).square().mean(dim=(1, 2)).max().sqrt())


def in_float16(weights: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """A network's weights with its parameters in float16; buffers, such as frequencies of rotation, stay exact."""
    parameters = {name for name, _ in network.named_parameters()}
    return {name: weight.half() if name in parameters else weight for name, weight in weights.items()}


@torch.inference_mode()
def _play(player: Player, statistics: LatentStatistics) -> Tensor:
    """Normalised latents BTC that a model plays to noise, a row for every instrument."""
    accompanist = player.accompanist
    instruments = [NAMES.index(name) for name in player.instruments] or [default_instrument(())]
    rows, block = len(instruments), accompanist.block_frames
    frames = block * max(2, math.ceil(TRIED_FRAMES / block))
    noise_BTC = torch.randn(1, frames, len(statistics.mean_C), generator=torch.Generator().manual_seed(0))
    mix_BTC = statistics.denormalise(noise_BTC).expand(rows, -1, -1)
    controls = Controls(torch.tensor(instruments), torch.zeros(rows, dtype=torch.int64))
    return statistics.normalise(accompany(accompanist, mix_BTC, controls, player.silence_C))


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
        "averaged_from": [dict(model) for model in facts.get("averaged_from", ())],
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
