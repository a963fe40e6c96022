"""The files of each kind of run: what it reads and writes, and what it may replace.

The functions `check_...` take the parsed arguments of a script and raise UserError as `check_outputs` does.
"""

import argparse
import glob
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from utils.base.argument_types import MODEL_SUFFIXES, SCORES_SUFFIX
from utils.base.arguments import options_of
from utils.base.checked_outputs import Input, Output, check_outputs
from utils.base.errors import UserError
from utils.base.export_options import ExportOptions, exported_names
from utils.base.files import file_fingerprint, read_json
from utils.base.formats import EXPORTED_SUFFIXES, QUANTISED
from utils.base.options import LABELS_FILE, PATHS_FILE, OutputOptions
from utils.runs.paths import RunFiles, card_path, record_path, scores_folder

CARD_BLOCK = "<!-- begin generated: "  # starts the lines before the blocks of a model card
MOST_CARD_BYTES = 1 << 20
FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
WRITTEN = ("output_path", "log_path", "cache", "tensorboard", "write_views", "output", "features_path")  # arguments
REMEDY = "choose another path, or replace it with --overwrite"


def inputs_of(args: argparse.Namespace) -> Iterator[Input]:
    """Yield the files and folders that the parsed arguments of a script name for reading, and those beside them."""
    for name, value in vars(args).items():
        paths = value if isinstance(value, (list, tuple)) else [value]
        for path in () if name in WRITTEN else (path for path in paths if isinstance(path, Path)):
            for read in (path, *_read_beside(name, path)):
                yield Input(f"--{name}", read)
    if (getattr(args, "split", None) or "").startswith("list:"):
        yield Input("--split", Path(args.split.removeprefix("list:")))


def _read_beside(name: str, path: Path) -> list[Path]:
    if name in ("data", "unlabelled"):
        return [path.with_name(LABELS_FILE), path.with_name(PATHS_FILE)]
    if name in ("split_dir", "views_path"):
        return sorted(path.iterdir())
    found = [record_path(path)] if path.suffix in (*MODEL_SUFFIXES, *EXPORTED_SUFFIXES, SCORES_SUFFIX) else []
    if path.suffix in EXPORTED_SUFFIXES:
        found += [path.with_suffix(".bin"), path.with_name(f"{path.stem.removesuffix(QUANTISED)}.json")]
    return found


def result_names(recognizers: Sequence[Path]) -> list[str]:
    """Return a name for the results of each model: its file stem, numbered if two models share a stem."""
    stems = [path.stem for path in recognizers]
    if len(set(stems)) == len(stems):
        return stems
    return [f"{stem}_{number}" for number, stem in enumerate(stems, start=1)]


def check_training(args: argparse.Namespace, kinds: Sequence[str]) -> None:
    """Check the files of a training, whose record has one of `kinds`.

    Files at --output_path are of this run if their record is of the same stage and the same --data, or if there is an
    unfinished training; a history is if that record names it. Any others need --overwrite.
    """
    files = RunFiles.of(options_of(OutputOptions, args))
    outputs = training_outputs(files, overwrite=args.overwrite)
    if args.tensorboard:
        outputs.append(Output("--tensorboard", args.tensorboard, is_folder=True))
    if cache := getattr(args, "cache", None):  # utils/training/cache.py rejects other files at this path
        paths = [cache, *(cache.with_suffix(suffix) for suffix in (".json", ".lock"))]
        outputs += [Output("--cache", path, is_own=True) for path in paths]
    elif getattr(args, "source", None) and args.alpha != 1 and args.teacher_mode == "cached":
        networks = {scores_folder(path) for path in args.source if path.suffix != SCORES_SUFFIX}
        outputs += [Output("--source", folder, is_folder=True) for folder in sorted(networks)]
    check_outputs(inputs_of(args), outputs, overwrite=args.overwrite)
    check_card("--output_path", files.card)
    if not args.overwrite:
        _check_record(files, kinds, args.data)


def training_outputs(files: RunFiles, *, overwrite: bool = False) -> list[Output]:
    """Return the model, its record, its card, its training state, the history and the log."""
    from utils.runs.record import load_record  # imports numpy and OpenCV, which `--help` must not

    is_started, has_record = files.state.exists(), files.record.is_file()
    named = load_record(files.model, argument="--output_path").history if has_record and not overwrite else None
    has_history = is_started or (named is not None and Path(named).resolve() == files.history.resolve())
    own = dict.fromkeys((files.model, files.record, files.state), is_started or has_record)
    own |= dict.fromkeys((files.card, files.lock), True)
    histories = dict.fromkeys((files.history, files.history_table, files.curves), has_history) | {files.log: True}
    found = [Output("--output_path", path, is_own) for path, is_own in own.items()]
    return found + [Output("--log_path", path, is_own) for path, is_own in histories.items()]


