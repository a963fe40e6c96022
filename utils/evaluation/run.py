"""Stage 4: test recognisers and compare them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from utils.base.devices import hardware
from utils.base.options import DataOptions
from utils.base.run_log import command_line
from utils.data.clips import ClipDataset, open_clips
from utils.data.groups import Groups, groups_or_reason
from utils.data.leak_finder import LeakFinder
from utils.evaluation import results as report
from utils.evaluation.calibrating import calibrate_recorded, store_calibrations
from utils.evaluation.evaluation_page import write_evaluation_page
from utils.evaluation.evaluation_report import EvaluationReport
from utils.evaluation.protocol import Conditions
from utils.evaluation.tables import details, names_of, screen_table, table
from utils.evaluation.tested import store_test
from utils.evaluation.testing import Predictions, choose_test_clips, leaks_of_test, predict, with_seen_unlabelled
from utils.networks.averaging import recorded_views
from utils.networks.cost import milliseconds_per_clip
from utils.networks.recognizer import load_recognizer
from utils.runs.files import result_names
from utils.runs.loading import check_length, split_of


def evaluate(
    data: DataOptions,
    recognizers: Sequence[Path],
    *,
    output_path: Path | None = None,
    channels: str = "rgb",
    input_scale: str = "0..255",
    precision: str = "float32",
    batch_size: int = 16,
    views: int = 1,
    flip: bool = True,
    calibrate: bool = False,
    force: bool = False,
    fail_on_leak: bool = False,
) -> dict:
    """Stage 4: test each recogniser on the test clips in its record, and compare the first with the others.

    `data.split` is None unless the user requests a split. With `views` above 1, the probabilities for that many views
    of each clip are averaged. They are the views of the training in the record, without flips if `flip` is false. With
    `calibrate`, temperature and threshold are first fitted to the validation clips in the records and stored there.
    Prints notes, then a table. Writes the results to `output_path` if given, and adds them to the records and cards of
    models that are tested on the test clips of their records. Returns {"recognizers": [...], "comparisons": [...]} with
    plain values. Raises UserError for what a user can correct; with `fail_on_leak` also if test clips share anything
    with clips that a recogniser has seen, or if those are unknown.
    """
    dataset = open_clips(data.data, data.annotations, data.paths)
    finders: dict[tuple, LeakFinder] = {}
    asked = None if data.split is None else split_of(data, dataset)
    group_pattern = data.group_pattern
    all_predictions = []
    for path in recognizers:
        recognizer = load_recognizer(
            path, argument="--recognizer", channels=channels, input_scale=input_scale, precision=precision
        )
        if group_pattern is None and recognizer.record is not None and recognizer.record.arrays.has_clips_of(dataset):
            group_pattern = recognizer.record.arguments.group_pattern
        check_length(data, dataset, recognizer.input_shape)
        if calibrate:
            recognizer = calibrate_recorded(recognizer, dataset, batch_size=batch_size)
        clips = choose_test_clips(recognizer, dataset, asked, force=force)
        seen, note = with_seen_unlabelled(dataset, recognizer.record)
        finder = finders.setdefault(tuple(part.frames.path for part in seen.unlabelled), LeakFinder(seen))
        leaks = leaks_of_test(finder, recognizer, clips, group_pattern, note, fail_on_leak=fail_on_leak)
        averaged = recorded_views(views, recognizer.record, flip=flip)
        predictions = predict(recognizer, dataset, clips, batch_size=batch_size, views=averaged)
        time = views * milliseconds_per_clip(recognizer.model)
        all_predictions.append(replace(predictions, leaks=leaks, milliseconds_per_clip=time))
    groups, _ = groups_or_reason(dataset.paths, group_pattern)
    results = [report.result_of(predictions, dataset, groups) for predictions in all_predictions]
    if calibrate:
        store_calibrations([predictions.recognizer for predictions in all_predictions])
    compared = report.comparisons(all_predictions, groups)
    if output_path is not None:
        report.write_results(output_path, all_predictions, results, compared, dataset, groups)
        write_report(output_path, all_predictions, results, compared, dataset, groups)
    for predictions, result in zip(all_predictions, results):
        if (card := store_test(predictions, result, dataset, batch_size=batch_size)) is not None:
            print(f"updated {card}")
    print(f"{details(results, compared)}\n\n{screen_table(*table(results))}")
    if output_path is not None:
        print(f"\nall results: {output_path / 'report.html'}")
    return {"recognizers": results, "comparisons": compared}


def write_report(
    folder: Path,
    all_predictions: Sequence[Predictions],
    results: Sequence[dict],
    compared: Sequence[dict],
    dataset: ClipDataset,
    groups: Groups | None,
) -> None:
    """Write report.html and its figures, after all results."""
    names = names_of(results)
    stems = result_names([predictions.recognizer.path for predictions in all_predictions])
    conditions = Conditions(command_line(), hardware())
    page = EvaluationReport(all_predictions, results, names, stems, compared, dataset, groups, conditions, folder)
    write_evaluation_page(folder / "report.html", page)
