"""The folder of exported files: written beside under hidden names, then renamed together."""

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from utils.base.files import replaced_together, written_beside
from utils.base.locks import exclusive_lock


@contextlib.contextmanager
def staging_folder(output_path: Path, stem: str) -> Iterator[Path]:
    """Yield a new hidden folder in `output_path`, deleted after the block, as are those of killed runs.

    Raises UserError if another run exports a model of this name to `output_path`.
    """
    lock = output_path / f".{stem}.export.lock"
    with exclusive_lock(lock, what=f"--output_path: {output_path / stem}"):
        for entry in output_path.iterdir():
            if re.fullmatch(rf"\.{re.escape(stem)}\.\d+\.export\.partial", entry.name):
                shutil.rmtree(entry, ignore_errors=True)
        folder = output_path / f".{stem}.{os.getpid()}.export.partial"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def publish(files: Path, output_path: Path, *, last: str) -> None:
    """Move the files and folders in a folder of `staging_folder` to `output_path`, all or none.

    After an exception the former ones are restored. The file `last` is renamed last, so that after a kill it describes
    the former files, whose fingerprints then differ.
    """
    items = sorted(files.iterdir(), key=lambda item: item.name != last)
    with contextlib.ExitStack() as stack:
        for folder in filter(Path.is_dir, items):
            former = files.with_name(f"former_{folder.name}")
            stack.enter_context(replaced_folder(folder, output_path / folder.name, former=former))
        stack.enter_context(replaced_together())
        for file in filter(Path.is_file, items):
            with written_beside(output_path / file.name) as temporary:
                os.replace(file, temporary)


@contextlib.contextmanager
def replaced_folder(new: Path, path: Path, *, former: Path) -> Iterator[None]:
    """Rename the folder `new` to `path`, and the one that is there to `former`.

    Restores the former folder if the block raises an exception.
    """
    for file in filter(Path.is_file, new.rglob("*")):
        with open(file, "rb+") as opened:
            os.fsync(opened)
    if path.exists():
        os.replace(path, former)
    try:
        os.replace(new, path)
        yield
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        if former.exists():
            os.replace(former, path)
        raise
