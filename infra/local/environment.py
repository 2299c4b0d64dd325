"""How Airflow and MLflow are told to run on one machine: SQLite, two tasks at once, loopback only."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def local_environment(workspace: Path, *, airflow_port: int = 8080) -> dict[str, str]:
    """Build the environment of every Airflow process; secrets are made once and kept in the workspace.

    Args:
        workspace: Where Airflow keeps its database, logs and secrets, in `airflow/`.
        airflow_port: Of the API server.
    """
    home = workspace.absolute() / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    return {
        "AIRFLOW_HOME": str(home),
        "CAE_WORKSPACE": str(workspace.absolute()),
        "AIRFLOW__CORE__DAGS_FOLDER": str(REPOSITORY / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
        # SQLite has one writer, and each task may hold TensorFlow: more at once time each other out
        "AIRFLOW__CORE__PARALLELISM": "2",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(airflow_port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{airflow_port}",
        "AIRFLOW__API__WORKERS": "1",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{airflow_port}/execution/",
        "AIRFLOW__API__SECRET_KEY": _secret(home / "secret_key"),
        "AIRFLOW__API_AUTH__JWT_SECRET": _secret(home / "jwt_secret"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "60",
        "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
        "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO",
        "SCARF_ANALYTICS": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        # eight processes that nobody here gives work to
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "PYTHONWARNINGS": "ignore::DeprecationWarning,ignore::FutureWarning",
        "PYTHONPATH": os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH", "")])),
    }


def _secret(path: Path) -> str:
    """Read a secret of 64 hexadecimal bytes, made where it is not there."""
    if not path.exists():
        path.touch(mode=0o600)
        path.write_text(secrets.token_hex(64))
    return path.read_text().strip()
