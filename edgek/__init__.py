"""edgek: the best small Kubernetes there is."""

__version__ = "0.1.0"
