"""Model cards: their text, what is kept of the user's edits, and their metadata by huggingface_hub."""

import dataclasses
import re
import runpy
import shlex
import subprocess
import sys
from contextlib import chdir

import pytest
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from tests.fake_recognizer import record_content, recorded_test, valid_record
from tests.scripts import PROJECT, run_script
from utils.base import options
from utils.base.arguments import options_of
from utils.base.errors import UserError
from utils.base.files import file_fingerprint, plain
from utils.runs.card import BLOCK, card_text, write_card
from utils.runs.card_metadata import METRIC
from utils.runs.card_names import quoted, without_folders
from utils.runs.record import read_record

EXPECTED = """\
---
# license: choose one, for example "license: apache-2.0", and remove this comment
library_name: keras
pipeline_tag: video-classification
tags:
- action-recognition
model-index:
- name: student
  results:
  - task:
      type: video-classification
      name: Video classification
    dataset:
      type: ucf-11
      name: UCF 11
      split: test
      args:
        protocol: random, seed 0
    metrics:
    - type: accuracy
      value: 0.5
      name: Accuracy on test clips (video-action-distillation)
---

# student

<!-- Blocks between "begin generated" and "end generated" are replaced after each training and test. Other text and
metadata are kept. -->

## Model

<!-- begin generated: model -->
This Keras model recognises 3 actions in videos: a, b, c.

| property | value |
|---|---|
| kind | student (compact3d) |
| file | student.keras |
| input | 16 RGB frames of 32 × 32 pixels (height × width), values from 0 to 255 |
| output | 3 logits, in the order of the classes above |

To classify a video, run:

```bash
python predict.py --recognizer student.keras --input video.mp4
```
<!-- end generated: model -->

## Data

<!-- begin generated: data -->
Data set: UCF 11, 9 clips (4 training, 2 validation, 2 test).
Split: random, seed 0.

- a note
<!-- end generated: data -->

## Accuracy

<!-- begin generated: accuracy -->
**50.0 %** of 2 test clips are recognised, 95 % interval 25.0 to 75.0 % (Wilson).
Mean per-class accuracy: 50.0 %.
0 of these clips share a group or near-duplicate frames with clips that the model has seen in training or validation.

The validation accuracy is 50.0 % (2 clips). It is no test accuracy, because epochs and settings may have been chosen by it.

| class | test clips | recognised | accuracy |
|---|---:|---:|---:|
| a | 1 | 1 | 100.0 % |
| b | 1 | 0 | 0.0 % |
| c | 0 | 0 | no clips |
<!-- end generated: accuracy -->

## Size and speed

<!-- begin generated: cost -->
| quantity | value |
|---|---|
| parameters | 1,234,567 |
| multiply-accumulates per clip | 1.51 GMAC |
| size of the weights (float32) | 4.9 MB |
| time per clip | 12.5 ms |
| measured with | one view per clip, batches of 16, including reading and resizing the frames |
| measured on | 2 cores of a processor, 8 GiB, no GPU; TensorFlow threads: 2 |
<!-- end generated: cost -->

## Training

<!-- begin generated: training -->
The weights are those after epoch 2.
The command states all settings that differ from their defaults. Paths are shortened to file names.

```bash
python KD_training.py \\
  --data frames.npy \\
  --annotations labels.npy \\
  --alpha 1 \\
  --input_size 32 \\
  --epochs 30 \\
  --output_path student.keras
```

Versions: keras 3.
<!-- end generated: training -->

## Limits

<!-- begin generated: limits -->
- The model was tested on clips of this data set only. Its accuracy on other videos is unknown.
- The split is random: training and test clips may come from the same group (source video or person), and the accuracy on unseen groups is usually lower.
- The model assigns each video to one of its 3 classes, including videos of other actions.
- Each clip is 16 frames of the video, resized to 32 × 32 pixels without keeping proportions. The duration of the training clips is unknown.
- Training clips were flipped at random, so classes that differ only by left and right are mixed up.
- Differences between groups of people, cameras or lighting conditions were not measured.
<!-- end generated: limits -->

## Licence

The publisher of this model has not chosen a licence yet.
"""  # noqa: E501
FOLDER = "/home/someone/UCF 11"
ARGUMENTS = {
    "group_pattern": None,
    "data": f"{FOLDER}/frames.npy",
    "annotations": f"{FOLDER}/labels.npy",
    "student": "compact3d",
    "alpha": 1,
    "input_size": [32, 32],
    "epochs": 30,
    "views": 8,
    "flip": True,
}


