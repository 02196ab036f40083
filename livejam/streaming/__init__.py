"""Trained models as instruments: sessions, their timing, and the engine that puts them on stage."""

from livejam.streaming.pipeline import StepTimes
from livejam.streaming.session import Session, Snapshot
from livejam.streaming.timing import Timing

__all__ = ["Session", "Snapshot", "StepTimes", "Timing"]
