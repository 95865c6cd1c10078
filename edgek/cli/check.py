"""``edgek check``: can this machine run edgek, with these flags? It looks, and changes nothing. What fails names its remedy."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edgek.cli import agent, options
from edgek.config.options import OPTIONS

MARKS = {"ok": "[green]✓[/]", "advice": "[yellow]![/]", "problem": "[red]✗[/]"}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="edgek check", description="See whether this machine can run edgek, as a server or an agent with these flags. Nothing is changed."
    )
    parser.add_argument("role", nargs="?", choices=("server", "agent"), help="what it is to be (agent where a server to join is named, else server)")
    options.add(parser, [option.name for option in OPTIONS])
    found = options.parse(parser, [agent.ours(argument) if "agent" in arguments[:1] else argument for argument in arguments])
    config = options.configure(found)
    from rich.console import Console  # only who is shown something pays for it
    from rich.markup import escape

    from edgek.agent.fitness import areas

    console = Console(highlight=False)
    findings = areas.examine(config, server=found.role == "server" or not (found.role or config.join))
    for finding in findings:
        console.print(f"{MARKS[finding.level]} {escape(finding.text)}", soft_wrap=True)
        if finding.remedy:
            console.print(f"    → {escape(finding.remedy)}", soft_wrap=True, style="dim")
    problems = sum(finding.level == "problem" for finding in findings)
    console.print(f"\n{problems} problem(s)" if problems else "\nThis machine can run edgek.")
    return 1 if problems else 0
