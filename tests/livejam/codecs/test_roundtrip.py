"""Recordings of any kind through a codec: aligned, as long, in constant memory, and one clear error where not."""

from __future__ import annotations

import multiprocessing
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from livejam.cli import main as cli
from livejam.cli.codec import fold_codec_options
from livejam.cli.codec_choice import choose_codec
from livejam.codecs import CausalCodec, Codec, pretrained_codec, save_codec
from livejam.codecs.roundtrip import Stream, frame_by_frame, in_pieces, regrouped, roundtrip
from livejam.errors import UserError
from livejam.spec import CodecSpec
from metrics.reconstruction import measured_delay

RATE, HOP = 16_000, 256


class Delaying(Codec[Tensor, Tensor]):
    """Latents are samples; the decoder plays them `delay` samples late: what comes out is known."""

    def __init__(self, channels: int = 1, delay: int = 100) -> None:
        super().__init__()
        self.spec = CodecSpec("delaying", RATE, channels, HOP, HOP * channels, delay)

    def encode(self, audio_BAN: Tensor) -> Tensor:
        return self.encode_step(audio_BAN, torch.zeros(0))[0]

    def decode(self, latents_BTC: Tensor) -> Tensor:
        return latents_BTC.unflatten(2, (-1, HOP)).transpose(1, 2).flatten(2)

    def init_encoder_state(self, batch_size: int) -> Tensor:
        return torch.zeros(0)

    def encode_step(self, audio_BAN: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        return audio_BAN.unflatten(2, (-1, HOP)).transpose(1, 2).flatten(2), state

    def init_decoder_state(self, batch_size: int) -> Tensor:
        return torch.zeros(batch_size, self.spec.audio_channels, self.spec.delay_samples)

    def decode_step(self, latents_BTC: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        audio_BAN = torch.cat([state, self.decode(latents_BTC)], dim=2)
        samples = latents_BTC.shape[1] * HOP
        return audio_BAN[:, :, :samples], audio_BAN[:, :, samples:]


class Diverged(Delaying):
    """Plays numbers that are not finite."""

    def decode(self, latents_BTC: Tensor) -> Tensor:
        return super().decode(latents_BTC) * torch.nan


def write(path: Path, audio: Any, rate: int = RATE) -> Path:
    soundfile.write(path, np.asarray(audio, np.float32), rate, subtype="FLOAT")
    return path


def ignore(decoded_AN: Tensor, original_AN: Tensor) -> None:
    """Listen to nothing."""


@settings(max_examples=12, deadline=None)
@given(samples=st.integers(1, 3000), step=st.integers(1, 4), delay=st.integers(0, 1500), channels=st.integers(1, 2))
def test_what_comes_out_is_aligned_and_as_long(
    tmp_path_factory: pytest.TempPathFactory, samples: int, step: int, delay: int, channels: int
) -> None:
    folder = tmp_path_factory.mktemp("audio")
    audio_NA = np.random.default_rng(0).uniform(-0.9, 0.9, (samples, channels))
    heard: list[tuple[Tensor, Tensor]] = []
    source = write(folder / "in.wav", audio_NA)
    report = roundtrip(
        Stream(Delaying(channels, delay), step), source, folder / "out.wav", lambda *pair: heard.append(pair)
    )
    out_NA, rate = soundfile.read(folder / "out.wav", always_2d=True)
    assert (rate, out_NA.shape, report.samples) == (RATE, audio_NA.shape, samples)
    assert np.abs(out_NA - audio_NA).max() < 1e-4
    for decoded_AN, original_AN in heard:
        assert torch.equal(decoded_AN, original_AN)


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(0, 40), max_size=8), size=st.integers(1, 15))
def test_regrouping_keeps_every_sample(sizes: list[int], size: int) -> None:
    audio = torch.arange(float(sum(sizes)))[None]
    pieces = list(regrouped(audio.split(sizes, dim=1) if sizes else [], size))
    assert all(piece.shape[1] == size for piece in pieces[:-1])
    assert torch.equal(torch.cat(pieces, dim=1) if pieces else audio, audio)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 2), (44_100, 1), (44_100, 5)])
