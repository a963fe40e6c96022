"""Adam with decoupled weight decay, a schedule, and a smaller learning rate for pretrained layers."""

from collections.abc import Sequence

import keras

from utils.base.options import TrainingOptions
from utils.training.replicas import replicated

WARM_UP_SHARE = 0.1
NOT_DECAYED = ["bias", "gamma", "beta"]


class TwoRateAdam(keras.optimizers.Adam):
    """Adam, or AdamW with `weight_decay`, whose learning rate is multiplied by `factor` for the variables `slow`.

    Both the update and the decay are multiplied, as with parameter groups in PyTorch. Scaled gradients would have no
    effect, because Adam divides by their size. The optimiser has the same variables as Adam.
    """

    def __init__(self, learning_rate, *, slow: Sequence, factor: float, **settings):
        super().__init__(learning_rate, **settings)
        self.factor = factor
        self.slow_keys = {self._var_key(variable) for variable in slow}

    def rate_factor(self, variable) -> float:
        """Return the multiplier of the learning rate for a variable."""
        return self.factor if self._var_key(variable) in self.slow_keys else 1.0

    def update_step(self, gradient, variable, learning_rate):
        super().update_step(gradient, variable, learning_rate * self.rate_factor(variable))

    def _apply_weight_decay(self, variables):
        if self.weight_decay is None:
            return
        for variable in variables:
            if self._use_weight_decay(variable):
                rate = self.learning_rate * self.weight_decay * self.rate_factor(variable)
                variable.assign_sub(variable * keras.ops.cast(rate, variable.dtype))


def optimizer(options: TrainingOptions, steps_per_epoch: int, slow: Sequence = ()):
    """Return the optimiser of a training; see `adam`."""
    return adam(options.epochs * steps_per_epoch, slow, **options.optimizer())


def adam(
    steps: int,
    slow: Sequence,
    *,
    learning_rate: float,
    schedule: str,
    clip_norm: float | None,
    backbone_rate: float,
    weight_decay: float,
):
    """Return Adam with 10 % linear warm-up and cosine decay to 0, or a constant rate.

    With `weight_decay` it is AdamW without decay of biases and of the variables of normalisation layers. The learning
    rate of the variables `slow` is multiplied by `backbone_rate`.
    """
    rate = learning_rate
    if schedule == "cosine":
        warm_up = int(WARM_UP_SHARE * steps)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 10 if warm_up else rate,
            max(1, steps - warm_up),
            warmup_target=rate if warm_up else None,
            warmup_steps=warm_up,
        )
    settings = {"global_clipnorm": clip_norm, "weight_decay": weight_decay or None}
    if slow and backbone_rate != 1:
        found = replicated(TwoRateAdam)(rate, slow=slow, factor=backbone_rate, **settings)
    else:
        found = replicated(keras.optimizers.AdamW if weight_decay else keras.optimizers.Adam)(rate, **settings)
    if weight_decay:
        found.exclude_from_weight_decay(var_names=NOT_DECAYED)
    return found
