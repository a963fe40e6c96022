"""The files that each stage reads and writes, checked by its script before any work."""

import argparse
import glob
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from utils.base.argument_types import MODEL_SUFFIXES, SCORES_SUFFIX
from utils.base.arguments import options_of
from utils.base.checked_outputs import Input, Output, check_outputs
from utils.base.errors import UserError
from utils.base.export_options import ExportOptions, exported_names
from utils.base.file_kinds import (
    ANNOTATED,
    CARD,
    EXAMPLE,
    EXPORT,
    EXPORT_TABLE,
    GRID_RESULTS,
    GRID_SETTINGS,
    HISTORY,
    HISTORY_TABLE,
    LEAKS,
    LITERT,
    LOCK,
    LOG,
    MODEL,
    ONNX,
    OPENVINO,
    PAGE,
    PICTURE,
    RECORD,
    REQUIREMENTS,
    SCORES,
    SCORES_KEY,
    STATE,
    TABLE,
    TEST_RESULTS,
)
from utils.base.files import beside_history, file_fingerprint, read_json
from utils.base.formats import EXPORTED_SUFFIXES, QUANTISED
from utils.base.options import (
    PATHS_FILE,
    DataOptions,
    DistillationOptions,
    OutputOptions,
    TeacherOptions,
    TrainingOptions,
)

FIGURE_SUFFIXES = (".png", ".svg")


def data_inputs(data: DataOptions, unlabelled: Iterable[Path] = ()) -> list[Input]:
    """Return the arrays and lists that a stage reads."""
    paths = data.paths or Path(data.data).with_name(PATHS_FILE)
    found = [("--data", data.data), ("--annotations", data.annotations), ("--paths", paths)]
    for path in unlabelled:
        found += [("--unlabelled", path), ("--unlabelled", path.with_name(PATHS_FILE))]
    found += [("--split_dir", path) for path in sorted(data.split_dir.iterdir())] if data.split_dir else []
    if data.split and data.split.startswith("list:"):
        found.append(("--split", Path(data.split.removeprefix("list:"))))
    return [Input(argument, Path(path)) for argument, path in found]


def recipe_input(recipe: Path | None) -> list[Input]:
    """Return the recipe of --config, if there is one."""
    return [Input("--config", recipe)] if recipe else []


def model_inputs(argument: str, paths: Iterable[Path]) -> list[Input]:
    """Return models or class scores with their records, and OpenVINO models with their weights."""
    found = []
    for path in map(Path, paths):
        found += [path, path.with_suffix(".json")]
        if path.suffix in EXPORTED_SUFFIXES:
            found += [path.with_suffix(".bin"), path.with_name(f"{path.stem.removesuffix(QUANTISED)}.json")]
    return [Input(argument, file) for file in found]


def result_names(recognizers: Sequence[Path]) -> list[str]:
    """Return a name for the results of each recogniser: its file stem, numbered if two recognisers share a stem."""
    stems = [path.stem for path in recognizers]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{stem}_{number}" for number, stem in enumerate(stems, start=1)]


def check_training(
    output: OutputOptions,
    *,
    kinds: Sequence[str],
    data: DataOptions,
    training: TrainingOptions,
    teacher: TeacherOptions | None = None,
    distillation: DistillationOptions | None = None,
    recipe: Path | None = None,
) -> None:
    """Check the files of a training, whose record has one of `kinds`. Raises UserError as `check_outputs` does.

    A finished model is replaced only by the same stage from the same --data, and a history only if the model's record
    names it, unless `output.overwrite` is true.
    """
    inputs = recipe_input(recipe) + data_inputs(data, distillation.unlabelled if distillation else ())
    if teacher is not None and teacher.weights:
        inputs.append(Input("--weights", teacher.weights))
    outputs = training_outputs(output)
    inputs += model_inputs("--initial_weights", [training.initial_weights] if training.initial_weights else [])
    if training.tensorboard:
        outputs.append(Output("--tensorboard", training.tensorboard, None))
    if distillation is not None:
        inputs += model_inputs("--source", distillation.sources)
        outputs += logits_outputs(distillation)
    check_outputs(inputs, outputs)
    if not output.overwrite:
        _check_model_is_ours(output, kinds, data)
        _check_history_is_ours(output)


def training_outputs(output: OutputOptions) -> list[Output]:
    """Return the model, its record, its card, its training state and the history."""
    path, state = output.output_path, output.output_path.with_suffix(".training")
    kinds = {path: MODEL, path.with_suffix(".json"): RECORD, path.with_suffix(".md"): CARD}
    kinds |= {state: STATE, state.with_name(f".{state.name}.lock"): LOCK}
    found = [Output("--output_path", file, kind) for file, kind in kinds.items()]
    histories = {".npy": HISTORY, ".csv": HISTORY_TABLE, ".png": PICTURE, ".log": LOG}
    return found + [Output("--log_path", beside_history(output.log_stem, end), kind) for end, kind in histories.items()]


