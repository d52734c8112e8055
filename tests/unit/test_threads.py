"""Commands limit their BLAS threads by themselves, and leave a number that the user has set."""

import os
import subprocess
import sys

import pytest

_COMMAND = """
import atexit, json, os, runpy, sys

def tell():
    import numpy
    from threadpoolctl import threadpool_info
    found = [p["num_threads"] for p in threadpool_info() if p["internal_api"] == "openblas"]
    print("\\n" + json.dumps([os.environ.get("OPENBLAS_NUM_THREADS"), found]))

atexit.register(tell)
sys.argv[1:] = ["--help"]
runpy.run_module("{package}", run_name="__main__", alter_sys=True)
"""


def threads_of(package: str, **environment: str) -> str:
    """The variable, and the threads of the pools that OpenBLAS made, after a command."""
    inherited = {key: value for key, value in os.environ.items() if key != "OPENBLAS_NUM_THREADS"}
    code = _COMMAND.replace("{package}", package)
    return subprocess.run(
        [sys.executable, "-c", code],
        env=inherited | environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "package", ["forecast_assets", "forecast_service", "streaming_job", "local_stack"]
)
def test_a_command_has_one_blas_thread(package: str) -> None:
    assert threads_of(package).startswith('["1", [1')


def test_a_number_that_is_set_stays() -> None:
    assert threads_of("forecast_assets", OPENBLAS_NUM_THREADS="2").startswith('["2", [2')
