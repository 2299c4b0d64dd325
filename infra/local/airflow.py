"""`make airflow CMD="…"`: Airflow's own command line, told about the installation of `make up`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from infra.local.environment import REPOSITORY, local_environment


def main() -> None:
    """Become `airflow` with the arguments given."""
    workspace = Path(os.environ.get("CAE_WORKSPACE", REPOSITORY / "workspace"))
    environment = {
        **os.environ,
        **local_environment(workspace, airflow_port=int(os.environ.get("AIRFLOW_PORT", "8080"))),
    }
    command = [sys.executable, "-m", "airflow", *sys.argv[1:]]
    os.execve(sys.executable, command, environment)  # noqa: S606


if __name__ == "__main__":
    main()
