"""Can this machine run edgek? ``edgek check`` says it all; a start says only what makes it hopeless, in the same words.

``look.py`` reads what there is and changes nothing: not a file, not a rule, not a route; ``trial.py`` tries things where they cannot matter.
``rules.py`` and ``network_rules.py`` decide, from values alone. ``areas.py`` has them in order. It is no monitoring: a node that runs is judged by
its status.
"""
