"""Dagster through its GraphQL: start a run, find one, follow one."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from forecast_service.problems import ServiceError, unavailable
from forecast_service.settings import Settings

LOCATION, REPOSITORY = "forecast_assets", "__repository__"
WAIT_SECONDS = 10.0
#: Seconds that an unused connection is kept: less than the 5 s after which Dagster's webserver ends
#: it, so that no request meets a connection that is just being closed.
KEPT_SECONDS = 2.0
#: A daemon that has been silent for longer is gone, as for the alert `DaemonDead`: it gives a sign
#: every 30 s.
DAEMON_SILENCE = timedelta(minutes=3)
#: Dagster's run states that end a run.
ENDS = ("SUCCESS", "FAILURE", "CANCELED")
IN_PROGRESS = ("QUEUED", "NOT_STARTED", "MANAGED", "STARTING", "STARTED", "CANCELING")
WAITING = ("QUEUED", "NOT_STARTED", "MANAGED")

_FIELDS = """
fragment Fields on Run {
    runId jobName status creationTime startTime endTime tags { key value }
}
"""
_LAUNCH = (
    """
mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { ...Fields } }
    ... on Error { message }
    ... on RunConfigValidationInvalid { errors { message } }
} }
"""
    + _FIELDS
)
_FIND = (
    """
query Find($filter: RunsFilter!) { runsOrError(filter: $filter, limit: 20) {
    __typename
    ... on Runs { results { ...Fields } }
    ... on Error { message }
} }
"""
    + _FIELDS
)
_DAEMONS = """
{ instance { daemonHealth { allDaemonStatuses { required lastHeartbeatTime } } } }
"""


@dataclass(frozen=True)
class Run:
    """A Dagster run.

    Attributes:
        run_id: Its id.
        job: The job's name.
        status: Dagster's status.
        created: When it was requested.
        started: When it began, None before.
        ended: When it ended, None before.
        tags: Its tags.
    """

    run_id: str
    job: str
    status: str
    created: datetime
    started: datetime | None
    ended: datetime | None
    tags: Mapping[str, str]


class DagsterClient:
    """A client of Dagster's webserver; without its address every call says so."""

    def __init__(self, settings: Settings) -> None:
        """Remember the address; nothing is sent yet."""
        self.url = (settings.dagster_url or "").rstrip("/")
        token = settings.dagster_token
        # A proxy of the environment cannot reach this machine's loopback.
        self._client = httpx.AsyncClient(
            timeout=WAIT_SECONDS,
            limits=httpx.Limits(keepalive_expiry=KEPT_SECONDS),
            trust_env=False,
            headers={"Authorization": f"Bearer {token.get_secret_value()}"} if token else {},
        )

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def health(self) -> str | bool | None:
        """Tell whether Dagster works.

        Returns:
            True if it does, False if it answers with an error, what is wrong with its daemon, or
            None if it is not configured.

        Raises:
            httpx.HTTPError: It does not answer.
        """
        if not self.url:
            return None
        answer = await self._client.post(f"{self.url}/graphql", json={"query": _DAEMONS})
        if not answer.is_success:
            return False
        daemons = answer.json()["data"]["instance"]["daemonHealth"]["allDaemonStatuses"]
        return daemon_problem(daemons, datetime.now(UTC)) or True

    async def launch(self, job: str, tags: Mapping[str, str]) -> Run:
        """Start a run of a job.

        Raises:
            ServiceError: Dagster is away, or refuses.
        """
        params = {
            "selector": {
                "repositoryLocationName": LOCATION,
                "repositoryName": REPOSITORY,
                "jobName": job,
            },
            "runConfigData": {},
            "executionMetadata": {
                "tags": [{"key": key, "value": value} for key, value in tags.items()]
            },
        }
        answer = (await self._ask(_LAUNCH, {"params": params}))["launchRun"]
        if "run" not in answer:
            errors = answer.get("errors") or [answer]
            reason = str(errors[0].get("message") or answer["__typename"]).strip()
            raise ServiceError(502, f"Dagster did not start {job}: {reason.splitlines()[0]}")
        return _run(answer["run"])

    async def find(
        self,
        *,
        job: str | None = None,
        tags: Mapping[str, str] | None = None,
        statuses: tuple[str, ...] | None = None,
    ) -> list[Run]:
        """Return the newest runs that match.

        Raises:
            ServiceError: Dagster is away.
        """
        selected: dict[str, Any] = {}
        if job:
            selected["pipelineName"] = job
        if tags:
            selected["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
        if statuses:
            selected["statuses"] = list(statuses)
        return await self._runs(selected)

    async def run(self, run_id: str) -> Run | None:
        """Return a run by its id; None if Dagster knows none.

        Raises:
            ServiceError: Dagster is away.
        """
        runs = await self._runs({"runIds": [run_id]})
        return runs[0] if runs else None

    async def _runs(self, selected: dict[str, Any]) -> list[Run]:
        answer = (await self._ask(_FIND, {"filter": selected}))["runsOrError"]
        if "results" not in answer:
            raise ServiceError(502, f"Dagster cannot list runs: {answer.get('message')}")
        return [_run(entry) for entry in answer["results"]]

    async def _ask(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if not self.url:
            raise ServiceError(503, "DAGSTER_WEBSERVER_URL is not set, so nothing can be started")
        try:
            answer = await self._client.post(
                f"{self.url}/graphql", json={"query": query, "variables": variables}
            )
        except httpx.HTTPError as error:
            raise unavailable(f"Dagster does not answer ({type(error).__name__})", 5) from error
        if answer.status_code in (401, 403):
            raise ServiceError(
                502, "Dagster refuses the service's token: set DAGSTER_WEBSERVER_TOKEN"
            )
        try:
            content = answer.json()
        except ValueError:
            raise unavailable(f"Dagster answered with status {answer.status_code}", 5) from None
        if content.get("errors"):
            reason = str(content["errors"][0].get("message")).splitlines()[0]
            raise ServiceError(502, f"Dagster refused the request: {reason}")
        data: dict[str, Any] = content["data"]
        return data


def daemon_problem(daemons: Sequence[Mapping[str, Any]], now: datetime) -> str | None:
    """Return what is wrong with Dagster's daemon, which the webserver answers without.

    Args:
        daemons: GraphQL's `DaemonStatus` of each part of the daemon.
        now: The time.
    """
    beats = [_time(daemon["lastHeartbeatTime"]) for daemon in daemons if daemon["required"]]
    newest = max((beat for beat in beats if beat), default=None)
    if newest is None:
        return "has no daemon running, so refreshes and trainings wait"
    if now - newest > DAEMON_SILENCE:
        return (
            f"has had no daemon since {newest:%Y-%m-%d %H:%M} UTC, so refreshes and trainings wait"
        )
    return None


def _run(entry: Mapping[str, Any]) -> Run:
    created = _time(entry["creationTime"])
    return Run(
        run_id=entry["runId"],
        job=entry["jobName"],
        status=entry["status"],
        created=created or datetime.now(UTC),
        started=_time(entry["startTime"]),
        ended=_time(entry["endTime"]),
        tags={tag["key"]: tag["value"] for tag in entry["tags"]},
    )


def _time(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
