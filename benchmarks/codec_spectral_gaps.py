"""What fills the spectral gaps between partials: a codec's magnitudes, or its phases? The last line is one JSON object.

    python -m benchmarks.codec_spectral_gaps --weights pocket --root data/codec_held_out

Pitched stems are decoded as they are, with the magnitudes of the original under the decoded phases, and with the phases
of the original over the decoded magnitudes. Each time: energy in the spectral gaps above the original's, in dB.

Shapes: B batch, A audio channels, N audio samples, M sub-frames, F frequency bins.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.codec_reconstruction import excerpts
from livejam.codecs import CausalCodec, pretrained_codec
from metrics.reconstruction import spectral_gap_excess_db


def original_spectrum(codec: CausalCodec, audio_BAN: Tensor) -> Tensor:
    """Spectrum BMAF of the windows that the front end hears."""
    features = codec.features
    before = features.window_samples - features.stride_samples
    heard_BAN = torch.nn.functional.pad(audio_BAN, (before, 0))
    frames_BAMN = heard_BAN.unfold(-1, features.window_samples, features.stride_samples)
    return torch.fft.rfft(frames_BAMN * features.window).transpose(1, 2)


@torch.no_grad()
def mixed_sounds(codec: CausalCodec, audio_BAN: Tensor) -> dict[str, Tensor]:
    """Decoded audio BAN, and what it were with half of the truth."""
    state, delay = codec.init_decoder_state(len(audio_BAN)), codec.spec.delay_samples
    latents_BTC = codec.encode(audio_BAN)
    parts, _ = codec.decoder(latents_BTC, state.pasts)
    subframe_BM = codec.subframes(state.frame_B, latents_BTC.shape[1])
    donor_BMAF = codec.synthesis.donor(parts, subframe_BM, state.magnitude_BAF)
    made_BMAF, true_BMAF = codec.synthesis.spectrum(parts, donor_BMAF), original_spectrum(codec, audio_BAN)
    spectra = {
        "decoded": made_BMAF,
        "true magnitudes": torch.polar(true_BMAF.abs(), made_BMAF.angle()),
        "true phases": torch.polar(made_BMAF.abs(), true_BMAF.angle()),
        "both true": true_BMAF,
    }
    return {
        name: codec.synthesis.overlap_add(spectrum_BMAF, state.tail_BAN)[0][:, :, delay:]
        for name, spectrum_BMAF in spectra.items()
    }


def main() -> None:
    """Decode, measure, print."""
    parser = argparse.ArgumentParser(description="What fills the spectral gaps; the last line is JSON.")
    parser.add_argument("--weights", default="pocket", help="bundled name or .safetensors file")
    parser.add_argument("--root", type=Path, default=Path("data/codec_held_out"), help="Slakh-format songs")
    parser.add_argument("--seconds", type=float, default=5.0, help="length of every excerpt")
    parser.add_argument("--stems", type=int, default=20, help="pitched stems, basses included")
    given = parser.parse_args()
    torch.set_num_threads(1)
    codec = pretrained_codec(given.weights)
    spec, seconds = codec.spec, codec.spec.seconds_in(codec.spec.frames_in(given.seconds))
    found: dict[str, list[float]] = {}
    items = excerpts(given.root, spec.sample_rate_hz, spec.audio_channels, seconds)
    for item in [item for item in items if item.kind in ("bass", "pitched")][: given.stems]:
        true_N = item.audio_AN[0, : -spec.delay_samples]
        for name, made_BAN in mixed_sounds(codec, item.audio_AN[None]).items():
            found.setdefault(name, []).append(spectral_gap_excess_db(made_BAN[0, 0], true_N, spec.sample_rate_hz))
    print(json.dumps({name: float(np.nanmean(values)) for name, values in found.items()}))


if __name__ == "__main__":
    main()
