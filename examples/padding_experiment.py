"""A padding policy of one's own, measured: what it costs and hides on your sizes, beside what is there already.

Needs the extra "lab". Run it: python examples/padding_experiment.py
"""

import securestream as ss
from securestream.lab.corpora import CORPORA
from securestream.lab.sizes import measure


class Coarse(ss.PaddingPolicy):
    """Small messages all alike; larger ones in steps of an eighth of the next power of two."""

    def pad_flush(self, length: int) -> int:
        if length <= 1_024:
            return 1_024
        step = 1 << (length.bit_length() - 3)
        return -(-length // step) * step


corpus = CORPORA["requests"].load(1)  # or make_corpus("mine", "yours", "my answers", [1_204, 88, ...])
print(f"{corpus.provenance.count:,} {corpus.provenance.text} ({corpus.provenance.kind})")
print(f"{'policy':14} {'more':>6} {'bits':>6} {'alone':>6} {'best guess':>11}")
for policy in (ss.NoPadding(), ss.BlockPadding(512), ss.Padme(), ss.PowerOfTwoPadding(), Coarse()):
    row = measure(type(policy).__name__, policy, corpus)
    cost, leak = row.cost, row.leakage
    print(f"{row.policy:18} {cost.overhead:6.1%} {leak.bits_leaked:5.2f} {leak.alone:6.1%} {leak.best_guess:9.1%}")
