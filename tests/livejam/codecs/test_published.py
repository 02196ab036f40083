"""Published checkpoints: what is on record is true, loading stays off the network, and strangers' files are refused."""

from __future__ import annotations

import pickle
import socket
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from codec_models import (
    dac_model,
    encodec_model,
    loud,
    mimi_model,
    same,
    small_codicodec,
    small_music2latent,
    stable_audio_vae_model,
)
from jsonargparse import ArgumentParser
from safetensors.torch import load_file, save_file

from livejam.codecs import DAC, Codec, CoDiCodec, EnCodec, Mimi, Music2Latent, StableAudioVAE, WindowedCodec
from livejam.codecs.codicodec import CODICODEC
from livejam.codecs.dac import DAC_16KHZ, DAC_24KHZ, DAC_44KHZ
from livejam.codecs.encodec import ENCODEC_24KHZ
from livejam.codecs.mimi import MIMI
from livejam.codecs.music2latent import MUSIC2LATENT
from livejam.codecs.published import Published
from livejam.codecs.stable_audio_vae import STABLE_AUDIO_OPEN
from livejam.errors import UserError

FOLDERS: dict[str, tuple[Any, Callable[[], Any]]] = {
    "stable_audio_vae": (StableAudioVAE, stable_audio_vae_model),
    "dac": (DAC, dac_model),
    "encodec": (EnCodec, encodec_model),
    "mimi": (Mimi, mimi_model),
}
FILES: dict[str, tuple[Any, Callable[[], Any]]] = {
    "music2latent": (Music2Latent, small_music2latent),
    "codicodec": (CoDiCodec, small_codicodec),
}
in_folders = pytest.mark.parametrize("name", FOLDERS)
in_files = pytest.mark.parametrize("name", FILES)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


def record(codec: Codec) -> Published:
    return Published("someone/tiny", ("config.json", "model.safetensors"), codec.spec)


def saved(name: str, folder: Path) -> tuple[Any, Any]:
    """The class of an adapter, and a tiny instance whose model lies in a folder."""
    kind, build = FOLDERS[name]
    model = build()
    model.save_pretrained(folder)
    return kind, kind(model, "tiny")


def tensors_of(folder: Path) -> Path:
    return next(folder.glob("*.safetensors"))


@in_folders
@torch.no_grad()
def test_what_was_saved_is_what_is_loaded(name: str, tmp_path: Path) -> None:
    kind, codec = saved(name, tmp_path)
    copy = kind.from_weights(tmp_path, published=record(codec))
    assert copy.spec == codec.spec
    latents = torch.randn(1, 3, codec.spec.latent_channels)
    audio = 0.2 * torch.randn(1, codec.spec.audio_channels, 3 * codec.spec.hop_samples)
    assert same(copy.encode(audio), codec.encode(audio))
    assert same(copy.decode(latents), codec.decode(latents))
    assert not any(parameter.requires_grad for parameter in copy.parameters())


@torch.no_grad()
def test_names_of_older_checkpoints_are_understood(tmp_path: Path) -> None:
    """EnCodec was published before torch renamed the parts of normalised weights."""
    kind, codec = saved("encodec", tmp_path)
    path = tensors_of(tmp_path)
    parts = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    older = {}
    for key, tensor in load_file(path).items():
        for new, old in parts.items():
            key = key.replace(new, old)
        older[key] = tensor
    assert any(key.endswith("weight_g") for key in older)
    save_file(older, path, {"format": "pt"})
    audio = 0.2 * torch.randn(1, 1, 3 * codec.spec.hop_samples)
    assert same(kind.from_weights(tmp_path, published=record(codec)).encode(audio), codec.encode(audio))


def test_recipes_name_them_by_their_path(tmp_path: Path) -> None:
    """In YAML a codec is a class, a function or, as here, what a class makes of weights, alone or in windows."""
    _, codec = saved("stable_audio_vae", tmp_path)
    published = {"repository": "someone/tiny", "files": ["config.json"], "spec": codec.spec.to_dict()}
    alone = {
        "class_path": "livejam.codecs.StableAudioVAE.from_weights",
        "init_args": {"weights": str(tmp_path), "published": published},
    }
    windowed = {
        "class_path": "livejam.codecs.WindowedCodec",
        "init_args": {"codec": alone, "context_frames": 3, "lookahead_frames": 2},
    }
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--codec", type=Codec)
    made = [parser.instantiate(parser.parse_object({"codec": config})).codec for config in (alone, windowed)]
    assert isinstance(made[0], StableAudioVAE)
    assert isinstance(made[1], WindowedCodec)
    assert made[0].spec == codec.spec
    assert made[1].spec.delay_samples == 4 * codec.spec.hop_samples


