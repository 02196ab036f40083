"""Playing over a network: what musicians' programs say to a model, and what it answers.

Protocols only: the sound is the business of `livejam.streaming`.
"""

from livejam.serving.line import Answer, Line, LineMeters
from livejam.serving.playout import Playout

__all__ = ["Answer", "Line", "LineMeters", "Playout"]
