"""The Fréchet distance against the frechet-audio-distance package's: python -m benchmarks.fad

Both get the same two clouds of 10 000 embeddings, of 128 (VGGish's) and of 512 dimensions (CLAP's), and take them from
embeddings to a number: sums, covariances, distance. The times are the best of a few turns that alternate, in one
process on one thread. The last line is one JSON object:

`max_relative_difference` (over both sizes), `speedup` (the package's seconds by ours, both sizes together), `sizes`
(the same per size, with the seconds), `peak_bytes` (what each adds to the process at its highest), `kept_bytes` (what
stays between two batches: our sums, the package's embeddings).
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import multiprocessing
import resource
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray

from livejam.errors import UserError
from metrics.frechet import FrechetAudioDistance

Clouds = tuple[NDArray[np.float32], NDArray[np.float32]]
FUNCTIONS = ("calculate_embd_statistics", "calculate_frechet_distance")


def package() -> Any:
    """The package's own functions, out of its source: importing it loads models and looks for a network.

    Raises:
        UserError: it is not installed.
    """
    spec = importlib.util.find_spec("frechet_audio_distance")
    if spec is None or not spec.submodule_search_locations:
        raise UserError("frechet-audio-distance is not installed; pip install 'livejam[metrics]'")
    tree = ast.parse((Path(spec.submodule_search_locations[0]) / "fad.py").read_text(encoding="utf-8"))
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in FUNCTIONS]
    names: dict[str, Any] = {"np": np, "linalg": scipy.linalg}
    exec(compile(ast.Module(list(found), []), "fad.py", "exec"), names)
    return SimpleNamespace(**{name: names[name] for name in FUNCTIONS})


def theirs(clouds: Clouds) -> float:
    """As the package's `score` does once it has the embeddings."""
    functions = package()
    statistics = [functions.calculate_embd_statistics(None, cloud) for cloud in clouds]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return float(functions.calculate_frechet_distance(None, *statistics[0], *statistics[1]))


def ours(clouds: Clouds, batch: int = 1000) -> float:
    """In batches, as a validation has them."""
    metric = FrechetAudioDistance(clouds[0].shape[1])
    for cloud, real in zip(clouds, (True, False), strict=True):
        for part in torch.from_numpy(cloud).split(batch):
            metric.update(part, real=real)
    return float(metric.compute().distance)


def clouds_of(count: int, dimension: int) -> Clouds:
    """Two correlated clouds whose eigenvalues fall as those of real embeddings do."""
    rng = np.random.default_rng(dimension)
    falling = 1 / np.sqrt(1 + np.arange(dimension))
    mixing = rng.normal(size=(2, dimension, dimension)) / np.sqrt(dimension)
    points = [(rng.normal(size=(count, dimension)) * falling) @ mixing[i] + 0.1 * i for i in (0, 1)]
    return points[0].astype(np.float32), points[1].astype(np.float32)


def seconds_of(work: Callable[[Clouds], float], clouds: Clouds) -> float:
    start = time.perf_counter()
    work(clouds)
    return time.perf_counter() - start


def _peak(work: Callable[[Clouds], float], count: int, dimension: int, answer: Any) -> None:
    torch.set_num_threads(1)
    clouds = clouds_of(count, dimension)
    work((clouds[0][: 2 * dimension], clouds[1][: 2 * dimension]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    work(clouds)
    answer.put(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))


def peak_bytes(work: Callable[[Clouds], float], count: int, dimension: int) -> int:
    """By how much the highest memory of a fresh process grows with all embeddings over a few of them."""
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_peak, args=(work, count, dimension, answer))
    process.start()
    growth = int(answer.get())
    process.join()
    return growth


def compare(count: int, dimension: int, turns: int) -> dict[str, float]:
    """One size."""
    clouds = clouds_of(count, dimension)
    difference = abs(ours(clouds) / theirs(clouds) - 1)
    times = [(seconds_of(ours, clouds), seconds_of(theirs, clouds)) for _ in range(turns)]
    our_seconds, their_seconds = (min(column) for column in zip(*times, strict=True))
    return {
        "relative_difference": difference,
        "seconds": our_seconds,
        "package_seconds": their_seconds,
        "speedup": their_seconds / our_seconds,
    }


def main() -> None:
    """Compare both sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="embeddings per cloud")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--turns", type=int, default=3, help="timings of each; the best counts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    count, widest = arguments.count, max(arguments.dimensions)
    sizes = {f"{count}x{width}": compare(count, width, arguments.turns) for width in arguments.dimensions}
    metric = FrechetAudioDistance(widest)
    kept = sum(state.nbytes for state in metric.metric_state.values() if isinstance(state, torch.Tensor))
    package_seconds, seconds = (sum(size[name] for size in sizes.values()) for name in ("package_seconds", "seconds"))
    report = {
        "max_relative_difference": max(size["relative_difference"] for size in sizes.values()),
        "speedup": package_seconds / seconds,
        "sizes": sizes,
        "peak_bytes": {"ours": peak_bytes(ours, count, widest), "package": peak_bytes(theirs, count, widest)},
        "kept_bytes": {"ours": kept, "package": 2 * count * widest * 4},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
