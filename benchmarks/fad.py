"""The Fréchet distance against the frechet-audio-distance package's: python -m benchmarks.fad

Both get the same two clouds of 10 000 embeddings, of 128 (VGGish's) and of 512 dimensions (CLAP's). The times are the
best of a few turns that alternate, in one process on one thread. The last line is one JSON object:

`max_relative_difference`: of the distances from embeddings to number, over both sizes. `speedup`: the package's
`calculate_frechet_distance` by our `frechet_distance`, on the same means and covariances, both sizes together.
`speedup_from_embeddings`: the same with the covariances, ours in batches; `speedup_kept_reference`: the same when ours
has kept the reference of an earlier epoch, whose embeddings the package goes through again. `sizes`: all of it per
size, with the seconds. `singular`: as many embeddings as 48 items of 24 songs have in PANN's 2048
dimensions, and each song left out once, as a test does for every row and segment: `seconds` of the processor from
samples, `covariances_seconds` from covariances (of one song left out, times 24), `speedup`, `relative_difference` for
that song. `peak_bytes`: by how much the memory of a process grows meanwhile, on the largest size, null where the
system does not say; `kept_bytes`: what stays between two batches, our sums and the package's embeddings.
"""

from __future__ import annotations

import argparse
import ast
import importlib.util
import json
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import scipy.linalg
import torch
from numpy.typing import NDArray

from livejam.errors import UserError
from metrics.frechet import FrechetAudioDistance
from metrics.gaussians import frechet_distance

Clouds = tuple[NDArray[np.float32], NDArray[np.float32]]
Statistics = tuple[NDArray[np.floating[Any]], ...]
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


def statistics_of(clouds: Clouds) -> Statistics:
    """Mean and covariance of both clouds, by the package."""
    functions = package()
    return tuple(part for cloud in clouds for part in functions.calculate_embd_statistics(None, cloud))


def their_distance(statistics: Statistics) -> float:
    """The package's own function."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return float(package().calculate_frechet_distance(None, *statistics))


def our_distance(statistics: Statistics) -> float:
    """Ours, of the same numbers."""
    return frechet_distance(*(torch.from_numpy(part) for part in statistics))


def theirs(clouds: Clouds) -> float:
    """As the package's `score` does once it has the embeddings."""
    return their_distance(statistics_of(clouds))


def fed(metric: FrechetAudioDistance, cloud: NDArray[np.float32], real: bool) -> FrechetAudioDistance:
    """In batches of 1000, as a validation has them."""
    for part in torch.from_numpy(cloud).split(1000):
        metric.update(part, real=real)
    return metric


def ours(clouds: Clouds) -> float:
    """Both clouds."""
    metric = fed(FrechetAudioDistance(clouds[0].shape[1]), clouds[0], real=True)
    return float(fed(metric, clouds[1], real=False).compute().distance)


def clouds_of(count: int, dimension: int) -> Clouds:
    """Two correlated clouds whose eigenvalues fall as those of real embeddings do."""
    rng = np.random.default_rng(dimension)
    falling = 1 / np.sqrt(1 + np.arange(dimension))
    mixing = rng.normal(size=(2, dimension, dimension)) / np.sqrt(dimension)
    points = [(rng.normal(size=(count, dimension)) * falling) @ mixing[i] + 0.1 * i for i in (0, 1)]
    return points[0].astype(np.float32), points[1].astype(np.float32)


