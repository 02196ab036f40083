"""`livejam codec`: what a codec does to a recording, and codecs side by side."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livejam.errors import UserError
from livejam.outputs import add_overwrite, require_free

if TYPE_CHECKING:
    from torch import Tensor

    from livejam.codecs.roundtrip import Roundtrip, Stream

COLUMNS = """\
log_mel_l1, stft: distances of spectra. si_sdr_db: of waveforms, low for codecs that generate their own phases.
fad_log_mel: compare it only within a table. beat_f1_kept, chroma, bass_chroma: 1 = nothing lost. smoothness: of
latents from frame to frame. …_rtf: seconds of audio per second of work. All at 44.1 kHz, mixed down to mono."""


def fold_codec_options(words: Sequence[str]) -> list[str]:
    """`--codec X --codec.weights P` becomes `--codec "X --codec.weights P"`: an option belongs to the codec before."""
    folded: list[str] = []
    codec = -1
    pending = iter(words)
    for word in pending:
        if word.startswith("--codec."):
            if codec < 0:
                raise UserError(f"{word} sets an option of a codec that is not named yet; put --codec before it")
            value = [] if "=" in word else [next(pending, "")]
            folded[codec] += " " + shlex.join([word, *value])
        elif word == "--codec":
            folded += [word, shlex.quote(next(pending, ""))]
            codec = len(folded) - 1
        elif word.startswith("--codec="):
            folded += ["--codec", shlex.quote(word.partition("=")[2])]
            codec = len(folded) - 1
        else:
            folded.append(word)
    return folded


def add_codec(commands: Any) -> None:
    """Add the command to the parser's commands."""
    codec = commands.add_parser(
        "codec",
        help="send recordings through codecs, and compare codecs",
        description="Measure what codecs do to recordings. CODEC is the name of bundled weights (pocket) or fetched\n"
        "weights (`livejam weights list`), a .safetensors file, a YAML with class_path and init_args, or a class\n"
        "path; --codec.NAME VALUE sets an option of the class before it.",
    )
    actions = codec.add_subparsers(metavar="ACTION", required=True)
    once = actions.add_parser(
        "roundtrip",
        help="encode and decode a recording, and measure what was lost",
        description="Encode and decode a recording of any length, aligned, at the codec's rate.",
        epilog="examples:\n  livejam codec roundtrip --codec pocket song.wav decoded.wav --stream --picture song.png\n"
        "  livejam codec roundtrip --codec livejam.codecs.Mimi.from_weights --codec.weights DIR song.wav decoded.wav",
    )
    once.add_argument("--codec", required=True, metavar="CODEC", help="which codec")
    once.add_argument("source", type=Path, metavar="IN", help="a WAV or FLAC")
    once.add_argument("target", type=Path, metavar="OUT", help="the decoded recording")
    once.add_argument("--stream", action="store_true", help="frame by frame, as on stage")
    once.add_argument("--picture", type=Path, metavar="PNG", help="mel spectrograms of the first 20 seconds")
    add_overwrite(once)
    once.set_defaults(run=_roundtrip)
    several = actions.add_parser(
        "compare",
        help="a table of several codecs on the same recordings",
        description=f"A table of codecs.\n\n{COLUMNS}",
        epilog="example:\n  livejam codec compare --codec pocket --codec mimi one.wav two.wav --markdown table.md",
    )
    several.add_argument("--codec", action="append", required=True, metavar="CODEC", help="a codec; repeat it")
    several.add_argument("files", nargs="+", type=Path, metavar="FILE", help="WAV or FLAC recordings")
    several.add_argument("--seconds", type=float, default=30.0, help="seconds of each file that are used (default: 30)")
    several.add_argument("--no-beats", action="store_true", help="skip beat tracking, which needs the metrics extra")
    several.add_argument("--markdown", type=Path, metavar="MD", help="write the table as Markdown")
    several.add_argument("--csv", type=Path, metavar="CSV", help="write the table as CSV")
    add_overwrite(several)
    several.set_defaults(run=_compare)


