"""The devices that TensorFlow sees, its start, and settings that depend on the devices."""

import contextlib
import functools
import os
import sys
import tempfile
from pathlib import Path

import psutil

from utils.base.errors import UserError
from utils.base.machine import cores, processor
from utils.base.text import counted


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


def keras_downloads() -> Path:
    """Return the folder in which Keras keeps the weights that it downloads."""
    return Path(os.environ.get("KERAS_HOME", Path.home() / ".keras")) / "models"
