"""Beat tracking and the F-measure of beats against the packages that define them."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from pathlib import Path

import mir_eval
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from livejam.errors import UserError
from metrics.beat_tracking import BeatTracker, CachedBeatTracker
from metrics.beats import BeatThis, LibrosaBeats, MadmomRNN, beat_f_measure
from metrics.madmom_shims import old_names, spectrum_of
from metrics.scores import MeanScore

SAMPLE_RATE_HZ = 22_050


def clicks(bpm: float, seconds: float = 6.0, seed: int = 0, first: float = 0.3) -> np.ndarray:
    """A noise burst on every beat over a noise floor."""
    rng = np.random.default_rng(seed)
    audio_N = 0.002 * rng.normal(size=int(seconds * SAMPLE_RATE_HZ))
    for beat in np.arange(first, seconds - 0.05, 60 / bpm):
        start = int(beat * SAMPLE_RATE_HZ)
        audio_N[start : start + 1000] += 0.3 * rng.normal(size=1000) * np.exp(-np.arange(1000) / 200)
    return audio_N.astype(np.float32)


def assert_same_beats(ours: np.ndarray, theirs: np.ndarray) -> None:
    """As many beats, none more than a frame of 10 ms away.

    Networks round differently in batches of other sizes and in other numbers of threads, and where two frames are
    as likely as each other that decides which of them is the beat.
    """
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=0.01 + 1e-9)


@pytest.fixture(scope="module")
def tracker() -> MadmomRNN:
    return MadmomRNN()


@pytest.fixture(scope="module")
def beat_this(tmp_path_factory: pytest.TempPathFactory) -> BeatThis:
    """A small network with random weights in a checkpoint as beat_this writes them."""
    from beat_this.model.beat_tracker import BeatThis as Network

    torch.manual_seed(0)
    sizes = {"transformer_dim": 32, "n_layers": 1, "head_dim": 16, "stem_dim": 16}
    tensors = {f"model.{name}": tensor for name, tensor in Network(**sizes).state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "final0.ckpt"
    torch.save({"state_dict": tensors, "hyper_parameters": {**sizes, "lr": 1e-3}}, path)
    return BeatThis(path)


beat_lists = st.lists(st.integers(0, 1000), max_size=30, unique=True).map(lambda ms: np.sort(np.array(ms)) / 97.0)


MOVES = (0.0, 0.0699, -0.0699, 0.0701, -0.0701, 0.035, -0.03, 0.5)


def beat_pairs() -> list[tuple[np.ndarray, np.ndarray]]:
    """1000 pairs: unrelated beats; or the same beats moved by almost exactly a window, doubled, dropped, crowded."""
    rng = np.random.default_rng(0)
    pairs = []
    for case in range(1000):
        reference, unrelated = (np.sort(rng.choice(1000, rng.integers(0, 30), replace=False)) / 97.0 for _ in range(2))
        copies = np.repeat(reference, rng.integers(0, 3, len(reference)))
        moved = np.sort(np.abs(copies + rng.choice(MOVES, len(copies))))
        pairs.append((reference, moved if case % 2 else unrelated))
    return pairs


def test_f_measure_equals_mir_eval_and_madmom() -> None:
    with old_names():
        for reference, estimated in beat_pairs():
            require_equal_measures(reference, estimated)


def require_equal_measures(reference: np.ndarray, estimated: np.ndarray) -> None:
    ours = beat_f_measure(reference, estimated)
    if not len(reference) and not len(estimated):
        assert math.isnan(ours)
        return
    with np.errstate(all="ignore"):
        assert ours == pytest.approx(mir_eval.beat.f_measure(reference, estimated), abs=1e-12)
    from madmom.evaluation.onsets import OnsetEvaluation

    # What BeatEvaluation's F-measure is made of; its other scores refuse sequences of fewer than two beats.
    madmom_score = OnsetEvaluation(estimated, reference, combine=0, window=0.07).fmeasure
    assert ours == pytest.approx(0.0 if math.isnan(madmom_score) else madmom_score, abs=1e-12)


grid_beats = st.lists(st.integers(0, 2000), min_size=1, max_size=25, unique=True).map(sorted)
"""In hundredths of seconds, as madmom gives them."""


@settings(max_examples=200, deadline=None)
@given(grid_beats, grid_beats, st.lists(st.sampled_from((-8, -7, -6, 0, 6, 7, 8)), min_size=25, max_size=25))
def test_a_distance_of_exactly_the_window_counts(reference: list[int], other: list[int], moves: list[int]) -> None:
    """mir_eval counts it where its arithmetic is exact: in whole hundredths, or with room for rounding."""
    moved = [beat + move for beat, move in zip(reference, moves, strict=False)]
    for estimated in (sorted({max(0, beat) for beat in moved}), other):
        expected = mir_eval.beat.f_measure(np.array(reference, float), np.array(estimated, float), 7.0)
        a, b = (np.array(beats) * 0.01 for beats in (reference, estimated))
        assert beat_f_measure(a, b) == pytest.approx(expected, abs=1e-12)
        assert beat_f_measure(np.array(reference) / 100, b) == pytest.approx(expected, abs=1e-12)
        assert mir_eval.beat.f_measure(a, b, 0.07 + 1e-9) == pytest.approx(expected, abs=1e-12)


def test_every_beat_of_a_grid_matches_its_copy_seventy_milliseconds_later() -> None:
    beats = np.arange(0, 2000, 50)
    for later in (beats + 7, beats - 7):
        assert beat_f_measure(beats * 0.01, later * 0.01) == 1.0
        assert beat_f_measure(beats / 100, later / 100) == 1.0
    assert beat_f_measure(beats * 0.01, (beats + 8) * 0.01) == 0.0
    assert beat_f_measure(beats * 0.01, (beats + 3) * 0.01, 0.03) == 1.0, "onsets lie on the same grid"


@settings(max_examples=100, deadline=None)
@given(beat_lists, beat_lists, st.randoms())
def test_f_measure_is_symmetric_and_blind_to_order(a: np.ndarray, b: np.ndarray, random: object) -> None:
    shuffled = a.copy()
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert beat_f_measure(shuffled, b) == pytest.approx(beat_f_measure(b, a), nan_ok=True)


def test_f_measure_counts_one_to_one_and_keeps_the_first_seconds() -> None:
    beats = np.arange(0.1, 4.0, 0.5)
    assert beat_f_measure(beats, beats + 0.07 - 1e-9) == 1.0
    assert beat_f_measure(beats, beats + 0.071) == 0.0
    assert beat_f_measure(np.array([1.0]), np.array([0.98, 1.0, 1.02])) == pytest.approx(0.5)
    assert beat_f_measure(beats, np.zeros(0)) == 0.0
    assert math.isnan(beat_f_measure(np.zeros(0), np.zeros(0)))


def test_a_mean_of_f1_excludes_undefined_items_and_adds_up() -> None:
    beats, none = np.arange(0.1, 4.0, 0.5), np.zeros(0)
    items = [(beats, beats, 0), (beats, none, 1), (none, none, 1), (beats, beats[::2], 1)]
    whole, parts = MeanScore(groups=2), [MeanScore(groups=2) for _ in range(2)]
    for i, (reference, estimated, group) in enumerate(items):
        whole.update(beat_f_measure(reference, estimated), group)
        parts[i % 2].update(beat_f_measure(reference, estimated), group)
    score = whole.compute()
    assert (score.items, score.excluded) == (3, 1)
    assert score.mean == pytest.approx((1 + 0 + 2 / 3) / 3)
    assert score.group(0).mean == 1.0
    assert score.group(1).mean == pytest.approx(1 / 3)
    assert sum(part.compute().total_G for part in parts).tolist() == score.total_G.tolist()
    assert math.isnan(MeanScore().compute().mean)


def test_networks_equal_madmoms_own(tracker: MadmomRNN) -> None:
    from madmom.audio.signal import Signal
    from madmom.features.beats import RNNBeatProcessor

    recordings = [clicks(bpm, seconds=3.0, seed=i) for i, bpm in enumerate((90, 131))]
    features = [tracker._features(audio_N, SAMPLE_RATE_HZ) for audio_N in recordings]
    ours_ET = tracker.networks(torch.from_numpy(np.stack(features))).numpy()
    with old_names():
        original = RNNBeatProcessor()
        for ours_T, feature_TF in zip(ours_ET, features, strict=True):
            np.testing.assert_allclose(ours_T, original.processors[1](feature_TF), atol=1e-5)
        pcm_N = (recordings[0] * 32767).astype(np.int16)
        theirs, ours = (
            processor(Signal(pcm_N, sample_rate=44_100, num_channels=1))
            for processor in (original.processors[0], tracker.features)
        )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_tracker_finds_clicks_alone_and_in_company(tracker: MadmomRNN) -> None:
    recordings = [clicks(100), clicks(120, seed=1), np.zeros(SAMPLE_RATE_HZ, np.float32), clicks(120, seconds=5.0)]
    together = tracker(recordings, SAMPLE_RATE_HZ)
    assert len(together[2]) == 0
    for bpm, beats, length in ((100, together[0], 6.0), (120, together[1], 6.0), (120, together[3], 5.0)):
        assert beat_f_measure(np.arange(0.3, length - 0.05, 60 / bpm), beats) >= 0.9
    assert_same_beats(tracker([recordings[1]], SAMPLE_RATE_HZ)[0], together[1])
    quieter = tracker([0.5 * recordings[0]], SAMPLE_RATE_HZ)[0]
    assert beat_f_measure(together[0], quieter) >= 0.9


def test_tracker_refuses_what_is_no_mono_audio(tracker: MadmomRNN) -> None:
    with pytest.raises(ValueError, match="not finite"):
        tracker([np.array([0.0, np.nan])], SAMPLE_RATE_HZ)
    with pytest.raises(ValueError, match="mono"):
        tracker([np.zeros((2, 100))], SAMPLE_RATE_HZ)
    assert [len(beats) for beats in tracker([np.zeros(0)], SAMPLE_RATE_HZ)] == [0]


def test_librosa_finds_clicks_and_nothing_in_silence() -> None:
    tracker = LibrosaBeats()
    recordings = [clicks(100), clicks(120, seed=1), np.zeros(SAMPLE_RATE_HZ, np.float32), np.zeros(0, np.float32)]
    beats = tracker(recordings, SAMPLE_RATE_HZ)
    for bpm, found in zip((100, 120), beats, strict=False):
        assert beat_f_measure(np.arange(0.3, 5.95, 60 / bpm), found) >= 0.9
    assert [len(found) for found in beats[2:]] == [0, 0]
    assert len(tracker([np.full(100, 0.5, np.float32)], SAMPLE_RATE_HZ)[0]) == 0
    with pytest.raises(ValueError, match="not finite"):
        tracker([np.array([0.0, np.nan])], SAMPLE_RATE_HZ)
    assert pickle.loads(pickle.dumps(tracker)).identity == tracker.identity


class Counting(BeatTracker):
    """Reports the length of every recording as its only beat."""

    identity = "counting"

    def __call__(self, audios: list[np.ndarray], sample_rate_hz: int) -> list[np.ndarray]:
        return [np.array([len(audio_N) / sample_rate_hz]) for audio_N in audios]


def test_cache_tracks_equal_content_once_and_survives_damage(tmp_path) -> None:
    cached = CachedBeatTracker(Counting(), tmp_path)
    one, two = np.ones(100, np.float32), np.ones(200, np.float32)
    assert [b.tolist() for b in cached([one, two, one.copy()], 100)] == [[1.0], [2.0], [1.0]]
    assert cached.tracked == 2
    later = CachedBeatTracker(Counting(), tmp_path)
    assert later([two], 100)[0].tolist() == [2.0]
    assert later.tracked == 0
    assert later([two], 50)[0].tolist() == [4.0]
    later([3 * one], 100, keep=False)
    assert len(list(tmp_path.iterdir())) == 3
    for path in tmp_path.iterdir():
        path.write_text("{broken")
    again = CachedBeatTracker(Counting(), tmp_path)
    assert again([one], 100)[0].tolist() == [1.0]
    assert again.tracked == 1


def test_worker_processes_give_the_same_beats(tracker: MadmomRNN) -> None:
    recordings = [clicks(100, 3.0), clicks(140, 3.0)]
    pooled = CachedBeatTracker(tracker, None, workers=1)
    try:
        for ours, theirs in zip(pooled(recordings, SAMPLE_RATE_HZ), tracker(recordings, SAMPLE_RATE_HZ), strict=True):
            assert_same_beats(ours, theirs)
    finally:
        pooled.close()


def test_beat_this_equals_its_package(beat_this: BeatThis) -> None:
    from beat_this.inference import Audio2Beats

    recording = clicks(120, 4.0)
    (ours,) = beat_this([recording], 22_050)
    expected, _ = Audio2Beats(str(beat_this.weights))(recording, 22_050)
    np.testing.assert_array_equal(ours, expected)
    assert (np.diff(ours) > 0).all()
    assert pickle.loads(pickle.dumps(beat_this)).identity == beat_this.identity


def test_beat_this_of_bad_audio(beat_this: BeatThis) -> None:
    silence, short, loud = np.zeros(22_050, np.float32), np.ones(100, np.float32), 40 * clicks(120, 2.0)
    assert [len(beats) for beats in beat_this([np.zeros(0), silence, short], 22_050)] == [0, 0, 0]
    np.testing.assert_array_equal(*beat_this([loud, np.clip(loud, -1, 1)], 22_050))
    assert beat_this([], 44_100) == []
    assert len(beat_this([clicks(120, 2.0)], 44_100)) == 1
    with pytest.raises(ValueError, match="not finite"):
        beat_this([np.array([0.0, np.nan])], 22_050)
    with pytest.raises(ValueError, match="mono"):
        beat_this([np.zeros((2, 100))], 22_050)


def test_beat_this_without_its_weights_names_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match="livejam weights fetch beat_this"):
        BeatThis()
    damaged = tmp_path / "final0.ckpt"
    torch.save({"state_dict": {}}, damaged)
    with pytest.raises(UserError, match="is no checkpoint of beat_this"):
        BeatThis(damaged)


@pytest.mark.parametrize("frames", [1, 511, 513])
@pytest.mark.parametrize("size", [1024, 4096])
def test_the_quick_transform_is_madmoms_own(tracker: MadmomRNN, frames: int, size: int) -> None:
    from madmom.audio.signal import FramedSignal, Signal
    from madmom.audio.stft import stft

    pcm_N = np.random.default_rng(0).integers(-32768, 32767, 441 * frames, dtype=np.int16)
    signal = FramedSignal(Signal(pcm_N, sample_rate=44100, num_channels=1), frame_size=size, fps=100)
    assert len(signal) == frames
    window = np.hanning(size) / 32767
    np.testing.assert_allclose(spectrum_of(signal, window), stft(signal, window), rtol=1e-5, atol=1e-6)


def test_madmom_numpy_and_collections_are_as_they_were() -> None:
    """In a fresh process: before madmom is imported, while a tracker of ours lives, and after it has worked."""
    script = """
import collections, inspect, numpy as np
before = {m.__name__: set(vars(m)) for m in (collections, np)}
from metrics.beats import MadmomRNN
tracker = MadmomRNN()
print(len(tracker([np.random.default_rng(0).normal(0, 0.1, 88200)], 44100)))
import madmom.audio.stft as stft
assert inspect.getsourcefile(stft.stft) == stft.__file__ and stft.stft.__module__ == "madmom.audio.stft"
for m in (collections, np):
    new = set(vars(m)) - before[m.__name__]
    assert not new & {"MutableSequence", "float", "int", "bool"}, new
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "1"
    assert not done.stderr, "what madmom is warned of is nobody else's concern"


def test_old_names_go_when_the_work_fails_and_what_was_there_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "float", "a user's own", raising=False)
    with pytest.raises(ZeroDivisionError), old_names():
        int(np.float == "a user's own" and np.int is int) / 0
    assert vars(np)["float"] == "a user's own"
    assert "int" not in vars(np)
