"""When a training ends before its last epoch: no better epoch for a while, or no time for another one.

Both follow from the history and the options alone, so that a continued training ends where an undisturbed one would.
"""

import numpy as np

from utils.figures import best_epoch
from utils.options import TrainingOptions


def no_better_epoch(history: np.ndarray, options: TrainingOptions) -> str | None:
    """Why early stopping ends the training after the last epoch of `history`, or None.

    It does when the kept epoch (utils.figures.best_epoch) has not changed for `patience` epochs.
    """
    waited = len(history) - 1 - best_epoch(history)
    if options.patience is None or waited < options.patience:
        return None
    return f"no better epoch on validation for {waited} epochs (--patience {options.patience})"


def out_of_time(history: np.ndarray, options: TrainingOptions, seconds: float) -> str | None:
    """Why no other epoch is begun after `seconds` of training, or None.

    It would end later than `max_minutes` allow if it took as long as the last one.
    """
    if options.max_minutes is None or seconds + history["seconds"][-1] <= 60 * options.max_minutes:
        return None
    return f"epoch {len(history) + 1} of {options.epochs} would end after --max_minutes {options.max_minutes:g}"
