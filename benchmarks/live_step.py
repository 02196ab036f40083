"""How fast a live step is: `python -m benchmarks.live_step [--parts paper pocket busy ready growth] [--model NAME]`.

- paper: LiveBand at the paper's size with random weights, one frame at a time, with plain, packed, float16 and int8
  weights, beside one pass over all weights, which is what memory allows. Kinds take turns of a few steps, so that all
  meet the same machine. Also the codec at the paper's size.
- pocket: a trained model with its codec, from sound to sound, frame by frame, on as many threads as
  `livejam.streaming.threads` chooses.
- busy: the same beside one computing program per core.
- ready: a new process, from its start to its first frame.
- growth: many frames in one stream; time per frame and memory, the last thousand against the first.

The last line is one JSON object. Real-time factors are the time of a frame's sound over the time that it takes: the
median, or the mean where the machine is busy. `reduced` is float16, `…_error` the root mean square difference of the
output from that of the plain weights over that of the output. `memory_bound_ms` is one pass over the float32 weights.
`…_other_cores` says how many cores other programs used meanwhile: what an idle machine gives is known only where it is
near zero. `growth_fastest` compares the fastest twentieth of the steps, which other programs disturb less. Memory and
other programs are known on Linux, else null.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
from torch import Tensor

import livejam
from livejam.accompanist import Controls
from livejam.checkpoints.player import Player
from livejam.cli.start import SPINS
from livejam.codecs import CausalCodec
from livejam.instruments import default_instrument
from livejam.networks import CausalTransformer, packed, reduced
from livejam.networks.transformer_cache import TransformerCache
from livejam.streaming.threads import fewest_threads

PARTS = ("paper", "pocket", "busy", "ready", "growth")
LATENT_CHANNELS, FRAME_SECONDS = 96, 4096 / 44100
"""Of the paper's size: configs/liveband/slakh.yaml and configs/codec/slakh.yaml."""
TURN_STEPS = 20
MEGABYTE = 1e6

Result = dict[str, float | int | None]


class FrameStream:
    """A model and its codec, from sound to sound, one frame at a time."""

    def __init__(self, player: Player) -> None:
        self.player, spec = player, player.codec.spec
        instrument = default_instrument(player.instruments)
        self.state = player.accompanist.init_state(1, Controls(torch.tensor([instrument]), torch.tensor([0])))
        self.heard, self.said = player.codec.init_encoder_state(1), player.codec.init_decoder_state(1)
        samples = spec.samples_in(player.accompanist.block_frames)
        self.audio_BAN = 0.1 * torch.randn(1, spec.audio_channels, samples)
        self.budget_seconds = samples / spec.sample_rate_hz

    def step(self) -> None:
        """Hear the next frame, and play the next."""
        codec = self.player.codec
        latents_BTC, self.heard = codec.encode_step(self.audio_BAN, self.heard)
        latents_BTC, self.state = self.player.accompanist.step(latents_BTC, self.state)
        _, self.said = codec.decode_step(latents_BTC, self.said)


def timed(step: Callable[[], object], steps: int) -> list[float]:
    """Milliseconds of so many steps."""
    ends = [time.perf_counter()]
    for _ in range(steps):
        step()
        ends.append(time.perf_counter())
    return [1e3 * (end - begin) for begin, end in pairwise(ends)]


