"""The generated sections of a card, from a record."""

from collections.abc import Sequence

from utils.runs.card_metadata import dataset_name
from utils.runs.card_names import code_block, file_name, protocol_without_folders, quoted, shown, without_folders
from utils.runs.commands import evaluation_command, training_command
from utils.runs.record import Arguments, Record
from utils.runs.tested import RecordedTest

FOLDED_CLASSES = 20  # a longer table of classes can be opened and closed
PER_CLASS = "| class | test clips | recognised | accuracy |\n|---|---:|---:|---:|"
GROUPED = ("group", "logo", "fold")  # protocols whose test clips come from other groups than the training clips
SETS = ("train", "validation", "test")


def sections(record: Record, model_name: str) -> dict[str, str]:
    """Return the generated Markdown of a card by the name of its block, in the order of a new card."""
    return {
        "model": model_section(record, model_name),
        "data": data_section(record),
        "accuracy": accuracy_section(record, model_name),
        "cost": cost_section(record),
        "training": training_section(record, model_name),
        "limits": limits_section(record),
    }


def model_section(record: Record, model_name: str) -> str:
    """Describe what the model recognises, its input and output, and how to use it."""
    frames, height, width, _ = record.input.shape
    names = record.class_names
    network = None if record.is_of_teacher else record.arguments.get("student")
    kind = shown(record.kind) + (f" ({shown(str(network))})" if network else "")
    lines = [
        f"This Keras model recognises {len(names)} actions in videos: {', '.join(map(shown, names))}.",
        "",
        "| property | value |\n|---|---|",
        f"| kind | {kind} |",
        f"| file | {shown(model_name)} |",
        f"| input | {frames} RGB frames of {height} × {width} pixels (height × width), values from 0 to 255 |",
        f"| output | {len(names)} logits, in the order of the classes above |",
        "",
        "To classify a video, run:",
        "",
        code_block(f"python predict.py --recognizer {quoted(model_name)} --input video.mp4"),
    ]
    return "\n".join(lines)


def data_section(record: Record) -> str:
    """Describe the data set and its split."""
    split, arguments = record.split, record.arguments
    clips = record.arrays.shape[0]
    counts = ", ".join(f"{len(getattr(split.rows, name)):,} {name}" for name in SETS).replace("train", "training")
    lines = [
        f"Data set: {shown(dataset_name(record.arguments.data))}, {clips:,} clips ({counts}).",
        f"Split: {shown(protocol_without_folders(split.protocol))}, seed {split.split_seed}.",
    ]
    labels = arguments.get("labels_per_class")
    if labels is not None:
        lines.append(f"Training used the labels of at most {labels} clips per class.")
    if record.unlabelled is not None and record.unlabelled.files:
        count = sum(file.arrays.shape[0] for file in record.unlabelled.files)
        lines.append(f"Training also used {count:,} unlabelled clips.")
    notes = [f"- {shown_sentence(note, arguments)}" for note in split.notes]
    return "\n".join([*lines, "", *notes]).rstrip()


def shown_sentence(text: str, arguments: Arguments) -> str:
    """Return a sentence for Markdown, without the folders of the user."""
    return shown(without_folders(text, arguments.model_dump()))


def accuracy_section(record: Record, model_name: str) -> str:
    """State the accuracy on test clips with its interval and by class, or that there is none yet, with the command."""
    accuracy = record.validation.get("val_accuracy")
    clips = len(record.split.rows.validation)
    validation = (
        "The validation accuracy is not finite."
        if accuracy is None
        else f"The validation accuracy is {100 * accuracy:.1f} % ({clips:,} clips)."
    )
    validation += " It is no test accuracy, because epochs and settings may have been chosen by it."
    test = record.test
    if test is None:
        command = code_block(evaluation_command(record, model_name))
        return f"Not tested yet. To test the model and complete this card, run:\n\n{command}\n\n{validation}"
    return "\n".join([*tested_lines(record, test), "", validation, "", class_table(record.class_names, test)])


def tested_lines(record: Record, test: RecordedTest) -> list[str]:
    """State the accuracy on the test clips and what limits it."""
    interval = ""
    if test.interval is not None:
        low, high = test.interval
        interval = f", 95 % interval {100 * low:.1f} to {100 * high:.1f} % ({shown(test.method)})"
    lines = [
        f"**{100 * test.accuracy:.1f} %** of {test.clips:,} test clips are recognised{interval}.",
        *([shown(test.caution)] if test.caution else []),
        f"Mean per-class accuracy: {100 * test.mean_class_accuracy:.1f} %.",
    ]
    if test.top5 is not None:
        lines.append(f"The top-5 accuracy is {100 * test.top5:.1f} %.")
    if test.views > 1:
        lines.append(f"Probabilities are averaged over {test.views} views per clip.")
    if test.seen:
        lines.append(
            f"**{test.seen:,} of these clips were used in training or validation, so this is not a test accuracy.**"
        )
    if test.unknown:
        reasons = "; ".join(shown_sentence(reason, record.arguments) for reason in test.unknown)
        lines.append(f"**It is unknown which of these clips the model has seen: {reasons}.**")
    if test.leaking is not None:
        lines.append(
            f"{test.leaking:,} of these clips share a group or near-duplicate frames with clips that the model has "
            "seen in training or validation."
        )
    return lines


