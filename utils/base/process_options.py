"""The settings of a training in several processes, which do not affect its weights."""

import argparse
import contextlib
from dataclasses import dataclass

from utils.base.argument_types import coordinator_address, non_negative_int, positive_int
from utils.base.arguments import options_of
from utils.base.backend import VARIABLE, backend, is_jax
from utils.base.joining import processes_joined
from utils.base.options import NO_EFFECT
from utils.base.setting import add_settings, setting


@dataclass(frozen=True)
class ProcessOptions:
    """The processes that train together, one per machine or GPU, with KERAS_BACKEND=jax; by default only this one."""

    coordinator: str | None = setting(
        None, "address of process 0, at which the others join it", type=coordinator_address, key=NO_EFFECT
    )
    num_processes: int | None = setting(None, "number of processes", type=positive_int, key=NO_EFFECT)
    process_id: int | None = setting(None, "number of this process, from 0", type=non_negative_int, key=NO_EFFECT)
    join_timeout: int = setting(
        300, "seconds to wait until all processes have joined", type=positive_int, key=NO_EFFECT
    )


def add_process_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the settings of a training in several processes."""
    add_settings(parser.add_argument_group("several processes (KERAS_BACKEND=jax)"), ProcessOptions)


def process_options(parser: argparse.ArgumentParser, args: argparse.Namespace) -> ProcessOptions | None:
    """Return the settings of several processes, None for a single one; reject settings that contradict each other."""
    options = options_of(ProcessOptions, args)
    given = {f"--{name}": getattr(options, name) for name in ("coordinator", "num_processes", "process_id")}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given):
        return None
    if missing:
        parser.error(f"{missing[0]}: must be given with {', '.join(name for name in given if name not in missing)}")
    if options.process_id >= options.num_processes:
        parser.error(f"--process_id: must be below --num_processes {options.num_processes}, got {options.process_id}")
    if not is_jax():
        parser.error(f"--coordinator: needs {VARIABLE}=jax, got {VARIABLE}={backend()}")
    if getattr(args, "write_views", None):
        parser.error("--write_views: must go without --coordinator; one process writes the views")
    return options


def together(options: ProcessOptions | None) -> contextlib.AbstractContextManager:
    """Return a context in which the processes of `options` train together; see `processes_joined`."""
    if options is None:
        return contextlib.nullcontext()
    return processes_joined(
        options.coordinator, options.num_processes, options.process_id, timeout=options.join_timeout
    )
