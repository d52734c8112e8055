"""Backfills and trainings go to the launcher that a setting names, everything else is forked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import dagster as dg
import pytest
import yaml
from dagster._core.launcher.base import LaunchRunContext, WorkerStatus

from forecast_assets.defs.jobs import freshness, refresh, train
from forecast_assets.instance import separate_runs
from forecast_assets.instance.liveness import END_TAG
from forecast_assets.instance.run_launcher import PROCESS_TAG
from forecast_assets.instance.separate_runs import LAUNCHER_TAG, LONG_JOBS, launcher_in
from forecast_assets.planning.scope import REFRESH_TAG
from forecast_assets.settings import settings
from local_stack import paths
from tests.support.launchers import NotingLauncher

SECONDS = 60.0
DOCKER_FILE = paths.REPOSITORY / "deploy" / "docker" / "run_launcher.yaml"
NOTING = {"module": "tests.support.launchers", "class": "NotingLauncher"}


def quick(name: str) -> dg.JobDefinition:
    @dg.op
    def nothing() -> None:
        pass

    @dg.job(name=name, executor_def=dg.in_process_executor)
    def made() -> None:
        nothing()

    return made


def quick_refresh() -> dg.JobDefinition:
    return quick("refresh")


def quick_train() -> dg.JobDefinition:
    return quick("train")


def quick_freshness() -> dg.JobDefinition:
    return quick("freshness")


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    launcher = yaml.safe_load((paths.REPOSITORY / "dagster.yaml").read_text())["run_launcher"]
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"run_launcher": launcher}))
    with dg.DagsterInstance.from_config(str(tmp_path)) as made:
        yield made
    settings.cache_clear()


@pytest.fixture
def noting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set a launcher that notes what it is asked."""

    def use(status: str = "RUNNING") -> None:
        file = tmp_path / "run_launcher.yaml"
        file.write_text(yaml.safe_dump({**NOTING, "config": {"status": status}}))
        monkeypatch.setenv("FORECAST_RUN_LAUNCHER", str(file))
        settings.cache_clear()
        NotingLauncher.asked.clear()

    return use


def launched(
    instance: dg.DagsterInstance, job: Callable[[], dg.JobDefinition], tags: dict[str, str]
) -> dg.DagsterRun:
    """Launch a job of this file as the daemon would; return the run as it is then."""
    code = dg.reconstructable(job)
    run = instance.create_run_for_job(
        code.get_definition(), job_code_origin=code.get_python_origin(), tags=tags
    )
    instance.run_launcher.launch_run(LaunchRunContext(run, workspace=None))
    return found(instance, run.run_id)


def found(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run


@pytest.mark.parametrize(
    ("job", "tags", "is_separate"),
    [
        (quick_train, {}, True),
        (quick_refresh, {}, True),
        (quick_refresh, {"dagster/backfill": "abc"}, True),
        (quick_refresh, {REFRESH_TAG: "true"}, False),
        (quick_freshness, {}, False),
    ],
)
def test_backfills_and_trainings_go_elsewhere_and_the_rest_is_forked(
    instance: dg.DagsterInstance,
    noting: Callable[..., None],
    job: Callable[[], dg.JobDefinition],
    tags: dict[str, str],
    is_separate: bool,
) -> None:
    noting()
    run = launched(instance, job, tags)
    assert (LAUNCHER_TAG in run.tags) is is_separate
    assert (PROCESS_TAG in run.tags) is not is_separate
    if is_separate:
        assert run.tags[LAUNCHER_TAG] == "NotingLauncher"
        assert NotingLauncher.asked == [("launch", run.run_id)]
    else:
        assert NotingLauncher.asked == []
        wait(lambda: found(instance, run.run_id).status is dg.DagsterRunStatus.SUCCESS)


def test_without_the_setting_a_training_is_forked_too(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("FORECAST_RUN_LAUNCHER", raising=False)
    settings.cache_clear()
    run = launched(instance, quick_train, {})
    assert PROCESS_TAG in run.tags and LAUNCHER_TAG not in run.tags
    wait(lambda: found(instance, run.run_id).status is dg.DagsterRunStatus.SUCCESS)


def test_the_jobs_have_the_names_by_which_runs_are_told_apart() -> None:
    from dagster._core.definitions.assets.job.asset_job import IMPLICIT_ASSET_JOB_NAME

    assert {refresh.name, train.name, IMPLICIT_ASSET_JOB_NAME} == LONG_JOBS
    assert freshness.name not in LONG_JOBS


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "NOT_FOUND"])
def test_the_other_launcher_says_whether_its_run_lives(
    instance: dg.DagsterInstance, noting: Callable[..., None], status: str
) -> None:
    noting(status)
    run = launched(instance, quick_train, {})
    health = instance.run_launcher.check_run_worker_health(run)
    assert health.status is WorkerStatus(status)
    assert NotingLauncher.asked[-1] == ("health", run.run_id)
    debug = instance.run_launcher.get_run_worker_debug_info(run)
    assert debug == f"the container of {run.run_id}"


