"""Trained models as instruments: sessions, their timing, and the engine that puts them on stage."""
