"""Callbacks: they route what a module produced to metrics, files and loggers."""

from callbacks.latent_bank_writer import LatentBankWriter

__all__ = ["LatentBankWriter"]
