"""Several musicians, one model: their sessions play in threads of their own, and the model reads its weights once for
all steps that are due at the same time.

    baton = Baton()
    player = shared(livejam.load("liveband-pocket"), baton)
    sessions = [Session(player, instruments=[name]) for name in ("Drums", "Bass")]  # each in the thread of its engine
    with baton:  # in each of the threads
        session.advance(audio_AN)

Nothing waits for company: whoever is alone plays at once. Those who come while the model is at work play together as
soon as it is free. The sound of every session is what it would be by itself, within 1e-5.

Shapes: B rows, T latent frames, C latent channels, A audio channels, N samples.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, Generic, Protocol, TypeVar, cast

import torch
from torch import Tensor

from livejam.accompanist import Accompanist, Controls, Weights
from livejam.checkpoints.player import Player
from livejam.codecs.causal_codec import CausalCodec
from livejam.codecs.codec import Codec
from livejam.spec import CodecSpec
from livejam.streaming.batons import Baton
from livejam.systems.liveband import LiveBandAccompanist

Asked = TypeVar("Asked")
Given = TypeVar("Given")
State = TypeVar("State")
Stepped = tuple[Tensor, State]


@dataclass
class _Turn(Generic[Asked, Given]):
    """One call that waits."""

    asked: Asked
    done: bool = False
    given: list[Given] = field(default_factory=list)
    error: Exception | None = None


class Turns(Generic[Asked, Given]):
    """A function of many, called by many threads, each with one.

    A thread lets all go first who wait for the baton, and many of them come to ask for the same. Then it works for all
    who have asked, and the others take what it made for them.

    Args:
        together: from what several threads ask to what each is given, in order.
        kind: calls of different kinds cannot be made together.
        baton: of all threads that call.
    """

    def __init__(
        self, together: Callable[[Sequence[Asked]], Sequence[Given]], kind: Callable[[Asked], Hashable], baton: Baton
    ) -> None:
        self._together, self._kind, self._baton = together, kind, baton
        self._waiting: list[_Turn[Asked, Given]] = []
        self.calls = self.batches = 0

    def __call__(self, asked: Asked) -> Given:
        """What it is given for this one; what goes wrong with it is raised here, and only here."""
        turn: _Turn[Asked, Given] = _Turn(asked)
        with self._baton:
            self._waiting.append(turn)
            self._baton.let_others_first()
            if not turn.done:
                waiting, self._waiting = self._waiting, []
                self._serve(waiting)
        if turn.error is not None:
            raise turn.error
        return turn.given[0]

    def _serve(self, waiting: Sequence[_Turn[Asked, Given]]) -> None:
        kinds: defaultdict[Hashable, list[_Turn[Asked, Given]]] = defaultdict(list)
        for turn in waiting:
            kinds[self._kind(turn.asked)].append(turn)
        for turns in kinds.values():
            try:
                self._play(turns)
            except Exception as error:
                self._one_by_one(turns, error)

    def _play(self, turns: Sequence[_Turn[Asked, Given]]) -> None:
        given = self._together([turn.asked for turn in turns])
        self.calls, self.batches = self.calls + len(turns), self.batches + 1
        for turn, own in zip(turns, given, strict=True):
            turn.given, turn.done = [own], True

    def _one_by_one(self, turns: Sequence[_Turn[Asked, Given]], error: Exception) -> None:
        """The fault of one must not be that of the others."""
        if len(turns) == 1:
            turns[0].error, turns[0].done = error, True
            return
        for turn in turns:
            try:
                self._play([turn])
            except Exception as own:
                turn.error, turn.done = own, True


class PlaysTogether(Accompanist[State], Protocol[State]):
    """An accompanist that can make a step of several streams at once."""

    @property
    def reference(self) -> Mapping[str, Any] | None: ...

    def step_together(self, streams: Sequence[tuple[Tensor, State]]) -> Sequence[Stepped[State]]: ...


class SharedAccompanist(Generic[State]):
    """An accompanist whose step many threads may call, each with a state of its own.

    Args:
        accompanist: says what it plays.
        turns: the steps of all these threads.
    """

    def __init__(self, accompanist: PlaysTogether[State], turns: Turns[tuple[Tensor, State], Stepped[State]]) -> None:
        self.accompanist, self.turns = accompanist, turns

    @property
    def spec(self) -> CodecSpec:
        return self.accompanist.spec

    @property
    def block_frames(self) -> int:
        return self.accompanist.block_frames

    @property
    def anticipation_frames(self) -> int:
        return self.accompanist.anticipation_frames

    @property
    def anticipations(self) -> range:
        return self.accompanist.anticipations

    @property
    def reference(self) -> Mapping[str, Any] | None:
        return self.accompanist.reference

    def init_state(self, batch_size: int, controls: Controls) -> State:
        return self.accompanist.init_state(batch_size, controls)

    def step(self, mix_BTC: Tensor, state: State) -> Stepped[State]:
        return self.turns((mix_BTC, state))

    def with_controls(self, controls: Controls, state: State) -> State:
        return self.accompanist.with_controls(controls, state)

    def with_guidance(self, guidance: Weights) -> Accompanist[State]:
        return self.accompanist.with_guidance(guidance)

    def with_anticipation(self, frames: int) -> SharedAccompanist[State]:
        # the anticipation of a step is its state's, so all of them keep playing together
        accompanist = self.accompanist.with_anticipation(frames)
        return SharedAccompanist(cast("PlaysTogether[State]", accompanist), self.turns)


class SharedCodec(Codec):
    """A codec whose streams many threads may step, each with a state of its own; all else is the codec's.

    Args:
        codec: one whose states hold tensors with the rows in front.
        baton: of all these threads.
    """

    def __init__(self, codec: CausalCodec, baton: Baton) -> None:
        super().__init__()
        self.codec = codec
        self.spec, self.causal, self.licence = codec.spec, codec.causal, codec.licence
        self.block_frames, self.encoder_delay_frames = codec.block_frames, codec.encoder_delay_frames
        self._encoding = _turns(codec.encode_step, baton)
        self._decoding = _turns(codec.decode_step, baton)

    @property
    def latents_hash(self) -> str:
        return self.codec.latents_hash

    def encode(self, audio_BAN: Tensor) -> Tensor:
        return self.codec.encode(audio_BAN)

    def decode(self, latents_BTC: Tensor) -> Tensor:
        return self.codec.decode(latents_BTC)

    def init_encoder_state(self, batch_size: int) -> Any:
        return self.codec.init_encoder_state(batch_size)

    def init_decoder_state(self, batch_size: int) -> Any:
        return self.codec.init_decoder_state(batch_size)

    def encode_step(self, audio_BAN: Tensor, state: Any) -> Stepped[Any]:
        return self._encoding((audio_BAN, state))

    def decode_step(self, latents_BTC: Tensor, state: Any) -> Stepped[Any]:
        return self._decoding((latents_BTC, state))


def _turns(step: Callable[[Tensor, Any], Stepped[Any]], baton: Baton) -> Turns[tuple[Tensor, Any], Stepped[Any]]:
    def together(streams: Sequence[tuple[Tensor, Any]]) -> Sequence[Stepped[Any]]:
        if len(streams) == 1:
            return [step(*streams[0])]
        rows = [len(given) for given, _ in streams]
        out, state = step(torch.cat([given for given, _ in streams]), joined([state for _, state in streams]))
        return list(zip(out.split(rows), apart(state, rows), strict=True))

    return Turns(together, lambda stream: stream[0].shape[1:], baton)


def joined(states: Sequence[Any]) -> Any:
    """States of several streams as that of one batch: tensors with the rows in front, in tuples and dataclasses."""
    first = states[0]
    if isinstance(first, Tensor):
        return torch.cat(list(states))
    if isinstance(first, tuple):
        return tuple(joined(parts) for parts in zip(*states, strict=True))
    return replace(
        first, **{part.name: joined([getattr(each, part.name) for each in states]) for part in fields(first)}
    )


def apart(state: Any, rows: Sequence[int]) -> list[Any]:
    """The state of a batch as those of streams with so many rows."""
    if isinstance(state, Tensor):
        return list(state.split(list(rows)))
    if isinstance(state, tuple):
        return [tuple(parts) for parts in zip(*(apart(part, rows) for part in state), strict=True)]
    parts = {part.name: apart(getattr(state, part.name), rows) for part in fields(state)}
    return [replace(state, **{name: own[place] for name, own in parts.items()}) for place in range(len(rows))]


def shared(player: Player, baton: Baton) -> Player:
    """The same player for sessions in several threads.

    LiveBand and the bundled codec play together for all of them; other models and codecs are as they were, and play
    for one after the other if every thread holds the baton meanwhile.
    """
    accompanist, codec = player.accompanist, player.codec
    if isinstance(accompanist, LiveBandAccompanist) and accompanist.generator.causal:
        turns = Turns(accompanist.step_together, lambda stream: stream[0].shape[1:], baton)
        accompanist = SharedAccompanist(accompanist, turns)
    if isinstance(codec, CausalCodec):
        codec = SharedCodec(codec, baton)
    return replace(player, accompanist=accompanist, codec=codec)
