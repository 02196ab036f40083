"""What OpenMP's threads cost on an idle and on a busy machine: `python -m benchmarks.threads [--config FILE …]`.

Two threads that share every operation wait for each other at its end. To wait by looking for work again and again is
fast where each thread has a core; where another program takes one, the thread that waits burns the time that the other
thread needs. Every choice trains in a process of its own, for a few seconds in turn, so that all meet the same machine,
beside `load` programs that compute. The last line is one JSON object: config → load → choice → iterations per second,
medians over the rounds, and `other_cores`: what anything but the training used meanwhile, the load included.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from lightning.pytorch import Callback, LightningDataModule, Trainer
from torch.utils.data import DataLoader

from benchmarks.configuration import experiment
from benchmarks.data_bank import make_bank
from datamodules.bank_batches import BankBatches
from datamodules.crops import ActivityRule
from datamodules.local_bank import LatentBank
from datamodules.run_sampler import RunSampler
from lightning_modules.accompaniment import AccompanimentModule
from livejam.cli.start import SPINS

CONFIGS = (Path("configs/quickstart.yaml"), Path("configs/lmdm/encdec_pocket.yaml"))
CHOICES = {
    "OpenMP's own": {},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "livejam's": {"GOMP_SPINCOUNT": SPINS},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
"""Environment of a training; what is not named is left to the libraries."""

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
TICK = os.sysconf("SC_CLK_TCK")
WARM_UP = 6
"""Iterations before the first round."""


class RandomBank(LightningDataModule):
    """Endless batches of random latents, of the size that a configuration asks for."""

    def __init__(self, folder: Path, data: Any, channels: int) -> None:
        super().__init__()
        make_bank(folder, songs=8, frames=600, channels=channels)
        bank = LatentBank(folder)
        self.latent_statistics = bank.manifest.statistics
        targets = bank.manifest.settings.targets
        items = BankBatches(bank, targets, data.crop_frames, data.batch_size, ActivityRule(), seed=0)
        self.loader = DataLoader(items, batch_size=None, sampler=RunSampler(lambda: 0, 10**7, 0))

    def train_dataloader(self) -> DataLoader[Any]:
        return self.loader


class Turns(Callback):
    """Trains for the seconds that a line of the standard input says, answers with the rate, and waits again."""

    def __init__(self) -> None:
        self.count, self.begin, self.until = -WARM_UP, 0.0, 0.0

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        if self.count < 0 or time.perf_counter() < self.until:
            return
        _answer("ready" if self.until == 0 else str(self.count / (time.perf_counter() - self.begin)))
        asked = sys.stdin.readline().strip()
        if not asked:
            trainer.should_stop = True
        self.count, self.begin = 0, time.perf_counter()
        self.until = self.begin + float(asked or 0)

    def on_train_batch_end(self, *_: Any) -> None:
        self.count += 1


def _answer(text: str) -> None:
    sys.stdout.write(f"> {text}\n")
    sys.stdout.flush()


def train_in_turns(config: Path) -> None:
    """The training process: the recipe of a configuration, on random latents."""
    made = experiment([config])
    assert isinstance(made.model, AccompanimentModule)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            default_root_dir=folder,
            max_epochs=1,
            limit_val_batches=0,
            logger=False,
            accelerator="cpu",
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            callbacks=[Turns()],
        )
        channels = made.model.codec.spec.latent_channels
        trainer.fit(made.model, RandomBank(Path(folder) / "bank", made.data, channels))


@dataclass(frozen=True)
class Training:
    """A training process that waits for its turn."""

    process: subprocess.Popen[str]

    def heard(self) -> str:
        """Its next answer."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith("> "):
                return line[2:].strip()
        raise RuntimeError("the training ended")

    def turn(self, seconds: float) -> float:
        """Iterations per second of one turn."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        return float(self.heard())

    def core_seconds(self) -> float:
        """Processor time that it used until now."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICK


@contextmanager
def training(config: Path, environment: dict[str, str]) -> Iterator[Training]:
    """A training process with these variables and no others that concern threads."""
    clean = {name: value for name, value in os.environ.items() if name not in THREADS}
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.threads", "--train", str(config)],
        env={**clean, **environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        begun = Training(process)
        begun.heard()
        yield begun
        process.kill()


@contextmanager
def load(programs: int) -> Iterator[None]:
    """So many programs that compute, on one core each."""
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(programs)]
    try:
        yield
    finally:
        for program in busy:
            program.kill()
            program.wait()


def busy_seconds() -> float:
    """Processor time that the whole machine used until now."""
    user, nice, system, _, _, irq, softirq, *_ = map(int, Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq) / TICK


def watched(process: Training, seconds: float) -> tuple[float, float]:
    """Iterations per second of a turn, and the cores that anything but the training used meanwhile."""
    machine, own, begin = busy_seconds(), process.core_seconds(), time.perf_counter()
    rate = process.turn(seconds)
    machine, own = busy_seconds() - machine, process.core_seconds() - own
    return rate, max(0.0, machine - own) / (time.perf_counter() - begin)


def measure(config: Path, loads: Sequence[int], rounds: int, seconds: float) -> dict[int, dict[str, float]]:
    """Medians by load and choice, every choice in turn."""
    turns: dict[tuple[int, str], list[tuple[float, float]]] = defaultdict(list)
    with ExitStack() as stack:
        trainings = {name: stack.enter_context(training(config, chosen)) for name, chosen in CHOICES.items()}
        for _, programs in itertools.product(range(rounds), loads):
            with load(programs):
                for name, process in trainings.items():
                    turns[programs, name].append(watched(process, seconds))
    rates = {key: round(median(rate for rate, _ in own), 2) for key, own in turns.items()}
    others = {key: median(cores for _, cores in own) for key, own in turns.items()}
    return {
        programs: {name: rates[programs, name] for name in CHOICES}
        | {"other_cores": round(median(others[programs, name] for name in CHOICES), 2)}
        for programs in loads
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, action="append", help="YAML, may be repeated")
    parser.add_argument("--loads", type=int, nargs="+", default=[0, 1, 4], help="programs that compute meanwhile")
    parser.add_argument("--rounds", type=int, default=5, help="turns of every choice under every load")
    parser.add_argument("--seconds", type=float, default=4.0, help="of a turn")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.train:
        train_in_turns(given.train)
        return
    configs = given.config or CONFIGS
    result = {str(config): measure(config, given.loads, given.rounds, given.seconds) for config in configs}
    print(json.dumps(result))


if __name__ == "__main__":
    main()
