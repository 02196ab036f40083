"""Design choices of the codec side by side: how they reconstruct, and how well a generator trains on each.

    python -m benchmarks.codec_choices --steps 5600 --overlay configs/overlays/codec_latents_64.yaml \\
        --overlay configs/overlays/codec_adversary.yaml

The base configuration alone is the first row, each overlay on top of it another. Every choice is trained for the same
number of iterations, then measured by `benchmarks.codec_reconstruction` on songs that no codec has heard, then a
LiveBand of fixed size is trained on its latents and tested by the monitors of its configuration. All results stay in
`--out`; a row that is there already is not made again. The last line is one JSON object: one entry per choice.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from livejam.codecs import load_codec
from livejam.errors import UserError
from livejam.files import atomic_path

GENERATOR_COLUMNS = ("trained", "codec", "ground_truth")
"""Rows of a generator's results that are kept: the model, and what the codec alone leaves of the true stem."""


@dataclass(frozen=True)
class Budget:
    """What every choice may spend.

    Args:
        codec_iterations: training iterations of the codec; None = those of its configuration.
        codec_minutes: longest training of the codec in minutes; None = unlimited.
        generator_config: LiveBand configuration that is trained on the codec's latents.
        generator_root: Slakh-format songs of the generator; None = those of its configuration.
        generator_epochs: epochs of the generator; 0 = none is trained.
    """

    codec_iterations: int | None
    codec_minutes: float | None
    generator_config: Path
    generator_root: Path | None
    generator_epochs: int


def optimiser_steps(config: dict[str, Any], iterations: int) -> int:
    """Lightning's `max_steps` for a number of iterations: an adversary's optimiser is counted too."""
    adversary = config["model"]["init_args"].get("adversary")
    if not adversary:
        return iterations
    return iterations + max(0, iterations - adversary["init_args"]["start_iteration"])


def merged(base: Path, overlay: Path | None) -> dict[str, Any]:
    """A configuration with its overlay, as far as nested keys go."""

    def over(under: Any, top: Any) -> Any:
        if not (isinstance(under, dict) and isinstance(top, dict)):
            return top
        return {**under, **{key: over(under.get(key), value) for key, value in top.items()}}

    config: dict[str, Any] = yaml.safe_load(base.read_text())
    return config if overlay is None else over(config, yaml.safe_load(overlay.read_text()))


def run(*words: str | Path) -> str:
    """Run a Python module of this repository and return what it wrote.

    Raises:
        UserError: it failed; the sentence ends with its last line.
    """
    done = subprocess.run([sys.executable, "-m", *map(str, words)], capture_output=True, text=True, env=os.environ)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise UserError(f"{' '.join(map(str, words[:4]))} failed: {last}")
    return done.stdout


def train_codec(base: Path, overlay: Path | None, budget: Budget, folder: Path) -> Path:
    """Train one choice; returns its weights."""
    weights, config = folder / "codec.safetensors", merged(base, overlay)
    options: list[str | Path] = ["--trainer.default_root_dir", folder, "--model.init_args.export_path", weights]
    options += ["--trainer.enable_progress_bar", "false"]
    if budget.codec_iterations is not None:
        steps = optimiser_steps(config, budget.codec_iterations)
        # an epoch must not be longer than the run, or nothing is validated
        interval = min(config["trainer"]["val_check_interval"], budget.codec_iterations)
        options += ["--trainer.max_steps", str(steps), "--trainer.val_check_interval", str(interval)]
    if budget.codec_minutes is not None:
        seconds = round(60 * budget.codec_minutes)
        options += ["--trainer.max_time", f"{seconds // 86400:02}:{seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:"]
        options[-1] = f"{options[-1]}{seconds % 60:02}"
    configs: list[str | Path] = ["--config", base] + ([] if overlay is None else ["--config", overlay])
    run("lightning_modules.cli", "fit", *configs, *options)
    return weights


def train_generator(weights: Path, budget: Budget, folder: Path) -> dict[str, Any]:
    """Train and test the fixed LiveBand on a codec's latents; returns the rows of its table."""
    channels = str(load_codec(weights).spec.latent_channels)
    names = {"codec.init_args.weights": weights}
    names |= {f"{network}.init_args.latent_channels": channels for network in ("generator", "discriminator")}
    options = [word for name, value in names.items() for word in (f"--model.init_args.{name}", value)]
    options += ["--trainer.default_root_dir", folder, "--data.init_args.cache_root", folder / "cache"]
    if budget.generator_root is not None:
        options += ["--data.init_args.root", budget.generator_root, "--data.init_args.render_if_missing", "null"]
    config = ("--config", budget.generator_config)
    epochs = ("--trainer.max_epochs", str(budget.generator_epochs))
    run("lightning_modules.cli", "fit", *config, *options, *epochs)
    run("lightning_modules.cli", "test", *config, *options, "--ckpt_path", folder / "checkpoints/last.ckpt")
    rows = json.loads((folder / "results.json").read_text())
    return {name: rows[name] for name in GENERATOR_COLUMNS if name in rows}


def measure(base: Path, overlay: Path | None, budget: Budget, held_out: Path, folder: Path) -> dict[str, Any]:
    """One row: reconstruction by kind of stem, and the generator's table."""
    result_path = folder / "row.json"
    if result_path.is_file():
        row: dict[str, Any] = json.loads(result_path.read_text())
        return row
    folder.mkdir(parents=True, exist_ok=True)
    weights = train_codec(base, overlay, budget, folder)
    output = run("benchmarks.codec_reconstruction", "--weights", weights, "--root", held_out)
    row = {"megabytes": weights.stat().st_size / 1e6, "reconstruction": json.loads(output.splitlines()[-1])}
    if budget.generator_epochs:
        row["generator"] = train_generator(weights, budget, folder / "generator")
    with atomic_path(result_path) as temporary:
        temporary.write_text(json.dumps(row, indent=2) + "\n")
    return row


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description="Design choices of the codec; the last line is JSON.")
    parser.add_argument("--base", type=Path, default=Path("configs/codec/pocket.yaml"), help="codec configuration")
    parser.add_argument("--overlay", type=Path, action="append", default=[], help="a choice; may be repeated")
    parser.add_argument("--steps", type=int, help="training iterations of every codec (default: the configuration's)")
    parser.add_argument("--minutes", type=float, help="longest training of every codec")
    parser.add_argument("--held-out", type=Path, default=Path("data/codec_held_out"), help="songs to reconstruct")
    parser.add_argument("--generator", type=Path, default=Path("configs/quickstart.yaml"), help="LiveBand to train")
    parser.add_argument("--generator-root", type=Path, help="its songs (default: the configuration's)")
    parser.add_argument("--generator-epochs", type=int, default=4, help="its epochs; 0 trains none")
    parser.add_argument("--out", type=Path, default=Path("runs/codec_choices"), help="folder of all results")
    given = parser.parse_args()
    budget = Budget(given.steps, given.minutes, given.generator, given.generator_root, given.generator_epochs)
    rows = {}
    for overlay in [None, *given.overlay]:
        name = given.base.stem if overlay is None else overlay.stem
        rows[name] = measure(given.base, overlay, budget, given.held_out, given.out / name)
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
