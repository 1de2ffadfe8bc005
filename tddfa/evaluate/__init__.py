"""Benchmarks of a model on the user's data. ``pip install matplotlib`` adds the plots.

`tddfa.evaluate.benchmarks` lists them. Each takes a `Setup` and returns a `Result`. `tddfa.evaluate.report` prints and
saves results as tables and pages, and draws plots and contact sheets.
"""
