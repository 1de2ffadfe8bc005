"""How good is it: one module a benchmark, on data the user has. ``pip install 'tddfa[evaluate]'`` adds the plots.

`tddfa.evaluate.benchmarks` names them all; each takes a `Setup` and gives a `Result`, which `tddfa.evaluate.report.table`
prints and saves, and `tddfa.evaluate.report.plots` and `tddfa.evaluate.report.contact_sheet` draw.
"""
