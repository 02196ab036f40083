"""The table of docs/codec_adapters.md says what the code says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from livejam import codecs
from livejam.codecs.codicodec import CODICODEC
from livejam.codecs.dac import DAC_44KHZ
from livejam.codecs.encodec import ENCODEC_24KHZ
from livejam.codecs.mimi import MIMI
from livejam.codecs.music2latent import MUSIC2LATENT
from livejam.codecs.stable_audio_vae import STABLE_AUDIO_OPEN

TEXT = (Path(__file__).parents[3] / "docs" / "codec_adapters.md").read_text(encoding="utf-8")
RECORDS = {
    "StableAudioVAE": STABLE_AUDIO_OPEN,
    "DAC": DAC_44KHZ,
    "Music2Latent": MUSIC2LATENT,
    "CoDiCodec": CODICODEC,
    "EnCodec": ENCODEC_24KHZ,
    "Mimi": MIMI,
}


@pytest.mark.parametrize("name", RECORDS)
def test_rows_are_the_records(name: str) -> None:
    row = re.search(rf"^\| `{name}` \|(.*)\|$", TEXT, re.MULTILINE)
    assert row is not None
    kind, published = getattr(codecs, name), RECORDS[name]
    spec = published.spec
    assert [cell.strip() for cell in row[1].split("|")][:7] == [
        f"{spec.sample_rate_hz} Hz, {spec.audio_channels}",
        str(spec.hop_samples),
        str(spec.latent_channels),
        f"{spec.frame_rate_hz:.2f}",
        "yes" if kind.causal else "no",
        str(spec.delay_samples) if kind.causal else "–",
        kind.licence,
    ]
    assert f"`{published.repository}`" in row[1]