def _roundtrip(options: argparse.Namespace) -> int:
    from livejam.cli.codec_choice import choose_codec
    from livejam.codecs.roundtrip import frame_by_frame, in_pieces, roundtrip
    from metrics.reconstruction import LogMelScore, WaveformScore

    outputs = {"OUT": options.target, "--picture": options.picture}
    require_free(outputs, (options.source, *_files_of(options.codec)), options.overwrite)
    codec = choose_codec(shlex.split(options.codec))
    stream = frame_by_frame(codec) if options.stream else in_pieces(codec)
    waveform, mel = WaveformScore(), LogMelScore(codec.spec.sample_rate_hz)

    def listen(decoded_AN: Tensor, original_AN: Tensor) -> None:
        waveform.update(decoded_AN, original_AN)
        mel.update(decoded_AN, original_AN)

    report = roundtrip(stream, options.source, options.target, listen)
    if options.picture:
        from metrics.reconstruction_picture import draw_pair

        draw_pair(*_aligned(report, stream), codec.spec.sample_rate_hz, options.picture)
    scores = waveform.compute()
    seconds = report.samples / codec.spec.sample_rate_hz
    way = "frame by frame" if options.stream else "offline, in pieces"
    print(f"{options.target}: {seconds:.1f} s through {codec.spec.name}, {way}")
    print(f"  SNR         {_number(float(scores['snr_db']), 'dB')}")
    print(f"  SI-SDR      {_number(float(scores['si_sdr_db']), 'dB')}")
    print(f"  log-mel L1  {_number(float(mel.compute()), 'nepers')}")
    print(f"  delay       {_delays(report, stream)}")
    encode, decode = seconds / report.encode_seconds, seconds / report.decode_seconds
    print(f"  real time   encodes {encode:.1f} ×, decodes {decode:.1f} ×")
    return 0


def _files_of(codec: str) -> list[Path]:
    """Files that a codec may be read from: every path that its name or its options could mean."""
    return [Path(word.partition("=")[2] or word) for word in shlex.split(codec)]


def _number(value: float, unit: str) -> str:
    return f"{value:.3f} {unit}" if value == value else "undefined (the recording is silent)"


def _delays(report: Roundtrip, stream: Stream) -> str:
    """The delay that the codec declares, and the delay measured between input and output."""
    import torch

    from metrics.reconstruction import measured_delay

    spec = stream.codec.spec
    late_N, original_N = (torch.cat(pieces, dim=1).mean(0) for pieces in (report.streamed, report.original))
    measured, by = measured_delay(late_N, original_N, spec.delay_samples + spec.sample_rate_hz // 2)
    declared = f"{spec.delay_samples} samples ({1000 * spec.delay_samples / spec.sample_rate_hz:.1f} ms) declared"
    return f"{declared}, {measured} measured by {by}" if by != "nothing" else f"{declared}, none measurable"


def _aligned(report: Roundtrip, stream: Stream) -> tuple[Tensor, Tensor]:
    """The beginning of the original and of the reconstruction, mono."""
    import torch

    original_N, late_N = (torch.cat(pieces, dim=1).mean(0) for pieces in (report.original, report.streamed))
    made_N = late_N[stream.codec.spec.delay_samples :]
    return original_N[: len(made_N)], made_N


def _compare(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from livejam.cli.codec_choice import choose_codec
    from livejam.files import atomic_path
    from metrics.beats import MadmomRNN
    from metrics.codec_comparison import as_csv, as_markdown, compare_codec

    read = (*options.files, *(path for text in options.codec for path in _files_of(text)))
    require_free({"--markdown": options.markdown, "--csv": options.csv}, read, options.overwrite)
    codecs = [choose_codec(shlex.split(text)) for text in options.codec]
    recordings = [_excerpt(path, options.seconds) for path in options.files]
    tracker = None if options.no_beats else MadmomRNN()
    rows = [compare_codec(codec, recordings, tracker) for codec in tqdm(codecs, desc="codecs", leave=False)]
    print(as_markdown(rows))
    for path, text in ((options.markdown, as_markdown(rows) + "\n"), (options.csv, as_csv(rows))):
        if path:
            with atomic_path(path) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return 0


def _excerpt(path: Path, seconds: float) -> Tensor:
    """The beginning of a recording AN at the rate at which codecs are compared, with all its channels."""
    import soundfile
    import torch

    from livejam.codecs.roundtrip import read_blocks
    from livejam.option_ranges import Range, require_number
    from livejam.spec import CodecSpec
    from metrics.codec_comparison import RATE_HZ

    require_number("--seconds", seconds, Range(1))
    if not path.is_file():
        raise UserError(f"there is no recording {path}; give a WAV or FLAC file")
    try:
        channels = min(2, soundfile.info(path).channels)
    except soundfile.SoundFileError as error:
        raise UserError(f"{path} cannot be read as audio ({error}); give a WAV or FLAC file") from error
    spec = CodecSpec("original", RATE_HZ, channels, 1, 1, 0)
    wanted, blocks, have = round(seconds * RATE_HZ), [], 0
    for block_AN in read_blocks(path, spec):
        blocks.append(block_AN)
        have += block_AN.shape[1]
        if have >= wanted:
            break
    return torch.cat(blocks, dim=1)[:, :wanted]
