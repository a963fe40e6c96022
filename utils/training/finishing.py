"""The end of a training: model, record, card and history are saved together, and the training state is removed."""

from collections.abc import Sequence

import numpy as np

from utils.base.devices import training_devices
from utils.base.errors import first_line
from utils.base.files import replaced_together
from utils.base.options import OutputOptions, TrainingOptions
from utils.evaluation.calibrating import calibration_of
from utils.networks.cost import cost_of_model
from utils.networks.recognizer import save_model
from utils.runs.card import write_card_or_note
from utils.runs.cost import Cost
from utils.runs.history import draw_history, has_finite_losses, kept_epoch, save_history
from utils.runs.loading import SplitDataset
from utils.runs.paths import RunFiles
from utils.runs.record import ClipSeconds, make_record
from utils.runs.run import Run
from utils.runs.state import TrainingState
from utils.training.probe_start import ProbeStart, keep_better
from utils.video.about_arrays import clip_seconds, shrinking_of


def finish(
    model,
    history: np.ndarray,
    loaded: SplitDataset,
    output: OutputOptions,
    options: Sequence,
    about: dict,
    state: TrainingState,
    start: ProbeStart | None = None,
) -> Run:
    """Save model, record, which includes `about`, card and history together, draw the curves, and print the paths.

    The training state is removed last, unless the training can be resumed: if the process is killed before, the same
    command saves the files again. The record includes the calibration on validation clips
    (utils/runs/calibration.py), the cost of the network and the time that training clips span, if they are known.
    """
    path = output.output_path
    training = next(group for group in options if isinstance(group, TrainingOptions))
    row = kept_epoch(history, keep=training.keep, epochs=training.epochs)
    files = RunFiles.of(output)
    kept = dict(zip(history.dtype.names, history[row].item()))
    if start is not None:
        kept = keep_better(model, start, kept)
    calibration = calibration_of(model, loaded.dataset, loaded.split.validation, batch_size=training.batch_size)
    with replaced_together():
        fingerprint = save_model(model, path)  # first, so that the file is replaced last
        record = make_record(
            loaded.dataset,
            loaded.split,
            input_shape=model.input_shape[1:],
            options=options,
            kept=kept,
            history_path=files.history,
            fingerprint=fingerprint,
            shrinking=shrinking_of(loaded.dataset.frames.path.parent),
            seconds=state.seconds(),
            devices=len(training_devices(training.devices)),
            calibration=calibration,
            clip_seconds=duration_of_clips(loaded),
            cost=cost_if_known(model),
            **about,
        )
        record.save(path)
        save_history(history, files)
        write_card_or_note(path, record)
    draw_history(history, files, title=f"{about['kind']}: {path.name}", kept=row)
    print(
        f"saved {path} ({model.count_params():,} parameters) from epoch {kept['epoch']}: "
        f"validation accuracy {100 * kept['val_accuracy']:.1f} %; history in {files.history}"
    )
    if not has_finite_losses(history)[row]:
        print(f"note: no epoch has a finite validation loss, so {path} is not usable")
    if state.history and state.can_resume:
        print(f"note: {state.kept()}")
    else:
        state.remove()
    return Run(path, record)


def cost_if_known(model) -> Cost | None:
    """Return the cost of a network; None, after a note, if TensorFlow cannot count it."""
    try:
        return cost_of_model(model)
    except Exception as error:  # of a user's layers; the training must not be lost
        print(f"note: the record has no cost of the model ({first_line(error)})")
        return None


def duration_of_clips(loaded: SplitDataset) -> ClipSeconds | None:
    """Return the time that training clips span, from the log of stage 1 next to the arrays; None if it is unknown."""
    dataset = loaded.dataset
    if dataset.paths is None:
        return None
    paths = dataset.paths[loaded.split.train].tolist()
    found = clip_seconds(dataset.frames.path.parent, paths, dataset.frames.shape[1])
    return ClipSeconds(**found) if found else None
