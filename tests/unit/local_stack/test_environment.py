"""Which component gets which variable, and the `.env` file."""

import re
from pathlib import Path

import pytest
from dotenv import dotenv_values

from forecasting.threads import BLAS_VARIABLE
from local_stack import environment, own_settings
from local_stack.errors import StackError

VALUES = {name: f"value of {name}" for name in environment.VARIABLES}


def test_the_stream_sees_no_other_roles_password() -> None:
    passed = environment.component_environment("stream", VALUES, base={})
    assert "STREAM_DATABASE_URL" in passed
    for other in ("OWNER", "FORECAST", "READER"):
        assert f"{other}_DATABASE_URL" not in passed
    assert "DAGSTER_POSTGRES_URL" not in passed


def test_only_migrations_get_the_owner() -> None:
    with_owner = [
        name for name, names in environment.COMPONENTS.items() if "OWNER_DATABASE_URL" in names
    ]
    assert with_owner == ["migrations"]


#: What a shell may export for other programs, and what libraries underneath would read.
HOSTILE = {
    "OWNER_DATABASE_URL": "postgresql://elsewhere/other",
    "PGPASSWORD": "secret",
    "PGOPTIONS": "-c default_transaction_read_only=on",
    "PGSSLMODE": "verify-full",
    "SPARK_HOME": "/opt/spark",
    "SPARK_CONF_DIR": "/etc/spark",
    "PYSPARK_SUBMIT_ARGS": "--master yarn pyspark-shell",
    "PYTHONPATH": "/elsewhere",
    "PYTHONHOME": "/elsewhere",
    "JAVA_TOOL_OPTIONS": "-agentlib:nothing",
    "JDK_JAVA_OPTIONS": "-Xmx1m",
    "CLASSPATH": "/elsewhere",
    "MLFLOW_TRACKING_TOKEN": "secret",
    "MLFLOW_EXPERIMENT_ID": "9",
    "DAGSTER_GRPC_TIMEOUT_SECONDS": "0",
    "KAFKA_OPTS": "-Xmx1m",
    "GRPC_PROXY_EXP": "x",
    "LD_PRELOAD": "/elsewhere.so",
    "LANG": "tr_TR.ISO-8859-9",
    "LC_NUMERIC": "de_DE",
    "TZ": "Pacific/Kiritimati",
    "DATA": "/elsewhere",
    "FLASK_APP": "x",
    "GUNICORN_CMD_ARGS": "--bind 0.0.0.0",
}


@pytest.mark.parametrize("component", environment.COMPONENTS)
def test_a_service_inherits_what_is_listed_and_nothing_else(component: str) -> None:
    passed = environment.component_environment(component, {}, base={"PATH": "/bin", **HOSTILE})
    assert passed == {
        "PATH": "/bin",
        "LC_ALL": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }


def test_a_setting_reaches_the_services_that_read_it_and_no_others() -> None:
    base = {
        "FORECAST_HORIZON": "14",
        "FORECAST_ALERT_WEBHOOK": "https://chat/secret",
        "STREAM_METRICS_PORT": "9000",
        "SPARK_DRIVER_MEMORY": "2g",
    }

    def passed(component: str) -> set[str]:
        return base.keys() & environment.component_environment(component, {}, base=base).keys()

    assert passed("dagster") == base.keys()
    assert passed("stream") == {"STREAM_METRICS_PORT", "SPARK_DRIVER_MEMORY"}
    assert passed("loader") == {"FORECAST_HORIZON"}
    assert passed("mlflow") == passed("migrations") == set()


@pytest.mark.parametrize(
    ("excepted", "expected"),
    [
        ({}, "127.0.0.1,localhost,::1"),
        ({"no_proxy": "a.org, localhost"}, "a.org,localhost,127.0.0.1,::1"),
        ({"no_proxy": "a.org", "NO_PROXY": "b.org"}, "a.org,b.org,127.0.0.1,localhost,::1"),
        ({"NO_PROXY": "*"}, "*"),
    ],
)
def test_services_keep_the_proxy_but_reach_loopback_directly(
    excepted: dict[str, str], expected: str
) -> None:
    base = {"https_proxy": "http://proxy:8080", **excepted}
    passed = environment.component_environment("dagster", {}, base=base)
    assert passed["https_proxy"] == "http://proxy:8080"
    assert passed["no_proxy"] == passed["NO_PROXY"] == expected


def test_every_dagster_process_gets_both_batching_settings() -> None:
    passed = environment.component_environment(
        "dagster", environment.repository_settings(), base={}
    )
    assert passed["DAGSTER_EVENT_BATCH_SIZE"] == "2000"
    assert passed["DAGSTER_EMIT_PARTITION_SUBSET_IN_PLANNED_EVENTS"] == "true"


def test_dotenv_is_private_and_reads_back(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    values = {**VALUES, "SPARK_MASTER": "local[2,4]", "SALES_TOPIC": 'it\'s # "odd" $HOME \\'}
    values["SALES_CALENDAR_END"] = ""
    environment.write_dotenv(path, values, tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert dotenv_values(path, interpolate=False) == values


def test_ones_own_dotenv_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    path.write_text("MINE=1\n")
    with pytest.raises(StackError, match=r"rename yours to \.env\.local"):
        environment.write_dotenv(path, VALUES, tmp_path)
    environment.remove_dotenv(path)
    assert path.read_text() == "MINE=1\n"


def test_the_stacks_dotenv_is_overwritten_and_removed(tmp_path: Path) -> None:
    path = tmp_path / ".env"
    environment.write_dotenv(path, VALUES, tmp_path)
    environment.write_dotenv(path, {"SALES_TOPIC": "other"}, tmp_path)
    assert "SALES_TOPIC=other" in path.read_text()
    environment.remove_dotenv(path)
    assert not path.exists()


def test_the_example_lists_every_setting_and_no_secret() -> None:
    example = Path(__file__).parents[3] / ".env.example"
    values = dotenv_values(example, interpolate=False)
    settings = own_settings.all_settings()
    ports = set(own_settings.PORTS)
    assert set(values) == set(environment.VARIABLES) | settings | ports | {BLAS_VARIABLE}
    assert not [name for name in values if name.endswith("_URL") and values[name]]


def test_every_stack_variable_in_the_code_is_listed() -> None:
    code = Path(environment.__file__).parent.glob("*.py")
    found = {name for path in code for name in re.findall(r'"(STACK_[A-Z_]+)"', path.read_text())}
    assert found == set(own_settings.PORTS)
