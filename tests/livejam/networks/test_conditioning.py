"""Encoders of words and numbers."""

from __future__ import annotations

import copy
import dataclasses
import itertools
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from livejam.batch import CATEGORIES
from livejam.errors import UserError
from livejam.networks import (
    NOTHING_ASKED,
    ConditionedTransformer,
    DiffusionTransformer,
    NumberConditioner,
    T5Encoder,
    TagEncoder,
    Unconditional,
)
from livejam.networks.conditioning import TAG_WORDS, Prompt

ENCODER = TagEncoder(4)


@given(words=st.lists(st.sampled_from(TAG_WORDS), min_size=1, max_size=12, unique=True))
def test_tags_are_a_set_of_learned_embeddings(words: list[str]) -> None:
    prompt = ENCODER.encode([" ".join(words), ", ".join(words[::-1]).upper() + "! zzyzx"[: 7 * (len(words) < 12)]])
    assert prompt.mask_BP.sum(1).tolist() == [len(words)] * 2
    known = ENCODER.embedding.weight[[TAG_WORDS.index(word) for word in words]]
    assert torch.equal(prompt.embedding_BPD[0, : len(words)], known)
    assert torch.equal(prompt.embedding_BPD[1, : len(words)].flip(0), known)


def test_every_category_can_be_asked_for() -> None:
    assert len(set(TAG_WORDS)) == len(TAG_WORDS)
    assert ENCODER.encode(CATEGORIES).mask_BP.any(dim=1).all()


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("zzyzx", "no word that the tag encoder knows"),
        (" ".join(TAG_WORDS), "shorten"),
    ],
)
def test_prompts_that_say_nothing_or_too_much_are_refused(prompt: str, reason: str) -> None:
    with pytest.raises(UserError, match=reason):
        ENCODER.encode(["piano", prompt])


def make_prompt(tokens: int, seed: int) -> Prompt:
    embedding = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(seed))
    return Prompt(embedding, torch.arange(4).expand(2, -1) < tokens)


def test_prompts_are_dropped_and_faded() -> None:
    first, second = make_prompt(2, 0), make_prompt(3, 1)
    seen = lambda p: p.embedding_BPD * p.mask_BP[..., None]  # noqa: E731
    for share in (0.0, 0.25, 1.0):
        mixed = first.faded(second, share)
        assert torch.allclose(seen(mixed), (1 - share) * seen(first) + share * seen(second))
    dropped = first.without(torch.tensor([True, False]))
    assert dropped.mask_BP.sum(1).tolist() == [0, 2]
    assert first.mask_BP.sum(1).tolist() == [2, 2], "the prompt itself stays"
    token_BD = torch.randn(2, 3)
    longer = dropped.followed_by(token_BD)
    assert longer.mask_BP[:, -1].tolist() == [False, True], "a dropped prompt takes the duration with it"
    assert torch.equal(longer.embedding_BPD[:, -1], token_BD)


@given(number=st.floats(-50, 400))
def test_numbers_are_encoded_as_published(number: float) -> None:
    """Stable Audio's NumberEmbedder, written out: the number in [0, 1], then sine and cosine of learned frequencies."""
    conditioner = NumberConditioner(5, 0, 256, frequencies=3).double()
    share = min(max(number, 0), 256) / 256
    angles = [2 * math.pi * share * f for f in conditioner.frequency_F.tolist()]
    features = torch.tensor([share, *map(math.sin, angles), *map(math.cos, angles)], dtype=torch.float64)
    expected = conditioner.project.weight @ features + conditioner.project.bias
    assert torch.allclose(conditioner(torch.tensor([number], dtype=torch.float64))[0], expected)


SIDES = [Unconditional(*lacks) for lacks in itertools.product([False, True], repeat=4) if any(lacks)]