def logits_outputs(distillation: DistillationOptions) -> list[Output]:
    """Return the caches of the logits of the teachers that are networks."""
    if distillation.alpha == 1 or distillation.teacher_mode == "live":
        return []
    if (cache := distillation.cache) is not None:
        kinds = {cache: SCORES, cache.with_suffix(".json"): SCORES_KEY, cache.with_suffix(".lock"): LOCK}
        found = [Output("--cache", path, kind) for path, kind in kinds.items()]
        return [*found, Output("--cache", cache.with_suffix(".parts"), None)]
    networks = {path.with_suffix(".scores") for path in distillation.sources if path.suffix != SCORES_SUFFIX}
    return [Output("--source", folder, None) for folder in sorted(networks)]


def _check_model_is_ours(output: OutputOptions, kinds: Sequence[str], data: DataOptions) -> None:
    path = output.output_path
    remedy = "choose another path, or replace it with --overwrite"
    for suffix in MODEL_SUFFIXES:
        if (other := path.with_suffix(suffix)) != path and other.exists():
            raise UserError(
                f"--output_path: {path} would share its record {path.with_suffix('.json').name} with {other}; "
                "choose another path"
            )
    if not path.exists() or not path.with_suffix(".json").exists():
        return
    record = read_json(path.with_suffix(".json"))
    if record.get("kind") not in kinds:
        raise UserError(f"--output_path: {path} is a {record.get('kind')}, not a {kinds[0]}; {remedy}")
    source = record.get("arguments", {}).get("data")
    if source is not None and Path(source).resolve() != Path(data.data).resolve():
        raise UserError(f"--output_path: {path} was trained on {source}; {remedy}")


def _check_history_is_ours(output: OutputOptions) -> None:
    history = beside_history(output.log_stem, ".npy")
    if not history.exists() or output.output_path.with_suffix(".training").exists():
        return
    record = output.output_path.with_suffix(".json")
    named = read_json(record).get("history") if record.exists() else None
    if named is None or Path(named).resolve() != history.resolve():
        raise UserError(
            f"--log_path: {history} is the history of another training; choose another path, or replace it with "
            "--overwrite"
        )


def check_views(data: DataOptions, unlabelled: Sequence[Path], folder: Path, recipe: Path | None) -> None:
    """Check the folder of KD_training.py --write_views."""
    check_outputs(recipe_input(recipe) + data_inputs(data, unlabelled), [Output("--write_views", folder, None)])


def check_extraction(input_path: Path, output_path: Path, recipe: Path | None) -> None:
    """Check the folders of stage 1, which itself rejects arrays of another run."""
    names = ("Format_Time.csv", "skipped_videos.csv", "short_videos.csv")
    tables = [Output("--output_path", output_path / name, TABLE) for name in names]
    picture = Output("--output_path", output_path / "dataset_report.png", PICTURE)
    folder = Output("--output_path", output_path, None)
    check_outputs([*recipe_input(recipe), Input("--input_path", input_path)], [folder, *tables, picture])


def check_evaluation(
    data: DataOptions, recognizers: Sequence[Path], output_path: Path | None, recipe: Path | None
) -> None:
    """Check the folder of eval.py."""
    if output_path is None:
        return
    inputs = recipe_input(recipe) + data_inputs(data) + model_inputs("--recognizer", recognizers)
    check_outputs(inputs, evaluation_outputs(recognizers, output_path))


def evaluation_outputs(recognizers: Sequence[Path], output_path: Path) -> list[Output]:
    """Return the folder of eval.py and all files that it may write there."""
    names = result_names(recognizers)
    kinds = {"metrics.json": TEST_RESULTS, "results.md": TABLE, "report.html": PAGE}
    kinds |= dict.fromkeys(("predictions.csv", "per_class.csv", "class_gains.csv"), TABLE)
    kinds |= {f"leaks_{name}.csv": TABLE for name in names}
    figures = ["accuracy", "accuracy_by_cost", "agreement", "roc", "precision_recall"]
    figures += ["reliability", "reliability_calibrated"]
    figures += [f"{what}_{name}" for what in ("class_gains", "confusion", "training") for name in names]
    kinds |= {f"{figure}{suffix}": PICTURE for figure in figures for suffix in FIGURE_SUFFIXES}
    files = [Output("--output_path", output_path / name, kind) for name, kind in kinds.items()]
    return [Output("--output_path", output_path, None), *files]


def check_prediction(
    recognizers: Sequence[Path], videos: Sequence[Path], output: Path | None, recipe: Path | None
) -> None:
    """Check the annotated video of predict.py."""
    if output is not None:
        inputs = recipe_input(recipe) + model_inputs("--recognizer", recognizers)
        inputs += [Input("--input", video) for video in videos]
        check_outputs(inputs, [Output("--output", output, ANNOTATED)])


