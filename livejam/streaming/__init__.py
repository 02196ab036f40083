"""Trained models as instruments: sessions, their timing, the generative delay, and the engine for the stage."""

from livejam.streaming.delay import DelayGains, DelaySnapshot, GenerativeDelay, answering
from livejam.streaming.drawing import Stroke
from livejam.streaming.live_sketch import LiveSketch
from livejam.streaming.memories import Snapshot
from livejam.streaming.pipeline import StepTimes
from livejam.streaming.prompting import PromptChange
from livejam.streaming.references import read_reference, reference_of
from livejam.streaming.session import Session
from livejam.streaming.sketches import sketch_of
from livejam.streaming.timing import Timing

__all__ = [
    "DelayGains",
    "DelaySnapshot",
    "GenerativeDelay",
    "LiveSketch",
    "PromptChange",
    "Session",
    "Snapshot",
    "StepTimes",
    "Stroke",
    "Timing",
    "answering",
    "read_reference",
    "reference_of",
    "sketch_of",
]
