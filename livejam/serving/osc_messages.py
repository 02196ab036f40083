"""Every OSC message that livejam understands or sends: address, arguments and their bounds.

`docs/osc.md` has tables made of them. The messages of windows and their meaning are those of the Max/MSP system of
Karchkhadze and Dubnov (arXiv 2604.07612).

Shapes: N audio samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any

from livejam.batch import NAMES
from livejam.errors import UserError
from livejam.option_ranges import Range
from livejam.serving.osc_fields import (
    LAST,
    LONGEST_BLOCK,
    MOST_ROWS,
    Message,
    number,
    read_arguments,
    rest,
    text,
    whole,
    yes,
)
from livejam.serving.osc_sound_messages import SOUNDS
from livejam.serving.osc_wire import read_datagram
from livejam.serving.osc_word_messages import ASKING
from livejam.streaming.rings import Audio
from livejam.streaming.session import LOUDEST_DB, SOFTEST_DB, UNDO_SECONDS

LONGEST_CHUNK = 13_000
"""Samples of a chunk of a window that one datagram holds."""

PACKAGE = Range(128, 16_384)

# What a musician's program sends, whatever the mode


@dataclass(frozen=True)
class Hello(Message):
    """Asks for `/welcome`, and says that somebody is there."""

    address = "/hello"


@dataclass(frozen=True)
class Instrument(Message):
    """Lets the model play other instruments. Another number of them begins a new session."""

    address = "/instrument"
    names: tuple[str, ...] = field(metadata=rest("s…", "names of instruments, such as drums bass", 1, MOST_ROWS))


@dataclass(frozen=True)
class Level(Message):
    """Makes it louder or softer."""

    address = "/level"
    decibels: float = field(metadata=number("level in dB", SOFTEST_DB, LOUDEST_DB))
    row: int | None = field(default=None, metadata=whole("row, all if left out", 0, MOST_ROWS - 1, optional=True))


@dataclass(frozen=True)
class Mute(Message):
    """Silences it, or lets it sound again; it plays on unheard."""

    address = "/mute"
    silent: int = field(metadata=whole("1 = silent, 0 = sounding", 0, 1))
    row: int | None = field(default=None, metadata=whole("row, all if left out", 0, MOST_ROWS - 1, optional=True))


@dataclass(frozen=True)
class Anticipation(Message):
    """Lets a model that learnt several anticipations play further ahead, or less far. Answered by `/welcome`."""

    address = "/anticipation"
    frames: int = field(metadata=whole("frames that it plays ahead", 0, 1000))


@dataclass(frozen=True)
class Undo(Message):
    """Lets it forget what it heard and played last."""

    address = "/undo"
    seconds: float = field(metadata=number("seconds", 0, UNDO_SECONDS))


@dataclass(frozen=True)
class Seed(Message):
    """Lets it take other choices; row n takes the seed plus n."""

    address = "/seed"
    seed: int = field(metadata=whole("seed", 0, LAST - MOST_ROWS))


@dataclass(frozen=True)
class Reset(Message):
    """Begins anew: nothing heard, nothing played. Instruments, levels and seeds stay."""

    address = "/reset"
    ignored: int | None = field(default=None, metadata=whole("ignored", -LAST, optional=True))


# The continuous mode


@dataclass(frozen=True)
class Stream(Message):
    """A block of what the musician plays."""

    address = "/stream"
    sequence: int = field(metadata=whole("number of the block, 1 more than that of the block before"))
    position: int = field(metadata=whole("the musician's position of its first sample, in samples"))
    samples_N: Audio = field(metadata=rest("f…", f"samples, up to {LONGEST_BLOCK}", 1, LONGEST_BLOCK))


@dataclass(frozen=True)
class StreamAnswer(Message):
    """A block of accompaniment, as soon as it is known."""

    address = "/stream"
    sequence: int = field(metadata=whole("number of the block"))
    play_at: int = field(metadata=whole("the musician's position with which it should sound, a multiple of 64"))
    row: int = field(metadata=whole("row, from 0 on: which instrument", 0, MOST_ROWS - 1))
    samples_N: Audio = field(metadata=rest("f…", f"samples, up to {LONGEST_BLOCK}", 1, LONGEST_BLOCK))


@dataclass(frozen=True)
class Welcome(Message):
    """What plays here, after `/hello` and whenever it changes."""

    address = "/welcome"
    sample_rate_hz: int = field(metadata=whole("sample rate in Hz of both directions", 1))
    block_samples: int = field(metadata=whole("samples between two steps of the model", 1))
    lead_samples: int = field(metadata=whole("lead: how many samples it plays ahead", -LAST))
    rows: int = field(metadata=whole("rows", 1, MOST_ROWS))
    delay_ms: float = field(metadata=number("delay of codec and resampling in ms, which the lead allows for", 0, 1e9))
    instruments: str = field(metadata=text("the instrument of every row, with commas"))
    anticipation: int = field(metadata=whole("its anticipation in frames", -LAST))
    least: int = field(metadata=whole("the smallest that `/anticipation` can ask for", -LAST))
    most: int = field(metadata=whole("the largest; the same = there is nothing to choose", -LAST))


@dataclass(frozen=True)
class Meters(Message):
    """Once a second: how it goes."""

    address = "/meters"
    latency_ms: float = field(
        metadata=number("ms from a block's arrival to the answer that it made known, median", 0, 1e9)
    )
    longest_ms: float = field(metadata=number("the longest of these", 0, 1e9))
    spread_ms: float = field(metadata=number("ms by which packets came unevenly", 0, 1e9))
    patience_ms: float = field(metadata=number("ms for which a missing packet is waited for", 0, 1e9))
    lost_ms: float = field(metadata=number("ms of your sound that did not come in time, since the beginning", 0, 1e12))
    gaps: int = field(metadata=whole("in how many gaps"))
    late: int = field(metadata=whole("blocks that came too late"))
    duplicates: int = field(metadata=whole("blocks that came twice"))
    refused: int = field(metadata=whole("datagrams that could not be read, or came from somebody else"))
    stalls: int = field(metadata=whole("times at which the model was so slow that it missed sound"))


@dataclass(frozen=True)
class Error(Message):
    """Why something that you asked for was refused."""

    address = "/error"
    sentence: str = field(metadata=text("one sentence"))


# Windows, the published protocol


@dataclass(frozen=True)
class Context(Message):
    """A chunk of a batch: of one hop of what the musician plays."""

    address = "/context"
    batch: int = field(metadata=whole("number of the batch, 1 more than that of the batch before", -LAST))
    start: int = field(metadata=whole("first sample of the chunk, counted from the first one of its batch"))
    chunks: int = field(metadata=whole("chunks of this batch", 1, 1 << 16))
    samples_N: Audio = field(metadata=rest("f…", "samples", 1, int(PACKAGE.high)))


@dataclass(frozen=True)
class PredictInstruments(Message):
    """Which of bass, drums, guitar and piano it shall play."""

    address = "/predict_instruments"
    asked: tuple[int, ...] = field(metadata=rest("i…", "numbers, 1 = play, for bass, drums, guitar and piano", 4, 4))


@dataclass(frozen=True)
class UpdateR(Message):
    """Sets the hop."""

    address = "/update_r"
    share: float = field(metadata=number("r: the hop as a share of 6 s", 0.002, 1))


@dataclass(frozen=True)
class W(Message):
    """Says which hop an answer is for."""

    address = "/w"
    hops: float = field(metadata=number("w: -1 = the hop just heard, 0 = the next one, 1 = the one after it", -1, 1))


@dataclass(frozen=True)
class UpdateFade(Message):
    """Sets how long before its hop an answer begins, faded in."""

    address = "/update_fade"
    seconds: float = field(metadata=number("seconds", 0, 1))


@dataclass(frozen=True)
class UpdatePackageSize(Message):
    """Sets the size of the chunks that the answers come in."""

    address = "/update_package_size"
    samples: int = field(metadata=whole(f"samples, of which at most {LONGEST_CHUNK} are used", 128, 16_384))


@dataclass(frozen=True)
class LoadModel(Message):
    """Answered with `/ready`: the model was chosen when livejam was started."""

    address = "/load_model"
    ignored: str | None = field(default=None, metadata=text("ignored", optional=True))


@dataclass(frozen=True)
class Predict(Message):
    """Asks for the answer to a batch that is not complete; silence takes the place of what is missing."""

    address = "/predict"
    ignored: int | None = field(default=None, metadata=whole("ignored", -LAST, optional=True))


@dataclass(frozen=True)
class Print(Message):
    """Prints settings and meters where livejam was started."""

    address = "/print"
    ignored: bool | None = field(default=None, metadata=yes("ignored", optional=True))


@dataclass(frozen=True)
class Verbose(Message):
    """Prints a line for every batch where livejam was started."""

    address = "/verbose"
    lines: int = field(metadata=whole("1 = yes, 0 = no", 0, 1))


@dataclass(frozen=True)
class PacketTest(Message):
    """Asks for the same numbers back, in `/packet_test_response`."""

    address = "/packet_test"
    count: int = field(metadata=whole("how many"))
    samples_N: Audio = field(metadata=rest("f…", "numbers", 0, int(PACKAGE.high)))


@dataclass(frozen=True)
class PacketTestResponse(Message):
    """What came with `/packet_test`."""

    address = "/packet_test_response"
    count: int = field(metadata=whole("how many came"))
    samples_N: Audio = field(metadata=rest("f…", "numbers", 0, int(PACKAGE.high)))


@dataclass(frozen=True)
class Ready(Message):
    """livejam listens: at its start, at your first message, and after `/load_model`."""

    address = "/ready"
    ready: bool = field(metadata=yes("always true"))


@dataclass(frozen=True)
class ServerPredicted(Message):
    """All chunks of an answer were sent."""

    address = "/server_predicted"
    done: bool = field(metadata=yes("always true"))


@dataclass(frozen=True)
class BatchDropped(Message):
    """A batch gets no answer; if that is because the one before was still at work, its sound is heard with the next."""

    address = "/batch_dropped"
    batch: int = field(metadata=whole("number of the batch", -LAST))


@dataclass(frozen=True)
class Stem(Message):
    """A chunk of an answer: `/bass`, `/drums`, `/guitar`, `/piano`, or the name of another instrument."""

    address = "/drums"
    instrument: str
    batch: int = field(metadata=whole("number of the batch that it answers", -LAST))
    chunk: int = field(metadata=whole("number of the chunk, from 0 on"))
    chunks: int = field(metadata=whole("chunks of this answer", 1))
    samples_N: Audio = field(metadata=rest("f…", "samples", 1, LONGEST_CHUNK))

    @property
    def sent_to(self) -> str:
        return stem_address(self.instrument)

    @classmethod
    def heard(cls, address: str, values: list[Any]) -> Stem:
        return cls(STEMS[address], **read_arguments(cls, address, values))


def stem_address(instrument: str) -> str:
    """The address of an instrument's chunks: `Percussive` are the protocol's drums."""
    return "/drums" if instrument == "Percussive" else "/" + instrument.lower().replace(" ", "_")


STEMS: Mapping[str, str] = {stem_address(name): name for name in NAMES}
"""Address → instrument."""

CONTROLS: tuple[type[Message], ...] = (
    Hello, Instrument, *ASKING, *SOUNDS, Level, Mute, Anticipation, Undo, Seed, Reset,
)  # fmt: skip
STREAM: tuple[type[Message], ...] = (Stream,)
WINDOWS: tuple[type[Message], ...] = (
    Context, PredictInstruments, UpdateR, W, UpdateFade, UpdatePackageSize, LoadModel, Predict, Print, Verbose,
    PacketTest,
)  # fmt: skip
ANSWERS: tuple[type[Message], ...] = (Welcome, StreamAnswer, Meters, Error)
WINDOW_ANSWERS: tuple[type[Message], ...] = (Ready, Stem, ServerPredicted, BatchDropped, PacketTestResponse)

Known = Mapping[str, type[Message]]
TO_SERVER: Known = {kind.address: kind for kind in (*CONTROLS, *STREAM, *WINDOWS)}
FROM_SERVER: Known = {kind.address: kind for kind in (*ANSWERS, *WINDOW_ANSWERS)} | dict.fromkeys(STEMS, Stem)


def read_message(datagram: bytes, known: Known) -> Message:
    """What a datagram says.

    Args:
        datagram: any bytes.
        known: the messages of this direction, by address.

    Raises:
        MalformedError: it is no OSC message.
        UserError: there is no such message, or an argument is missing or wrong.
    """
    address, values = read_datagram(datagram)
    if address not in known:
        near = get_close_matches(address[:60], known, n=1)
        hint = f"did you mean {near[0]}?" if near else "docs/osc.md lists what there is"
        raise UserError(f"there is no message {address[:60]}; {hint}")
    return known[address].heard(address, values)
