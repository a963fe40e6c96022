"""What runs exported files without this project: predict.pyz, which is predict.py with all that it imports of it."""

import zipfile
from pathlib import Path

PROJECT = Path(__file__).parents[2]
PARTS = ("models", *(f"utils/{name}" for name in ("base", "data", "networks", "prediction", "runs", "video")))


def write_program(path: Path) -> None:
    """Write predict.py and the packages of PARTS to a file that Python runs and imports from."""
    files = [PROJECT / "utils/__init__.py", *(file for part in PARTS for file in (PROJECT / part).rglob("*.py"))]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(PROJECT / "predict.py", "__main__.py")
        for file in sorted(files):
            archive.write(file, file.relative_to(PROJECT))
