"""Nightly anomaly detection for batches of industrial images."""

__version__ = "0.1.0"
