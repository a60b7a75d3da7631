"""The protocol as Label Studio speaks it, and what anybody gets who speaks it wrongly."""

import base64
import json
import logging

import pytest
from fake_backend import PREDICT, SETUP, FakeBackend
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tam_backend.errors import CancelledError, LabelStudioError, MediaNotFoundError, TamError


def fail_with(backend: FakeBackend, error: BaseException) -> None:
    def fail(cancelled: object) -> None:
        raise error

    backend.on_predict = fail


def test_health_is_up(client: FlaskClient) -> None:
    reply = client.get("/health")
    assert (reply.status_code, reply.json["status"], reply.json["model_class"]) == (200, "UP", "TrackAnything")


def test_health_does_not_ask_the_backend(client: FlaskClient, backend: FakeBackend) -> None:
    del backend.ready  # describe() fails now, as it may wait while the networks load
    assert client.get("/health").status_code == 200


def test_ready_tells_a_proxy_whether_to_send_work_here_and_why_not(client: FlaskClient, backend: FakeBackend) -> None:
    reply = client.get("/ready")
    assert (reply.status_code, reply.json) == (200, {"status": "READY"})
    backend.ready = False
    reply = client.get("/ready")
    assert (reply.status_code, reply.json["reason"]) == (503, "No worker has its networks yet.")


def test_setup_answers_the_model_version(client: FlaskClient) -> None:
    assert client.post("/setup", json=SETUP).json == {"model_version": "fake-1"}


def test_predict_answers_one_result_per_task(client: FlaskClient) -> None:
    results = client.post("/predict", json=PREDICT | {"tasks": PREDICT["tasks"] * 3}).json["results"]
    assert [result["model_version"] for result in results] == ["fake-1"] * 3


def test_webhook_event_reaches_the_backend(client: FlaskClient, backend: FakeBackend) -> None:
    reply = client.post("/webhook", json={"action": "ANNOTATION_UPDATED", "annotation": {}})
    assert (reply.status_code, backend.events) == (201, ["ANNOTATION_UPDATED"])


def test_versions_are_listed_as_label_studio_asks_for_them(client: FlaskClient) -> None:
    assert client.get("/versions").json == {"versions": ["fake-1"]}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "not valid JSON"),
        (b"{", "not valid JSON"),
        (b'{"tasks": [}', "not valid JSON"),
        (b"\xff\xfe\x00", "not valid JSON"),
        (b'{"a": NaN}', "NaN is not JSON"),
        (b'{"a": ' + b"9" * 5000 + b"}", "not valid JSON"),
        (b"[" * 100_000, "nested too deep"),
        (b'{"a":' * 100_000, "nested too deep"),
        (b"[]", "a JSON list, not an object"),
        (b'"text"', "a JSON text, not an object"),
        (b"null", "a JSON null, not an object"),
        (b"3", "a JSON number, not an object"),
        (b"true", "a JSON boolean, not an object"),
    ],
)
@pytest.mark.parametrize("route", ["/predict", "/setup", "/webhook"])
def test_what_is_no_json_object_is_refused_with_its_reason(
    client: FlaskClient, route: str, body: bytes, expected: str
) -> None:
    reply = client.post(route, data=body, content_type="application/json")
    assert (reply.status_code, reply.json["error"]["type"]) == (400, "PayloadError")
    assert expected in reply.json["error"]["message"]


def test_body_of_another_kind_is_told_to_be_json(client: FlaskClient) -> None:
    reply = client.post("/predict", data="tasks=1", content_type="text/plain")
    assert reply.status_code == 400
    assert "application/json" in reply.json["error"]["remedy"]


@pytest.mark.parametrize(
    ("changes", "names"),
    [
        ({"tasks": None}, "'tasks' is missing"),
        ({"tasks": {}}, "'tasks' is a object"),
        ({"tasks": [3]}, "'tasks[0]' is a number"),
        ({"tasks": [{"data": {}}, {"id": 1}]}, "'tasks[1].data' is missing"),
        ({"label_config": None}, "'label_config' is missing"),
        ({"label_config": 3}, "'label_config' is a number"),
        ({"params": []}, "'params' is a list"),
        ({"params": {"context": "x"}}, "'params.context' is a text"),
        ({"params": {"context": {"result": [1]}}}, "'params.context.result' is a list"),
        ({"params": {"context": {"result": True}}}, "'params.context.result' is a boolean"),
    ],
)
def test_predict_names_the_key_that_is_wrong(client: FlaskClient, changes: dict[str, object], names: str) -> None:
    reply = client.post("/predict", json=PREDICT | changes)
    assert reply.status_code == 400
    assert names in reply.json["error"]["message"]


