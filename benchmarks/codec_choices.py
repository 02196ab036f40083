"""Design choices of the codec side by side: how they reconstruct, and how well a generator trains on each.

    python -m benchmarks.codec_choices --steps 1800 --magnitude-steps 700 \\
        --overlay configs/overlays/codec_latents_64.yaml --overlay configs/overlays/codec_latents_32.yaml

The base configuration alone is the first row, each overlay on top of it another. Every choice is trained for the same
number of iterations, then measured by `benchmarks.codec_reconstruction` on songs that no codec has heard, then a
LiveBand of fixed size is trained on its latents and tested by the monitors of its configuration. All results stay in
`--out`, also as one JSON file, choices.json; what is there already is not made again. The last line is that JSON: one
entry per choice.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from livejam.codecs import load_codec
from livejam.config_files import merged
from livejam.errors import UserError
from livejam.files import atomic_path

GENERATOR = (Path("configs/quickstart.yaml"), Path("configs/overlays/codec_generator.yaml"))
GENERATOR_ROWS = ("trained", "codec", "ground_truth")
"""Rows of a generator's results that are kept: the model, and what the codec alone leaves of the true stem."""
GENERATOR_COLUMNS = ("beat_f1_drums", "chord_tone_share", "fad", "loudness_db")


@dataclass(frozen=True)
class Budget:
    """What every choice may spend.

    Args:
        codec_iterations: training iterations of the codec; None = those of its configuration.
        magnitude_iterations: those that train magnitudes only; None = those of its configuration.
        adversary_start: iteration at which an adversary enters, where a choice has one; None = its configuration's.
        generator: configurations of the LiveBand that is trained on the codec's latents; none = none is trained.
    """

    codec_iterations: int | None
    magnitude_iterations: int | None
    adversary_start: int | None
    generator: tuple[Path, ...]


def optimiser_steps(iterations: int, adversary_start: int | None) -> int:
    """Lightning's `max_steps` for a number of iterations: an adversary's optimiser is counted too."""
    return iterations if adversary_start is None else iterations + max(0, iterations - adversary_start)


def codec_options(configs: Sequence[Path], budget: Budget, folder: Path, weights: Path) -> list[str]:
    """What the budget changes in a codec's configuration."""
    config = merged(*configs)
    adversary = config["model"]["init_args"].get("adversary")
    options: dict[str, Any] = {"trainer.default_root_dir": folder, "model.init_args.export_path": weights}
    options["trainer.enable_progress_bar"] = "false"
    start = None
    if adversary:
        start = adversary["init_args"]["start_iteration"] if budget.adversary_start is None else budget.adversary_start
        options["model.init_args.adversary.init_args.start_iteration"] = start
    if budget.magnitude_iterations is not None:
        options["model.init_args.magnitude_steps"] = budget.magnitude_iterations
    if budget.codec_iterations is not None:
        options["trainer.max_steps"] = optimiser_steps(budget.codec_iterations, start)
        # an epoch must not be longer than the run, or nothing is validated
        options["trainer.val_check_interval"] = min(config["trainer"]["val_check_interval"], budget.codec_iterations)
    return words(options)


def words(options: dict[str, Any]) -> list[str]:
    """Options of a command line."""
    return [word for name, value in options.items() for word in (f"--{name}", str(value))]


def run(*command: str | Path) -> str:
    """Run a Python module of this repository and return what it wrote.

    Raises:
        UserError: it failed; the sentence ends with its last line.
    """
    done = subprocess.run([sys.executable, "-m", *map(str, command)], capture_output=True, text=True, env=os.environ)
    if done.returncode:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise UserError(f"{' '.join(map(str, command[:4]))} failed: {last}")
    return done.stdout


def train_codec(configs: Sequence[Path], budget: Budget, folder: Path) -> Path:
    """Weights of one choice, trained unless they are there."""
    weights, unfinished = folder / "codec.safetensors", folder / "unfinished.safetensors"
    if not weights.is_file():
        files = [word for path in configs for word in ("--config", path)]
        run("lightning_modules.cli", "fit", *files, *codec_options(configs, budget, folder, unfinished), "--overwrite")
        unfinished.rename(weights)
    return weights


