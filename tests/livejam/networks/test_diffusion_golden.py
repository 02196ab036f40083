"""Stable Audio's own numbers: imported weights give what the original implementation gave.

The two files hold a small version of each published configuration (in their metadata) with random weights under
their published names, inputs, and what stable-audio-tools computed from them. Weights are eight-bit floats.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from livejam.checkpoints.file import read_checkpoint
from livejam.checkpoints.stable_audio import DURATION, TRANSFORMER, import_stable_audio
from livejam.cli import main as cli
from livejam.errors import UserError
from livejam.networks import DiffusionConditions, DiffusionTransformer, NumberConditioner

GOLDEN = {name: Path(__file__).with_name(f"stable_audio_{name}.safetensors") for name in ("small", "1_0")}


def published(name: str, folder: Path) -> tuple[dict[str, Tensor], Path, Path]:
    """Inputs and outputs, and the model as its publisher would have written it."""
    with safe_open(GOLDEN[name], "pt") as file:
        config = file.metadata()["model_config"]
        tensors = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118
    golden = {key.removeprefix("golden."): tensors.pop(key) for key in list(tensors) if key.startswith("golden.")}
    (folder / "model_config.json").write_text(config)
    save_file(tensors, folder / "model.safetensors")
    return golden, folder / "model_config.json", folder / "model.safetensors"


def weights_of(path: Path, prefix: str) -> dict[str, Tensor]:
    state = read_checkpoint(path)["state_dict"]
    return {name.removeprefix(prefix): x for name, x in state.items() if name.startswith(prefix)}


@pytest.mark.parametrize("name", ["small", "1_0"])
@pytest.mark.parametrize("mix", [False, True])
def test_equals_stable_audio_tools(name: str, mix: bool, tmp_path: Path) -> None:
    golden, config, checkpoint = published(name, tmp_path)
    imported = import_stable_audio(config, checkpoint, tmp_path / "base.ckpt", mix)
    network = DiffusionTransformer(**imported.settings).eval()
    network.load_state_dict(weights_of(imported.out, TRANSFORMER))
    conditions = DiffusionConditions(prompt_BPD=golden["prompt"], global_BD=golden["global"])
    with torch.no_grad():
        velocity = network(golden["latents"], golden["time"], conditions)
        first = network.features(golden["latents"], golden["time"], conditions, 1)
    assert (velocity - golden["velocity"]).abs().max() < 1e-5
    assert (first - golden["first_block"]).abs().max() < 1e-5


def test_every_tensor_has_a_place_or_is_named(tmp_path: Path) -> None:
    _, config, checkpoint = published("small", tmp_path)
    imported = import_stable_audio(config, checkpoint, tmp_path / "base.ckpt")
    assert imported.unused == ["pretransform.model.decoder.layers.0.bias"]
    assert imported.zeros == ["project_given.weight"]
    assert imported.objective == "rectified_flow"
    NumberConditioner(12, frequencies=4).load_state_dict(weights_of(imported.out, DURATION))
    facts = read_checkpoint(imported.out)["livejam"]
    assert facts["codec_spec"]["hop_samples"] == 2048


def test_two_numbers_are_no_duration(tmp_path: Path) -> None:
    """Stable Audio Open 1.0 has two; livejam's models have one, so they are listed as not used."""
    _, config, checkpoint = published("1_0", tmp_path)
    imported = import_stable_audio(config, checkpoint, tmp_path / "base.ckpt")
    assert sum("conditioner." in name for name in imported.unused) == 6
    assert imported.objective == "v"


def test_command_lists_what_it_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, config, checkpoint = published("small", tmp_path)
    out = tmp_path / "base.ckpt"
    assert cli.main(["weights", "import-stable-audio", str(config), str(checkpoint), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "not used: 1 tensors\n  pretransform.model.decoder.layers.0.bias" in printed
    assert "starts at zero: project_given.weight" in printed


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"embed_dim": 32}, "does not fit its configuration"),
        ({"depth": 1}, "does not fit its configuration"),
        ({"patch_size": 2}, "patch_size"),
        ({"global_cond_type": "adaLN"}, "global_cond_type"),
        ({"transformer_type": "x-transformers"}, "transformer_type"),
        ({"attn_kwargs": {"qk_norm": "l2"}}, "qk_norm"),
    ],
)
def test_other_models_are_refused(changes: dict[str, object], sentence: str, tmp_path: Path) -> None:
    _, config, checkpoint = published("small", tmp_path)
    described = json.loads(config.read_text())
    described["model"]["diffusion"]["config"].update(changes)
    config.write_text(json.dumps(described))
    with pytest.raises(UserError, match=sentence):
        import_stable_audio(config, checkpoint, tmp_path / "base.ckpt")
    assert not (tmp_path / "base.ckpt").exists()


def test_files_that_are_something_else_are_refused(tmp_path: Path) -> None:
    _, config, checkpoint = published("small", tmp_path)
    (tmp_path / "broken.safetensors").write_bytes(b"<html>")
    (tmp_path / "other.json").write_text("{}")
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    for description, weights, sentence in (
        (config, tmp_path / "nowhere.safetensors", "there is no checkpoint"),
        (config, tmp_path / "broken.safetensors", "cannot be read"),
        (config, tmp_path / "other.safetensors", "no diffusion transformer"),
        (tmp_path / "other.json", checkpoint, "not a model_config.json"),
        (tmp_path / "nowhere.json", checkpoint, "not a model_config.json"),
    ):
        with pytest.raises(UserError, match=sentence):
            import_stable_audio(description, weights, tmp_path / "base.ckpt")
