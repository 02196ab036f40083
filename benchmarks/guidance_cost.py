"""What guidance costs: `python -m benchmarks.guidance_cost`.

One stream of a model plays blocks of silence under no guidance, under one weight for all, and under more and more
different weights, whose sides are rows of one call (`livejam.sampling.guidance`). All run in turns in one process and
meet the same machine; a time is the median of many blocks, in milliseconds of the processor, so that other programs
count little. Beside them stands what the same evaluations would take one after the other: as often the block without
guidance.

The model is `lmdm-pocket`, given its own past, so that the past can have a weight as well; that changes nothing of what
is computed. The last line is one JSON object: per row `evaluations` per denoising step, `block_ms`, `ratio` to no
guidance, `one_by_one` (that ratio over the number of evaluations: below 1, one call saves), and `real_time_share`.
"""

from __future__ import annotations

import argparse
import json
import time
from statistics import median
from typing import Any

import torch

from benchmarks.cutoff_sweep import model_of
from livejam.accompanist import Controls, Weights
from livejam.sampling import weights_text
from livejam.systems.context import RoutedContext
from livejam.systems.lmdm import LMDMAccompanist

ORDER = ("mix", "prompt", "past", "sketch")
FULL_BLOCKS = 8
"""Blocks before a time counts."""


def settings_of(controls: frozenset[str]) -> list[Weights]:
    """No guidance, one weight for all, and different weights of two, three, … controls."""
    names = [name for name in ORDER if name in controls]
    apart = [{name: 2.0 + place for place, name in enumerate(names[:count])} for count in range(2, 1 + len(names))]
    return [dict.fromkeys(names, 1.0), dict.fromkeys(names[:2], 2.0), *apart]


def with_past(who: LMDMAccompanist) -> LMDMAccompanist:
    """The same model, given its own past."""
    return LMDMAccompanist(who.generator, who.spec, who.statistics, RoutedContext(), who.sampler, sketch=who.sketch)


class Stream:
    """One stream of a model, block by block.

    Args:
        who: plays.
    """

    def __init__(self, who: LMDMAccompanist) -> None:
        self.who, self.times_ms = who, list[float]()
        self.mix_BTC = torch.zeros(1, who.block_frames, who.spec.latent_channels)
        self.state = who.init_state(1, Controls(torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.int64)))

    @torch.inference_mode()
    def play(self) -> None:
        """The next block, with its time on the processor."""
        begin = time.process_time()
        _, self.state = self.who.step(self.mix_BTC, self.state)
        self.times_ms.append(1000 * (time.process_time() - begin))

    @property
    def block_ms(self) -> float:
        """Median, once the stream has begun."""
        return median(self.times_ms[FULL_BLOCKS:])


def measured(who: LMDMAccompanist, blocks: int) -> dict[str, dict[str, Any]]:
    """Row → numbers, of streams that play in turns."""
    unguided = who.with_sampler(who.sampler.with_guidance(1.0))
    settings = settings_of(unguided.controls)
    streams = [Stream(who.with_sampler(who.sampler.with_guidance(weights))) for weights in settings]
    for _ in range(FULL_BLOCKS + blocks):
        for stream in streams:
            stream.play()
    rows, block_ms = {}, 1000 * who.spec.seconds_in(who.block_frames)
    for weights, stream in zip(settings, streams, strict=True):
        evaluations, ratio = 1 + len(stream.who.sides), stream.block_ms / streams[0].block_ms
        rows[weights_text(weights)] = {
            "evaluations": evaluations,
            "block_ms": round(stream.block_ms, 2),
            "ratio": round(ratio, 3),
            "one_by_one": round(ratio / evaluations, 3),
            "real_time_share": round(stream.block_ms / block_ms, 3),
        }
    return rows


def main() -> None:
    """Print the table and the JSON object."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="lmdm-pocket", help="a diffusion model (default: lmdm-pocket)")
    parser.add_argument("--steps", type=int, help="of the sampler, at least 1; default: the checkpoint's")
    parser.add_argument("--blocks", type=int, default=60, help="that are timed, at least 1 (default: 60)")
    parser.add_argument("--threads", type=int, default=1, help="of PyTorch, at least 1 (default: 1)")
    given = parser.parse_args()
    if min(given.blocks, given.threads) < 1:
        parser.error("blocks and threads must be 1 or more")
    torch.set_num_threads(given.threads)
    rows = measured(with_past(model_of(given.checkpoint, given.steps).accompanist), given.blocks)
    print("| weights | evaluations per step | ms per block | ratio | ratio per evaluation | of real time |")
    print("|---" * 6 + "|")
    for name, row in rows.items():
        print(f"| {' | '.join(map(str, (name, *row.values())))} |")
    print(json.dumps(rows))


if __name__ == "__main__":
    main()
