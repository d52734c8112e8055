"""The jars of broker, Spark and pages, fetched from Maven Central by the Ivy that PySpark ships.

A set is complete or absent. It is fetched into a temporary folder and renamed into place with a
manifest of sizes and hashes, so an interrupted fetch is noticed and repeated.
"""

import errno
import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from xml.sax.saxutils import quoteattr

from local_stack import java, java_network, paths
from local_stack.errors import StackError
from local_stack.inherited import service_base

#: Maven coordinates (organisation, module, version) of each set; Ivy adds their dependencies.
JAR_SETS: dict[str, list[tuple[str, str, str]]] = {
    "kafka": [
        ("org.apache.kafka", "kafka_2.13", "4.3.1"),
        # The broker logs through SLF4J 1; without a binding its log file stays empty.
        ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.25.4"),
    ],
    "spark": [("org.apache.spark", "spark-sql-kafka-0-10_2.13", "4.2.0")],
    # The charts of the planners' pages, as JavaScript in a jar.
    "page": [("org.webjars.npm", "uplot", "1.6.30")],
}
MANIFEST = "MANIFEST.json"
#: 50 MB of jars, in Ivy's cache and in place, with a margin.
NEEDED_BYTES = 200 * 1024 * 1024
_NAME = re.compile(r"^(?P<artifact>.+?)-\d")


def ensure_jars(folder: Path = paths.JARS, say: Callable[[str], None] = lambda line: None) -> int:
    """Fetch the jar sets that are missing or incomplete.

    Args:
        folder: Where the sets go, one folder each.
        say: Called with one line of progress at a time.

    Returns:
        The number of jars fetched.

    Raises:
        StackError: No Java, no network, no disk space, or no such artifact.
    """
    missing = [name for name in JAR_SETS if not is_whole(folder / name, JAR_SETS[name])]
    if not missing:
        return 0
    _check_space(folder)
    java_program = java.java_program(allow_install=True)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix="fetching-") as temporary:
            say(f"fetching jars from Maven Central: {', '.join(missing)}")
            _retrieve(java_program, folder, Path(temporary), missing, say)
            for name in missing:
                _finish(Path(temporary) / name, folder / name, name)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise _no_space(folder) from error
        raise StackError(
            f"The jars cannot be written to {folder}: {error.strerror}. "
            "Make that folder writable and run `make setup` again."
        ) from error
    # Once the sets are complete, the cache only takes space.
    shutil.rmtree(folder / "ivy", ignore_errors=True)
    return sum(len(list((folder / name).glob("*.jar"))) for name in missing)


def require_jars(name: str, folder: Path = paths.JARS) -> Path:
    """Return the folder of a jar set.

    Raises:
        StackError: The set is missing or incomplete.
    """
    if not is_whole(folder / name, JAR_SETS[name]):
        raise StackError(f"The jars of {name} are missing or incomplete: run `make setup`.")
    return folder / name


def is_whole(folder: Path, coordinates: list[tuple[str, str, str]]) -> bool:
    """Tell whether a set matches its manifest, and its manifest the coordinates."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except (OSError, ValueError):
        return False
    if manifest.get("coordinates") != [list(one) for one in coordinates]:
        return False
    # Sizes only: hashing 50 MB at every start would rarely find more.
    return all(
        (folder / name).is_file() and (folder / name).stat().st_size == entry["bytes"]
        for name, entry in manifest["jars"].items()
    )


def artifact(file_name: str) -> str:
    """Return a jar's artifact name, its file name without version and ending."""
    match = _NAME.match(file_name)
    return match.group("artifact") if match else Path(file_name).stem


def pyspark_jars() -> Path:
    """Return the folder of the jars that PySpark ships."""
    import pyspark

    return Path(pyspark.__file__).parent / "jars"


