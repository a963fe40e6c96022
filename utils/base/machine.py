"""Cores, memory and installed packages of this machine, without TensorFlow."""

import contextlib
import importlib.metadata
import math
import os
import platform
import re
import resource
import sys
from pathlib import Path

import psutil

PACKAGES = ("tensorflow", "keras", "numpy", "opencv-python-headless")


def cores() -> int:
    """Return the number of CPU cores available to this process: its CPU affinity, and the limit of its container."""
    found = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else os.cpu_count()
    file = Path("/sys/fs/cgroup/cpu.max")
    quota, _, period = (file.read_text() if file.is_file() else "max").partition(" ")
    return found if quota.strip() == "max" else max(1, min(found, math.ceil(int(quota) / int(period))))


def processor() -> str:
    """Return the processor's model name."""
    cpuinfo = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*:\s*(.+)$", cpuinfo.read_text(), re.MULTILINE) if cpuinfo.is_file() else []
    return names[0] if names else platform.processor() or platform.machine()


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
