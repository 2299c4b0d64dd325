"""`make up`: Airflow and MLflow on this machine, reachable from this machine only.

Airflow's parts are started one by one: `airflow standalone` would open the log server to every
network. Ctrl-C, or `make down` from elsewhere, stops all of them.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import FrameType

from infra.local.environment import REPOSITORY, local_environment

PID_FILE = "up.pid"
START_TIMEOUT_SECONDS = 240
STOP_TIMEOUT_SECONDS = 30


def main() -> None:
    """Start everything, wait, stop everything."""
    workspace = Path(os.environ.get("CAE_WORKSPACE", REPOSITORY / "workspace")).absolute()
    airflow_port = int(os.environ.get("AIRFLOW_PORT", "8080"))
    mlflow_port = int(os.environ.get("MLFLOW_PORT", "5000"))
    environment = {**os.environ, **local_environment(workspace, airflow_port=airflow_port)}
    logs = workspace / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    pid_file = workspace / PID_FILE
    _check_not_running(pid_file)
    airflow = [sys.executable, "-m", "airflow"]
    subprocess.run([*airflow, "db", "migrate"], check=True, env=environment, stdout=subprocess.DEVNULL)
    commands = {
        "mlflow": _mlflow(workspace, mlflow_port),
        "api-server": [*airflow, "api-server"],
        "scheduler": [*airflow, "scheduler", "--skip-serve-logs"],
        "dag-processor": [*airflow, "dag-processor"],
        "triggerer": [*airflow, "triggerer", "--skip-serve-logs"],
    }
    processes: dict[str, subprocess.Popen[bytes]] = {}
    for sign in (signal.SIGINT, signal.SIGTERM):
        # also where a script started it in the background, which makes Python ignore Ctrl-C
        signal.signal(sign, _as_interrupt)
    pid_file.write_text(str(os.getpid()))
    try:
        for name, command in commands.items():
            with (logs / f"{name}.log").open("ab") as log:
                # a session of its own: Airflow's children are stopped with their parent
                processes[name] = subprocess.Popen(
                    command, env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
                )
        _wait_until_up(processes, logs, (airflow_port, mlflow_port))
        _say_hello(workspace, airflow_port, mlflow_port)
        _watch(processes, logs)
    except KeyboardInterrupt:
        print("\nStopping …", flush=True)
    finally:
        _stop(processes)
        pid_file.unlink(missing_ok=True)
    print("Stopped.", flush=True)


def _mlflow(workspace: Path, port: int) -> list[str]:
    (workspace / "mlartifacts").mkdir(parents=True, exist_ok=True)
    return [
        *(sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{workspace / 'mlflow.db'}"),
        *("--artifacts-destination", str(workspace / "mlartifacts")),
        *("--allowed-hosts", f"localhost:{port},127.0.0.1:{port},localhost,127.0.0.1"),
    ]


def _check_not_running(pid_file: Path) -> None:
    if not pid_file.exists():
        return
    pid = int(pid_file.read_text())
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        pid_file.unlink()
        return
    raise SystemExit(f"It is up already, as process {pid}. Stop it with `make down`.")


def _wait_until_up(processes: dict[str, subprocess.Popen[bytes]], logs: Path, ports: tuple[int, int]) -> None:
    print("Starting Airflow and MLflow; this takes up to a minute …", flush=True)
    airflow_port, mlflow_port = ports
    addresses = {f"http://127.0.0.1:{airflow_port}/api/v2/monitor/health", f"http://127.0.0.1:{mlflow_port}/health"}
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while addresses:
        _check_alive(processes, logs)
        if time.monotonic() > deadline:
            raise SystemExit(f"no answer from {', '.join(sorted(addresses))}; see {logs}")
        addresses = {address for address in addresses if not _answers(address)}
        time.sleep(0.5)


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as response:  # noqa: S310
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _check_alive(processes: dict[str, subprocess.Popen[bytes]], logs: Path) -> None:
    for name, process in processes.items():
        if process.poll() is not None:
            raise SystemExit(f"{name} ended with exit code {process.returncode}; see {logs / name}.log")


def _say_hello(workspace: Path, airflow_port: int, mlflow_port: int) -> None:
    passwords = workspace / "airflow" / "simple_auth_manager_passwords.json.generated"
    login = json.loads(passwords.read_text())
    name, password = next(iter(login.items()))
    print(
        f"\nAirflow  http://127.0.0.1:{airflow_port}   login {name}, password {password}\n"
        f"MLflow   http://127.0.0.1:{mlflow_port}\n"
        f"Logs     {workspace / 'logs'}\n\nCtrl-C stops both.",
        flush=True,
    )


def _watch(processes: dict[str, subprocess.Popen[bytes]], logs: Path) -> None:
    while True:
        _check_alive(processes, logs)
        time.sleep(1)


def _stop(processes: dict[str, subprocess.Popen[bytes]]) -> None:
    for sign in (signal.SIGTERM, signal.SIGKILL):
        for process in processes.values():
            # the whole session, also where its leader has gone already
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, sign)
        deadline = time.monotonic() + STOP_TIMEOUT_SECONDS
        while any(_is_there(process) for process in processes.values()) and time.monotonic() < deadline:
            time.sleep(0.2)


def _is_there(process: subprocess.Popen[bytes]) -> bool:
    process.poll()
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    return True


def _as_interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
