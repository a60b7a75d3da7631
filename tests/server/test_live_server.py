"""What only real sockets can show: health under load, clicks side by side, hang-ups, keep-alive."""

import http.client
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fake_backend import PREDICT, FakeBackend, make_settings
from live_servers import free_port, gunicorn_command, process, request, request_on, wait_for, werkzeug_server
from slow_app import make_slow

from tam_backend.server.app import create_app


@pytest.fixture(scope="module", params=["werkzeug", "gunicorn"])
def port(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The slow app behind either server."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "werkzeug":
        with werkzeug_server(
            create_app(make_settings(folder, body_timeout_s=1.5), make_slow(FakeBackend(folder)))
        ) as number:  # type: ignore[arg-type]
            yield number
    else:
        number = free_port()
        command = gunicorn_command(number, "slow_app:make_app()")
        with process(command, number, folder / "log", SLOW_APP_DATA=str(folder)):
            yield number


@pytest.fixture(autouse=True)
def idle_afterwards(port: int) -> Iterator[None]:
    yield
    for job in running_jobs(port):
        request(port, "DELETE", f"/jobs/{job['id']}")
    wait_for(lambda: not running_jobs(port))


def running_jobs(port: int) -> list[dict[str, Any]]:
    return [job for job in request(port, "GET", "/jobs")[1]["jobs"] if job["state"] == "running"]


def test_health_answers_within_a_second_while_predicts_wait(port: int) -> None:
    with ThreadPoolExecutor(6) as pool:
        predicts = [pool.submit(request, port, "POST", "/predict", PREDICT) for _ in range(6)]
        wait_for(lambda: len(running_jobs(port)) == 6)
        for _ in range(5):
            started = time.monotonic()
            assert request(port, "GET", "/health")[0] == 200
            assert time.monotonic() - started < 1
        for job in running_jobs(port):
            request(port, "DELETE", f"/jobs/{job['id']}")
        assert {predict.result(10)[0] for predict in predicts} == {200}


def test_predict_over_the_limit_is_refused_at_once_and_the_next_one_served(port: int) -> None:
    with ThreadPoolExecutor(6) as pool:
        predicts = [pool.submit(request, port, "POST", "/predict", PREDICT) for _ in range(6)]
        wait_for(lambda: len(running_jobs(port)) == 6)
        status, reply = request(port, "POST", "/predict", PREDICT)
        assert (status, reply["error"]["type"]) == (503, "OverloadedError")
        for job in running_jobs(port):
            request(port, "DELETE", f"/jobs/{job['id']}")
        for predict in predicts:
            predict.result(10)
        again = pool.submit(request, port, "POST", "/predict", PREDICT)
        wait_for(lambda: len(running_jobs(port)) == 1)
        request(port, "DELETE", f"/jobs/{running_jobs(port)[0]['id']}")
        assert again.result(10)[0] == 200


@pytest.mark.parametrize("how", ["close", "reset"])
def test_client_that_hangs_up_ends_its_predict(port: int, how: str) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("POST", "/predict", __import__("json").dumps(PREDICT), {"Content-Type": "application/json"})
    wait_for(lambda: len(running_jobs(port)) == 1)
    job_id = running_jobs(port)[0]["id"]
    if how == "reset":
        linger_on_for_0_s = b"\x01\x00\x00\x00\x00\x00\x00\x00"
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_on_for_0_s)
    connection.close()
    wait_for(lambda: request(port, "GET", f"/jobs/{job_id}")[1]["state"] == "cancelled", 3)


def test_client_that_waits_quietly_is_not_taken_for_gone(port: int) -> None:
    with ThreadPoolExecutor(1) as pool:
        predict = pool.submit(request, port, "POST", "/predict", PREDICT)
        wait_for(lambda: len(running_jobs(port)) == 1)
        time.sleep(0.5)
        assert len(running_jobs(port)) == 1
        request(port, "DELETE", f"/jobs/{running_jobs(port)[0]['id']}")
        assert predict.result(10)[0] == 200


def test_one_connection_serves_requests_after_refused_ones(port: int) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        assert request_on(connection, "POST", "/predict", [])[0] == 400
        assert request_on(connection, "POST", "/nowhere", {"a": "x" * 100_000})[0] == 404
        assert request_on(connection, "GET", "/health")[0] == 200
    finally:
        connection.close()


def test_huge_body_is_refused_by_its_announced_length(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999999\r\nConnection: close\r\n\r\n{"
        )
        assert b" 413 " in client.recv(1000).splitlines()[0]


def test_half_sent_request_harms_nobody(port: int, tmp_path: Path) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as client:
        client.sendall(
            b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n{"
        )
    assert request(port, "GET", "/health")[0] == 200


def half_sent(port: int, path: str, length: int = 1000) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", port), timeout=10)
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n{{"
    client.sendall(head.encode())
    return client


@pytest.mark.parametrize(
    ("path", "length", "within_s"), [("/webhook", 1000, 4), ("/nowhere", 1000, 3), ("/webhook", 99_999_999_999, 3)]
)
def test_as_many_half_sent_bodies_as_threads_do_not_hang_the_server(
    port: int, path: str, length: int, within_s: float
) -> None:
    clients = [half_sent(port, path, length) for _ in range(8)]
    try:
        time.sleep(0.3)  # all of them are being read by now
        started = time.monotonic()
        assert request(port, "GET", "/health", timeout_s=within_s)[0] == 200
        assert time.monotonic() - started < within_s
    finally:
        for client in clients:
            client.close()


def test_body_that_does_not_arrive_is_told_so_and_the_connection_closed(port: int) -> None:
    with half_sent(port, "/predict") as client, client.makefile("rb") as replies:
        reply = replies.read()  # to the end: the server closes
    assert b" 408 The request body did not arrive within 1.5 s." in reply.splitlines()[0]
    assert b"TAM_BODY_TIMEOUT_S" in reply


def test_body_that_drips_is_given_up_like_one_that_stopped(port: int) -> None:
    with half_sent(port, "/predict") as client:
        client.settimeout(0.2)
        deadline = time.monotonic() + 5
        reply = b""
        while not reply:
            assert time.monotonic() < deadline
            client.sendall(b" ")
            with suppress(TimeoutError):
                reply = client.recv(1000)
    assert b" 408 " in reply.splitlines()[0]
