"""`make down`: stop what `make up` started in another terminal."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from infra.local.environment import REPOSITORY
from infra.local.up import PID_FILE, STOP_TIMEOUT_SECONDS


def main() -> None:
    """Signal the process that holds everything, and wait for it."""
    pid_file = Path(os.environ.get("CAE_WORKSPACE", REPOSITORY / "workspace")) / PID_FILE
    if not pid_file.exists():
        print("Nothing is up.")
        return
    pid = int(pid_file.read_text())
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        pid_file.unlink()
        print("It had stopped already.")
        return
    deadline = time.monotonic() + 2 * STOP_TIMEOUT_SECONDS
    while pid_file.exists() and time.monotonic() < deadline:
        time.sleep(0.2)
    print("Stopped." if not pid_file.exists() else f"Process {pid} does not stop; see its logs.")


if __name__ == "__main__":
    main()
