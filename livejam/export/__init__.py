"""Trained models as graphs of one step with explicit state, for players without PyTorch."""
