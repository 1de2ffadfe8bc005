"""Time and memory of each stage on this machine: what ``tddfa bench`` and the latency benchmark measure.

`tddfa.bench.stages` lists the stages. `tddfa.bench.timing` times them in turn, round by round. `tddfa.bench.memory`
measures the memory of each in its own process. `tddfa.bench.peer` runs 3DDFA_V2 or MediaPipe for comparison.
`tddfa.bench.run` combines them.
"""
