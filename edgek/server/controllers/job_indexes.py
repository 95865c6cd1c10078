"""Sets of completion indexes as a Job's status writes them: ``1,3-5,7``. Pure."""

from __future__ import annotations

from collections.abc import Iterable


def parse(text: str, below: int) -> set[int]:
    """The indexes in ``text`` that are smaller than ``below``."""
    found: set[int] = set()
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        found.update(range(int(first), min(int(last or first) + 1, below)))
    return found


def written(indexes: Iterable[int]) -> str:
    parts: list[str] = []
    run: list[int] = []
    for index in sorted(indexes):
        if run and index == run[-1] + 1:
            run.append(index)
            continue
        parts += _part(run)
        run = [index]
    return ",".join([*parts, *_part(run)])


def _part(run: list[int]) -> list[str]:
    if not run:
        return []
    if len(run) == 1:
        return [str(run[0])]
    return [f"{run[0]},{run[-1]}" if len(run) == 2 else f"{run[0]}-{run[-1]}"]
