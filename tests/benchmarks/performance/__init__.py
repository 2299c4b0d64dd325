"""How fast, how large, how steady: measured on images made from real ones, as ratios taken in one run.

    make bench                       # or: python -m tests.benchmarks.performance [--images 100000] [--tables-only]

Writes docs/performance.md and workspace/bench/performance.json.
"""
