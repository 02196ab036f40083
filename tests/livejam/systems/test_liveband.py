"""LiveBand as it plays, against its parallel pass."""

from __future__ import annotations

import pytest
import torch

from livejam.accompanist import Controls, accompany
from livejam.errors import UserError
from livejam.networks import CausalTransformer
from livejam.spec import CodecSpec, LatentStatistics
from livejam.systems.liveband import LiveBandAccompanist

SPEC = CodecSpec("test", 22050, 1, 2048, 5, 0)
STATISTICS = LatentStatistics(torch.linspace(-1, 1, 5), torch.linspace(0.5, 3, 5))
CONTROLS = Controls(torch.tensor([14, 18, 4]), torch.tensor([1, 2, 3]))
SILENCE_C = torch.full((5,), -7.0)


def make_accompanist(anticipation: int, sink: bool = True, anticipations: int = 0) -> LiveBandAccompanist:
    torch.manual_seed(0)
    generator = CausalTransformer(
        5, 4, 16, 2, 2, 8, sink=sink, causal=anticipation >= 0, class_channels=4, anticipations=anticipations
    )
    if generator.anticipation_embedding is not None:
        torch.nn.init.normal_(generator.anticipation_embedding.weight)
    return LiveBandAccompanist(generator.eval(), SPEC, STATISTICS, anticipation)


