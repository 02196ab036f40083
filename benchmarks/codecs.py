"""How fast codecs are, offline and as a stream, on one core and on two: `python -m benchmarks.codecs`.

The bundled codec, and the one of configs/codec/slakh.yaml (44.1 kHz stereo, 4096-sample frames, 128 channels) with
random weights. Every measurement has a process of its own. Factors are seconds of audio per second of work, from the
median over repetitions; `memory_mb` is what the peak of the process grew by. The last line is one JSON object:
`pocket_stream_decode_rtf` (frame by frame, one core) and `paper_frame_ms` (one frame of 92.9 ms encoded and decoded,
two cores; `paper_frame_ms_fastest` is the least disturbed frame).
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from livejam.cli.codec_choice import choose_codec
from livejam.codecs import Codec

CONFIGS = {"pocket": "pocket", "paper": str(Path(__file__).parents[1] / "configs" / "codec" / "slakh.yaml")}
OFFLINE_FRAMES = 64
OFFLINE_REPETITIONS = 5


def measure(name: str, threads: int, frames: int, device: str) -> dict[str, float]:
    """All figures of one codec.

    Args:
        name: a key of `CONFIGS`.
        threads: cores to use.
        frames: streamed frames.
        device: "cpu", or a GPU's name.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    codec = choose_codec([CONFIGS[name]]).to(device)
    before_mb = peak_mb()
    with torch.inference_mode():
        encode_ms, decode_ms = stream_times(codec, frames, device)
        offline_encode_ms, offline_decode_ms = offline_times(codec, device)
    frame_ms, both = 1000 * codec.spec.frame_seconds, [e + d for e, d in zip(encode_ms, decode_ms, strict=True)]
    offline_ms = OFFLINE_FRAMES * frame_ms
    return {
        "stream_encode_rtf": frame_ms / statistics.median(encode_ms),
        "stream_decode_rtf": frame_ms / statistics.median(decode_ms),
        "stream_frame_ms": statistics.median(both),
        "stream_frame_ms_fastest": min(both),
        "offline_encode_rtf": offline_ms / offline_encode_ms,
        "offline_decode_rtf": offline_ms / offline_decode_ms,
        "memory_mb": peak_mb() - before_mb,
    }


def stream_times(codec: Codec, frames: int, device: str) -> tuple[list[float], list[float]]:
    """Milliseconds of every frame's encoding and decoding, without a tenth to warm up."""
    shape = (1, codec.spec.audio_channels, codec.spec.hop_samples)
    encoder, decoder = codec.init_encoder_state(1), codec.init_decoder_state(1)
    encode_ms, decode_ms = [], []
    for _ in range(frames):
        audio_BAN = 0.1 * torch.randn(shape, device=device)
        begun = now(device)
        latents_BTC, encoder = codec.encode_step(audio_BAN, encoder)
        encoded = now(device)
        _, decoder = codec.decode_step(latents_BTC, decoder)
        decode_ms.append(1000 * (now(device) - encoded))
        encode_ms.append(1000 * (encoded - begun))
    return encode_ms[frames // 10 :], decode_ms[frames // 10 :]


def offline_times(codec: Codec, device: str) -> tuple[float, float]:
    """Median milliseconds of encoding and of decoding `OFFLINE_FRAMES` at once."""
    samples = OFFLINE_FRAMES * codec.spec.hop_samples
    audio_BAN = 0.1 * torch.randn(1, codec.spec.audio_channels, samples, device=device)
    latents_BTC = codec.encode(audio_BAN)
    return median_ms(lambda: codec.encode(audio_BAN), device), median_ms(lambda: codec.decode(latents_BTC), device)


def median_ms(work: Callable[[], object], device: str) -> float:
    """Median over repetitions, after one to warm up."""
    times = []
    for _ in range(OFFLINE_REPETITIONS + 1):
        begun = now(device)
        work()
        times.append(1000 * (now(device) - begun))
    return statistics.median(times[1:])


def now(device: str) -> float:
    """Seconds, when all that was asked of the device is done."""
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def peak_mb() -> float:
    """Largest resident memory of this process so far, in MB (2^20 bytes)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=100, help="streamed frames per measurement, at least 10")
    parser.add_argument("--device", default="cpu", help="cpu, or cuda where there is one")
    arguments = parser.parse_args()
    result: dict[str, Any] = {"device": arguments.device}
    for name in CONFIGS:
        for threads in (1, 2):
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                figures = pool.apply(measure, (name, threads, arguments.frames, arguments.device))
            result[f"{name}_{threads}"] = {key: round(value, 3) for key, value in figures.items()}
            print(f"{name}, {threads} threads: {result[f'{name}_{threads}']}", flush=True)
    result["pocket_stream_decode_rtf"] = result["pocket_1"]["stream_decode_rtf"]
    result["paper_frame_ms"] = result["paper_2"]["stream_frame_ms"]
    result["paper_frame_ms_fastest"] = result["paper_2"]["stream_frame_ms_fastest"]
    print(json.dumps(result))


if __name__ == "__main__":
    main()