def check_export(
    recognizer: Path, options: ExportOptions, data: DataOptions | None, class_names: Path | None, recipe: Path | None
) -> None:
    """Check the files of export.py. Those of an export of another model are replaced only with `options.overwrite`."""
    folder, stem = options.output_path, recognizer.stem
    kinds = {f"{stem}.json": EXPORT, f"{stem}_table.json": EXPORT_TABLE, f"{stem}_latency.png": PICTURE}
    kinds |= {f"{stem}.log": LOG, f".{stem}.export.lock": LOCK, "example.py": EXAMPLE, "requirements.txt": REQUIREMENTS}
    for name, (kind, _) in exported_names(stem, options).items():
        kinds[name] = {"onnx": ONNX, "openvino": OPENVINO, "litert": LITERT, "saved_model": None}[kind]
        if kind == "openvino":
            kinds[f"{Path(name).stem}.bin"] = OPENVINO
        elif kind == "saved_model" and (folder / name).is_dir() and not (folder / name / "saved_model.pb").is_file():
            raise UserError(f"--output_path: {folder / name} must be a SavedModel to be replaced, found another folder")
    inputs = recipe_input(recipe) + model_inputs("--recognizer", [recognizer]) + (data_inputs(data) if data else [])
    inputs += [Input("--class_names", class_names)] if class_names else []
    outputs = [Output("--output_path", folder / name, kind) for name, kind in kinds.items()]
    check_outputs(inputs, [Output("--output_path", folder, None), *outputs])
    if not options.overwrite and (record := folder / f"{stem}.json").exists():
        source = read_json(record)["source"]
        if not isinstance(source, dict) or source.get("fingerprint") != file_fingerprint(recognizer):
            raise UserError(
                f"--output_path: {record} is of an export of another model; choose another path, or replace it with "
                "--overwrite"
            )


def check_experiment(args: argparse.Namespace) -> None:
    """Check the folder of reproduce.py. `cells` and the arrays in it are checked by what writes them."""
    output_path = args.output_path
    own_settings = output_path / "settings.json"  # may be the recipe of a run that extends the experiment
    inputs = [] if args.config and args.config.resolve() == own_settings.resolve() else recipe_input(args.config)
    if args.data:
        inputs += data_inputs(options_of(DataOptions, args), args.unlabelled)
    for source in args.sources or ():
        parts = source.partition("=")[2].split(",")
        files = [re.sub(r"\{(fold|seed)\}", "*", glob.escape(part)) for part in parts]
        inputs += model_inputs("--sources", (found for pattern in files for found in glob.glob(pattern)))
    inputs += [Input(f"--{name}", getattr(args, name)) for name in ("weights", "videos") if getattr(args, name)]
    arrays = () if args.data else ("frames",) if args.videos else ("videos", "frames")
    check_outputs(inputs, experiment_outputs(output_path, arrays))


def experiment_outputs(output_path: Path, arrays: Sequence[str]) -> list[Output]:
    """Return the folder of reproduce.py, all files that it may write there, and its folders, `arrays` among them."""
    kinds = {"settings.json": GRID_SETTINGS, "results.json": GRID_RESULTS, "results.md": TABLE, "results.csv": TABLE}
    figures = ("results", "accuracy_by_cost", "accuracy_by_temperature")
    kinds |= {f"{figure}{suffix}": PICTURE for figure in figures for suffix in FIGURE_SUFFIXES}
    kinds |= {"report.html": PAGE, ".experiment.lock": LOCK, "cells": None} | dict.fromkeys(arrays)
    files = [Output("--output_path", output_path / name, kind) for name, kind in kinds.items()]
    return [Output("--output_path", output_path, None), *files]


def check_cards(recognizers: Iterable[Path]) -> None:
    """Check the cards of python -m utils.cards."""
    outputs = [Output("--recognizer", path.with_suffix(".md"), CARD) for path in dict.fromkeys(recognizers)]
    check_outputs(model_inputs("--recognizer", recognizers), outputs)


def check_leaks(data: DataOptions, unlabelled: Sequence[Path], output_path: Path | None) -> None:
    """Check the file or folder of python -m utils.leaks."""
    if output_path is None:
        return
    if output_path.suffix == ".csv":
        outputs = [Output("--output_path", output_path, TABLE)]
    else:
        outputs = [
            Output("--output_path", output_path, None),
            Output("--output_path", output_path / "leaks.csv", TABLE),
            Output("--output_path", output_path / "leaks.json", LEAKS),
        ]
    check_outputs(data_inputs(data, unlabelled), outputs)


def check_scores(inputs: Iterable[Input], outputs: Iterable[tuple[str, Path]]) -> None:
    """Check files of class scores or features, given by argument, and the .json next to each."""
    found = []
    for argument, path in outputs:
        found += [Output(argument, path, SCORES), Output(argument, path.with_suffix(".json"), SCORES_KEY)]
    check_outputs(inputs, found)
