"""The modules that a piece of code imports in a fresh process. Every run pays for its imports."""

import subprocess
import sys


def loaded_by(code: str, *names: str) -> list[str]:
    """Return those of the named modules that a statement loads in a fresh process."""
    told = f"import sys; {code}; print(*[name for name in {names!r} if name in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True
    ).stdout
    return output.split()
