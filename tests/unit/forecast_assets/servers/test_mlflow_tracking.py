"""MLflow's server takes the hosts that it was started with."""

import subprocess
import sys
from pathlib import Path

# MLflow reads its settings from the environment when it is imported, so a process of its own.
ASK = """
import sys
from pathlib import Path
from forecast_assets.servers.mlflow_tracking import _prepare

folder = Path(sys.argv[1])
_prepare(f"sqlite:///{folder}/mlflow.db", folder / "artifacts", ["mlflow:5000"])
from mlflow.server.fastapi_app import app
from starlette.testclient import TestClient

for host in ("mlflow:5000", "elsewhere:5000"):
    client = TestClient(app, base_url=f"http://{host}")
    path = "/api/2.0/mlflow/experiments/get-by-name"
    print(client.get(path, params={"experiment_name": "none"}).status_code)
for origin in ("https://mlflow:5000", "https://elsewhere:5000"):
    client = TestClient(app, base_url="http://mlflow:5000", headers={"Origin": origin})
    print(client.post("/ajax-api/2.0/mlflow/runs/search", json={}).status_code == 403)
"""


def test_a_name_that_is_allowed_gets_an_answer_and_no_other_does(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path)], capture_output=True, text=True, check=False
    )
    asked = answer.stdout.split()
    assert asked[:2] == ["404", "403"], answer.stderr[-2000:]
    # Pages behind a proxy with TLS are its own; MLflow would only know http and localhost.
    assert asked[2:] == ["False", "True"]
