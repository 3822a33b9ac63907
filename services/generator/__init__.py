"""The generator service: loads published models from the volume and writes text with them.

A request's way: servicer -> models (which version) -> loop (its thread) -> scheduler (what to compute next)
-> engine (logits) -> sampling (an id) -> writer (text) -> servicer.
"""
