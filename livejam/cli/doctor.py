"""Is this machine ready? Every check is one line, and a failed one says what to do."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import torch

CORE = (
    *("torch", "lightning", "torchmetrics", "jsonargparse", "omegaconf"),
    *("numpy", "scipy", "soundfile", "soxr", "symusic"),
)
EXTRAS = {
    "metrics": ("madmom", "laion_clap", "frechet_audio_distance"),
    "codecs": ("codicodec", "diffusers", "music2latent", "transformers"),
    "serve": ("python-osc", "websockets", "starlette", "uvicorn", "segno"),
    "store": ("obstore",),
    "export": ("onnx", "onnxruntime", "onnxscript"),
}
MATCHED_BUILDS = ("torchvision", "torchaudio")
FREE_DISK_GB = 5.0
STREAM_TOLERANCE = 1e-4
"""Largest difference between the codec's streamed and offline output, relative to its peak."""


@dataclass(frozen=True)
class Finding:
    """The result of one check."""

    subject: str
    good: bool
    text: str


def examine() -> Iterator[Finding]:
    """All checks, one after the other."""
    yield _python()
    yield from (_package(name) for name in CORE)
    yield from (_build(name) for name in MATCHED_BUILDS)
    yield from (_extra(extra, names) for extra, names in EXTRAS.items())
    yield _processors()
    yield _disk()
    yield _codec()


def _python() -> Finding:
    good = (3, 10) <= sys.version_info[:2] <= (3, 12)
    advice = "" if good else ": livejam needs 3.10, 3.11 or 3.12"
    return Finding("python", good, platform.python_version() + advice)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _package(name: str) -> Finding:
    found = _installed(name)
    return Finding(name, found is not None, found or "missing: pip install -e . -c constraints.txt")


def _build(name: str) -> Finding:
    """Different builds of torch, torchvision and torchaudio break unrelated imports."""
    found = _installed(name)
    if found is None:
        return Finding(name, True, "not installed (only the metrics extra needs it)")
    torch_release = _installed("torch") or torch.__version__
    if found.partition("+")[2] != torch_release.partition("+")[2]:
        return Finding(name, False, f"{found} and torch {torch_release} are different builds: reinstall both together")
    try:
        importlib.import_module(name)
    except (ImportError, RuntimeError, OSError) as error:
        return Finding(name, False, f"{found} does not import beside torch {torch_release} ({_line(error)})")
    return Finding(name, True, f"{found} beside torch {torch_release}")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:120]


def _extra(extra: str, names: tuple[str, ...]) -> Finding:
    missing = [name for name in names if _installed(name) is None]
    text = ", ".join(f"{name} {_installed(name)}" for name in names if name not in missing)
    if missing:
        text = f"{', '.join(missing)} missing: pip install -e '.[{extra}]' -c constraints.txt"
    return Finding(f"[{extra}]", not missing, text)


def _processors() -> Finding:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return Finding("processors", True, f"{cores} cores, {', '.join(gpus) or 'no GPU'}")


def _disk() -> Finding:
    free = shutil.disk_usage(".").free / 1e9
    advice = "" if free >= FREE_DISK_GB else f": the quickstart needs {FREE_DISK_GB:.0f} GB"
    return Finding("disk", not advice, f"{free:.1f} GB free here{advice}")


def _codec() -> Finding:
    """The bundled codec loads, its stream equals its offline output, and it is faster than real time."""
    try:
        return _codec_round_trip()
    except (ImportError, OSError, ValueError, RuntimeError) as error:
        return Finding("codec", False, f"the bundled codec does not work ({_line(error)}): reinstall livejam")


def _codec_round_trip() -> Finding:
    from livejam.codecs import pretrained_codec

    codec = pretrained_codec()
    spec = codec.spec
    time_N = torch.arange(64 * spec.hop_samples) / spec.sample_rate_hz
    audio_BAN = (0.3 * torch.sin(2 * torch.pi * 220 * time_N)).expand(1, spec.audio_channels, -1).contiguous()
    with torch.inference_mode():
        codec.decode(codec.encode(audio_BAN))  # the first call is slower, because it also sets things up
        latents_BTC, encode_seconds = _timed(lambda: codec.encode(audio_BAN))
        decoded_BAN, decode_seconds = _timed(lambda: codec.decode(latents_BTC))
        frames, state = [], codec.init_encoder_state(1)
        for chunk_BAN in audio_BAN.split(spec.hop_samples, dim=-1):
            frame_BTC, state = codec.encode_step(chunk_BAN, state)
            frames.append(frame_BTC)
    difference = float((torch.cat(frames, dim=1) - latents_BTC).abs().max() / latents_BTC.abs().max())
    factor = len(time_N) / spec.sample_rate_hz / (encode_seconds + decode_seconds)
    finite = bool(torch.isfinite(decoded_BAN).all()) and decoded_BAN.shape == audio_BAN.shape
    good = finite and difference < STREAM_TOLERANCE and factor > 1
    return Finding("codec", good, f"{spec.name}: stream equals offline to {difference:.1e}, {factor:.0f} × real time")


def _timed(work: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, float]:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started
