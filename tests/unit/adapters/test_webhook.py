from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from cae_pipeline.adapters import webhook
from tests.receiver import SECRET, Receiver, listening


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    monkeypatch.setattr(webhook, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(webhook, "LONGEST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(webhook, "PATIENCE_SECONDS", 1.0)
    monkeypatch.setattr(webhook, "_silent_receivers", set())
    with listening() as server:
        yield server


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_busy_or_broken_receiver_is_asked_again_until_it_answers(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status, status, 200]
    assert webhook.post(receiver.url, {"text": "drift"}) is None
    assert (receiver.attempts, receiver.received) == (3, [{"text": "drift"}])


@pytest.mark.parametrize("status", [400, 403, 404, 410])
def test_a_refusal_is_not_asked_again(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    assert f"answers {status}" in str(webhook.post(receiver.url, {}))
    assert receiver.attempts == 1


def test_no_attempt_is_begun_after_the_patience_has_ended(receiver: Receiver) -> None:
    receiver.statuses = [503]
    started = time.monotonic()
    assert "answers 503" in str(webhook.post(receiver.url, {}))
    assert time.monotonic() - started < 2
    assert receiver.attempts > 2


def test_who_was_tried_in_vain_gets_one_attempt_for_each_further_message(receiver: Receiver) -> None:
    receiver.statuses = [503]
    webhook.post(receiver.url, {})
    before = receiver.attempts
    webhook.post(receiver.url, {})
    assert receiver.attempts == before + 1
    receiver.statuses = [200]
    assert webhook.post(receiver.url, {}) is None
    receiver.statuses = [503, 200]
    assert webhook.post(receiver.url, {}) is None


def test_the_standing_bound_of_the_pauses_is_about_twenty_seconds() -> None:
    assert webhook.PATIENCE_SECONDS == 20


@pytest.mark.parametrize(
    "url",
    [
        f"http://user:s3cret@127.0.0.1:9{SECRET}",
        f"http://127.0.0.1:9/white space{SECRET}",
        f"ftp://127.0.0.1{SECRET}",
        f"http://127.0.0.1:port{SECRET}",
        f"http://[::1{SECRET}",
        "s3cret",
    ],
)
def test_the_address_stands_in_no_message_and_in_no_log(
    receiver: Receiver, url: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    problem = webhook.post(url, {})
    assert problem
    assert "s3cret" not in problem + capfd.readouterr().err + caplog.text


def test_a_refusal_does_not_give_the_address_away(receiver: Receiver, capfd: pytest.CaptureFixture[str]) -> None:
    receiver.statuses = [404]
    problem = str(webhook.post(receiver.url, {}))
    assert problem.startswith(f"http://127.0.0.1:{receiver.server_port} answers 404")
    assert "s3cret" not in problem + capfd.readouterr().err
