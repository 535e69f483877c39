"""Which worker has which copy of a task: a pure function of the facts, without clock or chance.

`place(Facts) -> Placement` is in `place.py`. The way of a plan: `facts` are put on a `board`;
`zones` say what may be beside what; `keep` leaves what may stay; `fill` deals out what is missing;
`balance` mends what is off its `shares`, by exchanges of `roles` and moves of `copies`, weighed by
`search`; `thrift` takes back what was moved in vain; `explain` says what changed and why.
"""
