"""Other job queues that do the same work, each with one module written as its documentation recommends.

`work.py` has the steps, `drive.py` gives jobs to a peer and measures, `run.py` starts all that the peers need. All but
`run.py` runs in an environment of its own, made from `requirements/benchmarks.txt`.
"""
