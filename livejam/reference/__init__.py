"""References: recordings whose sound a model takes as its own."""

from livejam.reference.analysis import ReferenceAnalysis, interpolated, mixed
from livejam.reference.training import ReferenceTraining

__all__ = ["ReferenceAnalysis", "ReferenceTraining", "interpolated", "mixed"]
