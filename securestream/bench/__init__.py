"""The benchmark: this project beside plain Trio TCP, `trio.SSLStream` and PyPI's noiseprotocol, side by side.

    contenders.py   each a way to connect and to serve, at its best setting
    workloads.py    what is measured, as a client and a handler
    peer.py         the process at either end: `python -m securestream.bench.peer`
    run.py          rounds of contenders in turn, medians and ratios
    report.py       the table, JSON and the plot

In front of it: `securestream bench` (`cli/bench.py`). Imports nothing that the extra `bench` brings until it is used.
"""
