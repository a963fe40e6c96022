"""How long a training waits for its data."""

import time


class WaitClock:
    """Seconds that `fit` has waited for batches: those in which its iterator had none ready, so that nothing computed.

    Attach it to a compiled model before `fit`; set `seconds` to 0 where counting begins. What overlaps with computing
    (reading ahead in other threads) is not waiting and does not count.
    """

    def __init__(self):
        self.seconds = 0.0

    def attach(self, model) -> None:
        """Makes the model's training step take its batch under the clock instead of inside the compiled function.

        There Keras takes it by default, where it cannot be timed; the step itself is the same compiled function.
        """
        model.make_train_function()
        step = model.train_function

        def timed_step(iterator):
            begun = time.perf_counter()
            batch = next(iterator)
            self.seconds += time.perf_counter() - begun
            return step([batch])

        model.train_function = timed_step