def quantile(values: list[float], share: float) -> float:
    """The value that this share of all does not exceed."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class OtherPrograms:
    """How many cores programs other than this process use from now on (Linux)."""

    def __init__(self) -> None:
        self.began, self.before = time.perf_counter(), self._core_seconds()
        self.children = self._children_seconds()

    def cores(self, children: bool = False) -> float | None:
        """Cores in use, on average until now.

        Args:
            children: whether ended programs that this process started count as its own.
        """
        own = self._children_seconds() - self.children if children else 0.0
        after = self._core_seconds()
        if self.before is None or after is None:
            return None
        return max(0.0, after - self.before - own) / (time.perf_counter() - self.began)

    def _children_seconds(self) -> float:
        times = os.times()
        return times.children_user + times.children_system

    def _core_seconds(self) -> float | None:
        try:
            user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
        except OSError:
            return None
        return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK") - time.process_time()


class PaperSize:
    """One stream of the generator, by kinds of weights."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        plain = CausalTransformer(LATENT_CHANNELS).eval().requires_grad_(False)
        self.weights = list(plain.parameters())
        self.networks = {"plain": plain, "float32": packed(plain, 1)}
        self.networks |= {precision: reduced(plain, precision) for precision in ("float16", "int8")}
        self.instrument_B = torch.tensor([4])
        self.caches: dict[str, TransformerCache] = {}
        frames, window = [(torch.randn(1, 1, 64), torch.randn(1, 1, LATENT_CHANNELS))], plain.window_frames
        for kind, network in self.networks.items():
            self.caches[kind] = network.init_cache(1)
            self.turn(kind, frames * window)

    def step(self, kind: str, noise_BTZ: Tensor, mix_BTC: Tensor) -> Tensor:
        """The next frame."""
        out_BTC, cache = self.networks[kind].step(noise_BTZ, mix_BTC, self.instrument_B, self.caches[kind])
        self.caches[kind] = cache
        return out_BTC

    def read_all(self) -> None:
        """One pass over all weights."""
        for weight in self.weights:
            weight.sum()

    def turn(self, kind: str, frames: list[tuple[Tensor, Tensor]]) -> tuple[list[float], Tensor]:
        """Milliseconds and output of a few steps."""
        played = list[Tensor]()
        rest = iter(frames)
        times = timed(lambda: played.append(self.step(kind, *next(rest))), len(frames))
        return times, torch.cat(played, dim=1)


def measure_paper(rounds: int) -> Result:
    """Kinds of weights in turn."""
    size, times, others = PaperSize(), defaultdict[str, list[float]](list), OtherPrograms()
    errors = defaultdict[str, list[float]](list)
    for _ in range(rounds):
        frames = [(torch.randn(1, 1, 64), torch.randn(1, 1, LATENT_CHANNELS)) for _ in range(TURN_STEPS)]
        expected_BTC = torch.empty(0)
        bound = timed(size.read_all, 3)
        for kind in size.networks:
            taken, out_BTC = size.turn(kind, frames)
            expected_BTC = out_BTC if kind == "plain" else expected_BTC
            errors[kind].append(float((out_BTC - expected_BTC).square().mean() / expected_BTC.square().mean()))
            times[kind] += taken[1:]
        times["bound"] += bound[1:]
    typical = {kind: median(taken) for kind, taken in times.items()}
    frame = 1e3 * FRAME_SECONDS
    return {
        "memory_bound_ms": typical["bound"],
        "liveband_paper_rtf_float32": frame / typical["float32"],
        "liveband_paper_rtf_reduced": frame / typical["float16"],
        "liveband_paper_rtf_int8": frame / typical["int8"],
        "liveband_paper_rtf_plain": frame / typical["plain"],
        "float32_over_bound": typical["float32"] / typical["bound"],
        "paper_other_cores": others.cores(),
        **{f"{kind}_ms": typical[kind] for kind in size.networks},
        **{f"{kind}_p99_ms": quantile(times[kind], 0.99) for kind in size.networks},
        **{f"{kind}_error": fmean(errors[kind]) ** 0.5 for kind in size.networks},
        **measure_paper_codec(),
    }


def measure_paper_codec() -> Result:
    """The codec's two steps at the paper's size."""
    codec = CausalCodec(
        "slakh", 44100, 2, 4096, 128, width=1024, subframe_width=512, blocks=8, subframe_blocks=4
    ).eval()
    encoder, decoder = codec.init_encoder_state(1), codec.init_decoder_state(1)
    audio_BAN, latents_BTC = 0.1 * torch.randn(1, 2, 4096), torch.randn(1, 1, 128)
    return {
        "codec_paper_encode_ms": median(timed(lambda: codec.encode_step(audio_BAN, encoder), 60)),
        "codec_paper_decode_ms": median(timed(lambda: codec.decode_step(latents_BTC, decoder), 60)),
    }


def measure_pocket(player: Player, seconds: float, name: str, typical: Callable[[list[float]], float]) -> Result:
    """A stream that computes as fast as it can for so many seconds."""
    stream, times = FrameStream(player), list[float]()
    before, others = torch.get_num_threads(), OtherPrograms()
    threads = fewest_threads(stream.step, stream.budget_seconds)
    torch.set_num_threads(threads)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        times += timed(stream.step, TURN_STEPS)
    torch.set_num_threads(before)
    return {
        f"pocket_{name}_rtf": 1e3 * stream.budget_seconds / typical(times),
        f"pocket_{name}_p50_ms": median(times),
        f"pocket_{name}_p99_ms": quantile(times, 0.99),
        f"pocket_{name}_max_ms": max(times),
        f"pocket_{name}_threads": threads,
        f"pocket_{name}_other_cores": others.cores(),
    }


