import contextlib
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

import rig  # noqa: E402


@pytest.fixture
def start():
    """Closes what a test opened with it, last first."""
    with contextlib.ExitStack() as stack:
        def opened(thing):
            stack.callback(thing.close)
            return thing

        yield opened


@pytest.fixture
def broker(start, tmp_path):
    return start(rig.Mosquitto(tmp_path))
