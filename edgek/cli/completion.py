"""``edgek completion bash|zsh|fish``: a script that completes commands and flags, made from the tables they come from."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from edgek import cli
from edgek.config.options import OPTIONS

BASH = """_edgek() {{
    local word=${{COMP_WORDS[COMP_CWORD]}}
    if [ "$COMP_CWORD" -eq 1 ]; then
        COMPREPLY=($(compgen -W "{commands}" -- "$word"))
    elif [ "${{COMP_WORDS[1]}}" = server ]; then
        COMPREPLY=($(compgen -W "{flags}" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}}
complete -F _edgek edgek"""

ZSH = """#compdef edgek
_edgek() {{
    if (( CURRENT == 2 )); then
        compadd {commands}
    elif [[ ${{words[2]}} == server ]]; then
        compadd -- {flags}
    else
        _files
    fi
}}
compdef _edgek edgek"""

FISH = """complete -c edgek -f -n "__fish_use_subcommand" -a "{commands}"
complete -c edgek -n "__fish_seen_subcommand_from server" -a "{flags}\""""

SCRIPTS = {"bash": BASH, "zsh": ZSH, "fish": FISH}


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="edgek completion", description="Print a completion script: source <(edgek completion bash)")
    parser.add_argument("shell", choices=sorted(SCRIPTS))
    shell = parser.parse_args(arguments).shell
    commands = " ".join(command.name for command in cli.COMMANDS)
    flags = " ".join(f"--{option.name}" for option in OPTIONS)
    print(SCRIPTS[shell].format(commands=commands, flags=flags))
    return 0