def record_with(**fields):
    """Return a valid record of an untested student, with other `fields`."""
    cost = {"parameters": 1_234_567, "multiply_accumulates": 1_510_000_000, "megabytes": 4.938}
    return valid_record(**{"arguments": ARGUMENTS, "cost": cost} | fields)


def test_the_card_of_a_tested_student():
    """A card would state other numbers than the record."""
    assert card_text(record_with(test=recorded_test()), "student.keras") == EXPECTED


def test_accuracy_is_that_of_clips_and_the_mean_is_that_of_classes():
    """With unequal classes, the mean of the classes would be published as the accuracy."""
    classes = [{"clips": 8, "correct": 8}, {"clips": 2, "correct": 0}, {"clips": 0, "correct": 0}]
    text = card_text(record_with(test=recorded_test(clips=10, classes=classes)), "student.keras")
    assert "**80.0 %** of 10 test clips are recognised" in text
    assert "Mean per-class accuracy: 50.0 %." in text
    (result,) = ModelCard(text).data.eval_results
    assert result.metric_value == 0.8


def test_the_hub_reads_the_metadata():
    """The Hub would reject the card, or show no accuracy."""
    data = ModelCard(EXPECTED).data
    assert (data.library_name, data.pipeline_tag, data.license) == ("keras", "video-classification", None)
    (result,) = data.eval_results
    assert (result.task_type, result.dataset_name, result.dataset_type) == ("video-classification", "UCF 11", "ucf-11")
    assert (result.dataset_split, result.metric_type, result.metric_value) == ("test", "accuracy", 0.5)
    untested = ModelCard(card_text(record_with(kind="distilled student"), "student.keras")).data
    assert untested.eval_results is None
    assert untested.tags == ["action-recognition", "knowledge-distillation"]


def test_an_untested_model_says_so():
    """Readers would take the validation accuracy for a test accuracy."""
    text = card_text(record_with(), "student.keras")
    assert "Not tested yet." in text
    assert "  --data frames.npy \\\n  --annotations labels.npy \\\n  --recognizer student.keras\n" in text
    assert "The model was not tested." in text
    assert "model-index" not in text


@pytest.mark.parametrize("flaw", [{"seen": 1}, {"unknown": ["old.keras has no record"]}])
def test_an_accuracy_on_seen_clips_is_no_result(flaw):
    """The Hub would rank the model by clips that it was trained on."""
    text = card_text(record_with(test=recorded_test(**flaw)), "student.keras")
    assert ModelCard(text).data.eval_results is None
    assert re.search(r"\*\*(1 of these clips were used in training|It is unknown which .*: old\.keras has no)", text)
    assert "so the metadata of this card has no accuracy" in text


USER_RESULT = {
    "task": {"type": "video-classification"},
    "dataset": {"type": "hmdb51", "name": "HMDB51"},
    "metrics": [{"type": "accuracy", "value": 0.25}],
}


def edited(text):
    """Return a card with edits of a user: licence, own tags, own result, own text, a removed block, CRLF."""
    text = text.replace("# license: choose one,", "license: mit  # our lawyer agrees;")
    text = text.replace("- action-recognition", "- gestures\nlanguage:\n# none\n- en\nmodel-index:")
    text = text.replace(
        "model-index:\n",
        "model-index: " + yaml.safe_dump([{"name": "x", "results": [USER_RESULT]}], default_flow_style=True, width=999),
    )
    text = text.replace("# student\n", "# Our student\n\nFor gloves: $x^2$ {braces} \\1 \\g<0>.\n", 1)
    text = text.replace("## Licence\n\nThe publisher of this model has not chosen a licence yet.", "## License\n\nMIT.")
    return re.sub(r"<!-- begin generated: limits.*end generated: limits -->\n", "", text, flags=re.DOTALL)


