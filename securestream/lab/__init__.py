"""The lab: what a padding policy hides, and what it costs, measured on the code that runs.

    results.py      what an experiment found, and all it takes to repeat it
    corpora.py      sizes of real things, each with where it comes from
    pydoc_pages.py  a web site: the standard library's documentation
    generated.py    what a random generator makes, where nothing real is at hand
    traces.py       files of the user's: CSV, captures
    policies.py     policies by name, with their randomness from the seed
    wire.py         what a listener sees of the real stream: a recording transport, and the records of a flush
    leakage.py      the metrics: bits, anonymity sets, the best guess
    sizes.py        lab sizes: cost and leakage of a policy on a corpus
    defences.py     what a stream does against a listener, by name: policies and constant rates
    visits.py       visits to a web site over the real stream
    pages.py        lab pages: which page was it?
    rhythm.py       lab shaping: what the rhythm of records tells
    oracle.py       lab oracle: BREACH
    sweep.py        lab sweep: many of these on all cores, or on a cluster
    report.py       lab report: everything as one page; figures.py draws it, drawing.py for light and dark

In front of it: `securestream lab` (`cli/lab.py`). It needs the extra `lab`. Nothing here is for production: the
transports are in memory, the attackers are ours.
"""
