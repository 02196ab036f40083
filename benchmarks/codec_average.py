"""The mean of the weights of codecs that began with the same encoder and decoder.

    python -m benchmarks.codec_average --weights plain.safetensors --weights gaps.safetensors --out mean.safetensors

Continuations of one decoder lie close enough together for their mean to be a decoder; it is often better than either.
"""

from __future__ import annotations

import argparse
import copy
from pathlib import Path

import torch

from livejam.codecs import CausalCodec, pretrained_codec, save_codec
from livejam.errors import UserError


def average(codecs: list[CausalCodec]) -> CausalCodec:
    """A codec whose decoder is the mean of theirs.

    Raises:
        UserError: their encoders differ, so that their latents do not mean the same.
    """
    if len({codec.latents_hash for codec in codecs}) != 1:
        raise UserError("only codecs with the same encoder can be averaged; give continuations of one codec")
    states = [codec.state_dict() for codec in codecs]
    mean = {name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]}
    # a mean of equal numbers may round; the encoder must not
    mean |= {name: states[0][name] for name in mean if name.startswith("projection.")}
    result = copy.deepcopy(codecs[0])
    result.load_state_dict(mean)
    return result.eval().requires_grad_(False)


def main() -> None:
    """Read, average, write."""
    parser = argparse.ArgumentParser(description="The mean of codecs' weights.")
    parser.add_argument(
        "--weights", action="append", required=True, help="bundled name or .safetensors file; repeat it"
    )
    parser.add_argument("--out", type=Path, required=True, help="the .safetensors file to write")
    given = parser.parse_args()
    save_codec(average([pretrained_codec(name) for name in given.weights]), given.out, {"mean_of": len(given.weights)})


if __name__ == "__main__":
    main()
