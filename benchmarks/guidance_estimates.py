"""How large guidance's estimates are, noise level by noise level:
`python -m benchmarks.guidance_estimates --guidance mix=1,prompt=3 --negative`.

A diffusion model plays drums and piano to songs of the test split without either, from silence, as in
`benchmarks.guidance_weights`. At every noise level t of every block the estimates of the clean, normalised latents
are compared, x̂ = x - t v, in root mean squares over songs, blocks, frames and channels:

| column | meaning |
|---|---|
| asked | x̂ of the conditional side |
| other | x̂ of the other side: without a prompt, or with `--negative` under the other instrument's |
| apart | their difference |
| guided | what guidance makes of both |

Normalised latents have a root mean square of about 1, and an estimate is smaller where the model does not know.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from benchmarks.cutoff_sweep import model_of
from benchmarks.duets import duets
from benchmarks.guidance_weights import NAMES, WORDS, performed, weighted
from datamodules import Slakh2100DataModule
from livejam.sampling import Noise, Sampler, Side, Velocity, clean_estimate, read_weights

COLUMNS = ("asked", "other", "apart", "guided")


class Watched(Sampler):
    """A sampler whose estimates are noted.

    Args:
        sampler: samples.
        weight: the only weight of guidance that is not 1.
    """

    def __init__(self, sampler: Sampler, weight: float) -> None:
        self.sampler, self.weight = sampler, weight
        self.powers: dict[float, list[Tensor]] = {}

    @property
    def needs_unconditional(self) -> bool:
        """As the sampler's."""
        return self.sampler.needs_unconditional

    def weights(self, together: Side) -> Mapping[str, float]:
        """As the sampler's."""
        return self.sampler.weights(together)

    def sides(self, together: Side) -> tuple[Side, ...]:
        """As the sampler's."""
        return self.sampler.sides(together)

    def sample(self, velocity: Velocity, noise: Noise) -> Tensor:
        """Sample, and note the mean square of all estimates."""

        def noted(x_BTC: Tensor, time_B: Tensor) -> Tensor:
            velocity_BTC = velocity(x_BTC, time_B)
            asked, other = clean_estimate(x_BTC, time_B, velocity_BTC).chunk(2)
            parts = asked, other, asked - other, other + self.weight * (asked - other)
            squares = torch.stack([part.square().mean() for part in parts])
            self.powers.setdefault(round(float(time_B[0]), 3), []).append(squares)
            return velocity_BTC

        return self.sampler.sample(noted, noise)

    def rows(self) -> Sequence[tuple[float, list[float]]]:
        """Noise level, and the root mean square of every column."""
        levels = sorted(self.powers.items(), reverse=True)
        return [(time, torch.stack(found).mean(0).sqrt().tolist()) for time, found in levels]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default="lmdm-pocket", help="a diffusion model (default: lmdm-pocket)")
    parser.add_argument("--root", default="data/quickstart", help="data set (default: data/quickstart)")
    parser.add_argument("--guidance", default="prompt=3", metavar="W", help="as for livejam play, one that is not 1")
    parser.add_argument("--negative", action="store_true", help="lead away from the other instrument")
    parser.add_argument("--songs", type=int, default=8, help="of the test split, at least 1 (default: 8)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of each, at least 4 (default: 8)")
    given = parser.parse_args()
    if given.songs < 1 or given.seconds < 4:
        parser.error("songs must be 1 or more, seconds 4 or more")
    torch.set_num_threads(1)
    model = model_of(given.checkpoint)
    data = Slakh2100DataModule(given.root, model.player.codec, mode="audio", full_mix=True)
    data.prepare_data()
    songs = duets(data, "test", NAMES, given.songs, given.seconds)
    who = weighted(model.accompanist, read_weights(given.guidance), 0.0)
    weight, *others = {weight for weight in who.weights.values() if weight != 1} or {1.0}
    if others or weight == 1:
        parser.error("give one weight that is not 1, and 1 to the others: mix=1,prompt=3")
    print(f"| instrument, t | {' | '.join(COLUMNS)} |\n" + "|---" * 5 + "|")
    for place, word in enumerate(WORDS):
        watched = Watched(who.sampler, weight)
        performed(model.player, who.with_sampler(watched), songs, place, given.negative)
        for time, sizes in watched.rows():
            print(f"| {word}, {time:.2f} | {' | '.join(f'{size:.2f}' for size in sizes)} |")


if __name__ == "__main__":
    main()