def make_mix(frames: int = 30) -> torch.Tensor:
    return torch.randn(3, frames, 5, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("anticipation", [0, 1, 11])
@pytest.mark.parametrize(("sink", "anticipations"), [(False, 0), (True, 0), (True, 12)])
@torch.no_grad()
def test_accompany_equals_the_parallel_pass(anticipation: int, sink: bool, anticipations: int) -> None:
    accompanist, mix_BTC = make_accompanist(anticipation, sink, anticipations), make_mix()
    played_BTC = accompany(accompanist, mix_BTC, CONTROLS, SILENCE_C)
    offset = 1 + anticipation
    assert torch.equal(played_BTC[:, :offset], SILENCE_C.expand(3, offset, 5))
    assert torch.allclose(played_BTC[:, offset:], accompanist.parallel(mix_BTC, CONTROLS)[:, :-offset], atol=1e-5)


@torch.no_grad()
def test_an_anticipation_that_is_told_changes_what_is_played_and_not_the_past() -> None:
    accompanist, mix_BTC = make_accompanist(3, anticipations=12), make_mix()
    played_BTC = accompanist.parallel(mix_BTC, CONTROLS)
    assert accompanist.with_anticipation(3) is accompanist
    other = accompanist.with_anticipation(4)
    assert not torch.allclose(other.parallel(mix_BTC, CONTROLS), played_BTC, atol=1e-2)
    changed_BTC = mix_BTC.clone()
    changed_BTC[:, 20:] += 1
    assert torch.allclose(accompanist.parallel(changed_BTC, CONTROLS)[:, :20], played_BTC[:, :20], atol=1e-6)
    assert torch.allclose(accompanist.parallel(mix_BTC[:, :20], CONTROLS), played_BTC[:, :20], atol=1e-5)


@torch.no_grad()
def test_streams_of_several_anticipations_play_together() -> None:
    one, mix_BTC = make_accompanist(0, anticipations=12), make_mix()
    far = one.with_anticipation(11)
    states = [accompanist.init_state(3, CONTROLS) for accompanist in (one, far)]
    stepped = one.step_together([(mix_BTC, state) for state in states])
    for accompanist, (played_BTC, _) in zip((one, far), stepped, strict=True):
        assert torch.allclose(played_BTC, accompanist.parallel(mix_BTC, CONTROLS), atol=1e-5)


@torch.no_grad()
def test_not_told_a_network_that_begins_as_one_plays_as_if_it_knew_no_anticipation() -> None:
    told, plain, mix_BTC = make_accompanist(1, anticipations=12), make_accompanist(1), make_mix()
    assert told.generator.anticipation_embedding is not None
    torch.nn.init.zeros_(told.generator.anticipation_embedding.weight)
    for frames in (0, 11):
        at = told.with_anticipation(frames)
        assert torch.allclose(at.parallel(mix_BTC, CONTROLS), plain.parallel(mix_BTC, CONTROLS), atol=1e-6)


@torch.no_grad()
def test_chunks_and_snapshots_do_not_matter() -> None:
    accompanist, mix_BTC = make_accompanist(1), make_mix()
    state, played, snapshot = accompanist.init_state(3, CONTROLS), [], None
    for start, stop in ((0, 5), (5, 6), (6, 20), (20, 30)):
        snapshot = state if start == 6 else snapshot
        out_BTC, state = accompanist.step(mix_BTC[:, start:stop], state)
        played.append(out_BTC)
    assert torch.allclose(torch.cat(played, dim=1), accompanist.parallel(mix_BTC, CONTROLS), atol=1e-5)
    assert snapshot is not None
    again, _ = accompanist.step(mix_BTC[:, 6:20], snapshot)
    assert torch.equal(again, played[2]), "a state is never changed, so it can be gone back to"


@torch.no_grad()
def test_a_row_plays_the_same_in_any_company() -> None:
    accompanist, mix_BTC = make_accompanist(0), make_mix()
    together = accompany(accompanist, mix_BTC, CONTROLS, SILENCE_C)
    alone = accompany(accompanist, mix_BTC[2:], Controls(torch.tensor([4]), torch.tensor([3])), SILENCE_C)
    assert torch.allclose(alone[0], together[2], atol=1e-5)
    other_seed = accompany(accompanist, mix_BTC[2:], Controls(torch.tensor([4]), torch.tensor([4])), SILENCE_C)
    assert not torch.allclose(other_seed[0, 1:], together[2, 1:], atol=1e-2)


@torch.no_grad()
def test_latents_outside_are_the_codecs_own() -> None:
    """Scaling the codec's latents together with the statistics scales what is played."""
    accompanist, mix_BTC = make_accompanist(0), make_mix()
    scaled = LiveBandAccompanist(
        accompanist.generator, SPEC, LatentStatistics(STATISTICS.mean_C * 3, STATISTICS.std_C * 3), 0
    )
    expected = 3 * accompanist.parallel(mix_BTC, CONTROLS)
    assert torch.allclose(scaled.parallel(3 * mix_BTC, CONTROLS), expected, atol=1e-4)


@torch.no_grad()
def test_bidirectional_upper_bound_hears_whole_windows() -> None:
    accompanist, mix_BTC = make_accompanist(-1), make_mix(16)
    assert accompanist.block_frames == 8
    played_BTC = accompany(accompanist, mix_BTC, CONTROLS, SILENCE_C)
    assert torch.allclose(played_BTC[:, :8], accompanist.parallel(mix_BTC[:, :8], CONTROLS), atol=1e-5)
    changed = mix_BTC.clone()
    changed[:, 7] += 1
    assert (accompany(accompanist, changed, CONTROLS, SILENCE_C)[:, 0] != played_BTC[:, 0]).any()
    with pytest.raises(ValueError, match="no multiple"):
        accompany(accompanist, mix_BTC[:, :9], CONTROLS, SILENCE_C)


def test_what_does_not_fit_is_refused() -> None:
    generator = make_accompanist(0).generator
    with pytest.raises(UserError, match="causal generator needs 0 or more"):
        LiveBandAccompanist(generator, SPEC, STATISTICS, -1)
    with pytest.raises(UserError, match="needs anticipation_frames -1"):
        LiveBandAccompanist(make_accompanist(-1).generator, SPEC, STATISTICS, 0)
    with pytest.raises(UserError, match="knows 0 to 11"):
        make_accompanist(1, anticipations=12).with_anticipation(12)
    with pytest.raises(UserError, match="learnt nothing else"):
        LiveBandAccompanist(generator, SPEC, STATISTICS, 0).with_anticipation(1)
    with pytest.raises(ValueError, match="say at which"):
        make_accompanist(1, anticipations=12).generator(torch.zeros(1, 8, 4), torch.zeros(1, 8, 5), torch.tensor([0]))
    with pytest.raises(UserError, match="set latent_channels"):
        LiveBandAccompanist(generator, CodecSpec("wide", 22050, 1, 2048, 6, 0), STATISTICS, 1)
