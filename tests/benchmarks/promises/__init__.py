"""`make promises`: are false alarms as rare as promised, bad models refused, drifts called by their names?

Measured on real images of solar cells; writes docs/promises.md and workspace/bench/promises.json.
"""
