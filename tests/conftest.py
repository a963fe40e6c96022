"""Fixtures that several test modules share."""

import gc
import signal
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.scripts import eager_functions
from utils.base import drawing
from utils.data.clips import open_clips
from utils.data.protocols import make_split
from utils.evaluation import pictures

BLANK_PNG = cv2.imencode(".png", np.full((8, 8), 255, np.uint8))[1].tobytes()

# Jobs in the background of a shell ignore these signals; some tests send them.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGTERM) == signal.SIG_IGN:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def pytest_collection_finish():
    """Keep garbage collections short, of which each script's end is one: they skip the objects of imported packages."""
    gc.collect()
    gc.freeze()


def pytest_sessionfinish():
    """Keep pytest's final garbage collections short: xdist interrupts a worker that takes longer than 5 s to end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="module")
def quick_pictures(request):
    """Save blank figures: drawing would be a third of an experiment's time. Modules with the marker `draws` draw."""

    def blank(figure, kind, **_):
        width, height = 72 * figure.get_size_inches()
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}pt" height="{height}pt"></svg>'
        return svg.encode() if kind == "svg" else BLANK_PNG

    with pytest.MonkeyPatch.context() as patch:
        if not request.node.get_closest_marker("draws"):
            for module in (drawing, pictures):
                patch.setattr(module, "rendered", blank)
        yield


@pytest.fixture
def eager():
    """Run TensorFlow's functions eagerly, for tests of files and arguments, not of graphs."""
    with eager_functions():
        yield


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real videos next to the project; tests that need it are skipped if it is absent."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real videos: {folder} is absent")
    return folder


@pytest.fixture
def make_arrays(tmp_path):
    """`write_arrays` into a folder of the test."""
    return lambda folder="arrays", **settings: write_arrays(tmp_path / folder, **settings)


def write_arrays(folder, *, classes=3, groups=5, clips=2, length=16, height=40, width=48, seed=0):
    """Write the arrays of a small data set of moving squares to a new folder; return the folder.

    Classes differ in the square's colour and direction, so that a tiny network learns them in a few steps. File names
    follow UCF101 and have `groups` groups per class.
    """
    rng = np.random.default_rng(seed)
    frames, labels, paths = [], [], []
    for label in range(classes):
        for group in range(1, groups + 1):
            for clip in range(1, clips + 1):
                frames.append(moving_square(rng, label, length, height, width))
                labels.append(label)
                paths.append(f"Class{label}/v_Class{label}_g{group:02}_c{clip:02}.avi")
    folder.mkdir()
    np.save(folder / "frames.npy", np.stack(frames))
    np.save(folder / "labels.npy", np.array(labels, np.int64))
    np.save(folder / "video_file_paths.npy", np.array(paths))
    return folder


def moving_square(rng, label, length, height, width):
    """Return a clip, uint8 (length, height, width, 3): noise and a square whose colour and direction show the class."""
    clip = rng.integers(0, 60, (length, height, width, 3), np.uint8)
    top = rng.integers(0, height - 16)
    for number in range(length):
        step = number * (width - 16) // length
        left = step if label % 2 else width - 16 - step
        clip[number, top : top + 16, left : left + 16, label % 3] = 255
    return clip


@pytest.fixture
def arrays(make_arrays):
    """A small data set of three classes and its group split."""
    folder = make_arrays(height=32, width=32)
    dataset = open_clips(folder / "frames.npy", folder / "labels.npy")
    return dataset, make_split(dataset.labels, dataset.paths, class_names=dataset.class_names)


# A signal ends a process with a segmentation fault if it has run an OpenVINO model before, which no script does: tests
# that send signals to their own process come before those that load OpenVINO. The longest files follow, so that the
# processes end together.
LONGEST = ("test_stages.py", "test_documented_commands.py", "test_reproduce.py", "prediction/test_exported.py")
SIGNALLED = ("runs/test_state.py", "video/test_extract_faults.py", "video/test_extract_cluster.py")
FIRST = (*SIGNALLED, *LONGEST)


def pytest_collection_modifyitems(items):
    """Run the tests of FIRST before the others, in this order."""
    items.sort(key=lambda item: [part not in item.nodeid for part in FIRST])
