"""The kinds of files that stages write, recognised by their content, so that a file of another kind is not replaced."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np

from utils.base.checked_outputs import Kind
from utils.base.errors import UserError
from utils.base.files import read_json

ANNOTATED_MARK = "annotated by predict.py of video-action-distillation"  # in the metadata of videos
CARD_BLOCK = "<!-- begin generated: "  # starts the lines before the blocks of a model card
MOST_CARD_BYTES = 1 << 20
MOST_INDEX_BYTES = 1 << 26  # of an MP4 file, whose metadata is in the index at its start
MOST_METADATA = 1 << 20  # bytes of the metadata at the end of an ONNX file
EXPORT_KEY = b"video_action_distillation"  # of these metadata
PAGE_MARK = '<meta name="generator" content="video-action-distillation">'  # in templates/base.html
ZIP, HDF5 = b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"
TABLE_STARTS = (
    "| recogniser",
    "recogniser,",
    "first,second,",
    "row,path,",
    "class,clips,",
    "test,seen,",
    "Step,Time,",
    "path,reason",
    "path,frames,",
)


def _starts_with(*beginnings: bytes) -> Callable[[Path], bool]:
    def recognises(path: Path) -> bool:
        with open(path, "rb") as file:
            return file.read(64).startswith(beginnings)

    return recognises


def _json_with(*keys: str) -> Callable[[Path], bool]:
    def recognises(path: Path) -> bool:
        try:
            content = read_json(path)
        except UserError:
            return False
        return isinstance(content, dict) and set(keys) <= set(content)

    return recognises


def _npy_with(accepts: Callable[[np.ndarray], bool]) -> Callable[[Path], bool]:
    def recognises(path: Path) -> bool:
        try:
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return False
        return isinstance(array, np.ndarray) and accepts(array)

    return recognises


def _is_log(path: Path) -> bool:
    with open(path, "rb") as file:
        start = file.read(64)
    return not start or re.match(rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d  ", start) is not None


def _is_picture(path: Path) -> bool:
    with open(path, "rb") as file:
        return b"atplotlib" in file.read(4096)  # matplotlib names itself in the metadata


def _is_openvino(path: Path) -> bool:
    xml = path.with_suffix(".xml")
    return xml.is_file() and _starts_with(b"<?xml", b"<net")(xml)


def _is_onnx(path: Path) -> bool:
    with open(path, "rb") as file:  # metadata follow the graph
        file.seek(max(0, path.stat().st_size - MOST_METADATA))
        return EXPORT_KEY in file.read()


def _is_page(path: Path) -> bool:
    with open(path, "rb") as file:
        return PAGE_MARK.encode() in file.read(4096)


def _is_annotated(path: Path) -> bool:
    with open(path, "rb") as file:
        return ANNOTATED_MARK.encode() in file.read(MOST_INDEX_BYTES)


def _is_card(path: Path) -> bool:
    with open(path, "rb") as file:
        return any(line.startswith(CARD_BLOCK.encode()) for line in file.read(MOST_CARD_BYTES).splitlines())


MODEL = Kind("a model", _starts_with(ZIP, HDF5))
RECORD = Kind("the record of a model", _json_with("fingerprint", "class_names"))
CARD = Kind("a model card written by these programs", _is_card)
STATE = Kind("an unfinished training", _starts_with(ZIP))
LOCK = Kind("a lock file", lambda path: path.stat().st_size == 0)
HISTORY = Kind("a training history", _npy_with(lambda array: "epoch" in (array.dtype.names or ())))
HISTORY_TABLE = Kind("the table of a training history", _starts_with(b"epoch,"))
LOG = Kind("the log of a run", _is_log)
PICTURE = Kind("a picture drawn by these programs", _is_picture)
PAGE = Kind("a page written by these programs", _is_page)
SCORES = Kind("class scores", _npy_with(lambda array: array.dtype.kind == "f" and array.ndim in (2, 3)))
SCORES_KEY = Kind("the description of class scores", _json_with("key"))
TEST_RESULTS = Kind("the results of eval.py", _json_with("recognizers", "comparisons"))
GRID_RESULTS = Kind("the results of reproduce.py", _json_with("rows", "times"))
GRID_SETTINGS = Kind("the settings of reproduce.py", _json_with("seeds", "output_path"))
LEAKS = Kind("a report of leaks", _json_with("test_clips", "leaking_test_clips"))
EXPORT = Kind("the description of exported files", _json_with("source", "files"))
EXPORT_TABLE = Kind("the table of an export", _json_with("rows", "clips"))
ONNX = Kind("an ONNX file written by export.py", _is_onnx)
OPENVINO = Kind("an OpenVINO model", _is_openvino)
LITERT = Kind("a LiteRT model", lambda path: path.read_bytes()[4:8] == b"TFL3")
EXAMPLE = Kind("the example of export.py", _starts_with(b'"""Print the most probable classes of a video: python'))
REQUIREMENTS = Kind("written by export.py", _starts_with(b"# What example.py and the exported files need"))
ANNOTATED = Kind("a video written by predict.py", _is_annotated)
TABLE = Kind("a table written by these programs", _starts_with(*(start.encode() for start in TABLE_STARTS)))
