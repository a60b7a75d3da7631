"""The status page and the metrics: what people need to see, and nothing that harms them."""

import re

import pytest
from fake_backend import PREDICT, FakeBackend
from flask.testing import FlaskClient

from tam_backend.errors import MediaNotFoundError


def test_status_page_tells_profile_device_version_and_state(client: FlaskClient) -> None:
    page = client.get("/")
    assert (page.status_code, page.mimetype) == (200, "text/html")
    for fact in ("fake", "cpu", "fake-1", "ready", "http://localhost:9090"):
        assert fact in page.text


def test_status_page_says_that_the_networks_still_load(client: FlaskClient, backend: FakeBackend) -> None:
    backend.ready = False
    assert "loading the networks" in client.get("/").text


def test_status_page_says_why_the_networks_cannot_be_loaded(client: FlaskClient, backend: FakeBackend) -> None:
    backend.ready, backend.failure = False, "There is no cuda:3 here. Choose cpu."
    page = client.get("/").text
    assert "There is no cuda:3 here. Choose cpu." in page
    assert "loading the networks" not in page


def test_status_page_shows_jobs_with_their_progress(client: FlaskClient, backend: FakeBackend) -> None:
    with backend.jobs.start(7, "1.2", 132) as job:
        job.advance(0)
        page = client.get("/").text
        assert "1 of 132" in page
        assert f'data-job="{job.id}"' in page
    assert "data-job=" not in client.get("/").text.partition("<script")[0]


def test_status_page_shows_problems_with_what_to_do(client: FlaskClient, backend: FakeBackend) -> None:
    backend.problems.failed("POST /predict", MediaNotFoundError("clip.mp4 is not there.", "Upload it again."))
    backend.problems.note("task 7", "60 s were used up at frame 90 of 132.", "Prompt again to go on.")
    page = client.get("/").text
    for text in ("clip.mp4 is not there.", "Upload it again.", "60 s were used up", "Prompt again to go on."):
        assert text in page


def test_status_page_escapes_what_others_wrote(client: FlaskClient, backend: FakeBackend) -> None:
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    backend.problems.failed(attack, MediaNotFoundError(attack, attack))
    with backend.jobs.start(attack, attack, 1) as job:
        job.stopped(attack)
    page = client.get("/").text
    assert "<script>alert" not in page
    assert "<img" not in page
    assert page.count("&lt;script&gt;alert(1)") >= 6


def test_status_page_allows_only_its_own_script(client: FlaskClient) -> None:
    page = client.get("/")
    nonce = re.search(r'<script nonce="([^"]+)"', page.text)[1]
    assert f"script-src 'nonce-{nonce}'" in page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert nonce not in client.get("/").text, "a nonce is used once"


def metric(client: FlaskClient, series: str) -> float:
    lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(series + " ")]
    assert len(lines) == 1, series
    return float(lines[0].rpartition(" ")[2])


def test_metrics_count_requests_by_route_and_not_by_path(client: FlaskClient) -> None:
    for path in ("/jobs/a", "/jobs/b", "/nowhere"):
        client.get(path)
    assert metric(client, 'tam_http_requests_total{method="GET",route="/jobs/<job_id>",status="404"}') == 2
    assert metric(client, 'tam_http_requests_total{method="GET",route="(none)",status="404"}') == 1
    assert metric(client, 'tam_errors_total{type="NotFoundError"}') == 3


def test_strange_methods_do_not_grow_the_metrics(client: FlaskClient) -> None:
    for number in range(5):
        client.open("/health", method=f"X{number}")
    assert "X3" not in client.get("/metrics").text


def test_metrics_tell_predicts_frames_and_jobs(client: FlaskClient, backend: FakeBackend) -> None:
    client.post("/predict", json=PREDICT)
    with backend.jobs.start(7, "1.2", 1) as job:
        job.advance(0)
        assert metric(client, "tam_jobs_running") == 1
    assert metric(client, "tam_predict_seconds_count") == 1
    assert metric(client, "tam_predicts_in_flight") == 0
    assert metric(client, "tam_frames_propagated_total") == 1
    assert metric(client, 'tam_model_info{model_version="fake-1"}') == 1


def test_two_apps_in_one_process_count_for_themselves(make_app: object, client: FlaskClient) -> None:
    client.get("/jobs/x")
    other = make_app().test_client()  # type: ignore[operator]
    with pytest.raises(AssertionError):
        metric(other, 'tam_errors_total{type="NotFoundError"}')


def test_metrics_tell_how_busy_each_worker_is(client: FlaskClient) -> None:
    text = client.get("/metrics").text
    for line in (
        'tam_worker_ready{worker="worker-1"} 1.0',
        'tam_worker_waiting{worker="worker-1"} 2.0',
        'tam_worker_busy_seconds_total{worker="worker-1"} 30.0',
        'tam_worker_frames_total{worker="worker-1"} 60.0',
        'tam_worker_clicks_total{worker="worker-1"} 5.0',
    ):
        assert line in text.splitlines()


def test_status_page_shows_the_workers_of_a_cluster(client: FlaskClient, backend: FakeBackend) -> None:
    assert "worker-1" not in client.get("/").text, "a process of its own needs no list of one"
    backend.is_cluster = True
    page = re.sub(r"\s+", " ", client.get("/").text)
    assert '<td>worker-1</td> <td><span class="state ready">ready</span></td> <td>cpu</td>' in page
    for number in ("2", "50 %", "60", "2.0", "5"):
        assert f'<td class="number">{number}</td>' in page


def test_workers_are_listed_for_scripts(client: FlaskClient) -> None:
    [worker] = client.get("/workers").json["workers"]
    assert (worker["name"], worker["process"], worker["ready"], worker["waiting"]) == ("worker-1", 12, True, 2)
