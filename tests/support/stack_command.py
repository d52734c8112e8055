"""The embedded stack's command line in a test's own process and folders."""

import os
from pathlib import Path
from unittest.mock import patch

import pytest
from click.testing import Result
from typer.testing import CliRunner

from local_stack import paths
from local_stack.__main__ import app


def move_stacks(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the command find stacks and settings in a folder instead of the repository."""
    for name in ("STACKS", "UP_STACK", "DEMO_STACK", "DOTENV", "OWN_DOTENV"):
        monkeypatch.setattr(paths, name, folder / name.lower())


def run_stack_command(*arguments: str) -> Result:
    """Run `python -m local_stack` with arguments; it forgets variables, and the test keeps them."""
    with patch.dict(os.environ):
        return CliRunner().invoke(app, arguments)
