"""What surrounds the networks: videos, arrays, splits, training, evaluation, figures."""