def _check_record(files: RunFiles, kinds: Sequence[str], data: Path) -> None:
    for suffix in MODEL_SUFFIXES:
        if (other := files.model.with_suffix(suffix)) != files.model and other.exists():
            raise UserError(
                f"--output_path: {files.model} would share its record {files.record.name} with {other}; "
                "choose another path"
            )
    if not files.record.exists():
        return
    from utils.runs.record import load_record

    record, place = load_record(files.model, argument="--output_path"), f"--output_path: {files.model}"
    if record.kind not in kinds:
        raise UserError(f"{place} is a {record.kind}, not a {kinds[0]}; {REMEDY}")
    source = record.arguments.data
    if source is not None and Path(source).resolve() != data.resolve():
        raise UserError(f"{place} was trained on {source}; {REMEDY}")


def check_card(argument: str, path: Path) -> None:
    """Raise UserError if a file that is no model card is in the place of a card, in which users may write."""
    if path.is_file():
        with open(path, "rb") as file:
            lines = file.read(MOST_CARD_BYTES).splitlines()
        if not any(line.startswith(CARD_BLOCK.encode()) for line in lines):
            raise UserError(f"{argument}: {path} exists and is not a model card; move it or choose another path")


def check_views(args: argparse.Namespace) -> None:
    """Check the folder of KD_training.py --write_views."""
    check_outputs(inputs_of(args), [Output("--write_views", args.write_views, is_folder=True)])


def check_extraction(args: argparse.Namespace) -> None:
    """Check the folders of stage 1, which itself rejects arrays of another run."""
    folder = args.output_path
    names = ("Format_Time.csv", "Format_Time_Summary.txt", "skipped_videos.csv", "short_videos.csv")
    is_own = (folder / "extraction.json").exists() or any(folder.glob(".extraction*"))
    outputs = _in_folder(folder, [*names, "dataset_report.png"], is_own=is_own)
    check_outputs(inputs_of(args), outputs, overwrite=args.overwrite)


def check_evaluation(args: argparse.Namespace) -> None:
    """Check the folder of eval.py."""
    outputs = evaluation_outputs(args.recognizer, args.output_path)
    check_outputs(inputs_of(args), outputs, overwrite=args.overwrite)


def evaluation_outputs(recognizers: Sequence[Path], output_path: Path) -> list[Output]:
    """Return the folder of eval.py and all files that it may write there; metrics.json, the first, marks its own."""
    names = result_names(recognizers)
    files = ["metrics.json", "results.md", "report.html", "predictions.csv", "per_class.csv", "class_gains.csv"]
    files += [f"leaks_{name}.csv" for name in names]
    figures = ["accuracy", "accuracy_by_cost", "roc", "precision_recall"]
    figures += ["reliability", "reliability_calibrated"]
    figures += [f"{what}_{name}" for what in ("class_gains", "confusion", "training") for name in names]
    files += [f"{figure}{suffix}" for figure in figures for suffix in FIGURE_SUFFIXES]
    return _in_folder(output_path, files, is_own=_has(output_path / "metrics.json", "recognizers", "comparisons"))


def check_prediction(args: argparse.Namespace, videos: Iterable[Path]) -> None:
    """Check the annotated video of predict.py."""
    inputs = [*inputs_of(args), *(Input("--input", video) for video in videos)]
    check_outputs(inputs, [Output("--output", args.output)], overwrite=args.overwrite)