def seconds_of(work: Callable[[], object]) -> float:
    """Of one turn."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def compare(count: int, dimension: int, turns: int) -> dict[str, float]:
    """One size."""
    clouds = clouds_of(count, dimension)
    statistics = statistics_of(clouds)
    kept = FrechetAudioDistance(dimension)
    kept.use_reference(fed(FrechetAudioDistance(dimension), clouds[0], real=True).reference("any", 1, 10.0))

    def next_epoch() -> float:
        kept.reset()
        return float(fed(kept, clouds[1], real=False).compute().distance)

    works: dict[str, Callable[[], float]] = {
        "package_distance": partial(their_distance, statistics),
        "distance": partial(our_distance, statistics),
        "package_from_embeddings": partial(theirs, clouds),
        "from_embeddings": partial(ours, clouds),
        "kept_reference": next_epoch,
    }
    results = {name: work() for name, work in works.items()}
    times = [{name: seconds_of(work) for name, work in works.items()} for _ in range(turns)]
    expected = results["package_from_embeddings"]
    best = {f"{name}_seconds": min(turn[name] for turn in times) for name in works}
    return {"relative_difference": max(abs(result / expected - 1) for result in results.values()), **best}


def singular(songs: int = 24, windows: int = 2, dimension: int = 2048) -> dict[str, float]:
    """Fewer embeddings than dimensions, with songs left out for an interval."""
    fake_WD, real_WD = (torch.from_numpy(cloud) for cloud in clouds_of(2 * windows * songs, dimension))
    metric = FrechetAudioDistance(dimension)
    metric.keep_songs()
    for i in range(songs):
        metric.update(fake_WD[windows * i :][:windows], real=False, song=str(i))
        metric.update(real_WD[2 * windows * i :][: 2 * windows], real=True, song=str(i))
    start = time.process_time()
    ours_U = metric.left_out("fake")
    seconds = time.process_time() - start
    start = time.process_time()
    without_first = (real_WD[2 * windows : 2 * windows * songs], fake_WD[windows : windows * songs])
    theirs = frechet_distance(*(f(x_WD.double().T) for x_WD in without_first for f in (_mean, torch.cov)))
    theirs_seconds = songs * (time.process_time() - start)
    return {
        "relative_difference": float(np.abs(ours_U / theirs - 1).min()),
        "seconds": seconds,
        "covariances_seconds": theirs_seconds,
        "speedup": theirs_seconds / seconds,
    }


def _mean(x_DW: torch.Tensor) -> torch.Tensor:
    return x_DW.mean(1)


def _status_bytes(name: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return 1024 * int(line.split()[1])


def peak_bytes(work: Callable[[Clouds], float], clouds: Clouds) -> int | None:
    """By how much the highest memory of this process grows; None where the system does not say."""
    part = clouds[0][: 2 * clouds[0].shape[1]], clouds[1][: 2 * clouds[1].shape[1]]
    work(part)
    try:
        # from here on the kernel notes the highest memory anew
        Path("/proc/self/clear_refs").write_text("5")
        before = _status_bytes("VmRSS")
        work(clouds)
        return _status_bytes("VmHWM") - before
    except (OSError, StopIteration):
        return None


def main() -> None:
    """Compare both sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="embeddings per cloud")
    parser.add_argument("--dimensions", type=int, nargs="+", default=[128, 512])
    parser.add_argument("--turns", type=int, default=5, help="timings of each; the best counts")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    count, widest = arguments.count, max(arguments.dimensions)
    sizes = {f"{count}x{width}": compare(count, width, arguments.turns) for width in arguments.dimensions}
    total = {name: sum(size[name] for size in sizes.values()) for name in next(iter(sizes.values()))}
    metric = FrechetAudioDistance(widest)
    kept = sum(state.nbytes for state in metric.metric_state.values() if isinstance(state, torch.Tensor))
    clouds = clouds_of(count, widest)
    everything = total["package_from_embeddings_seconds"]
    report = {
        "max_relative_difference": max(size["relative_difference"] for size in sizes.values()),
        "speedup": total["package_distance_seconds"] / total["distance_seconds"],
        "speedup_from_embeddings": everything / total["from_embeddings_seconds"],
        "speedup_kept_reference": everything / total["kept_reference_seconds"],
        "singular": singular(),
        "sizes": sizes,
        "peak_bytes": {"ours": peak_bytes(ours, clouds), "package": peak_bytes(theirs, clouds)},
        "kept_bytes": {"ours": kept, "package": 2 * count * widest * 4},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
