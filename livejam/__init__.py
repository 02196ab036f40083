"""The library that plays: torch only, no Lightning."""

__version__ = "0.2.0"
