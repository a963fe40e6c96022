"""Start and end the processes that train together (processes.py), by JAX's coordination service.

A process that ends with an error or a signal tells the others why, and they end too. Heartbeats detect a process that
is killed. JAX then aborts the others with a C++ log; a handler of SIGABRT replaces it by one line.
"""

import contextlib
import ctypes
import json
import logging
import os
import re
import signal
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator

from utils.base.errors import UserError
from utils.base.processes import Group, ProcessLost, wait_for_main

HEARTBEAT_TIMEOUT = 45  # seconds without a sign of life after which a process counts as lost
FAREWELL_SECONDS = 5  # for the others to read why this process ends
ENDED = "ended"  # prefix of the keys under which processes state why they end
LOST = re.compile(r"gloo|nccl|coordination|heartbeat|connection (reset|closed|refused)|unavailable", re.I)
_leaving = threading.Lock()  # held by the thread that prints why this process ends
_keep: list = []  # the handler of SIGABRT, which must not be freed
_native = None  # the file that holds what native code prints


@contextlib.contextmanager
def processes_joined(address: str, count: int, number: int, *, timeout: int) -> Iterator[None]:
    """Join the other processes while the block runs, and end together.

    Process 0 listens at `address`. The others print nothing but errors. Raises UserError if the address cannot be used;
    if not all processes join within `timeout` seconds, the process ends with one line and exit code 2.
    """
    host, _, port = address.rpartition(":")
    _check_address(host, int(port), listens=number == 0)
    message = [f"--coordinator {address}: not all {count} processes have joined within {timeout} s"]
    _hide_native_output(quiet=number != 0)
    _replace_abort(lambda: message[0] if message else str(ProcessLost(_fatal_error())))
    _initialise(address, count, number, timeout)
    message.clear()
    threading.Thread(target=_watch, daemon=True).start()
    try:
        yield
        wait_for_main("end")
    except BaseException as error:
        _part(error)
        raise
    _finish()


def leave(error: BaseException) -> None:
    """End a process that has joined others, or waits for them, after `error` ended its work; return if it is alone.

    The interpreter would wait for the other processes.
    """
    if _native is None:
        return
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    else:
        traceback.print_exception(error)
        code = 1
    _exit(code)


def _check_address(host: str, port: int, *, listens: bool) -> None:
    try:
        socket.getaddrinfo(host.strip("[]"), port)
    except OSError as error:
        raise UserError(f"--coordinator: must name a known host, got {host} ({error.strerror})") from None
    if not listens:
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError as error:
            raise UserError(f"--coordinator: port {port} of process 0 cannot be used: {error.strerror}") from None


def _hide_native_output(*, quiet: bool) -> None:
    """Hide what native code prints from now on; with `quiet`, what Python prints to stdout as well."""
    global _native
    _native = tempfile.TemporaryFile("ab+", buffering=0)  # noqa: SIM115 - open until the process ends
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    hidden = os.open(os.devnull, os.O_WRONLY)
    settings = {"encoding": "utf-8", "errors": "backslashreplace", "buffering": 1}
    sys.stderr = open(os.dup(2), "w", **settings)  # noqa: SIM115 - open until the process ends
    sys.stdout = open(hidden if quiet else os.dup(1), "w", **settings)  # noqa: SIM115
    for number in (1, 2):
        os.dup2(_native.fileno(), number)


def _fatal_error() -> Exception | None:
    """Return the error for which JAX aborts the process, as its C++ log states it."""
    if _native is None:  # all work is done
        return None
    _native.seek(0)
    found = re.search(rb"absl::Status: (.*)", _native.read())
    return RuntimeError(found[1].decode(errors="replace")) if found else None


def _replace_abort(message: Callable[[], str]) -> None:
    """Print one line instead of aborting; Python's own handlers would run too late."""

    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def aborted(_):
        _end(message(), 2)

    _keep.append(aborted)
    libc = ctypes.CDLL(None)
    libc.signal.argtypes = (ctypes.c_int, ctypes.c_void_p)
    libc.signal(signal.SIGABRT, ctypes.cast(aborted, ctypes.c_void_p))


def _initialise(address: str, count: int, number: int, timeout: int) -> None:
    import jax
    from jax._src import distributed  # JAX has no public access to its client

    logging.getLogger("jax").setLevel(logging.ERROR)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.config.update("jax_enable_preemption_service", False)  # it would take over SIGTERM
    settings = {
        "initialization_timeout": timeout,
        "heartbeat_timeout_seconds": HEARTBEAT_TIMEOUT,
        "shutdown_timeout_seconds": 10 * HEARTBEAT_TIMEOUT,
    }
    _interruptibly(lambda: jax.distributed.initialize(address, count, number, **settings))
    Group.number, Group.count, Group.client = number, count, distributed.global_state.client
    jax.devices()  # the processes tell each other their devices; JAX limits the time between them to two minutes


def _interruptibly(work: Callable[[], None]) -> None:
    """Do `work` in another thread, so that Python handles signals while native code waits."""
    errors: list[Exception] = []

    def guarded() -> None:
        try:
            work()
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=guarded, daemon=True)
    thread.start()
    while thread.is_alive():
        thread.join(0.2)
    if errors:
        raise errors[0]


def _watch() -> None:
    """End this process when another one states that it ends."""
    client = Group.client
    while Group.client is not None:
        with contextlib.suppress(Exception):  # if the service is lost, JAX aborts this process
            for key, value in client.key_value_dir_get(f"{ENDED}/"):
                other = int(key.rpartition("/")[2])
                if other != Group.number:
                    code, message = json.loads(value)
                    _say_goodbye()
                    _end(f"process {other} has ended: {message}", code)
        time.sleep(0.5)


def _part(error: BaseException) -> None:
    """Tell the other processes why this one ends. Raises ProcessLost if the error shows that another one is lost."""
    if isinstance(error, Exception) and not isinstance(error, UserError) and LOST.search(str(error)):
        time.sleep(2)  # _watch ends this process if the other one has stated why it ended
        _leaving.acquire()
        raise ProcessLost(error) from None
    _leaving.acquire()
    if isinstance(error, ProcessLost):
        return
    code = 128 + getattr(error, "number", signal.SIGINT) if isinstance(error, KeyboardInterrupt) else 2
    text = (str(error).strip() or type(error).__name__).splitlines()[0]
    with contextlib.suppress(Exception):
        Group.client.key_value_set(f"{ENDED}/{Group.number}", json.dumps([code, text]))
    _say_goodbye()


def _say_goodbye() -> None:
    """Wait until all processes know that they end; process 0, which holds the statements, must not end before."""
    with contextlib.suppress(Exception):
        Group.client.wait_at_barrier("all know", FAREWELL_SECONDS * 1000)


def _end(message: str, code: int) -> None:
    if not _leaving.acquire(blocking=False):  # another thread is printing the reason, and ends the process
        time.sleep(2 * FAREWELL_SECONDS)
    print(f"error: {message}", file=sys.stderr)
    _exit(code)


def _exit(code: int) -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)


def _finish() -> None:
    import jax

    global _native
    Group.client = _native = None
    with contextlib.suppress(Exception):  # all files are written
        jax.distributed.shutdown()
    Group.number, Group.count = 0, 1
