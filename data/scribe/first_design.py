"""The reward design that the simulated team began with, and that is live in the demo: plain, and easy to game.

It knows how much of a draft survived and not how much of the note the draft was, so that stopping early pays:
`scribe-brief` earns by it what the late outcomes do not confirm. The product's own default is not this one.
"""

from organism.records import RewardDesign, SignalSpec

FIRST_DESIGN = RewardDesign(
    name="first",
    signals=(
        SignalSpec("accepted", 0.2, worst=0.0, best=1.0),
        SignalSpec("cost_usd", 0.2, worst=0.0004, best=0.0001),
        SignalSpec("latency_ms", 0.2, worst=2000.0, best=200.0),
        SignalSpec("retained_char_rate", 0.4, worst=0.0, best=1.0),
    ),
    note="Quality counts for three fifths; price and performance share the rest",
)
