"""How many musicians a server of the page can serve: `python -m benchmarks.musicians [--musicians 1 8] [--seconds 60]`.

For every number, `livejam serve web` is started in a process of its own, and so many programs play noise bursts to it
over WebSockets, in real time, in the same blocks as the page, and keep answers in a buffer as it does
(`livejam.serving.playout`). Then one more knocks, and has to be refused.

The last line is one JSON object, per number of musicians: how early the answers came before their positions
(`slack_p50_ms`, the 1 % that came latest, and the latest: below 0, after them), the longest delay that a buffer chose,
its gaps and missing milliseconds after the first ten seconds and in all, the server's own times from a block to its
answer, the server's memory after a quarter of the time and at the end, and the words of the refusal.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from websockets.asyncio.client import ClientConnection, connect

from livejam.serving.playout import Playout
from livejam.serving.web_frames import Heard, read_played, write_heard
from livejam.serving.web_messages import Begin
from livejam.streaming.priority import without_long_collections
from livejam.streaming.rings import Audio

RATE, QUANTUM, MOST = 44_100, 128, 2048
"""The page's rate, and how many samples it hears at once, and sends at most."""

SETTLED_SECONDS = 10.0
KEPT_QUANTA = 1024


@dataclass
class Played:
    """What one musician saw.

    Args:
        slack: of every answer in seconds.
        early: gaps and missing samples of the first ten seconds.
        meters: the server's, at the end.
        longest_delay: of the buffer in samples.
        slips: blocks that this program itself sent too late by the longest block or more.
        began: when its first sample was played.
    """

    playout: Playout
    slack: list[float] = field(default_factory=list)
    early: tuple[int, int] = (0, 0)
    meters: dict[str, Any] = field(default_factory=dict)
    longest_delay: int = 0
    slips: int = 0
    began: float = 0.0


