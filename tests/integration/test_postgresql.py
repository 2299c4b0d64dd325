"""The server that tests and benchmarks start for themselves."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psycopg
import pytest

from tests import postgresql


def test_whoever_has_no_postgresql_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgresql, "DEBIAN_PROGRAMS", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="apt install postgresql"), postgresql.start_postgresql():
        pass


def test_the_newest_of_several_versions_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for version in ("9.6", "15", "16"):
        (tmp_path / version / "bin").mkdir(parents=True)
        (tmp_path / version / "bin" / "initdb").touch()
    monkeypatch.setattr(postgresql, "DEBIAN_PROGRAMS", tmp_path)
    assert postgresql.find_programs() == tmp_path / "16" / "bin"


def test_a_server_is_gone_with_its_data_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    folders: list[Path] = []
    make_folder = tempfile.mkdtemp

    def remember(**named: str) -> str:
        folders.append(Path(make_folder(**named)))
        return str(folders[0])

    monkeypatch.setattr(tempfile, "mkdtemp", remember)
    ports: list[int] = []

    def fail() -> None:
        with postgresql.start_postgresql(settings=postgresql.UNSAFE_BUT_FAST) as server:
            server.create_database("some")
            ports.append(server.port)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [folder.exists() for folder in folders] == [False]
    with pytest.raises(psycopg.OperationalError, match="refused"):
        psycopg.connect(host=postgresql.HOST, port=ports[0], user=postgresql.ROLE)