def test_any_rate_and_any_channels_fit(tmp_path: Path, rate: int, channels: int) -> None:
    tone_N = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    source = write(tmp_path / "in.wav", np.repeat(tone_N[:, None], channels, axis=1), rate)
    roundtrip(frame_by_frame(Delaying(2)), source, tmp_path / "out.wav", ignore)
    out_NA, _ = soundfile.read(tmp_path / "out.wav")
    assert abs(len(out_NA) - RATE) <= 1
    expected_N = 0.5 * np.sin(2 * np.pi * 440 * np.arange(len(out_NA)) / RATE)
    assert np.abs(out_NA - expected_N[:, None])[500:-500].max() < 1e-2


def test_pieces_equal_frames(tmp_path: Path) -> None:
    torch.manual_seed(0)
    codec = CausalCodec(width=16, subframe_width=16, blocks=1, subframe_blocks=1).eval()
    source = write(tmp_path / "in.wav", 0.1 * np.random.default_rng(1).normal(size=22050), 22050)
    outs = []
    for name, stream in (("a.wav", frame_by_frame(codec)), ("b.wav", in_pieces(codec))):
        roundtrip(stream, source, tmp_path / name, ignore)
        outs.append(soundfile.read(tmp_path / name)[0])
    assert np.abs(outs[0] - outs[1]).max() < 1e-3


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "no recording"), (b"", "cannot be read"), (b"RIFF", "cannot be read"), (np.zeros(0), "is empty")],
)
def test_what_is_no_recording_is_one_error(
    tmp_path: Path, content: Any, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in.wav"
    if isinstance(content, bytes):
        source.write_bytes(content)
    elif content is not None:
        write(source, content)
    assert cli.main(["codec", "roundtrip", "--codec", "pocket", str(source), str(tmp_path / "out.wav")]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert says in err
    assert not (tmp_path / "out.wav").exists()


def test_nan_leaves_nothing_behind(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = write(tmp_path / "in.wav", [0.1, float("nan")])
    assert cli.main(["codec", "roundtrip", "--codec", "pocket", str(source), str(tmp_path / "out.wav")]) == 2
    assert "not finite" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


@pytest.mark.parametrize(("name", "audio"), [("silence", np.zeros(9000)), ("one sample", np.ones(1))])
def test_the_command_survives(tmp_path: Path, name: str, audio: Any, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = write(tmp_path / "in.wav", audio, 22050), tmp_path / "out.wav"
    picture = tmp_path / "p.png"
    arguments = [
        "codec",
        "roundtrip",
        "--codec",
        "pocket",
        str(source),
        str(out),
        "--stream",
        "--picture",
        str(picture),
    ]
    assert cli.main(arguments) == 0
    text = capsys.readouterr().out
    assert "768 samples" in text
    assert ("undefined" in text) == (name == "silence")
    assert soundfile.info(out).frames == len(audio)
    assert picture.stat().st_size > 1000


@settings(max_examples=10, deadline=None)
@given(delay=st.integers(0, 3000), silent=st.booleans())
def test_delay_is_found(delay: int, silent: bool) -> None:
    original_N = torch.randn(RATE, generator=torch.Generator().manual_seed(0)) * (not silent)
    late_N = torch.nn.functional.pad(original_N, (delay, 0))[:RATE]
    assert measured_delay(late_N, original_N, 4000) == ((0, "nothing") if silent else (delay, "waveforms"))


def test_delay_of_other_phases_is_found_by_spectra() -> None:
    rng = torch.Generator().manual_seed(0)
    bursts_N = (torch.rand(RATE * 4, generator=rng) < 3e-4).float()
    decay_N = torch.exp(-torch.arange(400.0) / 100)
    envelope_N = torch.nn.functional.conv1d(bursts_N[None, None], decay_N.flip(0)[None, None], padding=399)[0, 0]
    original_N, made_N = (envelope_N[:60000] * torch.randn(60000, generator=rng) for _ in range(2))
    late_N = torch.nn.functional.pad(made_N, (640, 0))[:60000]
    lag, by = measured_delay(late_N, original_N, 4000)
    assert by == "spectra"
    assert abs(lag - 640) <= 64


def test_options_belong_to_the_codec_before_them() -> None:
    words = ["codec", "compare", "--codec", "pocket", "--codec=A.B", "--codec.width", "3", "--codec.x=a b", "f.wav"]
    assert fold_codec_options(words) == [
        *("codec", "compare", "--codec", "pocket"),
        *("--codec", "A.B --codec.width 3 '--codec.x=a b'", "f.wav"),
    ]


def test_codecs_are_chosen_by_name_file_and_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path))
    assert choose_codec(["pocket"]).spec.name == "pocket"
    small = ["livejam.codecs.CausalCodec", "--codec.latent_channels", "7", "--codec.width", "8"]
    assert choose_codec(small).spec.latent_channels == 7
    path = tmp_path / "codec.yaml"
    path.write_text("class_path: livejam.codecs.CausalCodec\ninit_args: {latent_channels: 5, width: 8}")
    assert choose_codec([str(path)]).spec.latent_channels == 5
    path.write_text(f"model: {{init_args: {{codec: {{{', '.join(path.read_text().splitlines())}}}}}}}")
    assert choose_codec([str(path), "--codec.latent_channels", "6"]).spec.latent_channels == 6


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["pockte"], "choose pocket"),
        (["livejam.codecs.CausalCodec", "--codec.widht", "3"], "widht"),
        (["livejam.spec.CodecSpec"], "choose pocket"),
        (["pocket", "--codec.width", "3"], "cannot be set"),
        (["mimi"], "livejam weights fetch mimi"),
        (["nowhere.yaml"], "there is no file nowhere.yaml"),
        (["empty.yaml"], "names no codec"),
    ],
)
def test_no_such_codec_is_one_error(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LIVEJAM_WEIGHTS", str(tmp_path))
    Path("empty.yaml").write_text("seed: 3")
    assert cli.main(["codec", "roundtrip", "--codec", *words, "in.wav", "out.wav"]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert says in err


def peak_growth_mb(folder: Path, seconds: int) -> float:
    """Memory that a round trip adds to that of one of 30 s, in a process of its own."""
    torch.set_num_threads(1)
    codec = CausalCodec(width=16, subframe_width=16, blocks=1, subframe_blocks=1).eval()
    block = (0.1 * np.random.default_rng(0).normal(size=(44_100, 2))).astype(np.float32)
    for name, length in (("short.wav", 30), ("long.wav", seconds)):
        with soundfile.SoundFile(folder / name, "w", 44_100, 2) as file:
            for _ in range(length):
                file.write(block)
    roundtrip(in_pieces(codec), folder / "short.wav", folder / "out.wav", ignore)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    roundtrip(in_pieces(codec), folder / "long.wav", folder / "out.wav", ignore)
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024


@pytest.mark.parametrize("seconds", [90, pytest.param(3600, marks=[pytest.mark.slow, pytest.mark.timeout(1800)])])
def test_memory_does_not_grow(tmp_path: Path, seconds: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A minute more of stereo at 44.1 kHz would be 21 MB, and as much decoded; an hour 1.3 GB."""
    # glibc raises this by itself, and then keeps up to 20 MB of freed arrays
    monkeypatch.setenv("MALLOC_MMAP_THRESHOLD_", "65536")
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(peak_growth_mb, (tmp_path, seconds)) < 20


def test_what_is_not_finite_is_not_written_as_silence(tmp_path: Path) -> None:
    source, target = write(tmp_path / "in.wav", np.zeros((RATE, 1))), tmp_path / "out.wav"
    with pytest.raises(UserError, match="codec delaying gave samples that are not finite"):
        roundtrip(frame_by_frame(Diverged()), source, target, lambda decoded, original: None)
    assert [path.name for path in tmp_path.iterdir()] == ["in.wav"]


def test_a_codec_that_diverged_is_neither_written_nor_read(tmp_path: Path) -> None:
    codec, path = pretrained_codec("pocket"), tmp_path / "codec.safetensors"
    save_codec(codec, path, {})
    kept = path.read_bytes()
    for poison in (float("nan"), 1e6):
        next(codec.decoder.parameters()).data.view(-1)[0] = poison
        with pytest.raises(UserError, match="codec pocket holds weights that are not finite"):
            save_codec(codec, path, {})
    assert path.read_bytes() == kept, "float16 cannot hold 1e6"
    with safe_open(path, "pt") as file:
        save_file({name: tensor * torch.nan for name, tensor in load_file(path).items()}, path, file.metadata())
    source = write(tmp_path / "in.wav", np.zeros(RATE))
    assert cli.main(["codec", "roundtrip", "--codec", str(path), str(source), str(tmp_path / "out.wav")]) == 2
