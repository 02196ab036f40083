"""Graphs of LMDMs that are asked for words and sketches in every step, and the graph that makes sketches of sound.

Shapes: T latent frames, C latent channels, N samples, P numbers of a packed frame.
"""

from __future__ import annotations

import math
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from players import lmdm, pocket
from torch import Tensor

from livejam.checkpoints.player import Player
from livejam.errors import UserError
from livejam.export.directory import rescaling
from livejam.export.graphs import in_order
from livejam.export.model import Reference, StepModel, example_controls, example_mix, step_model
from livejam.export.parity import LARGEST
from livejam.export.sketcher_graph import SketcherGraph
from livejam.networks import BlockCausal, EncoderDecoder
from livejam.networks.conditioning import read_words
from livejam.sketch import SketchAnalysis, VoicePitch, unpacked
from livejam.spec import CodecSpec
from livejam.streaming import PromptChange, Session

MASKS = {"encdec": EncoderDecoder(9), "blockcausal": BlockCausal(3, 3)}


@cache
def player(mask: str = "encdec", cutoff: int = 0, guidance: float = 2.0) -> Player:
    return lmdm(pocket(), MASKS[mask], cutoff, guidance=guidance, sketch=SketchAnalysis())


def apart(values: dict[str, Tensor], wanted: dict[str, Tensor]) -> float:
    """The largest difference of what is played, where 1 is the most that may be."""
    return max(
        float((values[name] - wanted[name]).abs().max() / wanted[name].abs().max().clamp(min=1)) / LARGEST[name]
        for name in wanted
    )


@pytest.mark.parametrize(
    ("mask", "cutoff", "rescale"), [("encdec", 1, 0.0), ("blockcausal", 0, 0.0), ("encdec", 0, 0.7)]
)
@torch.inference_mode()
def test_a_model_that_is_asked_for_something_else_plays_the_same(mask: str, cutoff: int, rescale: float) -> None:
    model, seed, instrument = step_model(rescaling(player(mask, cutoff), rescale)), 3, 14
    reference, values, asked = Reference(model.player, instrument, seed), model.states(instrument), []
    values["instrument"] = torch.tensor([instrument], dtype=torch.int32)
    for step, mix_BAN in enumerate(example_mix(model, 24).split(model.block_samples, dim=-1)):
        controls = example_controls(model, step)
        asked.append({name for name, x in controls.items() if name.endswith("mask") and x.any()})
        reference.ask(controls)
        values |= {"mix": mix_BAN, "noise": model.noise_of(seed, step), **controls}
        in_order(model.graphs, values)
        assert apart(values, reference.step(mix_BAN)) <= 1, step
    assert {frozenset(names) for names in asked} == {
        frozenset(f"{name}_mask" for name in names)
        for names in (
            (), ("prompt",), ("sketch",), ("prompt", "negative_prompt"), ("prompt", "negative_prompt", "sketch"),
        )
    }  # fmt: skip


@torch.inference_mode()
def test_it_follows_the_curves_and_the_words_of_a_session() -> None:
    """The rows of the window are the frames that the signature says, and words come when a session changes them."""
    who, block = player(cutoff=-1, guidance=1.0), 3
    model, mix_BAN = step_model(who), example_mix(step_model(who), 8)
    curves_TP = who.accompanist.sketch.at(who.codec.spec)(mix_BAN.flip(-1).mean(dim=1, keepdim=True))[0][:20]
    session = Session(who, instruments=["Bass"], seeds=[5])
    session.set_sketch(curves_TP)
    session.set_prompts([PromptChange(12 / who.codec.spec.frame_rate_hz, read_words("piano:3, strings:1"))])
    expected_AN = session.process(mix_BAN[0])
    prompt = who.accompanist.generator.mixed_prompt([read_words("piano:3, strings:1")])
    values = model.states(4)
    values["instrument"] = torch.tensor([4], dtype=torch.int32)
    pieces = []
    for step, heard_BAN in enumerate(mix_BAN.split(model.block_samples, dim=-1)):
        first = model.first_sketch_frame + step * block
        rows_WP = torch.full((12, 10), math.nan)
        for row in range(12):
            if 0 <= first + row < len(curves_TP):
                rows_WP[row] = curves_TP[first + row]
        values |= {"mix": heard_BAN, "noise": model.noise_of(5, step), **model.controls}
        values |= {"sketch": rows_WP[None].nan_to_num(), "sketch_mask": rows_WP.isfinite()[None, :, :3].float()}
        if first + 9 >= 12:
            values |= {"prompt": prompt.embedding_BPD, "prompt_mask": prompt.mask_BP.float()}
        in_order(model.graphs, values)
        pieces.append(values["accompaniment"][0])
    played_AN = torch.nn.functional.pad(torch.cat(pieces, dim=-1), (model.first_output_sample, 0))
    played_AN = played_AN[:, : expected_AN.shape[1]]
    assert (played_AN - expected_AN).abs().max() <= 1e-4 * expected_AN.abs().max().clamp(min=1)


