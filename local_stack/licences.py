"""The licences of the packages that the system runs with: `python -m local_stack.licences`.

Says what each installed package of `deploy/docker/requirements.lock` declares, and exits 1 if one
declares nothing known. The jars (Spark's, Kafka's, the charts') are not covered: their archives
hold their licences.
"""

import re
import sys
from importlib import metadata

from local_stack import paths

LOCK = paths.REPOSITORY / "deploy" / "docker" / "requirements.lock"
#: Words of licences that let this system be used and passed on as it is.
KNOWN = (
    *("MIT", "Apache", "BSD", "PSF", "Python Software Foundation", "ISC", "MPL", "Zlib", "CC0"),
    # As libraries of their own, which users may replace.
    *("LGPL", "Lesser General Public"),
    *("Unlicense", "Public Domain", "HPND"),
)
#: Package -> the licence in its archive, where its metadata name none.
FOUND_BY_HAND = {"huey": "MIT", "skops": "MIT"}


def packages() -> list[str]:
    """Return the names of the packages in the lock."""
    return re.findall(r"^([a-z0-9][\w.-]*)==", LOCK.read_text(), flags=re.MULTILINE)


def licence_of(name: str) -> str | None:
    """Return what an installed package declares; None if it is not installed here.

    Packages for other systems are in the lock as well.
    """
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    if "License-Expression" in about:
        return about["License-Expression"]
    classifiers = [
        line.split(" :: ")[-1]
        for line in about.get_all("Classifier") or []
        if line.startswith("License :: ") and not line.endswith("OSI Approved")
    ]
    if classifiers:
        return ", ".join(classifiers)
    text = about["License"].strip() if "License" in about else ""
    return text.splitlines()[0] if text else FOUND_BY_HAND.get(name, "")


def is_known(licence: str) -> bool:
    """Tell whether a licence is one of those that were looked at."""
    return any(re.search(rf"\b{word}\b", licence, re.IGNORECASE) for word in KNOWN)


def main() -> int:
    """Print the list; return the exit code."""
    unknown = []
    for name in packages():
        licence = licence_of(name)
        if licence is None:
            continue
        sys.stdout.write(f"{name:32} {metadata.version(name):16} {licence or 'none declared'}\n")
        if not is_known(licence):
            unknown.append(name)
    if unknown:
        sys.stderr.write(
            f"look at the licences of: {', '.join(unknown)}; then add what was found to "
            "local_stack/licences.py\n"
        )
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
