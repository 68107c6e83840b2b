"""The lab: what a padding policy hides, and what it costs, measured on the code that runs.

    results.py      what an experiment found, and all it takes to repeat it
    corpora.py      sizes of real things, each with where it comes from
    wire.py         what a listener sees of the real stream: a recording transport, and the records of a flush

In front of it: `securestream lab` (`cli/lab.py`). It needs the extra `lab`. Nothing here is for production: the
transports are in memory, the attackers are ours.
"""
