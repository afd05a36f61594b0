"""Measures the rest: every figure as a ratio against a peer or a floor of the same run, since machines are noisy.

Read `bench.py` (the command line), `results.py` (what a measurement is, how two compare), `harness.py` (a Core for a
bench), `plots.py`, then `scenarios/`.
"""