@cache
def begun() -> tuple[StepModel, dict[str, Tensor]]:
    model = step_model(player())
    values = model.states(14) | {"instrument": torch.tensor([14], dtype=torch.int32), "noise": model.noise_of(0, 0)}
    return model, values | {"mix": example_mix(model, 1)}


def played(**controls: Tensor) -> Tensor:
    model, values = begun()
    with torch.inference_mode():
        values = values | controls
        in_order(model.graphs, values)
    return values["accompaniment_latents"]


@settings(deadline=None, max_examples=25)
@given(
    st.lists(st.floats(width=32), min_size=1, max_size=40),
    st.lists(st.floats(width=32), min_size=1, max_size=9),
    st.sampled_from(["sketch", "prompt", "negative_prompt"]),
)
def test_no_number_of_a_control_spoils_what_is_played(numbers: list[float], mask: list[float], name: str) -> None:
    """Repeated to the control's shape: whatever it is, what comes out is finite."""
    controls = begun()[0].controls

    def filled(values: list[float], like: Tensor) -> Tensor:
        return torch.tensor(values).repeat(-(-like.numel() // len(values)))[: like.numel()].view(like.shape)

    # a prompt's embeddings have no bound, so that finite ones may be too large to compute with
    numbers = [number if name == "sketch" or not abs(number) > 100 else math.inf for number in numbers]
    asked = {name: filled(numbers, controls[name]), f"{name}_mask": filled(mask, controls[f"{name}_mask"])}
    assert played(**asked).isfinite().all()


def test_numbers_that_are_not_finite_ask_for_nothing() -> None:
    controls, plain_BTC = begun()[0].controls, played()
    for wrong in (math.nan, math.inf, -math.inf):
        sketch = torch.full_like(controls["sketch"], wrong)
        assert torch.equal(played(sketch=sketch, sketch_mask=torch.ones_like(controls["sketch_mask"])), plain_BTC)
        embedding = torch.full_like(controls["prompt"], wrong)
        for mask in (torch.zeros_like(controls["prompt_mask"]), torch.full_like(controls["prompt_mask"], torch.nan)):
            assert torch.equal(played(prompt=embedding, prompt_mask=mask), plain_BTC)
            assert torch.equal(played(negative_prompt=embedding, negative_prompt_mask=mask), plain_BTC)


@torch.inference_mode()
def test_a_negative_prompt_is_that_of_a_session() -> None:
    who = player()
    model, mix_BAN = step_model(who), example_mix(step_model(who), 8)
    session = Session(who, instruments=["Bass"], seeds=[5])
    session.set_negative_prompt("piano:3, strings:1")
    expected_AN = session.process(mix_BAN[0])
    negative = who.accompanist.generator.mixed_prompt([read_words("piano:3, strings:1")])
    values, pieces = model.states(4), []
    values["instrument"] = torch.tensor([4], dtype=torch.int32)
    values |= {"negative_prompt": negative.embedding_BPD, "negative_prompt_mask": negative.mask_BP.float()}
    for step, heard_BAN in enumerate(mix_BAN.split(model.block_samples, dim=-1)):
        values |= {"mix": heard_BAN, "noise": model.noise_of(5, step)}
        in_order(model.graphs, values)
        pieces.append(values["accompaniment"][0])
    played_AN = torch.nn.functional.pad(torch.cat(pieces, dim=-1), (model.first_output_sample, 0))
    late = session.timing.late_samples
    shared = min(played_AN.shape[1], expected_AN.shape[1] - late)
    difference = (played_AN[:, :shared] - expected_AN[:, late : late + shared]).abs().max()
    assert difference <= 1e-4 * expected_AN.abs().max().clamp(min=1)


def test_only_who_guides_the_prompt_can_be_led_away() -> None:
    for guidance in (1.0, {"mix": 2.0}):
        model = step_model(lmdm(pocket(), EncoderDecoder(9), guidance=guidance))
        assert set(model.controls) == {"prompt", "prompt_mask"}
        assert model.prompts is not None
        assert not model.prompts.facts.negative
    guided = step_model(lmdm(pocket(), EncoderDecoder(9), guidance={"prompt": 3.0}))
    assert guided.prompts is not None
    assert guided.prompts.facts.negative


SPEC = CodecSpec("toy", 16000, 1, 640, 3, 0)


@pytest.mark.parametrize(
    ("analysis", "spec", "frames"),
    [
        (SketchAnalysis(), None, 3),
        (SketchAnalysis(0.03, 5, 2, 40, 0.1), SPEC, 1),
        (SketchAnalysis(voice=VoicePitch()), None, 3),
        (SketchAnalysis(0.03, 5, 2, voice=VoicePitch()), SPEC, 1),
    ],
    ids=["pocket", "toy", "voice", "toy voice"],
)
@torch.inference_mode()
def test_the_graph_makes_the_curves_that_training_made(
    analysis: SketchAnalysis, spec: CodecSpec | None, frames: int
) -> None:
    spec = pocket().spec if spec is None else spec
    sketcher = analysis.at(spec)
    graph, samples = SketcherGraph(sketcher, frames), 12 * frames * spec.hop_samples
    time_N = torch.arange(samples) / spec.sample_rate_hz
    tones_N = torch.stack([(2 * math.pi * hertz * time_N).sin() for hertz in (82.4, 523.3, 1318.5)]).sum(dim=0)
    noise_N = torch.randn(samples, generator=torch.Generator().manual_seed(0))
    sounds = {
        "tones": 0.2 * tones_N,
        "noise": 0.1 * noise_N,
        "faint": 3e-5 * (noise_N + tones_N),
        "silence": 0 * time_N,
    }
    sounds["absurd"] = torch.where(noise_N > 1, math.nan, 1e30 * noise_N)
    for name, sound_N in sounds.items():
        wanted_BTP, values = sketcher(sound_N[None, None]), dict(graph.states)
        pieces = []
        for part_N in sound_N.split(frames * spec.hop_samples):
            values["sound"] = part_N[None]
            graph.step(values)
            pieces.append(values["curves"])
        made, wanted = unpacked(torch.cat(pieces, dim=1)), unpacked(wanted_BTP)
        assert torch.equal(made.mask_BTG, wanted.mask_BTG), name
        assert (made.values_BTK - wanted.values_BTK).abs().max() < 2e-3, name


def test_the_signature_says_where_a_sketch_belongs() -> None:
    model = step_model(player(cutoff=1))
    assert model.first_sketch_frame == -9  # three blocks of context, and the block that was just heard
    assert model.controls["sketch"].shape == (1, 12, 10)
    assert model.sketcher is not None


def test_prompts_that_are_stored_are_those_of_the_model() -> None:
    model = step_model(player(), ["jazz piano", "calm strings"])
    assert model.prompts is not None
    facts, stored = model.prompts.facts, model.prompts
    assert facts.texts == ("Percussive", "Bass", "jazz piano", "calm strings")
    assert (facts.tokens, facts.channels, facts.reencodes) == (12, 8, True)
    sliding = step_model(player("blockcausal")).prompts
    assert sliding is not None
    assert not sliding.facts.reencodes
    wanted = player().accompanist.generator.prompt(["percussive", "bass", "jazz piano", "calm strings"])
    assert torch.equal(
        stored.texts_SPD * stored.texts_mask_SP[..., None], wanted.embedding_BPD * wanted.mask_BP[..., None]
    )
    assert torch.equal(stored.texts_mask_SP, wanted.mask_BP)
    row = facts.words.index("piano")
    assert torch.equal(stored.words_WD[row], player().accompanist.generator.prompt(["piano"]).embedding_BPD[0, 0])


@pytest.mark.parametrize(
    ("prompts", "sentence"),
    [
        (["zither"], "zither"),
        (["Bass"], "there twice"),
        (["jazz", "Jazz"], "there twice"),
        (["jazz"] * 1000, "too many"),
    ],
)
def test_prompts_that_cannot_be_stored_are_one_sentence(prompts: list[str], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        step_model(player(), prompts)


def test_who_takes_no_words_stores_none() -> None:
    silent = lmdm(pocket(), EncoderDecoder(9), prompts=False)
    assert step_model(silent).prompts is None
    assert step_model(silent).controls == {}
    with pytest.raises(UserError, match="takes no prompts"):
        step_model(silent, ["piano"])