def generator_options(weights: Path, generator: Sequence[Path], folder: Path) -> list[str]:
    """What a codec changes in the generator's configuration: sizes, and frames, so that it hears as many seconds."""
    spec, config = load_codec(weights).spec, merged(*generator)
    model, data = config["model"]["init_args"], config["data"]["init_args"]
    frames = round(spec.frame_rate_hz / (22050 / 2048))
    window = model["generator"]["init_args"]["window_frames"]
    return words(
        {
            "model.init_args.codec.init_args.weights": weights,
            "model.init_args.generator.init_args.latent_channels": spec.latent_channels,
            "model.init_args.discriminator.init_args.latent_channels": spec.latent_channels,
            "model.init_args.generator.init_args.window_frames": frames * window,
            "model.init_args.anticipation_frames": frames * model["anticipation_frames"],
            "data.init_args.crop_frames": frames * data["crop_frames"],
            "data.init_args.cache_root": folder / "cache",
            "trainer.default_root_dir": folder,
        }
    )


def train_generator(weights: Path, generator: Sequence[Path], folder: Path) -> dict[str, dict[str, float]]:
    """Train and test the fixed LiveBand on a codec's latents; returns the numbers of its table."""
    results, checkpoint = folder / "results.json", folder / "checkpoints/last.ckpt"
    files: list[str | Path] = [word for path in generator for word in ("--config", path)]
    options = generator_options(weights, generator, folder)
    if not checkpoint.is_file():
        run("lightning_modules.cli", "fit", *files, *options, "--overwrite")
    if not results.is_file():
        run("lightning_modules.cli", "test", *files, *options, "--ckpt_path", checkpoint)
    # the bank serves no other codec
    shutil.rmtree(folder / "cache", ignore_errors=True)
    rows = json.loads(results.read_text())
    return {
        name: {column: rows[name][column]["value"] for column in GENERATOR_COLUMNS if column in rows[name]}
        for name in GENERATOR_ROWS
        if name in rows
    }


def measure(configs: Sequence[Path], budget: Budget, held_out: Path, seconds: float, folder: Path) -> dict[str, Any]:
    """One row: size, reconstruction by kind of stem, and the generator's table."""
    folder.mkdir(parents=True, exist_ok=True)
    weights, kept = train_codec(configs, budget, folder), folder / "reconstruction.json"
    if not kept.is_file():
        songs = ("--root", held_out, "--seconds", str(seconds))
        output = run("benchmarks.codec_reconstruction", "--weights", weights, *songs)
        with atomic_path(kept) as temporary:
            temporary.write_text(output.splitlines()[-1] + "\n")
    (reconstruction,) = json.loads(kept.read_text()).values()
    row = {"megabytes": weights.stat().st_size / 1e6, "reconstruction": reconstruction}
    if budget.generator:
        row["generator"] = train_generator(weights, budget.generator, folder / "generator")
    return row


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description="Design choices of the codec; the last line is JSON.")
    parser.add_argument("--base", type=Path, action="append", help="codec configuration, and overlays of all choices")
    parser.add_argument("--overlay", type=Path, action="append", default=[], help="a choice; may be repeated")
    parser.add_argument("--steps", type=int, help="training iterations of every codec (default: the configuration's)")
    parser.add_argument("--magnitude-steps", type=int, help="of these, on magnitudes only (default: likewise)")
    parser.add_argument("--adversary-start", type=int, help="iteration at which adversaries enter (default: likewise)")
    parser.add_argument("--held-out", type=Path, default=Path("data/codec_held_out"), help="songs to reconstruct")
    parser.add_argument("--seconds", type=float, default=20.0, help="length of the excerpt of each of them")
    parser.add_argument("--generator", type=Path, action="append", help="configuration of the LiveBand, and overlays")
    parser.add_argument("--no-generator", action="store_true", help="train none")
    parser.add_argument("--out", type=Path, default=Path("runs/codec_choices"), help="folder of all results")
    given = parser.parse_args()
    generator = () if given.no_generator else tuple(given.generator or GENERATOR)
    budget = Budget(given.steps, given.magnitude_steps, given.adversary_start, generator)
    base = given.base or [Path("configs/codec/pocket.yaml")]
    rows = {}
    for overlays in [[], *([overlay] for overlay in given.overlay)]:
        name = (overlays or base)[-1].stem
        rows[name] = measure([*base, *overlays], budget, given.held_out, given.seconds, given.out / name)
    with atomic_path(given.out / "choices.json") as temporary:
        temporary.write_text(json.dumps(rows, indent=1) + "\n")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