def outside_of_blocks(text):
    return BLOCK.sub("", re.sub(r"^model-index:.*?(?=^---$)", "", text, flags=re.DOTALL | re.MULTILINE))


def test_edits_are_kept_when_test_results_are_added(tmp_path):
    """A licence and a description that a user wrote would be lost after the next eval.py."""
    path, card = tmp_path / "student.keras", tmp_path / "student.md"
    write_card(path, record_with())
    mine = edited(card.read_text())
    card.write_bytes(mine.replace("\n", "\r\n").encode())
    write_card(path, record_with(test=recorded_test()))
    assert card.read_bytes().count(b"\r\n") == card.read_bytes().count(b"\n")
    tested = card.read_text()
    assert outside_of_blocks(tested) == outside_of_blocks(mine)
    assert "license: mit  # our lawyer agrees;" in tested
    assert "**50.0 %** of 2 test clips" in tested
    assert "Not tested yet" not in tested
    assert "generated: limits" not in tested
    data = yaml.safe_load(tested.split("---")[1])
    assert (data["tags"], data["language"]) == (["gestures"], ["en"])
    (own,) = (entry for entry in data["model-index"] if entry["name"] == "student")
    assert [metric["name"] for metric in own["results"][0]["metrics"]] == [METRIC]
    assert [entry["results"] for entry in data["model-index"] if entry["name"] == "x"] == [[USER_RESULT]]

    write_card(path, record_with(test=recorded_test()))
    assert card.read_text() == tested
    write_card(path, record_with())  # trained again
    data = yaml.safe_load(card.read_text().split("---")[1])
    assert data["model-index"] == [{"name": "x", "results": [USER_RESULT]}]
    assert outside_of_blocks(card.read_text()) == outside_of_blocks(mine)


@pytest.mark.parametrize("tested", [None, recorded_test()], ids=["untested", "tested"])
@pytest.mark.parametrize("front", ["{license: mit, tags: [x]}", "", None], ids=["flow", "empty", "no front matter"])
def test_front_matter_of_other_tools(front, tested):
    """A card that another editor rewrote would get metadata that the Hub rejects."""
    body = EXPECTED.split("---\n", 2)[2]
    former = body if front is None else f"---\n{front}\n---\n{body}"
    data = ModelCard(card_text(record_with(test=tested), "student.keras", former)).data
    assert (data.library_name, data.license) == ("keras", "mit" if front else None)
    assert data.tags == (["x"] if front else ["action-recognition"])
    assert (data.eval_results is None) == (tested is None)


def test_a_card_that_the_hub_rewrote_is_updated():
    """After an edit of the metadata on the website, results of a former test would stay."""
    rewritten = str(ModelCard(EXPECTED))
    data = ModelCard(card_text(record_with(), "student.keras", rewritten)).data
    assert data.eval_results is None
    better = recorded_test(classes=[{"clips": 2, "correct": 2}, *[{"clips": 0, "correct": 0}] * 2])
    data = ModelCard(card_text(record_with(test=better), "student.keras", rewritten)).data
    assert [result.metric_value for result in data.eval_results] == [1.0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"# My notes on the student\n", "must be a model card with generated blocks, found another file"),
        (b"", "must be a model card with generated blocks"),
        (b"\xff\xfe", "must be UTF-8 text"),
        (
            EXPECTED.replace("<!-- end generated: cost -->\n", "").encode(),
            "for each of its 6 generated blocks, found 5",
        ),
        (EXPECTED.replace("library_name: keras", "library_name: [").encode(), "must start with YAML between two lines"),
        (b"---\n- a\n---\n" + EXPECTED.split("---\n", 2)[2].encode(), "must start with a YAML mapping"),
        (b"x" * (1 << 20) + b"x", "must have at most 1,048,576 bytes"),
    ],
    ids=["notes", "empty", "not text", "a missing end", "broken YAML", "a list", "large"],
)
def test_other_files_are_not_replaced(tmp_path, content, message):
    """Notes of a user next to the model would be overwritten."""
    card = tmp_path / "student.md"
    card.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(message)) as error:
        write_card(tmp_path / "student.keras", record_with())
    assert str(error.value).startswith(str(card))
    assert "\n" not in str(error.value)
    assert card.read_bytes() == content