@pytest.mark.parametrize("unconditional", [NOTHING_ASKED, *SIDES])
def test_guidance_asks_twice_and_drops_what_it_says(unconditional: Unconditional) -> None:
    network = DiffusionTransformer(
        3, 8, 1, 2, 4, 2, prompt_width=4, global_width=4, mix_channels=3, sketch_channels=[1, 2]
    )
    generator = ConditionedTransformer(network, TagEncoder(4), NumberConditioner(4))
    context, mix = ((torch.randn(2, 6, 3), torch.ones(2, 6)) for _ in range(2))
    prompt, sketch = generator.prompt(["piano", "bass"]), (torch.rand(2, 6, 3), torch.ones(2, 6, 2))
    conditions = generator.conditions(prompt, 11.0, context=context, mix=mix, sketch=sketch)
    assert conditions.prompt_BPD is not None
    assert conditions.prompt_BPD.shape[1] == 13, "twelve words and the duration"
    both, rows = unconditional.beside(conditions), unconditional.in_rows(torch.tensor([False, True]), conditions)
    dropped = {"prompt_BPD", "prompt_mask_BP"} if unconditional.without_prompt else set()
    dropped |= {"mix_BTC", "mix_mask_BT"} if unconditional.without_mix else set()
    dropped |= {"sketch_BTK", "sketch_mask_BTG"} if unconditional.without_sketch else set()
    dropped |= {"context_BTC"} if unconditional.without_past else set()
    for field in dataclasses.fields(conditions):
        told = getattr(conditions, field.name)
        other = torch.zeros_like(told) if field.name in dropped else told
        assert torch.equal(getattr(both, field.name), torch.cat((told, other)))
        assert torch.equal(getattr(rows, field.name), torch.stack((told[0], other[1])))
    time_B, noisy = torch.rand(2), torch.randn(2, 6, 3)
    twice = network(noisy.repeat(2, 1, 1), time_B.repeat(2), both)
    assert torch.allclose(twice[:2], network(noisy, time_B, conditions), atol=1e-6)


def test_guidance_away_from_the_same_is_refused() -> None:
    with pytest.raises(UserError, match="lacks nothing; set without_prompt, without_mix, without_sketch or"):
        Unconditional(without_prompt=False, without_mix=False)


def test_widths_must_fit() -> None:
    network = DiffusionTransformer(3, 8, 1, 2, 4, 2, prompt_width=4)
    with pytest.raises(UserError, match="prompt_width is 4, but its encoder has width 5"):
        ConditionedTransformer(network, TagEncoder(5))
    with pytest.raises(UserError, match="prompt_width is 4, but its encoder has width 0"):
        ConditionedTransformer(network)
    with pytest.raises(UserError, match="low"):
        NumberConditioner(4, 5, 5)


def test_missing_weights_name_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path))
    with pytest.raises(UserError, match="livejam weights fetch t5_base"):
        T5Encoder()


def _write_small_t5(folder: Path) -> None:
    """A T5 of the published files' form, with random weights and a tokenizer of ten words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    words = {word: i for i, word in enumerate(["<pad>", "</s>", "<unk>", "warm", "electric", "piano", "slow", "jazz"])}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>")
    fast.save_pretrained(folder)
    T5EncoderModel(T5Config(vocab_size=8, d_model=12, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(
        folder
    )
    (folder / "spiece.model").touch()


@pytest.mark.slow
def test_t5_reads_local_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path))
    _write_small_t5(tmp_path / "t5_base")
    encoder = T5Encoder(longest=6)
    assert encoder.width == 12
    prompt = encoder.encode(["warm electric piano", "jazz"])
    assert prompt.embedding_BPD.shape == (2, 6, 12)
    assert prompt.mask_BP.sum(1).tolist() == [3, 1]
    alone = encoder.encode(["jazz"])
    assert torch.allclose(alone.embedding_BPD[0, :1], prompt.embedding_BPD[1, :1], atol=1e-5), "padding is not heard"
    assert copy.deepcopy(encoder) is encoder
    network = DiffusionTransformer(3, 8, 1, 2, 4, 2, prompt_width=12)
    names = ConditionedTransformer(network, encoder).state_dict()
    assert all(name.startswith("transformer.") for name in names), "frozen weights stay out of checkpoints"
    with pytest.raises(UserError, match="7 tokens, 6 are the most"):
        encoder.encode(["warm electric piano slow jazz warm piano"])
    with pytest.raises(UserError, match="empty"):
        encoder.encode([""])
