"""An LMDM as a graph: the sampler's steps inside, its noise as an input, and a beginning for every instrument."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusion_toys import make_network
from small_band import lmdm_checkpoint

from livejam.accompanist import Controls
from livejam.checkpoints.player import load_player
from livejam.errors import UserError
from livejam.export.directory import at_cutoff
from livejam.export.graphs import in_order
from livejam.export.lmdm_graph import LMDMGraph
from livejam.export.model import Reference, example_mix, step_model
from livejam.export.onnx_files import inputs_of
from livejam.export.parity import LARGEST
from livejam.networks import BlockCausal, ConditionedTransformer, TagEncoder
from livejam.noise import seeded_noise
from livejam.sampling import PingPong
from livejam.spec import CodecSpec, LatentStatistics
from livejam.systems.context import ContextMode, InpaintedContext, RoutedContext
from livejam.systems.lmdm import LMDMAccompanist


@pytest.mark.parametrize("cutoff_blocks", [None, 1])
@torch.inference_mode()
def test_an_lmdm_plays_the_same(cutoff_blocks: int | None, tmp_path: Path) -> None:
    player = at_cutoff(load_player(lmdm_checkpoint(tmp_path / "lmdm.ckpt")), cutoff_blocks)
    model, seed, instrument = step_model(player), 3, 4
    reference, values = Reference(player, instrument, seed), model.states(instrument)
    values["instrument"] = torch.tensor([instrument], dtype=torch.int32)
    assert model.first_output_sample == (5376 if cutoff_blocks is None else -768)
    assert all(tensor.dtype in ("float32", "int32") for graph in model.graphs for tensor in inputs_of(graph))
    for step, mix_BAN in enumerate(example_mix(model, 6).split(model.block_samples, dim=-1)):
        wanted = reference.step(mix_BAN)
        values |= {"mix": mix_BAN, "noise": model.noise_of(seed, step)}
        in_order(model.graphs, values)
        for name, largest in LARGEST.items():
            assert (values[name] - wanted[name]).abs().max() <= largest * wanted[name].abs().max(), (name, step)


def test_liveband_has_no_cutoff() -> None:
    with pytest.raises(UserError, match="only an LMDM has a cutoff"):
        at_cutoff(load_player("liveband-pocket"), 1)


@pytest.mark.parametrize("mode", [RoutedContext(), InpaintedContext()], ids=["block-causal", "look-ahead"])
@torch.inference_mode()
def test_other_ways_of_giving_the_past(mode: ContextMode) -> None:
    mask = BlockCausal(4, 4) if isinstance(mode, RoutedContext) else None
    network = make_network(mask, mix=True, dtype=torch.float32)
    network.global_embedding, network.global_width = None, 0
    accompanist = LMDMAccompanist(
        ConditionedTransformer(network, TagEncoder(6)).eval(),
        CodecSpec("toy", 16000, 1, 512, 3, 0),
        LatentStatistics(torch.zeros(3), torch.ones(3)),
        mode,
        PingPong(steps=3),
    )
    graph, instrument, seed = LMDMGraph(accompanist), 4, 9
    state = accompanist.init_state(1, Controls(torch.tensor([instrument]), torch.tensor([seed])))
    draws, frames, channels = graph.inputs["noise"].shape
    assert (draws, frames) == (3, 4 if mask else 20)
    values = graph.states | graph.controls | (graph.begun[instrument] if graph.begun else {})
    values["instrument"] = torch.tensor([instrument], dtype=torch.int32)
    for step in range(7):
        mix_BTC = torch.randn(1, 4, 3, generator=torch.Generator().manual_seed(step))
        wanted_BTC, state = accompanist.step(mix_BTC, state)
        position_DF = graph.first_position + 4 * step + torch.arange(frames) + torch.arange(draws)[:, None] * (1 << 40)
        values |= {"mix_latents": mix_BTC, "noise": seeded_noise(torch.full((draws,), seed), position_DF, channels)}
        graph.step(values)
        assert (values["accompaniment_latents"] - wanted_BTC).abs().max() < 1e-4, step
