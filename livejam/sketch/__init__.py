"""Sketches: curves of loudness, brightness and pitch that a model follows, made of any sound."""

from livejam.sketch.analysis import SketchAnalysis, Sketcher, SketcherState
from livejam.sketch.controls import Brightness, Control, Loudness, Pitch, PitchBy, PitchControl
from livejam.sketch.curves import CHANNELS, CONTROLS, AskedCurves, asking_for, excerpt, packed, require_packed, unpacked
from livejam.sketch.swift_f0 import SwiftF0
from livejam.sketch.training import SketchTraining, median_filtered, randomly_smoothed
from livejam.sketch.voice import TrackedPitch, VoicePitch

__all__ = [
    "CHANNELS",
    "CONTROLS",
    "AskedCurves",
    "Brightness",
    "Control",
    "Loudness",
    "Pitch",
    "PitchBy",
    "PitchControl",
    "SketchAnalysis",
    "SketchTraining",
    "Sketcher",
    "SketcherState",
    "SwiftF0",
    "TrackedPitch",
    "VoicePitch",
    "asking_for",
    "excerpt",
    "median_filtered",
    "packed",
    "randomly_smoothed",
    "require_packed",
    "unpacked",
]
