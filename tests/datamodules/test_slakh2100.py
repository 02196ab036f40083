"""The data module: its items, its determinism, its resumption, and what it says when something is wrong."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from slakh_tree import HOP, PROGRAMS, RATE_HZ, FrameCodec, tone, tone_hz, write_song, write_tree

from datamodules import RenderIfMissing, Slakh2100DataModule, SplitByHash
from datamodules.drawing import UniformDrawing
from datamodules.run_sampler import BatchKey, BatchShare, RunSampler, ShardSampler, ShareSampler
from livejam.errors import UserError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_tree(tmp_path_factory.mktemp("data"), train=3, validation=2, test=2, seconds=3.0)


def data_module(root, **changes):
    values = {
        "crop_frames": 16,
        "batch_size": 4,
        "batches_per_epoch": 7,
        "eval_seconds": 1.0,
        "eval_items": 6,
        "eval_batch_size": 4,
        "bank_workers": 0,
    }
    return Slakh2100DataModule(str(root), **{"codec": FrameCodec(), **values, **changes})


def ready(root, stage="fit", **changes):
    module = data_module(root, **changes)
    module.prepare_data()
    module.setup(stage)
    return module


def same(a, b):
    return torch.equal(a.mix, b.mix) and torch.equal(a.target, b.target) and a.song == b.song


class Recorder(LightningModule):
    """Trains nothing, and remembers what it was given; two optimizers, as adversarial recipes have."""

    def __init__(self, killed_at=None):
        super().__init__()
        self.automatic_optimization = False
        self.layer = torch.nn.Linear(1, 1)
        self.killed_at = killed_at
        self.seen = []

    def training_step(self, batch, batch_idx):
        if self.killed_at is not None and len(self.seen) == self.killed_at:
            raise RuntimeError("killed")
        self.seen.append((batch.song, batch.start_seconds, float(batch.mix.double().abs().sum())))
        for optimizer in self.optimizers():
            optimizer.step()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return [torch.optim.SGD(self.layer.parameters(), 0.1), torch.optim.SGD(self.layer.parameters(), 0.1)]


def train(root, folder, recorder, resume=None, workers=0, save_every=None):
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=3,
        val_check_interval=3,
        callbacks=[ModelCheckpoint(folder, save_last=True, every_n_train_steps=save_every)],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(recorder, data_module(root, num_workers=workers), ckpt_path=resume)
    return recorder.seen


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("killed_at", "save_every", "workers"), [(5, 6, 0), (9, None, 0), (17, 2, 2)])
def test_a_killed_run_goes_on_with_the_very_items_it_had_not_seen(root, tmp_path, killed_at, save_every, workers):
    whole = train(root, tmp_path / "whole", Recorder())
    assert len(whole) == len(set(whole)) == 21
    killed = Recorder(killed_at)
    with pytest.raises(RuntimeError, match="killed"):
        train(root, tmp_path / "killed", killed, workers=workers, save_every=save_every)
    last = tmp_path / "killed" / "last.ckpt"
    loop = torch.load(last, weights_only=False)["loops"]["fit_loop"]
    processed = loop["epoch_loop.batch_progress"]["total"]["processed"]
    assert 0 < processed <= killed_at
    assert loop["state_dict"]["combined_loader"] == [{"batches_consumed": processed}]
    rest = train(root, tmp_path / "killed", Recorder(), resume=str(last), workers=workers)
    assert whole == killed.seen[:processed] + rest


@pytest.mark.filterwarnings("ignore")
def test_workers_change_nothing(root):
    batches = [list(ready(root, num_workers=workers).train_dataloader()) for workers in (0, 2)]
    assert len(batches[0]) == 7
    assert all(same(a, b) for a, b in zip(*batches, strict=True))


def test_ranks_get_different_batches_and_seeds_too(root):
    sums = set()
    for seed, rank in ((0, 0), (0, 1), (1, 0)):
        batches = ready(root, seed=seed)._training
        sums |= {float(batches[key].mix.double().sum()) for key in RunSampler(lambda: 0, 7, rank)}
    assert len(sums) == 21


def test_the_sampler_begins_where_the_run_stands():
    assert list(RunSampler(lambda: 5, 3, rank=1)) == [BatchKey(1, 5), BatchKey(1, 6), BatchKey(1, 7)]


@pytest.mark.parametrize(("items", "ranks"), [(7, 1), (7, 2), (8, 3), (1, 4)])
def test_songs_are_shared_without_repetition(items, ranks):
    shares = [list(ShardSampler(items, ranks, rank)) for rank in range(ranks)]
    assert sorted(item for share in shares for item in share) == list(range(items))


@given(batches=st.integers(1, 30), ranks=st.integers(1, 9))
def test_every_batch_counts_once_and_all_ranks_take_equally_many(batches, ranks):
    shares = [list(ShareSampler(batches, ranks, rank)) for rank in range(ranks)]
    assert sorted(s.number for share in shares for s in share if not s.repeated) == list(range(batches))
    assert len({len(share) for share in shares}) == 1
    assert all(0 <= s.number < batches for share in shares for s in share)


def test_a_repeated_batch_says_so(root):
    batches = ready(root).val_dataloader().dataset
    assert [[item.repeated for item in batches[BatchShare(1, again)].planned] for again in (False, True)] == [
        [False] * 2,
        [True] * 2,
    ]


def test_partners_are_chosen_from_the_whole_plan(root):
    """The next item of the same instrument in another song; without one, a song of the training; the same again."""
    for items in (6, 1):
        plan = ready(root, eval_items=items).val_dataloader().dataset.plan
        again = ready(root, eval_items=items).val_dataloader().dataset.plan
        assert plan == again
        for position, item in enumerate(plan):
            category = item.excerpt.song.stems[item.excerpt.target].category
            assert item.partner.song.stems[item.partner.target].category == category
            assert item.partner.song.name != item.excerpt.song.name
            alike = [
                other.excerpt.song.name
                for other in (*plan[position + 1 :], *plan[:position])
                if other.excerpt.song.stems[other.excerpt.target].category == category
                and other.excerpt.song.name != item.excerpt.song.name
            ]
            assert item.partner.song.name == alike[0] if alike else item.partner.song.split_folder == "train"


def test_a_partner_is_heard_in_full(root):
    batch = next(iter(ready(root).val_dataloader()))
    for item, target_AN in zip(batch.planned, batch.target, strict=True):
        assert item.partner.audio_AN.shape == target_AN.shape
        assert item.partner.audio_AN.abs().max() > 0.05
    assert [item.position for item in batch.planned] == [0, 1, 2, 3]


def test_without_another_song_there_is_no_partner(tmp_path):
    write_tree(tmp_path / "data", train=0, validation=1, test=0, seconds=3.0)
    module = ready(tmp_path / "data", "validate", mode="audio")
    assert all(item.partner is None for batch in module.val_dataloader() for item in batch.planned)


def test_validation_items_are_audio_of_full_length_with_their_truth(root):
    module = ready(root)
    frames = math.floor(1.0 * RATE_HZ / HOP)
    batches = list(module.val_dataloader())
    assert [len(batch) for batch in batches] == [4, 2]
    for batch in batches:
        assert batch.is_audio
        assert batch.mix.shape == batch.target.shape == (len(batch), 1, frames * HOP)
        assert batch.active_BT.shape == (len(batch), frames)
        for i, truth in enumerate(batch.annotations):
            # beats lie at every half second of the song
            expected = [t for t in np.arange(0, 3, 0.5) if 0 <= t - batch.start_seconds[i] < frames * HOP / RATE_HZ]
            np.testing.assert_allclose(np.add(truth.beats_seconds, batch.start_seconds[i]), expected, atol=1e-9)
            assert truth.chords[0].end_seconds == pytest.approx(frames * HOP / RATE_HZ)


@pytest.mark.parametrize("stage", ["fit", "test"])
def test_evaluation_targets_do_not_sound_in_their_mix(root, stage):
    module = ready(root, stage, test_items=8)
    stem_of = {14: 0, 4: 1, 0: 2, 6: 3}
    loader = module.val_dataloader() if stage == "fit" else module.test_dataloader()
    for batch in loader:
        for i in range(len(batch)):
            song, stem = int(batch.song[i].removeprefix("Track")), stem_of[int(batch.instrument_B[i])]
            bins = [round(tone_hz(song, s) * HOP / RATE_HZ) for s in range(4)]
            spectra = [torch.fft.rfft(a[i, 0].reshape(-1, HOP)).abs().mean(0)[bins] for a in (batch.target, batch.mix)]
            sounds = [(spectrum / (HOP / 2) > 0.05).tolist() for spectrum in spectra]
            assert sounds == [[s == stem for s in range(4)], [s != stem for s in range(4)]]


def excerpts(module):
    plan = [item.excerpt for item in module.val_dataloader().dataset.plan]
    return [(excerpt.song.name, excerpt.target, excerpt.start_frame) for excerpt in plan]


def test_evaluation_items_are_the_same_every_time_and_spread_over_songs_and_categories(root, tmp_path):
    modules = [
        ready(root, cache_root=str(tmp_path / name), num_workers=w) for name, w in (("a", 0), ("b", 0), ("a", 1))
    ]
    plans = [excerpts(module) for module in modules]
    assert plans[0] == plans[1] == plans[2]
    assert len(set(plans[0])) == 6
    first = plans[0][:4]
    assert {song for song, _, _ in first[:2]} == {"Track00004", "Track00005"}
    assert {target for _, target, _ in first} == {0, 1, 2, 3}
    assert len(list((tmp_path / "a").glob("evaluation-*.json"))) == 1
    other = ready(root, seed=1, cache_root=str(tmp_path / "c"))
    assert excerpts(other) != plans[0]


def test_uniform_drawing_takes_songs_and_stems_at_random(root, tmp_path):
    drawn = {"eval_items": 24, "drawing": UniformDrawing(), "cache_root": str(tmp_path)}
    plan = excerpts(ready(root, "validate", **drawn))
    assert plan == excerpts(ready(root, "validate", **drawn)), "also from disk"
    assert len(plan) == 24
    assert len({place[:2] for place in plan}) < 24, "stems come again"
    assert len(set(plan)) > len({place[:2] for place in plan}), "with other crops"
    assert plan != excerpts(ready(root, "validate", eval_items=24, cache_root=str(tmp_path)))


def test_validation_decodes_once(root, monkeypatch):
    module = ready(root)
    first = list(module.val_dataloader())
    monkeypatch.setattr(soundfile, "SoundFile", lambda *_: pytest.fail("decoded again"))
    assert all(same(a, b) for a, b in zip(first, module.val_dataloader(), strict=True))


def test_items_are_shorter_where_songs_are(tmp_path):
    write_tree(tmp_path, train=1, validation=2, test=1, seconds=2.0)
    module = ready(tmp_path, eval_seconds=20.0, min_active_ratio=0.4)
    batch = next(iter(module.val_dataloader()))
    assert batch.mix.shape[-1] == 2 * RATE_HZ // HOP * HOP


def test_targets_silence_and_categories_are_respected(root):
    module = ready(root, targets=["Bass"])
    for batch in [*module.train_dataloader(), *module.val_dataloader()]:
        assert set(batch.instrument_B.tolist()) == {4}
    with pytest.raises(UserError, match="crop_frames"):
        ready(root, targets=["Organ"])


def test_a_stem_that_rests_is_no_target(tmp_path):
    for split in ("train", "validation", "test"):
        audio = {"S00": tone(1, 0), "S01": np.zeros(16000), "S02": tone(1, 2)}
        write_song(tmp_path / split / f"Track0000{len(split)}", audio)
    module = ready(tmp_path)
    seen = {int(c) for b in [*module.train_dataloader(), *module.val_dataloader()] for c in b.instrument_B}
    assert seen == {14, 0}


def test_stereo_codec_and_other_rates(tmp_path):
    audio = {name: tone(1, i, 2.0, 16000) for i, name in enumerate(PROGRAMS)}
    for split in ("train", "validation", "test"):
        write_song(tmp_path / split / f"Track0000{len(split)}", audio, 16000)
    module = ready(tmp_path, codec=FrameCodec(audio_channels=2))
    batch = next(iter(module.val_dataloader()))
    assert batch.mix.shape[1] == 2
    assert torch.equal(batch.mix[:, 0], batch.mix[:, 1])
    # resampled from 16 kHz: still the same tone at 8 kHz
    stem = {14: 0, 4: 1, 0: 2, 6: 3}[int(batch.instrument_B[0])]
    spectrum = torch.fft.rfft(batch.target[0, 0].reshape(-1, HOP)).abs().mean(0)
    assert spectrum.argmax() == round(tone_hz(1, stem) * HOP / RATE_HZ)


def test_audio_mode_mixes_on_the_fly_with_gains(root):
    modules = [ready(root, mode="audio", gain_db=gain) for gain in (0.0, 0.0, 6.0)]
    batches = [next(iter(module.train_dataloader())) for module in modules]
    assert batches[0].is_audio
    assert batches[0].mix.shape == (4, 1, 16 * HOP)
    assert same(batches[0], batches[1])
    peaks = [batch.target.abs().amax((1, 2)) for batch in batches]
    assert torch.allclose(peaks[0], torch.full((4,), 0.1), atol=2e-3)
    gains_db = 20 * torch.log10(peaks[2] / 0.1)
    assert gains_db.abs().max() < 6.1
    assert gains_db.std() > 0.5
    statistics = modules[0].latent_statistics
    assert statistics.mean_C.shape == (HOP,)
    assert (statistics.std_C > 0).all()


def test_full_mix_hears_everybody_else_in_both_modes(root):
    for mode in ("bank", "audio"):
        module = ready(root, mode=mode, full_mix=True)
        batch = next(iter(module.train_dataloader()))
        mix = batch.mix if batch.is_audio else module.codec.decode(batch.mix)
        for i in range(len(batch)):
            song = int(batch.song[i].removeprefix("Track"))
            bins = [round(tone_hz(song, s) * HOP / RATE_HZ) for s in range(4)]
            spectrum = torch.fft.rfft(mix[i, 0].reshape(-1, HOP)).abs().mean(0)[bins]
            assert int((spectrum / (HOP / 2) > 0.05).sum()) == 3


def test_a_second_start_builds_nothing(root, monkeypatch):
    first = ready(root)
    assert first.latent_statistics is not None
    monkeypatch.setattr(FrameCodec, "encode", lambda *_: pytest.fail("encoded again"))
    assert same(next(iter(ready(root).train_dataloader())), next(iter(first.train_dataloader())))


def test_statistics_are_none_while_there_is_no_bank(root, tmp_path):
    module = data_module(root, cache_root=str(tmp_path))
    module.setup("test")
    assert module.latent_statistics is None


def test_a_bank_of_another_codec_is_refused(root, tmp_path):
    ready(root, bank_root=str(tmp_path / "bank"))
    other = data_module(root, bank_root=str(tmp_path / "bank"), codec=FrameCodec(seed=1))
    with pytest.raises(UserError, match="latents_hash"):
        other.prepare_data()
    with pytest.raises(UserError, match="latents_hash"):
        _ = other.latent_statistics


def test_a_missing_root_says_what_to_do(tmp_path):
    with pytest.raises(UserError, match=r"render one with `livejam data render --out .*download.*point data\.root"):
        data_module(tmp_path / "nowhere").prepare_data()


def test_a_split_without_songs_says_what_to_do(tmp_path):
    for number in range(1, 4):
        write_song(tmp_path / f"Track{number:05d}", {n: tone(number, i) for i, n in enumerate(PROGRAMS)})
    with pytest.raises(UserError, match=r"none of the 3 songs .* is for validation; set data\.splits"):
        ready(tmp_path)
    module = ready(tmp_path, splits=SplitByHash(0.3, 0.3, seed=1))
    assert len(module.songs("train")) + len(module.songs("validation")) == 3


@pytest.mark.parametrize("damage", ["truncated", "nan", "missing"])
def test_a_file_that_breaks_at_run_time_is_one_sentence_with_its_name(tmp_path, damage):
    write_tree(tmp_path, train=1, validation=1, test=1)
    module = ready(tmp_path, "validate")
    path = tmp_path / "validation" / "Track00002" / "stems" / "S01.flac"
    whole = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(whole[: len(whole) // 2])
    if damage == "nan":
        soundfile.write(path, np.full(16000, np.nan, np.float32), RATE_HZ, subtype="FLOAT", format="WAV")
    with pytest.raises(UserError, match=re.escape(str(path))) as error:
        list(module.val_dataloader())
    assert "\n" not in str(error.value)
    assert "livejam data index --deep" in str(error.value)


def test_render_if_missing_renders_once_and_leaves_other_songs_alone(tmp_path, monkeypatch):
    from datamodules.pocket_slakh import render

    calls = []

    def render_tones(out, songs, seed, workers, validation_fraction, test_fraction):
        calls.append(songs)
        if not (Path(out) / "train").is_dir():
            write_tree(Path(out), train=songs - 2)

    monkeypatch.setattr(render, "render_songs", render_tones)
    rendered = tmp_path / "rendered"
    for _ in range(2):
        data_module(rendered, render_if_missing=RenderIfMissing(songs=4, seed=5)).prepare_data()
    # the second call goes on with what may be missing
    assert calls == [4, 4]
    with pytest.raises(UserError, match="seed: 5 there, 6 asked for"):
        data_module(rendered, render_if_missing=RenderIfMissing(songs=4, seed=6)).prepare_data()
    own = write_tree(tmp_path / "own")
    data_module(own, render_if_missing=RenderIfMissing(songs=4, seed=5)).prepare_data()
    assert calls == [4, 4]