@in_files
@torch.no_grad()
def test_files_of_torch_are_loaded_without_running_code(name: str, tmp_path: Path) -> None:
    kind, package = FILES[name]
    model, path = loud(package().UNet(), seed=7), tmp_path / "weights.pt"
    torch.save({"gen_state_dict": model.state_dict(), "step": 3}, path)
    codec, copy = kind(model, "tiny"), kind.from_weights(path)
    latents = torch.randn(1, 1, codec.spec.latent_channels)
    assert copy.spec == replace(codec.spec, name=copy.spec.name)
    assert torch.equal(copy.decode(latents), codec.decode(latents))


@in_folders
def test_another_checkpoint_is_refused_by_its_fields(name: str, tmp_path: Path) -> None:
    kind, codec = saved(name, tmp_path)
    for field in ("sample_rate_hz", "hop_samples", "latent_channels", "audio_channels", "delay_samples"):
        true = getattr(codec.spec, field)
        published = replace(record(codec), spec=replace(codec.spec, **{field: true + 1}))
        with pytest.raises(UserError, match=f"{field} is {true}, not {true + 1}"):
            kind.from_weights(tmp_path, published=published)
    with pytest.raises(UserError, match="latent_channels is"):
        kind.from_weights(tmp_path)


@in_folders
def test_folders_that_hold_less_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*config.json; run `livejam weights fetch \w+`, or give the"):
        FOLDERS[name][0].from_weights(tmp_path / "missing")
    kind, codec = saved(name, tmp_path)
    path = tensors_of(tmp_path)
    tensors = load_file(path)
    lost = next(key for key in tensors if "decoder" in key)
    save_file({key: tensor for key, tensor in tensors.items() if key != lost}, path, {"format": "pt"})
    with pytest.raises(UserError, match="lacks 1 tensors"):
        kind.from_weights(tmp_path, published=record(codec))
    for content in (b"", b"not a tensor in sight"):
        path.write_bytes(content)
        with pytest.raises(UserError, match="does not hold someone/tiny"):
            kind.from_weights(tmp_path, published=record(codec))
    path.unlink()
    with pytest.raises(UserError, match="does not hold someone/tiny"):
        kind.from_weights(tmp_path, published=record(codec))


class Bomb:
    """Unpickling it would run code."""

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (exec, ("raise SystemExit('code was run')",))


@in_files
def test_files_that_are_something_else_are_refused(name: str, tmp_path: Path) -> None:
    kind, package = FILES[name]
    path = tmp_path / "weights.pt"
    with pytest.raises(UserError, match=r"there is no file .*; run `livejam weights fetch \w+`, or give the path"):
        kind.from_weights(path)
    with pytest.raises(UserError, match=r"fetch (\w+)` with LIVEJAM_WEIGHTS=here,"):
        kind.from_weights(f"here/{name.lower()}/weights.pt")
    state = package().UNet().state_dict()
    contents: list[tuple[object, str]] = [
        ({"gen_state_dict": {key: tensor for key, tensor in list(state.items())[1:]}}, "lacks 1 tensors"),
        ({"gen_state_dict": {key: tensor[..., :1] for key, tensor in state.items()}}, "does not hold"),
        ({"weights": state}, "does not hold"),
        (Bomb(), "could run code"),
    ]
    for content, words in contents:
        torch.save(content, path)
        with pytest.raises(UserError, match=words):
            kind.from_weights(path)
    for raw in (b"", b"nothing", pickle.dumps(Bomb(), protocol=2)):
        path.write_bytes(raw)
        with pytest.raises(UserError):
            kind.from_weights(path)


@pytest.mark.parametrize("name", [*FOLDERS, *FILES])
def test_a_missing_package_is_named_with_its_extra(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = (FOLDERS | FILES)[name][0]
    packages = ("diffusers", "transformers", "music2latent.models", "codicodec.models")
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=r"livejam\[codecs\]"):
        kind.from_weights(tmp_path)


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
def test_records_are_those_of_the_architectures() -> None:
    """Packages ship the configurations of the checkpoints as their defaults."""
    transformers = pytest.importorskip("transformers")
    diffusers = pytest.importorskip("diffusers")
    dac = {DAC_44KHZ: ([2, 4, 8, 8], 44100), DAC_24KHZ: ([2, 4, 5, 8], 24000), DAC_16KHZ: ([2, 4, 5, 8], 16000)}
    with torch.device("meta"):
        found = {
            ENCODEC_24KHZ: EnCodec(transformers.EncodecModel(transformers.EncodecConfig()), "any"),
            MIMI: Mimi(transformers.MimiModel(transformers.MimiConfig()), "any"),
            STABLE_AUDIO_OPEN: StableAudioVAE(diffusers.AutoencoderOobleck(), "any"),
        }
        for published, (ratios, rate) in dac.items():
            config = transformers.DacConfig(downsampling_ratios=ratios, sampling_rate=rate)
            found[published] = DAC(transformers.DacModel(config), "any")
    for published, codec in found.items():
        published.verify(codec.spec, "defaults")
    assert {CODICODEC.spec.frame_rate_hz, MUSIC2LATENT.spec.frame_rate_hz} == {44100 / 32768, 44100 / 4096}
