"""How long each stage takes on this machine, and how much memory: what ``tddfa bench`` and the latency benchmark do.

`tddfa.bench.stages` lists the stages, `tddfa.bench.timing` measures them in turn, round by round, `tddfa.bench.memory`
gives each a process of its own, `tddfa.bench.peer` runs a checkout of 3DDFA_V2 beside them, and `tddfa.bench.run` does
all of it.
"""