@contextmanager
def server(musicians: int, checkpoint: str) -> Iterator[tuple[str, int]]:
    """The command in a process of its own: address of the WebSocket, and number of the process."""
    options = ["--checkpoint", checkpoint, "--port", "0", "--musicians", str(musicians)]
    command = [sys.executable, "-m", "livejam.cli.main", "serve", "web", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        found = None
        while found is None:
            line = process.stdout.readline()
            assert line, "the server ended before it was ready"
            found = re.search(r"http(://[^ ]+)", line)
        yield f"ws{found[1]}jam", process.pid
    finally:
        process.terminate()
        process.wait()


async def musician(url: str, seed: int, seconds: float) -> Played:
    """Play to the server for so long."""
    async with connect(url, max_size=None, compression=None) as socket:
        played = Played(Playout(1, RATE))
        await socket.recv()
        await socket.send(Begin(("Percussive",), seed).text())
        begun: dict[str, Any] = {}
        while begun.get("kind") != "begun":
            begun = json.loads(await socket.recv())
        listening = asyncio.create_task(_listen(socket, played))
        ends = block_ends(begun["first_step_samples"], begun["step_samples"], round(seconds * RATE))
        await _perform(socket, played, bursts(seed), ends)
        listening.cancel()
        return played


async def _perform(socket: ClientConnection, played: Played, noise_N: Audio, ends: Sequence[int]) -> None:
    played.began = time.monotonic()
    for number, (start, end) in enumerate(pairwise([0, *ends])):
        due = played.began + math.ceil(end / QUANTUM) * QUANTUM / RATE
        await asyncio.sleep(max(0.0, due - time.monotonic()))
        played.slips += time.monotonic() > due + MOST / RATE
        audio_N = np.take(noise_N, np.arange(start, end), mode="wrap")
        await socket.send(write_heard(Heard(number, start, audio_N)))
        played.playout.read(end - start)
        played.longest_delay = max(played.longest_delay, played.playout.delay_samples)
        if start <= SETTLED_SECONDS * RATE:
            played.early = (played.playout.gaps, played.playout.missing_samples)


def block_ends(first_samples: int, step_samples: float, samples: int) -> list[int]:
    """Where the page's blocks end (`hear` in livejam/serving/web/jam.js): wherever the model can go on, and after
    `MOST` samples."""
    ends, start = list[int](), 0
    for step in range(samples):
        due = first_samples + math.ceil(step * step_samples)
        ends += range(start + MOST, due, MOST)
        ends.append(start := due)
        if due > samples:
            break
    return [end for end in ends if end <= samples]


async def _listen(socket: ClientConnection, played: Played) -> None:
    async for data in socket:
        if isinstance(data, str):
            message = json.loads(data)
            played.meters = message if message["kind"] == "meters" else played.meters
            continue
        answer = read_played(data)
        played.slack.append(answer.position_samples / RATE - (time.monotonic() - played.began))
        played.playout.put(answer.position_samples, answer.audio_N[None])


def bursts(seed: int) -> Audio:
    """Noise that beats twice a second."""
    rng = np.random.default_rng(seed)
    time_N = np.arange(KEPT_QUANTA * QUANTUM) / RATE
    noise_N: Audio = (0.3 * rng.standard_normal(len(time_N)) * np.exp(-12 * (2 * time_N % 1))).astype(np.float32)
    return np.clip(noise_N, -1, 1)


async def refusal(url: str) -> str:
    """What one musician too many is told."""
    async with connect(url, compression=None) as socket:
        return str(json.loads(await socket.recv()).get("sentence", "not refused"))


async def measure(url: str, process: int, musicians: int, seconds: float) -> dict[str, Any]:
    """All musicians at once, and one too many."""
    jobs = [asyncio.create_task(musician(url, seed, seconds)) for seed in range(musicians)]
    await asyncio.sleep(seconds / 4)
    early_mb, sentence = memory_mb(process), await refusal(url)
    done = await asyncio.gather(*jobs)
    slack_ms = 1000 * np.concatenate([one.slack for one in done])
    missing = [one.playout.missing_samples for one in done]
    return {
        "slack_p50_ms": round(float(np.median(slack_ms)), 1),
        "slack_p1_ms": round(float(np.percentile(slack_ms, 1)), 1),
        "slack_min_ms": round(float(slack_ms.min()), 1),
        "longest_delay_ms": round(1000 * max(one.longest_delay for one in done) / RATE, 1),
        "gaps": sum(one.playout.gaps for one in done),
        "missing_ms": round(1000 * sum(missing) / RATE),
        "gaps_after_10_s": sum(one.playout.gaps - one.early[0] for one in done),
        "missing_after_10_s_ms": round(1000 * sum(one.playout.missing_samples - one.early[1] for one in done) / RATE),
        "answer_p50_ms": round(max(one.meters.get("latency_p50_ms", 0.0) for one in done), 1),
        "answer_max_ms": round(max(one.meters.get("latency_max_ms", 0.0) for one in done), 1),
        "late_blocks_of_this_program": sum(one.slips for one in done),
        "memory_mb": [early_mb, memory_mb(process)],
        "refusal": sentence,
    }


def memory_mb(process: int) -> float | None:
    """Memory of a process, on Linux."""
    try:
        with open(f"/proc/{process}/statm", encoding="ascii") as file:
            return round(int(file.read().split()[1]) * 4096 / 1e6, 1)
    except OSError:
        return None


def main() -> None:
    """Measure, and print a table and one JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--musicians", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--checkpoint", default="liveband-pocket")
    options = parser.parse_args()
    results = {}
    for musicians in options.musicians:
        with server(musicians, options.checkpoint) as (url, process), without_long_collections():
            results[musicians] = asyncio.run(measure(url, process, musicians, options.seconds))
        print(musicians, results[musicians], flush=True)
    print(json.dumps(results))


if __name__ == "__main__":
    main()
