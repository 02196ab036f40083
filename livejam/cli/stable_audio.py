"""`livejam weights import-stable-audio`: a published model as the start of a fine-tune."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from livejam.outputs import add_overwrite, require_free


def add_import(actions: Any) -> None:
    """Add the action to those of `livejam weights`."""
    imported = actions.add_parser(
        "import-stable-audio",
        help="make a checkpoint for fine-tuning from a downloaded Stable Audio Open",
        description="Convert the diffusion transformer of Stable Audio Open (Small or 1.0) into a checkpoint\n"
        "that a fine-tuning config names as base_checkpoint. Every tensor that is not used is listed.",
        epilog="example:\n  livejam weights import-stable-audio model_config.json model.safetensors --out "
        "runs/stable_audio_small.ckpt",
    )
    imported.add_argument("config", type=Path, metavar="MODEL_CONFIG.json", help="the model's configuration")
    imported.add_argument("checkpoint", type=Path, metavar="CHECKPOINT.safetensors", help="its weights (or a .ckpt)")
    imported.add_argument("--out", type=Path, required=True, metavar="CKPT", help="the checkpoint to write")
    imported.add_argument("--mix", action="store_true", help="for fine-tuning a model that hears the musician")
    add_overwrite(imported)
    imported.set_defaults(run=_import)


def _import(options: argparse.Namespace) -> int:
    from livejam.checkpoints.stable_audio import import_stable_audio

    require_free({"--out": options.out}, (options.config, options.checkpoint), options.overwrite)
    imported = import_stable_audio(options.config, options.checkpoint, options.out, options.mix)
    print(f"{imported.out}: {imported.parameters / 1e6:.1f} M numbers")
    print(f"network: {', '.join(f'{name} {value}' for name, value in imported.settings.items())}")
    if imported.objective not in ("rectified_flow", "rf_denoiser"):
        print(f"trained to predict {imported.objective!r}, not the velocity of flow matching: fine-tune it for longer")
    for name in imported.zeros:
        print(f"starts at zero: {name}")
    print(f"not used: {len(imported.unused)} tensors")
    for name in imported.unused:
        print(f"  {name}")
    return 0
