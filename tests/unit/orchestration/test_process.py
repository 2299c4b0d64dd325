from __future__ import annotations

from pathlib import Path

import pytest

from cae_pipeline.errors import StepRefusedError
from cae_pipeline.orchestration.process import run_cae


def test_a_command_hands_back_what_it_printed(bare_workspace: Path) -> None:
    assert run_cae("lines", "names") == {"lines": ["washers"]}


def test_a_refusal_comes_back_with_its_reason_and_is_not_to_be_retried(bare_workspace: Path) -> None:
    with pytest.raises(StepRefusedError, match=r"no line 'wells'. Known: washers") as caught:
        run_cae("validate", "wells", "2026-01-31")
    assert not caught.value.retryable


def test_a_name_from_outside_is_an_argument_and_never_a_command(bare_workspace: Path) -> None:
    with pytest.raises(StepRefusedError, match="no batch"):
        run_cae("validate", "washers", "x; touch injected $(touch injected)")
    assert not list(bare_workspace.parent.rglob("injected"))