def test_a_run_that_holds_its_lock_lives_whatever_the_launcher_says(
    instance: dg.DagsterInstance, noting: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An engine that does not answer for a moment must not end a run of hours."""
    noting("NOT_FOUND")
    run = launched(instance, quick_train, {})
    launcher = instance.run_launcher
    monkeypatch.setattr(launcher, "_holds_lock", lambda run_id: run_id == run.run_id)
    assert launcher.check_run_worker_health(run).status is WorkerStatus.RUNNING
    assert NotingLauncher.asked == [("launch", run.run_id)]


def test_the_wish_to_end_a_run_is_left_for_it(
    instance: dg.DagsterInstance, noting: Callable[..., None]
) -> None:
    noting()
    run = launched(instance, quick_train, {})
    assert instance.run_launcher.terminate(run.run_id)
    asked = found(instance, run.run_id)
    assert asked.status is dg.DagsterRunStatus.CANCELING
    assert asked.tags[END_TAG] == "yes"
    instance.report_run_canceled(asked)
    assert not instance.run_launcher.terminate(run.run_id), "it has ended"


def test_a_dead_run_cannot_be_asked(
    instance: dg.DagsterInstance, noting: Callable[..., None]
) -> None:
    noting()
    run = instance.create_run_for_job(
        quick_train(), status=dg.DagsterRunStatus.STARTED, tags={LAUNCHER_TAG: "NotingLauncher"}
    )
    assert not instance.run_launcher.terminate(run.run_id)
    assert END_TAG not in found(instance, run.run_id).tags


def test_only_a_launcher_that_was_made_is_disposed_of(
    tmp_path: Path, noting: Callable[..., None]
) -> None:
    launcher = {"module": separate_runs.__name__, "class": "SeparatingRunLauncher"}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump({"run_launcher": launcher}))
    noting()
    with dg.DagsterInstance.from_config(str(tmp_path)) as unused:
        assert unused.run_launcher.supports_check_run_worker_health
    assert NotingLauncher.asked == []
    with dg.DagsterInstance.from_config(str(tmp_path)) as used:
        launched(used, quick_train, {})
    assert NotingLauncher.asked[-1] == ("dispose", "")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "cannot be read"),
        ("[", "cannot be read"),
        ("- module", "must have `module`, `class` and `config`"),
        ("module: dagster_docker", "must have `module`, `class` and `config`"),
        ("{module: dagster_docker, class: A, image: a}", "must have `module`"),
        ("{module: no_such_package.launcher, class: A}", "no_such_package.launcher, which is not"),
    ],
)
def test_a_file_that_names_no_launcher_is_refused_with_its_name(
    tmp_path: Path, content: str | None, reason: str
) -> None:
    file = tmp_path / "run_launcher.yaml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(ValueError, match="FORECAST_RUN_LAUNCHER") as raised:
        launcher_in(file)
    assert str(file) in str(raised.value) and reason in str(raised.value)


def test_dockers_launcher_accepts_the_containers_configuration(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dagster-docker and Docker's own client take it; only the engine is missing."""
    import docker
    from docker.models.containers import _create_container_args

    names: list[str] = yaml.safe_load(DOCKER_FILE.read_text())["config"]["env_vars"]
    for name in names:
        monkeypatch.setenv(name, f"the value of {name}")
    monkeypatch.setenv("DAGSTER_POSTGRES_URL", "postgresql://dagster:pw@postgres/dagster")
    monkeypatch.setenv("FORECAST_DATABASE_URL", "postgresql://sales_assets:pw@postgres/sales")
    for name in names:
        # Empty means the default, as in docker-compose.yml.
        if name.startswith(("FORECAST_", "SALES_CALENDAR")) and name != "FORECAST_DATABASE_URL":
            monkeypatch.setenv(name, "")
    for name, value in (
        ("RUN_IMAGE", "forecast-assets"),
        ("RUN_NETWORK", "forecast_network"),
        ("FORECAST_RUN_LAUNCHER", str(DOCKER_FILE)),
    ):
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    engine = MagicMock()
    engine.containers.create.return_value.id = "c0ffee"
    monkeypatch.setattr(docker.client, "from_env", lambda: engine)
    run = launched(instance, quick_train, {})
    engine.containers.create.return_value.start.assert_called_once_with()
    asked: dict[str, Any] = engine.containers.create.call_args.kwargs
    assert asked["image"] == "forecast-assets"
    assert asked["network"] == "forecast_network"
    assert set(names) <= set(asked["environment"])
    assert asked["environment"]["STREAM_DATABASE_URL"] == "the value of STREAM_DATABASE_URL"
    assert run.tags[LAUNCHER_TAG] == "DockerRunLauncher"
    assert run.tags["docker/container_id"] == "c0ffee"
    host = _create_container_args({**asked, "version": "1.41"})["host_config"]
    assert host["AutoRemove"] and host["Init"] and host["ReadonlyRootfs"]
    assert host["CapDrop"] == ["ALL"]
    assert host["Memory"] == 4 * 2**30
    assert host["Binds"] == ["forecast-assets_dagster:/var/lib/dagster"]


def wait(done: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)