def measure_busy(player: Player, seconds: float) -> Result:
    """The same, while a program per core computes."""
    programs = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(os.cpu_count() or 1)]
    try:
        return measure_pocket(player, seconds, "busy", fmean)
    finally:
        for program in programs:
            program.kill()
            program.wait()


def measure_ready(model: str, processes: int = 3) -> Result:
    """The median of a few new processes, whose threads wait as those of the command `livejam` do."""
    first = [sys.executable, "-m", "benchmarks.live_step", "--model", model, "--first-frame"]
    others, seconds = OtherPrograms(), list[float]()
    for _ in range(processes):
        began = time.perf_counter()
        subprocess.run(first, check=True, env={**os.environ, "GOMP_SPINCOUNT": SPINS})
        seconds.append(time.perf_counter() - began)
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", "import livejam"], check=True)
    imported = time.perf_counter() - began
    return {
        "ready_seconds": median(seconds),
        "import_livejam_seconds": imported,
        "ready_other_cores": others.cores(children=True),
    }


def measure_growth(player: Player, steps: int) -> Result:
    """Time and memory of the last thousand steps against the first, after a warm-up."""
    stream = FrameStream(player)
    torch.set_num_threads(fewest_threads(stream.step, stream.budget_seconds))
    timed(stream.step, 1000)
    memory = [resident_megabytes()]
    first = timed(stream.step, 1000)
    for done in range(1000, steps - 1000, 1000):
        last = timed(stream.step, 1000)
        memory.append(resident_megabytes())
        if done % 10_000 == 0:
            print(f"step {done}: {median(last):.2f} ms, {memory[-1]} MB", flush=True)
    last = timed(stream.step, 1000)
    grown = None if memory[0] is None or memory[-1] is None else memory[-1] - memory[0]
    return {
        "growth_100k_steps": median(last) / median(first),
        "growth_fastest": quantile(last, 0.05) / quantile(first, 0.05),
        "growth_steps": steps,
        "rss_growth_mb": grown,
    }


def resident_megabytes() -> float | None:
    """Memory of this process (Linux)."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return None
    return pages * os.sysconf("SC_PAGESIZE") / MEGABYTE


@torch.inference_mode()
def measure(given: argparse.Namespace) -> Result:
    """All parts that were asked for."""
    player = livejam.load(given.model) if {"pocket", "busy", "growth"} & set(given.parts) else None
    result: Result = {}
    for part in given.parts:
        found: Result
        if part == "paper":
            found = measure_paper(given.rounds)
        elif part == "ready":
            found = measure_ready(given.model)
        else:
            assert player is not None
            found = {
                "pocket": lambda: measure_pocket(player, given.seconds, "end_to_end", median),
                "busy": lambda: measure_busy(player, given.seconds),
                "growth": lambda: measure_growth(player, given.steps),
            }[part]()
        result |= found
        print(f"{part}: {json.dumps(rounded(found))}", flush=True)
    return result


def rounded(result: Result) -> dict[str, Any]:
    """Four digits."""
    return {name: value if value is None else float(f"{value:.4g}") for name, value in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--model", default="liveband-pocket", help="name of a bundled model, or a file")
    parser.add_argument("--rounds", type=int, default=12, help=f"turns of {TURN_STEPS} steps at the paper's size")
    parser.add_argument("--seconds", type=float, default=10.0, help="of the parts pocket and busy")
    parser.add_argument("--steps", type=int, default=100_000, help="of the part growth; 2000 or more")
    parser.add_argument("--threads", type=int, help="CPU threads at most; left out: torch's own choice")
    parser.add_argument("--first-frame", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.threads:
        torch.set_num_threads(given.threads)
    if given.first_frame:
        with torch.inference_mode():
            FrameStream(livejam.load(given.model)).step()
        return
    print(json.dumps(rounded(measure(given))))


if __name__ == "__main__":
    main()
