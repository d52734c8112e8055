"""Where things are: repository, jars, the stack's folders. No other module spells a path."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
JARS = REPOSITORY / ".jars"
KAFKA_JARS = JARS / "kafka"
SPARK_JARS = JARS / "spark"
STACKS = REPOSITORY / ".stack"
DEMO_STACK = STACKS / "demo"
UP_STACK = STACKS / "up"
DOTENV = REPOSITORY / ".env"
ROLES = REPOSITORY / "deploy" / "postgres" / "roles.txt"
ALEMBIC_INI = REPOSITORY / "alembic.ini"
#: The module whose definitions the code server serves; `workspace.yaml` names it too.
DEFINITIONS = "forecast_assets.definitions"


def environment_folder() -> Path:
    """Returns the folder of the Python environment that runs (``.venv`` after ``make setup``)."""
    return Path(sys.prefix)


def script(name: str) -> str:
    """Returns the path of a command line installed beside the running interpreter.

    The interpreter's own folder is used rather than PATH, so that an environment which was not
    activated still starts its own Dagster and MLflow.
    """
    return str(Path(sys.executable).parent / name)