def class_table(names: Sequence[str], test: RecordedTest) -> str:
    """Return the table of accuracies by class, folded if it is long."""
    rows = [
        f"| {shown(name)} | {each.clips} | {each.correct} | "
        + (f"{100 * each.correct / each.clips:.1f} % |" if each.clips else "no clips |")
        for name, each in zip(names, test.classes, strict=True)
    ]
    table = "\n".join([PER_CLASS, *rows])
    if len(names) <= FOLDED_CLASSES:
        return table
    return f"<details>\n<summary>Accuracy by class</summary>\n\n{table}\n\n</details>"


def cost_section(record: Record) -> str:
    """State size, arithmetic and, if the model was tested, the measured time per clip."""
    cost, test = record.cost, record.test
    rows = ["| quantity | value |\n|---|---|"]
    if cost is not None:
        rows += [
            f"| parameters | {cost.parameters:,} |",
            f"| multiply-accumulates per clip | {cost.multiply_accumulates / 1e9:.3g} GMAC |",
            f"| size of the weights (float32) | {cost.megabytes:.1f} MB |",
        ]
    if test is None:
        rows.append("| time per clip | not measured yet; `eval.py` measures it |")
        return "\n".join(rows)
    views = f"{test.views} views per clip" if test.views > 1 else "one view per clip"
    rows += [
        f"| time per clip | {test.milliseconds_per_clip:.1f} ms |",
        f"| measured with | {views}, batches of {test.batch_size}, including reading and resizing the frames |",
        f"| measured on | {shown(test.hardware)}; TensorFlow threads: {test.threads} |",
    ]
    return "\n".join(rows)


def training_section(record: Record, model_name: str) -> str:
    """State how the model was made: teachers, weights, command and versions."""
    arguments, lines = record.arguments, []
    if record.is_distilled:
        sources = arguments.get("source") or []
        names = [shown(file_name(str(each))) for each in (sources if isinstance(sources, list) else [sources])]
        lines.append(
            f"The model was distilled from {' and '.join(names) or 'an unknown teacher'} at temperature "
            f"{arguments.get('temperature', 'unknown')}. The weight of the loss on labels is "
            f"{arguments.get('alpha', 'unknown')}."
        )
    if arguments.get("initial_weights"):
        lines.append(f"Training started from {shown(file_name(str(arguments.get('initial_weights'))))}.")
    lines.append(f"The weights are those after epoch {record.kept_epoch}.")
    versions = ", ".join(f"{shown(name)} {shown(version)}" for name, version in record.versions.items())
    return "\n".join(
        [
            *lines,
            "The command states all settings that differ from their defaults. Paths are shortened to file names.",
            "",
            code_block(training_command(record, model_name, private=True)),
            "",
            f"Versions: {versions or 'unknown'}.",
        ]
    )


def limits_section(record: Record) -> str:
    """State what the model was not tested on."""
    test = record.test
    frames, height, width, _ = record.input.shape
    count = len(record.class_names)
    protocol = record.split.protocol.partition(":")[0]
    lines = [
        "The model was tested on clips of this data set only. Its accuracy on other videos is unknown."
        if test is not None
        else "The model was not tested. Its accuracy on new videos is unknown."
    ]
    if protocol == "random":
        lines.append(
            "The split is random: training and test clips may come from the same group (source video or person), and "
            "the accuracy on unseen groups is usually lower."
        )
    elif protocol in GROUPED:
        lines.append("Training and test clips have different groups, but belong to the same data set.")
    lines += [closed_set(record, count), geometry(record, frames, height, width)]
    if record.arguments.views and record.arguments.flip:
        lines.append(
            "Training clips were flipped at random, so classes that differ only by left and right are mixed up."
        )
    if test is not None and not test.is_unseen:
        lines.append("The model may have seen test clips, so the metadata of this card has no accuracy.")
    lines.append("Differences between groups of people, cameras or lighting conditions were not measured.")
    return "\n".join(f"- {line}" for line in lines)


def closed_set(record: Record, count: int) -> str:
    """State what happens to videos of other actions."""
    text = f"The model assigns each video to one of its {count} classes, including videos of other actions."
    if (calibration := record.calibration) is None:
        return text
    return (
        f'{text} `predict.py` predicts "no action" below a confidence of {calibration.threshold:.3g}. This threshold '
        f"was chosen on {calibration.clips} validation clips and not tested on other actions."
    )


def geometry(record: Record, frames: int, height: int, width: int) -> str:
    """State the shape and duration of the clips, others of which are untested."""
    counted = "1 frame" if frames == 1 else f"{frames} frames"
    text = f"Each clip is {counted} of the video, resized to {height} × {width} pixels without keeping proportions."
    if (seconds := record.clip_seconds) is None:
        return f"{text} The duration of the training clips is unknown."
    return (
        f"{text} Training clips span {seconds.median:.2g} s (median; quartiles {seconds.lower_quartile:.2g} and "
        f"{seconds.upper_quartile:.2g} s). Actions at other speeds were not tested."
    )
