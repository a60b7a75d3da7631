"""The problem log: complete, bounded, and free of secrets."""

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.errors import CancelledError, MediaForbiddenError
from tam_backend.problems import ProblemLog, redact


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("http://h:9090/frames/00/1.jpg?sig=0123 failed", "http://h:9090/frames/00/1.jpg?... failed"),
        ("'/data/local-files/?d=media/clip.mp4' is", "'/data/local-files/?...' is"),
        ("https://b.s3.test/k?X-Amz-Signature=ab&X-Amz-Credential=c.", "https://b.s3.test/k?..."),
        ("http://ann:pass@host/x", "http://host/x"),
        ("Authorization: Token 0123456789abcdef", "Authorization: Token ..."),
        ("Bearer eyJhbGciOi.eyJzdWIi.c2ln", "Bearer ..."),
        ("got eyJhbGciOi.eyJzdWIi.c2lnbmF0dXJl here", "got ... here"),
        ("token 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b", "token ..."),
        ("Is the video there? Upload it.", "Is the video there? Upload it."),
        ("The token is wrong.", "The token is wrong."),
    ],
)
def test_secrets_are_taken_out_and_sentences_left_alone(text: str, safe: str) -> None:
    assert redact(text) == safe


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_problem_and_log_hold_no_signature(caplog: pytest.LogCaptureFixture) -> None:
    log = ProblemLog()
    log.failed(
        "task 7", MediaForbiddenError("http://u:pw@h/f.jpg?sig=5ec4e7 is forbidden.", "See http://h/?key=5ec4e7")
    )
    log.failed("task 7", RuntimeError("http://h/f.jpg?sig=5ec4e7"))
    everything = caplog.text + "".join(str(problem) for problem in log.recent())
    assert "RuntimeError" in everything
    assert "5ec4e7" not in everything
    assert "pw@" not in everything


def test_newest_problem_comes_first_and_old_ones_go() -> None:
    log = ProblemLog(limit=2)
    for number in range(3):
        log.note("test", f"number {number}")
    assert [problem.message for problem in log.recent()] == ["number 2", "number 1"]


def test_same_problem_again_is_counted_rather_than_repeated() -> None:
    log = ProblemLog()
    for _ in range(50):
        log.note("GET /frames", "The video is gone.")
    log.note("GET /frames", "Another.")
    assert [(problem.message, problem.count) for problem in log.recent()] == [
        ("Another.", 1),
        ("The video is gone.", 50),
    ]


def test_client_that_hung_up_is_logged_but_no_problem(caplog: pytest.LogCaptureFixture) -> None:
    log = ProblemLog()
    with caplog.at_level(logging.INFO):
        log.failed("POST /predict", CancelledError("The client hung up."))
    assert "The client hung up." in caplog.text
    assert log.recent() == []
