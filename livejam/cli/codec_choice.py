"""The codec that a command line names."""

from __future__ import annotations

import json
from argparse import ArgumentError
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from livejam.checkpoints.weights import WEIGHTS
from livejam.codecs import Codec, pretrained_codec
from livejam.codecs.pretrained import BUNDLED
from livejam.config_files import merged
from livejam.errors import UserError
from livejam.option_ranges import require_ranges


def choose_codec(words: Sequence[str]) -> Codec:
    """The codec that a command line names.

    Args:
        words: first what follows `--codec`: the name of bundled or of fetched weights, a .safetensors file, a YAML
            with `class_path` and `init_args` (a training config is fine), or a class path; then options of its class
            as `--codec.NAME` and value.

    Raises:
        UserError: there is no such codec, an option does not fit, or weights are missing.
    """
    text, *options = words
    if text.endswith(".safetensors") or (BUNDLED / f"{text}.safetensors").is_file():
        if options:
            raise UserError(f"{options[0]} cannot be set: the weights {text} hold all settings of their codec")
        return pretrained_codec(text)
    return _instantiated(_described(text), options).eval()


def codec_settings(path: Path) -> dict[str, Any]:
    """`class_path` and `init_args` of the codec in a YAML: alone, or in a training config.

    Raises:
        UserError: the file cannot be read or names no codec.
    """
    content = merged(path)
    found: Any = content
    if isinstance(content.get("model"), dict):
        found = (content["model"].get("init_args") or {}).get("codec")
    if not isinstance(found, dict) or "class_path" not in found:
        raise UserError(f"{path} names no codec; it needs class_path and init_args, or model.init_args.codec")
    return found


def _described(text: str) -> str:
    """The codec in jsonargparse's terms: a class path, or settings as JSON."""
    for weights in WEIGHTS:
        if weights.name == text and weights.codec:
            settings = {"class_path": f"{weights.codec}.from_weights", "init_args": {"weights": str(weights.require())}}
            return json.dumps(settings)
    if text.endswith((".yaml", ".yml")):
        return json.dumps(codec_settings(Path(text)))
    return text


def _instantiated(description: str, options: Sequence[str]) -> Codec:
    from jsonargparse import ArgumentParser

    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--codec", type=Codec)
    try:
        settings = parser.parse_args(["--codec", description, *options])
        require_ranges(settings.as_dict())
        codec: Codec = parser.instantiate(settings).codec
    except ArgumentError as error:
        lines = [line.strip(" -") for line in str(error).splitlines() if line.strip()]
        raise UserError(f"--codec {description}: {lines[-1]}; {_choices()}") from error
    return codec


def _choices() -> str:
    names = [file.stem for file in sorted(BUNDLED.glob("*.safetensors"))]
    names += [weights.name for weights in WEIGHTS if weights.codec]
    return f"choose {', '.join(names)}, a .safetensors or YAML file, or a class path such as livejam.codecs.CausalCodec"
