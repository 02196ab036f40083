"""What the configuration knows of a recipe's codec."""

from __future__ import annotations

import inspect

import pytest
from jsonargparse import ArgumentParser

import datamodules
import lightning_modules

HEARING = [
    room
    for package in (lightning_modules, datamodules)
    for room in (getattr(package, name) for name in package.__all__)
    if inspect.isclass(room) and "codec" in inspect.signature(room).parameters
]


@pytest.mark.parametrize("user", HEARING)
def test_the_options_of_a_codec_are_known(user: type) -> None:
    others = set(inspect.signature(user).parameters) - {"codec"}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(user, "of", skip=others)
    kind = "CausalCodec" if user is lightning_modules.CodecTraining else "pretrained_codec"
    chosen = parser.parse_args([f"--of.codec=livejam.codecs.{kind}"]).of.codec
    assert {"pretrained_codec": "weights", "CausalCodec": "hop_samples"}[kind] in chosen.init_args
