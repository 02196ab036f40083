"""The glossary names what exists, and its table of cutoffs is what the code computes."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from commands import REPOSITORY, effective, relative

from livejam.checkpoints.aliases import renamed
from livejam.codecs import pretrained_codec
from livejam.networks import ConditionedTransformer, DiffusionTransformer
from livejam.sampling import Euler
from livejam.spec import CodecSpec, LatentStatistics
from livejam.systems.context import InpaintedContext, cutoff_frames
from livejam.systems.lmdm import LMDMAccompanist

GLOSSARY = (REPOSITORY / "docs/glossary.md").read_text(encoding="utf-8")

PAPERS_CODECS = {"StableAudioVAE": (44100, 2048), "Music2Latent": (44100, 4096)}
"""Sample rate in Hz and hop in samples: reading a spec off these codecs takes their weights."""


def table(begin: str, end: str) -> list[list[str]]:
    """The cells of the rows below the heading of the table between two marks."""
    lines = GLOSSARY.split(begin)[1].split(end)[0].strip().splitlines()
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def find(settings: Any, name: str) -> Any:
    """The first value of a key, at any depth."""
    if isinstance(settings, dict):
        return settings.get(
            name, next((found for v in settings.values() if (found := find(v, name)) is not None), None)
        )
    return None


def codec_spec(settings: dict[str, Any], channels: int) -> CodecSpec:
    """A spec with the frame rate of a config's codec."""
    name = next((name for name in PAPERS_CODECS if name in settings["class_path"]), None)
    bundled = pretrained_codec().spec
    rate, hop = (bundled.sample_rate_hz, bundled.hop_samples) if name is None else PAPERS_CODECS[name]
    return CodecSpec("any", rate, 1, hop, channels, 0)


@pytest.mark.parametrize("row", table("<!-- cutoffs:begin -->", "<!-- cutoffs:end -->"), ids=lambda row: row[0])
def test_cutoffs_are_those_of_the_code(row: list[str]) -> None:
    """Window and codec are the config's; the network is as narrow as can be, because only its window counts."""
    config = effective(REPOSITORY / f"configs/{row[1]}.yaml")["model"]["init_args"]
    context, block, rate, cutoff, frames, t_f, w, delta, budget = (float(cell.replace("−", "-")) for cell in row[2:])
    window = find(config["generator"], "context_frames"), find(config["generator"], "block_frames")
    assert (context, block) == window
    spec = codec_spec(config["codec"], channels=1)
    assert rate == round(spec.frame_rate_hz, 2)

    network = DiffusionTransformer(1, 64, 1, 1, *window, mix_channels=1)
    statistics = LatentStatistics(torch.zeros(1), torch.ones(1))
    generator = ConditionedTransformer(network)
    player = LMDMAccompanist(generator, spec, statistics, InpaintedContext(), Euler(1), int(cutoff))
    assert frames == cutoff_frames(network, int(cutoff))
    assert delta == player.anticipation_frames
    assert t_f == round((frames - context) / spec.frame_rate_hz, 2)
    assert budget == round((delta + 1 - block) / spec.frame_rate_hz, 2)
    # the last (w + 1) r of the window has no mix (Karchkhadze and Dubnov)
    assert frames == (context + block) * (1 - (w + 1) * block / (context + block))


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`((?:livejam|metrics|datamodules)\.[\w.]+)`", GLOSSARY.split("## Names")[0])))
)
def test_names_exist(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    try:
        importlib.import_module(name)
    except ImportError:
        assert hasattr(importlib.import_module(module), attribute)


def test_old_names_are_translated() -> None:
    for before, now in re.findall(r"^\| (`[^|]+) \| (`[^|]+) \|$", GLOSSARY.split("## Names")[1], flags=re.MULTILINE):
        pairs = zip(re.findall(r"`([^`]+)`", before), re.findall(r"`([^`]+)`", now), strict=True)
        for old, new in pairs:
            key = "class_path" if "." in old else "init_args"
            given, expected = ({key: old}, {key: new}) if "." in old else ({key: {old: 1}}, {key: {new: 1}})
            assert renamed(given) == expected


def sources() -> Iterator[tuple[str, str]]:
    """Path and text of every source and config of ours, except the table of old names."""
    for folder in ("livejam", "metrics", "datamodules", "lightning_modules", "callbacks", "benchmarks", "configs"):
        for path in sorted(REPOSITORY.glob(f"{folder}/**/*")):
            if path.suffix in (".py", ".yaml") and path.name != "aliases.py":
                yield relative(path), path.read_text(encoding="utf-8")


def test_old_names_are_gone() -> None:
    before = re.findall(r"^\| (`[^|]+) \| `", GLOSSARY.split("## Names")[1], flags=re.MULTILINE)
    old = [name for cell in before for name in re.findall(r"(\w*(?:Past|jam|valley)\w*)`", cell)]
    assert len(old) > 4
    assert not [(path, name) for path, text in sources() for name in old if re.search(rf"\b{name}\b", text)]


def test_a_source_of_randomness_is_an_rng() -> None:
    """`generator` is the network that plays."""
    named = {(path, name) for path, text in sources() for name in re.findall(r"(\w+): torch\.Generator\b", text)}
    assert not {(path, name) for path, name in named if not name.endswith("rng")}
