"""The pure core: what is computed from arguments alone, `now` included.

No I/O, clock, randomness, asyncio or logging here: every "should we?" of the product is answered in this package, and
workflows, activities, gateway and commands ask it.
"""