def check_export(args: argparse.Namespace) -> None:
    """Check the files of export.py. Those of an export of another model are replaced only with --overwrite."""
    folder, stem = args.output_path, args.recognizer.stem
    lock = folder / f".{stem}.export.lock"  # left by a run that was killed between two renames
    is_own = lock.exists() or _is_export_of(args.recognizer, folder / f"{stem}.json")
    files = [f"{stem}.json", f"{stem}_table.json", f"{stem}_latency.png"]
    outputs = [Output("--output_path", path, is_own=True) for path in (lock, folder / f"{stem}.log")]
    for name, (kind, _) in exported_names(stem, options_of(ExportOptions, args)).items():
        if kind == "saved_model":
            outputs.append(Output("--output_path", folder / name, is_folder=True))
            if (folder / name).is_dir() and not (folder / name / "saved_model.pb").is_file():
                raise UserError(f"--output_path: {folder / name} must be a SavedModel, found another folder")
        else:
            files += [name, f"{Path(name).stem}.bin"] if kind == "openvino" else [name]
    outputs += _in_folder(folder, files, is_own=is_own)
    is_shared = any(_has(path, "source", "files") for path in folder.glob("*.json"))  # by the exports of all models
    outputs += [
        Output("--output_path", folder / name, is_shared) for name in ("example.py", "predict.pyz", "requirements.txt")
    ]
    check_outputs(inputs_of(args), outputs, overwrite=args.overwrite)


def _is_export_of(recognizer: Path, record: Path) -> bool:
    source = read_json(record)["source"] if _has(record, "source", "files") else None
    return isinstance(source, dict) and source.get("fingerprint") == file_fingerprint(recognizer)


def check_experiment(args: argparse.Namespace) -> None:
    """Check the folder of reproduce.py. `cells` and the arrays in it are checked by what writes them."""
    own_settings = args.output_path / "settings.json"  # may be the recipe of a run that extends the experiment
    inputs = [read for read in inputs_of(args) if read.path.resolve() != own_settings.resolve()]
    for source in args.sources or ():
        for part in source.partition("=")[2].split(","):
            pattern = re.sub(r"\{(fold|seed)\}", "*", glob.escape(part))
            inputs += [Input("--sources", path) for path in map(Path, glob.glob(pattern))]
    arrays = () if args.data else ("frames",) if args.videos else ("videos", "frames")
    check_outputs(inputs, experiment_outputs(args.output_path, arrays), overwrite=args.overwrite)


def experiment_outputs(output_path: Path, arrays: Sequence[str]) -> list[Output]:
    """Return the folder of reproduce.py, all files that it may write there, and its folders, `arrays` among them.

    settings.json, which is written before any training, marks the files of an experiment.
    """
    figures = ("results", "accuracy_by_cost", "accuracy_by_temperature")
    names = ["settings.json", *(f"results.{suffix}" for suffix in ("json", "md", "csv")), "report.html"]
    names += [f"{figure}{suffix}" for figure in figures for suffix in FIGURE_SUFFIXES]
    files = _in_folder(output_path, names, is_own=_has(output_path / "settings.json", "seeds", "output_path"))
    folders = [Output("--output_path", output_path / name, is_folder=True) for name in ("cells", *arrays)]
    return [*files, Output("--output_path", output_path / ".experiment.lock", is_own=True), *folders]


def check_cards(args: argparse.Namespace) -> None:
    """Check the cards of python -m utils.cards."""
    cards = [card_path(path) for path in dict.fromkeys(args.recognizer)]
    check_outputs(inputs_of(args), [Output("--recognizer", card, is_own=True) for card in cards])
    for card in cards:
        check_card("--recognizer", card)


def check_leaks(args: argparse.Namespace) -> None:
    """Check the file or folder of python -m utils.leaks."""
    if (path := args.output_path) is None:
        return
    outputs = [Output("--output_path", path)]
    if path.suffix != ".csv":
        is_own = _has(path / "leaks.json", "leaking_test_clips")
        outputs = _in_folder(path, ("leaks.json", "leaks.csv"), is_own=is_own)
    check_outputs(inputs_of(args), outputs, overwrite=args.overwrite)


def check_scores(args: argparse.Namespace, outputs: Iterable[tuple[str, Path]]) -> None:
    """Check files of class scores or features, given by argument, and the .json next to each."""
    found = []
    for argument, path in outputs:
        about = record_path(path)
        found += [Output(argument, file, is_own=_has(about, "key")) for file in (path, about)]
    check_outputs(inputs_of(args), found, overwrite=args.overwrite)


def _in_folder(folder: Path, names: Iterable[str], *, is_own: bool) -> list[Output]:
    """Return the folder of --output_path and files in it, which are all of this run or none."""
    files = [Output("--output_path", folder / name, is_own) for name in names]
    return [Output("--output_path", folder, is_folder=True), *files]


def _has(path: Path, *keys: str) -> bool:
    """Return whether `path` is a JSON file that states these keys, as a former run wrote it."""
    try:
        content = read_json(path)
    except UserError:
        return False
    return isinstance(content, dict) and set(keys) <= set(content)
