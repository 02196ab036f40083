"""Pairs measured in parts of sixteen: each part is a file, so that memory does not grow and work can be continued.

Shapes: W embeddings, D width.
"""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from livejam.embedding import Embedding
from livejam.errors import UserError
from livejam.files import atomic_path
from metrics.anchor_rows import ANCHORS
from metrics.evaluation.anchors import THROUGH_CODEC, anchor_stems
from metrics.evaluation.clips import Audio, Clip, Segment, Stem, Take, takes_of
from metrics.evaluation.evaluate import MODEL
from metrics.evaluation.judges import Judges, Settings, own_judges, start_judges
from metrics.evaluation.pairs import RATE_HZ, SHORTEST_SECONDS, Pair, read_mono
from metrics.prompt_adherence import together
from metrics.provenance import short_hash

PAIRS_PER_PART = 16
LISTED = "pairs"

ROWS = (MODEL, *(row for row in ANCHORS if row not in THROUGH_CODEC))
"""The rows that need no codec."""


@dataclass(frozen=True)
class Part:
    """Pairs that are measured together, and the file of their numbers.

    Args:
        path: the file.
        pairs: the pairs.
        partners: a pair of another song for each; None where there is none.
        key: names the pairs, the state of their files, and the settings.
    """

    path: Path
    pairs: tuple[Pair, ...]
    partners: tuple[Pair | None, ...]
    key: str

    @property
    def done(self) -> bool:
        """Whether these very pairs were measured in this way."""
        try:
            return bool(self.read()["key"] == self.key)
        except (OSError, SafetensorError, KeyError, ValueError, TypeError):
            return False

    def read(self) -> dict[str, Any]:
        """What is written of the pairs, without their embeddings."""
        with safe_open(str(self.path), framework="pt") as file:
            held: dict[str, Any] = json.loads((file.metadata() or {})[LISTED])
        return held

    def clouds(self, names: Sequence[str]) -> Iterator[tuple[str, Tensor, Tensor]]:
        """Name, embeddings_WD and the pair of each, of the clouds that the part has."""
        with safe_open(str(self.path), framework="pt") as file:
            held = set(file.keys())
            for name in names:
                if name in held:
                    yield name, file.get_tensor(name), file.get_tensor(f"{name} of")


def parts_of(pairs: Sequence[Pair], partners: Sequence[Pair | None], folder: Path, settings: str) -> list[Part]:
    """The parts of all pairs.

    Args:
        pairs: all pairs.
        partners: one per pair.
        folder: where the parts' files lie.
        settings: names how pairs are measured.
    """
    parts = []
    for number, start in enumerate(range(0, len(pairs), PAIRS_PER_PART)):
        own = tuple(pairs[start : start + PAIRS_PER_PART])
        theirs = tuple(partners[start : start + PAIRS_PER_PART])
        facts = [(pair and (pair.name, pair.song, pair.category, _states(pair))) for pair in (*own, *theirs)]
        parts.append(Part(folder / f"{number:06d}.safetensors", own, theirs, short_hash([settings, facts])))
    return parts


def _states(pair: Pair) -> list[tuple[str, int, int] | None]:
    """Name, size and time of the files of a pair."""
    states: list[tuple[str, int, int] | None] = []
    for path in (pair.mix, pair.stem, pair.reference):
        try:
            found = None if path is None else path.stat()
        except OSError:
            found = None
        states.append(None if found is None else (str(path), found.st_size, found.st_mtime_ns))
    return states


def measure_all(parts: Sequence[Part], judges: Judges, settings: Settings, workers: int) -> None:
    """Measure the parts that are not done.

    Args:
        parts: all parts.
        judges: of this process.
        settings: for the judges of other processes.
        workers: processes that measure; 1 = this one alone.
    """
    open_parts = [part for part in parts if not part.done]
    pairs = sum(len(part.pairs) for part in parts)
    done = pairs - sum(len(part.pairs) for part in open_parts)
    with tqdm(total=pairs, initial=done, desc="pairs", disable=not open_parts) as progress:
        if workers == 1:
            for part in open_parts:
                measure(part, judges)
                progress.update(len(part.pairs))
            return
        # forked children would inherit locks that other threads may hold
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(workers, context, start_judges, (settings,)) as pool:
            for future in as_completed([pool.submit(_measure_here, part) for part in open_parts]):
                progress.update(future.result())


def _measure_here(part: Part) -> int:
    """Measure a part in a worker process; how many pairs it has."""
    measure(part, own_judges())
    return len(part.pairs)