HOSTILE = [
    "<script>alert(1)</script>",
    "a|b\\|c",
    "`code` ``x``",
    "line\nbreak\r\n---\n# heading",
    "[link](https://x.test) ![image](x)",
    "*bold* _it_ ~~no~~ $x$ &lt;",
    "<!-- end generated: model -->",
    "\u202eright to left\u202c",
    "key: [value] # 'quote\" %&",
]


def test_hostile_names_are_shown_as_text():
    """A class or file name would run a script in the browser of a reader, or break tables and metadata."""
    model = "x`|<b>\n<!-- begin generated: cost -->.keras"
    arguments = ARGUMENTS | {"data": "/home/me/```\n---\nlicense: x # <i>/frames.npy", "group_pattern": "-`\n```\n(x)"}
    classes = [{"clips": 1, "correct": 1}] * 2 + [{"clips": 0, "correct": 0}] * 7
    record = record_with(class_names=HOSTILE, arguments=arguments, test=recorded_test(classes=classes))
    text = card_text(record, model)
    page = MarkdownIt("commonmark").enable("table").render(text.split("---\n", 2)[2])
    plain = [" ".join(name.replace("\u202e", "").replace("\u202c", "").split()) for name in HOSTILE]
    escaped = [
        name.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;") for name in plain
    ]
    cells = re.findall(r"<tr>\n<td>(.*)</td>\n<td style=\"text-align:right\">[01]</td>", page)
    assert cells == escaped
    assert not re.search(r"<(script|img|b|i|em|a|del)\b", page)
    assert page.count("<h1>") == 1
    assert page.count("<h2>") == 7
    assert set(ModelCard(text).data.to_dict()) == {"library_name", "pipeline_tag", "tags", "model-index"}
    assert "/home/me" not in text
    assert card_text(record, model, text) == text


def test_no_path_of_the_users_machine_is_published():
    """A card on the Hub would tell the user's name and folders."""
    note = "Classes in /home/someone/my lists/split.csv that are not in the arrays: x. See ~/a/b.csv, ../c/d.npy."
    split = record_content()["split"] | {"protocol": "list:/home/someone/my lists/split.csv", "notes": [note]}
    paths = {
        "source": [f"{FOLDER}/t.keras", "/mnt/u.npy"],
        "split_dir": "/mnt/lists",
        "initial_weights": "/mnt/w.keras",
    }
    paths |= {"split": split["protocol"], "unlabelled": ["/mnt/more/frames.npy"], "tensorboard": "/mnt/logs"}
    record = record_with(
        kind="distilled student",
        split=split,
        arguments=ARGUMENTS | paths,
        test=recorded_test(protocol=split["protocol"], unknown=["the record of /mnt/w.keras is missing"]),
    )
    text = card_text(record, "student.keras")
    assert not re.search("someone|mnt|my lists|~/", text)
    for name in ("split.csv", "t.keras", "u.npy", "w.keras", "--unlabelled frames.npy", "--split list:split.csv"):
        assert name in text
    for kept in ("fold 1/3, 3 and/or 4 clips, a ratio of 1 / 2", r"Found 4 groups (pattern: ([^/]+)/v_/(\d+))."):
        assert without_folders(kept, {"group_pattern": r"([^/]+)/v_/(\d+)"}) == kept


