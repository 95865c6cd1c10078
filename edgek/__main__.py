"""``python -m edgek`` and the ``edgek`` command."""

import os
import sys


def main() -> int:
    # gRPC's fork handlers abort a child that any library forks: this must be said before grpc is imported by anyone.
    os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
    if getattr(sys, "frozen", False):
        from edgek.host import bundled

        bundled.go_first()
    from edgek import cli

    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