@pytest.mark.parametrize("hostname", ["http://[::1", "localhost:8080", "http://", "http://x:port", "file:///etc"])
def test_setup_refuses_a_hostname_that_is_no_address(client: FlaskClient, hostname: str) -> None:
    reply = client.post("/setup", json=SETUP | {"hostname": hostname})
    assert (reply.status_code, reply.json["error"]["type"]) == (400, "PayloadError")
    assert hostname in reply.json["error"]["message"]


@pytest.mark.parametrize("hostname", ["", None, "https://ls.example.org/label-studio/", "http://[::1]:8080"])
def test_setup_takes_every_address_and_none(client: FlaskClient, hostname: str | None) -> None:
    assert client.post("/setup", json=SETUP | {"hostname": hostname}).status_code == 200


@pytest.mark.parametrize("changes", [{"schema": None}, {"schema": 1}, {"hostname": 1}, {"access_token": []}])
def test_setup_names_the_key_that_is_wrong(client: FlaskClient, changes: dict[str, object]) -> None:
    reply = client.post("/setup", json=SETUP | changes)
    assert reply.status_code == 400
    assert repr(next(iter(changes))) in reply.json["error"]["message"]


def test_the_secret_of_a_webhook_reaches_the_backend_and_no_log(
    client: FlaskClient, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG"):
        assert client.post("/webhook/0123abcd", json={"action": "ANNOTATION_UPDATED"}).status_code == 201
        assert client.post("/webhook/0123abcd", json={}).status_code == 400
    assert backend.secrets == ["0123abcd"]
    assert "0123abcd" not in caplog.text
    assert "0123abcd" not in str(backend.problems.recent())


def test_webhook_without_action_is_refused(client: FlaskClient) -> None:
    assert "'action' is missing" in client.post("/webhook", json={"project": {}}).json["error"]["message"]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(
    payload=st.dictionaries(st.sampled_from(["tasks", "label_config", "params", "project"]), json_values),
    context=json_values,
)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_json_makes_predict_fail_unexpectedly(client: FlaskClient, payload: dict, context: object) -> None:
    for body in (payload, PREDICT | {"params": {"context": context}}, PREDICT | payload):
        assert client.post("/predict", json=body).status_code in (200, 400)


def test_too_large_body_is_refused_with_the_limit(client: FlaskClient) -> None:
    reply = client.post("/predict", data=b" " * (1024 * 1024 + 1), content_type="application/json")
    assert (reply.status_code, reply.json["error"]["type"]) == (413, "PayloadTooLargeError")
    assert "over 1 MB" in reply.json["error"]["message"]


def test_error_of_the_backend_keeps_its_status_sentence_and_remedy(client: FlaskClient, backend: FakeBackend) -> None:
    fail_with(backend, MediaNotFoundError("The video clip.mp4 of task 7 does not exist.", "Upload it again."))
    reply = client.post("/predict", json=PREDICT)
    assert reply.status_code == 404
    assert reply.json["error"] == {
        "type": "MediaNotFoundError",
        "message": "The video clip.mp4 of task 7 does not exist.",
        "remedy": "Upload it again.",
        "reference": backend.problems.recent()[0].reference,
    }


def test_sentence_stands_in_the_status_line_because_label_studio_passes_on_only_that(
    client: FlaskClient, backend: FakeBackend
) -> None:
    fail_with(backend, MediaNotFoundError("The vidéo\r\nSet-Cookie: x does not exist.", "Upload it."))
    reply = client.post("/predict", json=PREDICT)
    assert reply.status == "404 The vid?o Set-Cookie: x does not exist. Upload it."
    assert "Set-Cookie" not in reply.headers


@pytest.mark.parametrize("error", [LabelStudioError("No."), CancelledError("Gone."), TamError("Odd.")])
def test_every_error_of_the_family_answers_its_own_status(
    client: FlaskClient, backend: FakeBackend, error: TamError
) -> None:
    fail_with(backend, error)
    assert client.post("/predict", json=PREDICT).status_code == error.status


def test_unexpected_error_is_found_in_the_log_by_its_reference_and_tells_no_internals(
    client: FlaskClient, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    fail_with(backend, ZeroDivisionError("secret detail"))
    reply = client.post("/predict", json=PREDICT)
    assert (reply.status_code, reply.json["error"]["type"]) == (500, "InternalError")
    assert "secret detail" not in reply.text
    lines = [record.getMessage() for record in caplog.records if reply.json["error"]["reference"] in record.message]
    assert len(lines) == 1
    assert "ZeroDivisionError: secret detail" in lines[0]


def test_next_request_is_served_after_a_failure(client: FlaskClient, backend: FakeBackend) -> None:
    fail_with(backend, ZeroDivisionError())
    client.post("/predict", json=PREDICT)
    backend.on_predict = lambda cancelled: None
    assert client.post("/predict", json=PREDICT).status_code == 200


def test_every_failure_is_one_log_line_and_a_problem(
    client: FlaskClient, backend: FakeBackend, caplog: pytest.LogCaptureFixture
) -> None:
    fail_with(backend, MediaNotFoundError("The video\nclip.mp4 does not exist."))
    with caplog.at_level(logging.WARNING):
        client.post("/predict", json=PREDICT)
    assert [record.getMessage().count("\n") for record in caplog.records] == [0]
    assert [problem.where for problem in backend.problems.recent()] == ["POST /predict"]


def test_unknown_route_says_where_the_backend_is(client: FlaskClient) -> None:
    reply = client.get("/ml/health")
    assert (reply.status_code, reply.json["error"]["type"]) == (404, "NotFoundError")
    assert "root" in reply.json["error"]["remedy"]


def test_wrong_method_says_which_one_is_right(client: FlaskClient) -> None:
    reply = client.get("/predict")
    assert (reply.status_code, reply.headers["Allow"]) == (405, "OPTIONS, POST")
    assert "Use OPTIONS, POST" in reply.json["error"]["remedy"]


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def guarded(make_app: object) -> FlaskClient:
    app: Flask = make_app(basic_auth_user="ann", basic_auth_pass="pässword")  # type: ignore[operator]
    return app.test_client()


PROTECTED = [
    ("POST", "/setup"), ("POST", "/predict"), ("GET", "/versions"), ("GET", "/"), ("GET", "/jobs"),
    ("GET", "/jobs/x"), ("DELETE", "/jobs/x"), ("GET", "/metrics"), ("GET", "/workers"), ("GET", "/no/such/route"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "path"), PROTECTED)
@pytest.mark.parametrize(
    "headers",
    [
        {}, basic("ann", "wrong"), basic("bob", "pässword"), basic("", ""), {"Authorization": "Basic !!!"},
        {"Authorization": "Bearer pässword"}, {"Authorization": "nonsense"},
    ],
)  # fmt: skip
def test_route_is_closed_to_whoever_has_no_password(
    guarded: FlaskClient, method: str, path: str, headers: dict[str, str]
) -> None:
    headers = {name: value.encode().decode("latin-1") for name, value in headers.items()}
    reply = guarded.open(path, method=method, json={}, headers=headers)
    assert (reply.status_code, reply.json["error"]["type"]) == (401, "UnauthorizedError")
    assert reply.headers["WWW-Authenticate"].startswith("Basic ")


def test_label_studio_gets_in_with_the_password(guarded: FlaskClient) -> None:
    ann = basic("ann", "pässword")
    assert guarded.post("/setup", json=SETUP, headers=ann).status_code == 200
    assert guarded.post("/predict", json=PREDICT, headers=ann).status_code == 200
    assert guarded.get("/", headers=ann).status_code == 200


def test_health_needs_no_password_and_takes_any(guarded: FlaskClient) -> None:
    assert guarded.get("/health").status_code == 200
    assert guarded.get("/health", headers=basic("ann", "wrong")).status_code == 200


def test_webhook_needs_no_password_because_label_studio_sends_none(guarded: FlaskClient) -> None:
    assert guarded.post("/webhook", json={"action": "TASKS_CREATED"}).status_code == 201
    reply = guarded.post("/webhook", json={"action": "TASKS_CREATED"}, headers=basic("ann", "wrong"))
    assert reply.status_code == 401


def test_start_training_needs_the_password_which_label_studio_sends_with_it(guarded: FlaskClient) -> None:
    payload = {"action": "START_TRAINING", "project": {"id": 7}}
    assert guarded.post("/webhook", json=payload).status_code == 401
    assert guarded.post("/webhook", json=payload, headers=basic("ann", "pässword")).status_code == 201


def test_password_stands_in_no_problem(guarded: FlaskClient, backend: FakeBackend) -> None:
    guarded.get("/jobs", headers=basic("ann", "my-guess"))
    assert "my-guess" not in json.dumps([str(problem) for problem in backend.problems.recent()])
