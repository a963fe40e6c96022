"""What the machine computes on, and the settings that follow from it."""

import contextlib
import importlib.util
import os
import platform
import re
import sys
import tempfile
from pathlib import Path

import psutil


@contextlib.contextmanager
def native_output_held_back():
    """Holds back what C++ code writes to stderr while the block runs; shows it all if the block fails.

    TensorFlow's start-up writes lines about oneDNN and CUDA that no environment variable turns off.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:  # not Ctrl-C
            os.dup2(saved, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def cores() -> int:
    """The cores that this process may use; joblib knows of affinity and of containers' limits."""
    import joblib

    return joblib.cpu_count()


def start_tensorflow() -> None:
    """Imports TensorFlow and Keras quietly, and lets a GPU's memory grow as it is needed."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with native_output_held_back():
        import keras  # noqa: F401 - the import is the point
        import tensorflow as tf
        from absl import logging

        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    tf.get_logger().setLevel("ERROR")  # it warns of functions traced again, which several models in one process do
    logging.set_verbosity(logging.ERROR)  # Keras warns at every .h5 file that the format is old; here it is asked for


def has_gpu() -> bool:
    """Whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def compute_capability() -> float | None:
    """The CUDA compute capability of the weakest GPU, as 8.6; None without a GPU, or where it is not known."""
    import tensorflow as tf

    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    found = [float("{}.{}".format(*gpu["compute_capability"])) for gpu in details if "compute_capability" in gpu]
    return min(found) if details and len(found) == len(details) else None


def jit_compile() -> bool | str:
    """Keras' `jit_compile`: automatic on a GPU, off on a CPU, where XLA makes Conv3D about 20 times slower."""
    return "auto" if has_gpu() else False


def hardware() -> str:
    """The machine in a few words, for the caption of a table: cores, processor, memory, GPUs."""
    import psutil
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    memory = f"{psutil.virtual_memory().total / 2**30:.0f} GiB"
    return f"{cores()} cores of {processor()}, {memory}, {', '.join(gpus) or 'no GPU'}"


def processor() -> str:
    """The processor's name as the system gives it."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def installed_versions() -> dict[str, str]:
    """Version by package, of those that are installed under these names (not so tensorflow-cpu or opencv-python)."""
    found = {name: list(importlib.metadata.distributions(name=name)) for name in PACKAGES}
    return {name: distributions[0].version for name, distributions in found.items() if distributions}


PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless")


def memory_of_tree(process: int | None = None) -> float:
    """Memory of a process (default: this one) and all below it in MB.

    Of pages that several processes share each counts its part (PSS, on Linux); elsewhere what is a process's own (USS).
    """
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(process)
        for member in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                memory = member.memory_full_info()
                total += getattr(memory, "pss", 0) or memory.uss
    return total / 1e6
