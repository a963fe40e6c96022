"""What the tests of several parts share."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real videos beside the project; it is not part of it, so a test without it is skipped."""
    folder = Path(__file__).parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real videos: {folder} is absent")
    return folder
