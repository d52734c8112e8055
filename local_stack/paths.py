"""Paths of the repository, the jars and the stacks' folders; no other module spells them out."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent
JARS = REPOSITORY / ".jars"
SPARK_JARS = JARS / "spark"
CHARTS_JAR = JARS / "page" / "uplot-1.6.30.jar"
STACKS = REPOSITORY / ".stack"
DEMO_STACK = STACKS / "demo"
UP_STACK = STACKS / "up"
#: Where archives go that get no name.
BACKUPS = REPOSITORY / "backups"
DOTENV = REPOSITORY / ".env"
#: The user's own settings; the stack only reads them.
OWN_DOTENV = REPOSITORY / ".env.local"
ROLES = REPOSITORY / "deploy" / "postgres" / "roles.txt"
CLOSE = REPOSITORY / "deploy" / "postgres" / "close.sql"
ALERT_RULES = REPOSITORY / "deploy" / "monitoring" / "alerts.yml"
ALEMBIC_INI = REPOSITORY / "alembic.ini"
#: The module whose definitions the code server serves; `workspace.yaml` names it too.
DEFINITIONS = "forecast_assets.definitions"


def environment_folder() -> Path:
    """Return the folder of the running Python environment (`.venv` after `make setup`)."""
    return Path(sys.prefix)


def script(name: str) -> str:
    """Return the path of a program in the running interpreter's folder.

    PATH may name another environment's Dagster or MLflow when this one is not activated.
    """
    return str(Path(sys.executable).parent / name)
