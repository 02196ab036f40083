"""docs/codecs.md shows the numbers that were measured, and what it links to is there and small."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import soundfile

from benchmarks.codec_choices import (
    GENERATOR,
    Budget,
    codec_options,
    generator_options,
    optimiser_steps,
)
from benchmarks.codec_tables import shown, with_tables
from livejam.codecs import CausalCodec, save_codec
from livejam.config_files import merged

REPOSITORY = Path(__file__).parents[3]
DOCUMENT = REPOSITORY / "docs/codecs.md"
RESULTS = json.loads((REPOSITORY / "docs/codecs/results.json").read_text())
OVERLAYS = REPOSITORY / "configs/overlays"
POCKET = REPOSITORY / "configs/codec/pocket.yaml"


def test_the_tables_hold_the_numbers() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert with_tables(text, RESULTS) == text
    score = next(iter(RESULTS["choices"].values()))["reconstruction"]["stems"]["mix"]["log_mel_error"]
    assert shown(score) in text


def test_another_number_is_another_table() -> None:
    text, changed = DOCUMENT.read_text(encoding="utf-8"), json.loads(json.dumps(RESULTS))
    next(iter(changed["choices"].values()))["reconstruction"]["stems"]["mix"]["log_mel_error"] = 12.3
    assert "12.3" in with_tables(text, changed)
    assert with_tables(with_tables(text, changed), RESULTS) == text


def test_what_it_links_to_is_there_and_small() -> None:
    links = re.findall(r"\]\(([^)#]+)\)", DOCUMENT.read_text(encoding="utf-8"))
    assert all((DOCUMENT.parent / link).exists() for link in links)
    sounds = [DOCUMENT.parent / link for link in links if link.endswith(".flac")]
    assert sounds
    assert all(soundfile.info(path).duration <= 5.01 for path in sounds)
    assert sum(path.stat().st_size for path in (DOCUMENT.parent / "codecs").glob("*.flac")) <= 1_500_000


def test_overlays_lie_over_what_is_below_them() -> None:
    config = merged(POCKET, OVERLAYS / "codec_latents_64.yaml")["model"]["init_args"]
    assert config["codec"]["init_args"]["latent_channels"] == 64
    assert config["codec"]["init_args"]["hop_samples"] == 2048


@pytest.mark.parametrize(("iterations", "start", "steps"), [(10, None, 10), (10, 4, 16), (10, 20, 10), (10, 0, 20)])
def test_an_adversary_counts_its_steps_too(iterations: int, start: int | None, steps: int) -> None:
    assert optimiser_steps(iterations, start) == steps


def test_the_budget_is_the_same_for_all(tmp_path: Path) -> None:
    budget = Budget(450, 0, 5, ())
    plain = codec_options([POCKET], budget, tmp_path, tmp_path / "a.safetensors")
    judged = codec_options([POCKET, OVERLAYS / "codec_adversary.yaml"], budget, tmp_path, tmp_path / "a.safetensors")
    assert plain[plain.index("--trainer.max_steps") + 1] == "450"
    assert judged[judged.index("--trainer.max_steps") + 1] == str(450 + 445)
    assert plain[plain.index("--model.init_args.magnitude_steps") + 1] == "0"
    assert "--model.init_args.adversary.init_args.start_iteration" not in plain


@pytest.mark.parametrize(("hop", "factor"), [(2048, 1), (1024, 2)])
def test_generators_of_every_codec_hear_as_many_seconds(tmp_path: Path, hop: int, factor: int) -> None:
    codec = CausalCodec(latent_channels=7, hop_samples=hop, width=8, subframe_width=8, blocks=1, subframe_blocks=1)
    save_codec(codec, tmp_path / "codec.safetensors", {})
    words = generator_options(tmp_path / "codec.safetensors", [REPOSITORY / path for path in GENERATOR], tmp_path)
    options = dict(zip(words[::2], words[1::2], strict=True))
    assert options["--model.init_args.generator.init_args.window_frames"] == str(64 * factor)
    assert options["--data.init_args.crop_frames"] == str(76 * factor)
    assert options["--model.init_args.anticipation_frames"] == str(factor)
    assert options["--model.init_args.discriminator.init_args.latent_channels"] == "7"