def ivy_file(names: list[str]) -> str:
    """Return Ivy's module description of the sets, one configuration per set."""
    confs = "".join(f"<conf name={quoteattr(name)}/>" for name in names)
    dependencies = "".join(
        f"<dependency org={quoteattr(org)} name={quoteattr(module)} rev={quoteattr(version)} "
        # Maven's "runtime" and "master": no sources, no javadoc, nothing optional.
        f"conf={quoteattr(name + '->runtime,master')}>"
        # PySpark ships Hadoop's client, 50 MB of it.
        '<exclude org="org.apache.hadoop"/></dependency>'
        for name in names
        for org, module, version in JAR_SETS[name]
    )
    return (
        '<ivy-module version="2.0"><info organisation="local" module="stack"/>'
        f"<configurations>{confs}</configurations>"
        f"<dependencies>{dependencies}</dependencies></ivy-module>"
    )


def _retrieve(
    java_program: str,
    folder: Path,
    target: Path,
    names: list[str],
    say: Callable[[str], None],
) -> None:
    description = target / "ivy.xml"
    description.write_text(ivy_file(names))
    options = target / "java.options"
    options.touch(mode=0o600)
    told = java_network.argument_file(java_network.network_options(os.environ))
    options.write_text(told, encoding="utf-8")
    command = [
        java_program,
        f"@{options}",
        # Ivy trusts ~/.m2, where a .pom without its .jar makes it fail: use an empty home.
        f"-Duser.home={folder / 'ivy'}",
        "-cp",
        str(pyspark_jars() / "*"),
        "org.apache.ivy.Main",
        "-cache",
        str(folder / "ivy" / "cache"),
        "-ivy",
        str(description),
        "-confs",
        *names,
        "-retrieve",
        str(target / "[conf]" / "[artifact]-[revision](-[classifier]).[ext]"),
    ]
    lines: list[str] = []
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=service_base(),
    )
    try:
        for line in process.stdout or ():
            lines.append(line.rstrip())
            fetched = re.search(r"\[SUCCESSFUL \] \S+?#\S+!(\S+?)\.jar", line)
            if fetched:
                say(f"fetched {fetched.group(1)}")
        process.wait()
    finally:
        # Ctrl-C must not leave a fetch running.
        if process.poll() is None:
            process.kill()
            process.wait()
    output = "\n".join(lines)
    if process.returncode == 0 and "UNRESOLVED DEPENDENCIES" not in output:
        return
    if "No space left on device" in output:
        raise _no_space(folder)
    unresolved = re.findall(r":: (\S+#\S+;\S+): (?:not found|configuration)", output)
    cause = (
        f"not found: {', '.join(sorted(set(unresolved)))}"
        if unresolved
        else next((line.strip() for line in reversed(lines) if line.strip()), "no output")
    )
    raise StackError(
        f"The jars could not be fetched from Maven Central ({cause}): "
        "check the network (proxy, certificates) and run `make setup` again."
    )


def _finish(fetched: Path, target: Path, name: str) -> None:
    """Drop what is not needed, write the manifest and move the set into place."""
    shipped = {artifact(path.name) for path in pyspark_jars().glob("*.jar")}
    jars = {}
    for path in sorted(fetched.glob("*")):
        surplus = path.suffix != ".jar" or path.stem.endswith(("-sources", "-javadoc"))
        if surplus or (name == "spark" and artifact(path.name) in shipped):
            path.unlink()
            continue
        content = path.read_bytes()
        jars[path.name] = {
            "bytes": len(content),
            "sha256": hashlib.sha256(content).hexdigest(),
        }
    if not jars:
        raise StackError(f"Maven Central returned no jar for {name}: run `make setup` again.")
    (fetched / MANIFEST).write_text(
        json.dumps({"coordinates": JAR_SETS[name], "jars": jars}, indent=1)
    )
    if target.exists():
        shutil.rmtree(target)
    fetched.rename(target)


def _check_space(folder: Path) -> None:
    existing = next(parent for parent in [folder, *folder.parents] if parent.exists())
    if shutil.disk_usage(existing).free < NEEDED_BYTES:
        raise _no_space(folder)


def _no_space(folder: Path) -> StackError:
    return StackError(
        f"No disk space for the jars in {folder}: free {NEEDED_BYTES // 2**20} MB "
        "and run `make setup` again."
    )
