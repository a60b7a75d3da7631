"""`serve` as a process: it says where it is, stops when told, and fails with a sentence."""

import os
import signal
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fake_backend import PREDICT, make_settings
from live_servers import REPOSITORY, free_port, process, request, wait_for

from tam_backend.errors import InvalidInputError
from tam_backend.server.serve import serve

SCRIPT = str(Path(__file__).with_name("serve_fake.py"))


def running(port: int) -> int:
    return sum(job["state"] == "running" for job in request(port, "GET", "/jobs")[1]["jobs"])


def test_serve_says_where_it_is_and_how_to_connect(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with process([sys.executable, SCRIPT, str(port)], port, log, SLOW_APP_DATA=str(tmp_path)):
        text = log.read_text()
    assert f"status page   http://localhost:{port}/" in text
    assert "Settings > Model > Connect Model" in text
    assert "Traceback" not in log.read_text()


def test_as_many_predicts_as_allowed_wait_while_everything_else_answers(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with (
        process([sys.executable, SCRIPT, str(port)], port, log, SLOW_APP_DATA=str(tmp_path)) as server,
        ThreadPoolExecutor(4) as pool,
    ):
        predicts = [pool.submit(request, port, "POST", "/predict", PREDICT) for _ in range(4)]
        wait_for(lambda: running(port) == 4)
        assert request(port, "POST", "/predict", PREDICT)[0] == 503
        assert request(port, "GET", "/health")[0] == 200
        server.terminate()
        assert {predict.result(10)[0] for predict in predicts} == {200}, "a stop loses no answer"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_a_running_propagation_and_then_the_server(tmp_path: Path, number: signal.Signals) -> None:
    port, log = free_port(), tmp_path / "log"
    with (
        process([sys.executable, SCRIPT, str(port)], port, log, SLOW_APP_DATA=str(tmp_path)) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        predict = pool.submit(request, port, "POST", "/predict", PREDICT)
        wait_for(lambda: running(port) == 1)
        started = time.monotonic()
        server.send_signal(number)
        server.wait(30)
        assert time.monotonic() - started < 30, "the propagation alone would have taken 60 s"
        assert server.returncode == 0
        assert isinstance(predict.exception(10), (OSError, type(None)))
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_as_many_half_sent_headers_as_threads_do_not_hang_the_server(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    with process([sys.executable, SCRIPT, str(port)], port, log, SLOW_APP_DATA=str(tmp_path)):
        clients = [socket.create_connection(("127.0.0.1", port), timeout=40) for _ in range(8)]
        for client in clients:
            client.sendall(b"POST /predict HTTP/1.1\r\nHost: x\r\n")
        time.sleep(0.3)  # all of them are being read by now
        # gunicorn closes them one after the other, and waits up to 2 s for each client to close its side too.
        stubborn, obliging = clients[:2], clients[2:]
        with ThreadPoolExecutor(len(obliging)) as pool:
            ends = [pool.submit(closed_by_the_server, client) for client in obliging]
            assert request(port, "GET", "/health", timeout_s=30)[0] == 200
            assert all(end.result() for end in ends)
        assert all(closed_by_the_server(client) for client in stubborn)
    assert "Traceback" not in log.read_text()


def closed_by_the_server(client: socket.socket) -> bool:
    """Wait until it says no more, and close this side too."""
    with client:
        return client.recv(1000) == b""


def run(port: int, tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    paths = os.pathsep.join([str(REPOSITORY), str(Path(SCRIPT).parent)])
    return subprocess.run(
        [sys.executable, SCRIPT, str(port)],
        env=os.environ | {"PYTHONPATH": paths, "SLOW_APP_DATA": str(tmp_path)} | environment,
        capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip


def test_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = make_settings(tmp_path, port=other.getsockname()[1])
        with pytest.raises(InvalidInputError, match=r"on 127\.0\.0\.1, port \d+: Address already in use\. .*--port"):
            serve(settings)


@pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
def test_host_that_is_not_ours_is_named(tmp_path: Path, host: str) -> None:
    with pytest.raises(InvalidInputError, match=f"Cannot listen on {host}, port 0: "):
        serve(make_settings(tmp_path, host=host, port=0))


def test_app_that_cannot_start_ends_with_its_sentence_once(tmp_path: Path) -> None:
    done = run(0, tmp_path, PROFILE="nonesuch")
    assert done.returncode != 0
    assert done.stderr.count("Error: There is no profile nonesuch. Choose compact.") == 1
    assert "Traceback" not in done.stderr


def test_open_server_on_a_reachable_address_warns(tmp_path: Path) -> None:
    port, log = free_port(), tmp_path / "log"
    environment = {"SLOW_APP_DATA": str(tmp_path), "SERVE_HOST": "0.0.0.0"}
    with process([sys.executable, SCRIPT, str(port)], port, log, **environment):
        assert "whoever reaches this port may use it" in log.read_text()
