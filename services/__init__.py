"""Nonesuch: learns a person's voice from their posts and writes posts that do not exist."""

__version__ = "0.1.0"
