"""``edgek kubectl ...``: the kubectl on the PATH, with this cluster's kubeconfig unless another is named."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence

from edgek.config.options import DEFAULT_KUBECONFIG
from edgek.model.errors import UsageError


def main(arguments: Sequence[str]) -> int:
    program = shutil.which("kubectl")
    if program is None:
        raise UsageError("there is no kubectl on the PATH; install one (Debian: apt-get install kubernetes-client) and try again")
    environment = dict(os.environ)
    asks_for_help = any(argument in ("--help", "-h", "completion") for argument in arguments)
    named = asks_for_help or any(argument == "--kubeconfig" or argument.startswith("--kubeconfig=") for argument in arguments)
    if not named and "KUBECONFIG" not in environment:
        kubeconfig = os.environ.get("EDGEK_WRITE_KUBECONFIG", str(DEFAULT_KUBECONFIG))
        if not os.access(kubeconfig, os.R_OK):
            raise UsageError(f"{kubeconfig} cannot be read: is `edgek server` running here, and are you root? KUBECONFIG names another")
        environment["KUBECONFIG"] = kubeconfig
    os.execve(program, [program, *arguments], environment)  # kubectl takes our place: signals and exit code are its own