@pytest.mark.parametrize("word", ["a b", "it's", "\n", "\udcff", "\x1b[2J'\\", "ü", "--x", ""])
def test_quoted_words_are_those_of_the_shell(word):
    """A command that was copied from a card would run on other files, or run another command."""
    text = quoted(word)
    assert text.isprintable()
    printed = subprocess.run(["bash", "-c", f"printf %s {text}"], capture_output=True, timeout=20, check=True).stdout
    assert printed == word.encode(errors="surrogateescape")


def parsed(script, command, folder):
    """Return the arguments that a script parses from a command in `folder`."""
    module = runpy.run_path(str(PROJECT / script))
    with chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", command)
        return module["parse_arguments"]()


@pytest.mark.parametrize(
    "given",
    [
        "--alpha 1 --views 0 --no_flip --clip_norm none --input_size 48x64",
        "--source t.keras s.npy --temperature 5 --labels_per_class 3 --unlabelled frames.npy --split list:l.csv",
        "--student frames:efficientnet_lite0 --source t.keras --teacher live --mixing none --backbone_rate 1",
        "--student frames:efficientnet_lite0 --student_weights imagenet --alpha 1",
        "--alpha 1 --initial_weights t.keras --group_pattern=-(x) --epochs 100 --keep best --patience 4",
        "--task fintuning_C3D_Sports1M --weights w.h5 --unfreeze fc6 --width 0.5 --seed 3",
    ],
)
def test_the_command_of_a_card_repeats_the_training(given, tmp_path):
    """Another training would be published than the one that made the model."""
    for name in ("frames.npy", "labels.npy", "t.keras", "s.npy", "l.csv", "w.h5"):
        (tmp_path / name).touch()
    script = "Teacher_training.py" if "--task" in given else "KD_training.py"
    words = [script, "--data", "frames.npy", "--annotations", "labels.npy", *given.split()]
    own = options.TeacherOptions if "--task" in given else options.DistillationOptions
    kinds = (options.DataOptions, options.TrainingOptions, options.NetworkOptions, own, options.ViewOptions)

    def settings(command):
        args = parsed(script, command, tmp_path)
        groups = [options_of(kind, args) for kind in kinds]
        return {name: value for group in groups for name, value in plain(dataclasses.asdict(group)).items()}

    expected = settings(words)
    kind = "C3D teacher" if "--task" in given else "student"
    text = card_text(record_with(kind=kind, arguments=expected), "student.keras")
    (command,) = re.findall(rf"^python ({script} .*?)\n```", text.replace("\\\n", ""), re.DOTALL | re.MULTILINE)
    assert settings(shlex.split(command)) == expected


def test_the_command_writes_cards(tmp_path):
    """A user could not make the card of a finished model, or a card would be made of another model's record."""
    model = tmp_path / "student.keras"
    model.write_bytes(b"PK\x03\x04")
    record_with(fingerprint=file_fingerprint(model), test=recorded_test()).save(model)
    run = ("utils/cards.py", "--recognizer", "student.keras")
    assert run_script(*run, "student.keras", cwd=tmp_path, clears_keras=False) == "wrote student.md\n" * 2
    record = read_record(model, file_fingerprint, argument="")
    assert (tmp_path / "student.md").read_text() == card_text(record, "student.keras") == EXPECTED
    model.write_bytes(b"PK\x03\x04 ")
    for expected in (
        "must be the record of student.keras, but belongs to another file",
        "must have a record student.json",
    ):
        printed = run_script(*run, cwd=tmp_path, expect=2, clears_keras=False)
        assert printed.startswith("error: --recognizer: ")
        assert expected in printed
        model.with_suffix(".json").unlink(missing_ok=True)
    (tmp_path / "student.md").write_text("mine")
    printed = run_script(*run, cwd=tmp_path, expect=2, clears_keras=False)
    assert "student.md exists and is not a model card; move it" in printed
    assert (tmp_path / "student.md").read_text() == "mine"