def measure(part: Part, judges: Judges) -> None:
    """Measure the pairs of a part and write its file; a pair that cannot be read is named there with the reason."""
    judges.forget()
    listed: list[dict[str, Any]] = []
    clouds: dict[str, list[Tensor]] = {}
    for place, (pair, partner) in enumerate(zip(part.pairs, part.partners, strict=True)):
        try:
            clip = clip_of(pair, partner, judges)
        except UserError as error:
            listed.append({"name": pair.name, "skipped": str(error)})
            continue
        takes = {row: take for row in ROWS if (take := _take(row, clip, pair, judges)) is not None}
        scores = {row: judges.scores(take, pair.reference is not None) for row, take in takes.items()}
        listed.append({"name": pair.name, "scores": scores})
        for name, embedded_WD in _embedded(takes, pair.reference is not None, judges):
            clouds.setdefault(name, []).append(embedded_WD)
            clouds.setdefault(f"{name} of", []).append(torch.full((len(embedded_WD),), place, dtype=torch.int32))
    tensors = {name: torch.cat(pieces).contiguous() for name, pieces in clouds.items()}
    held = {"key": part.key, "pairs": listed}
    with atomic_path(part.path) as temporary:
        save_file(tensors, str(temporary), {LISTED: json.dumps(held)})


def clip_of(pair: Pair, partner: Pair | None, judges: Judges) -> Clip:
    """The recordings of a pair, cut to the shortest of them; a partner that cannot be read is none.

    Raises:
        UserError: a file is broken, or shorter than a second.
    """
    seconds = 2 * judges.segment_seconds
    files = [pair.mix, pair.stem, *([pair.reference] if pair.reference else [])]
    audio = [read_mono(path, seconds) for path in files]
    length = min(map(len, audio))
    if length < SHORTEST_SECONDS * RATE_HZ:
        short = files[min(range(len(files)), key=lambda place: len(audio[place]))]
        raise UserError(f"{short} is shorter than a second; give a longer recording")
    mix_N, stem_N, target_N = (audio_N[:length].astype(np.float32) for audio_N in (audio[0], audio[1], audio[-1]))
    truth = judges.annotations(mix_N, RATE_HZ)
    other = _partner(partner, length)
    return Clip(mix_N, target_N, stem_N, RATE_HZ, pair.category, pair.song, 0.0, truth, partner=other)


def _partner(partner: Pair | None, length: int) -> Stem | None:
    """The stem of another song, padded with silence to a length."""
    try:
        audio_N = None if partner is None else read_mono(partner.best, length / RATE_HZ)
    except UserError:
        return None
    if partner is None or audio_N is None:
        return None
    return Stem(np.pad(audio_N, (0, max(0, length - len(audio_N))))[:length].astype(np.float32), partner.song)


def _take(row: str, clip: Clip, pair: Pair, judges: Judges) -> Take | None:
    """A row's stem beside the mix; None if there is none for this pair."""
    if row == "ground_truth" and pair.reference is None:
        return None
    stem = Stem(clip.generated_N, clip.song) if row == MODEL else anchor_stems(row, [clip], None)[0]
    takes = takes_of([clip], [stem], judges.segment_seconds, judges.hop_samples or RATE_HZ)
    return takes[0] if takes else None


def _embedded(takes: dict[str, Take], has_reference: bool, judges: Judges) -> Iterator[tuple[str, Tensor]]:
    """Name and embeddings of all clouds: of what is judged first segments, of what it is compared with both."""
    for name, embed in judges.embeddings.items():
        for row, take in takes.items():
            first = take.first
            yield f"{name}/alone/{row}", _of(embed, first.stem_N)
            yield f"{name}/together/{row}", _of(embed, together(first.mix_N, first.stem_N, RATE_HZ))
        if not has_reference:
            continue
        for cloud, row in (("true", "ground_truth"), ("wrong", "random_pairing")):
            for segment in _segments(takes.get(row)):
                yield f"{name}/together/{cloud}", _of(embed, together(segment.mix_N, segment.stem_N, RATE_HZ))
        for segment in _segments(takes["ground_truth"]):
            yield f"{name}/alone/true", _of(embed, segment.stem_N)


def _segments(take: Take | None) -> list[Segment]:
    return [] if take is None else [segment for segment in (take.first, take.second) if segment is not None]


def _of(embed: Embedding, audio_N: Audio) -> Tensor:
    embedded_WD: Tensor = embed(torch.from_numpy(audio_N.copy()), RATE_HZ).float().cpu()
    return embedded_WD
