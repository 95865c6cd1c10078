"""What a valid field is, in upstream's words: names, quantities, selectors, pod templates.

Everything here is a function of values. It takes an ``Errors`` to write into, the ``Path`` where it stands, and the value; it raises nothing, so that
one answer names every problem. It must not learn about requests, stores or particular kinds: those are next door, in ``resources/``.
"""
