"""What a rule says of a machine."""

from __future__ import annotations

from typing import Literal

import attrs


@attrs.frozen
class Finding:
    """``remedy`` says what to do; empty where nothing needs doing. With a ``problem`` edgek does not work."""

    level: Literal["ok", "advice", "problem"]
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        return f"{self.text}; {self.remedy}" if self.remedy else self.text
