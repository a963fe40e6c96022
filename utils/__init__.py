"""What surrounds the networks: videos, arrays, splits, training, evaluation, figures."""

__version__ = "0.1.0"
