"""What a fresh process has loaded after some code: every run pays for its imports."""

import subprocess
import sys


def loaded_by(code: str, *names: str) -> list[str]:
    """Which of some modules a statement makes a fresh process load."""
    told = f"import sys; {code}; print(*[name for name in {names!r} if name in sys.modules])"
    output = subprocess.run(
        [sys.executable, "-c", told], capture_output=True, text=True, check=True
    ).stdout
    return output.split()
