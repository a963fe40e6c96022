"""Hardware detection, and settings that depend on the hardware."""

import contextlib
import functools
import importlib.metadata
import math
import os
import platform
import re
import resource
import sys
import tempfile
from pathlib import Path

import psutil

from utils.base.errors import UserError
from utils.base.text import counted

PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless")


@contextlib.contextmanager
def native_output_held_back(*, shown: bool = True):
    """Hold back what native code writes to stderr in the block; print it only if the block raises and `shown` is true.

    No environment variable turns off TensorFlow's start-up messages about oneDNN and CUDA.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except Exception:  # not Ctrl-C
            held.seek(0)
            os.write(saved, held.read() if shown else b"")
            raise
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def cores() -> int:
    """Return the number of CPU cores available to this process: its CPU affinity, and the limit of its container."""
    found = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count()
    file = Path("/sys/fs/cgroup/cpu.max")
    quota, _, period = (file.read_text() if file.is_file() else "max").partition(" ")
    return found if quota.strip() == "max" else max(1, min(found, math.ceil(int(quota) / int(period))))


def threads() -> int:
    """Return the number of threads that TensorFlow uses within an operation on the CPU."""
    import tensorflow as tf

    wanted = os.environ.get("TF_NUM_INTRAOP_THREADS", "")
    return (
        tf.config.threading.get_intra_op_parallelism_threads() or (int(wanted) if wanted.isdecimal() else 0) or cores()
    )


def start_tensorflow() -> None:
    """Import TensorFlow and Keras without start-up messages, and let GPU memory grow on demand.

    Raises UserError if the environment asks for another backend of Keras; the file keras.json is ignored.
    """
    backend = os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if backend != "tensorflow":
        raise UserError(f"KERAS_BACKEND: must be tensorflow, got {backend}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with native_output_held_back():
        import keras  # noqa: F401 - imported for its start-up messages
        import tensorflow as tf
        from absl import logging

        for gpu in tf.config.get_visible_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    tf.get_logger().setLevel("ERROR")  # several models in one process cause warnings about retracing
    logging.set_verbosity(logging.ERROR)  # Keras warns that .h5 is a legacy format whenever one is saved


def has_gpu() -> bool:
    """Return whether TensorFlow sees a GPU."""
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def gpu_details() -> list[dict]:
    """Return the details of each GPU: `device_name` and its CUDA `compute_capability`, two numbers, where known."""
    import tensorflow as tf

    return [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]


def compute_capability() -> float | None:
    """Return the lowest CUDA compute capability of the GPUs, e.g. 8.6; None if there is no GPU or it is unknown."""
    found = [gpu.get("compute_capability") for gpu in gpu_details()]
    return min(float(f"{major}.{minor}") for major, minor in found) if found and None not in found else None


def jit_compile() -> bool | str:
    """Return the value for Keras' `jit_compile`: "auto" on a GPU; False on a CPU, where XLA slows Conv3D 20-fold."""
    return "auto" if has_gpu() else False


def training_devices(requested: int | str) -> list[str]:
    """Return the names of the devices to train on, such as GPU:0: the first `requested` GPUs, or "all".

    Without a GPU, the logical CPU devices count, of which there is one unless TensorFlow is configured otherwise.
    Raises UserError if there are fewer.
    """
    if requested == 1:
        return ["GPU:0" if has_gpu() else "CPU:0"]
    import tensorflow as tf

    gpus, cpus = (tf.config.list_logical_devices(kind) for kind in ("GPU", "CPU"))
    found = gpus or cpus
    if requested == "all":
        requested = len(found)
    if requested > len(found):
        kinds = counted(len(gpus), "GPU") if gpus else f"no GPU and {counted(len(cpus), 'CPU device')}"
        raise UserError(f"--devices: must be at most {len(found)}, as TensorFlow finds {kinds}, got {requested}")
    return [device.name.removeprefix("/device:") for device in found[:requested]]


def mirrored_strategy(requested: int | str):
    """Return the tf.distribute.MirroredStrategy of `training_devices`, None for one device."""
    if requested == 1 or len(devices := training_devices(requested)) == 1:
        return None
    return _strategy_of(tuple(devices))


@functools.cache
def _strategy_of(devices: tuple[str, ...]):
    """Return the only strategy of a process for these devices: TensorFlow confuses the reductions of a second one."""
    import tensorflow as tf

    return tf.distribute.MirroredStrategy(devices)


def strategy_scope(requested: int | str) -> contextlib.AbstractContextManager:
    """Return the scope in which a network is built, compiled and trained on several devices; no effect for one."""
    strategy = mirrored_strategy(requested)
    return contextlib.nullcontext() if strategy is None else strategy.scope()


def hardware() -> str:
    """Describe the machine in one line for reports: cores, processor, memory, GPUs.

    GPUs are left out if TensorFlow was not imported, because they were not used then.
    """
    memory = psutil.virtual_memory().total / 2**30
    parts = [f"{cores()} cores of {processor()}, {memory:.0f} GiB"]
    if "tensorflow" in sys.modules:
        parts.append(", ".join(gpu.get("device_name", "GPU") for gpu in gpu_details()) or "no GPU")
    return ", ".join(parts)


def processor() -> str:
    """Return the processor's model name."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


def keras_downloads() -> Path:
    """Return the folder in which Keras keeps the weights that it downloads."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"


def installed_versions() -> dict[str, str]:
    """Return the version of each of PACKAGES that is installed under that name.

    Variants such as tensorflow-cpu or opencv-python are not found.
    """
    found = {name: list(importlib.metadata.distributions(name=name)) for name in PACKAGES}
    return {name: distributions[0].version for name, distributions in found.items() if distributions}


def memory_of_tree(process: int | None = None) -> float:
    """Return the memory of a process (default: this one) and its descendants in MB.

    On Linux shared pages are divided among the processes that share them (PSS). On other systems only the memory
    that is unique to each process counts (USS).
    """
    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(process)
        for member in (root, *root.children(recursive=True)):
            with contextlib.suppress(psutil.Error):
                memory = member.memory_full_info()
                total += getattr(memory, "pss", 0) or memory.uss
    return total / 1e6


def peak_memory() -> float:
    """Return the largest memory that this process has had since it started, in MB.

    Linux counts the maximum of `getrusage` from before the program was executed, when it was that of the parent.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        return 1024 * int(status.read_text().partition("VmHWM:")[2].split()[0]) / 1e6
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def memory_limit() -> int:
    """Return the memory of the machine including swap, or the limit of its container if that is lower, in bytes."""
    limit = psutil.virtual_memory().total + psutil.swap_memory().total
    file = Path("/sys/fs/cgroup/memory.max")
    text = file.read_text().strip() if file.is_file() else "max"
    return limit if text == "max" else min(limit, int(text))
