"""The API client against a small HTTP server that answers as Label Studio does."""

import base64
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from tam_backend.errors import LabelStudioError
from tam_backend.labelstudio.client import LabelStudioClient, TaskProgress

LEGACY = "7a6d" * 10


def jwt(**claims):
    part = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    return f"eyJhbGciOiJIUzI1NiJ9.{part}.c2ln"


REFRESH = jwt(token_type="refresh", exp=4_000_000_000, iat=1)


class FakeLabelStudio:
    """Takes LEGACY and the newest access token; keeps what it was asked."""

    def __init__(self):
        self.asked = []
        self.answers = {}
        self.lifetime_s = 300
        self.revoked = False
        self.issued = []
        self.silence_s = 0.0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self):
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                payload = json.loads(body) if body else None
                status, answer, headers = outer.answer(self.command, self.path, payload, self.headers["authorization"])
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            do_GET = do_POST = do_PATCH = _answer  # noqa: N815 - the names that http.server calls

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def answer(self, method, path, payload, authorization):
        time.sleep(self.silence_s)
        self.asked.append((method, path, payload))
        if path == "/api/token/refresh/":
            if payload != {"refresh": REFRESH} or self.revoked:
                return 401, {"detail": "Token is invalid or expired"}, {}
            now = int(time.time())
            token = jwt(token_type="access", iat=now, exp=now + self.lifetime_s, n=len(self.issued))
            self.issued.append(token)
            return 200, {"access": token}, {}
        valid = [f"Token {LEGACY}", *(f"Bearer {token}" for token in self.issued[-1:])]
        if authorization not in valid:
            return 401, {"detail": "Invalid token."}, {}
        return self.answers.get((method, path), (404, {"detail": "Not found."}, {}))

    def close(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def studio():
    fake = FakeLabelStudio()
    fake.answers["GET", "/api/current-user/whoami"] = (200, {"email": "ann@example.com"}, {})
    yield fake
    fake.close()


@pytest.mark.parametrize("key", [LEGACY, REFRESH, f" {LEGACY}\n"])
def test_both_kinds_of_key_open_the_door(studio, key):
    assert LabelStudioClient(studio.url + "/", key).whoami() == "ann@example.com"


def test_a_legacy_token_is_sent_as_it_is_without_any_call(studio):
    assert LabelStudioClient(studio.url, LEGACY).authorization() == {"Authorization": f"Token {LEGACY}"}
    assert studio.asked == []


def test_an_access_token_is_sent_as_it_is():
    token = jwt(token_type="access")
    assert LabelStudioClient("http://localhost:1", token).authorization() == {"Authorization": f"Bearer {token}"}


def test_a_personal_access_token_is_exchanged_once_while_it_is_fresh(studio):
    client = LabelStudioClient(studio.url, REFRESH)
    with ThreadPoolExecutor(8) as pool:
        headers = list(pool.map(lambda _: client.authorization(), range(32)))
    assert headers == [{"Authorization": f"Bearer {studio.issued[0]}"}] * 32
    assert len(studio.issued) == 1


def test_it_is_exchanged_again_before_it_runs_out(studio):
    studio.lifetime_s = 1  # half of it is used
    client = LabelStudioClient(studio.url, REFRESH)
    client.whoami()
    time.sleep(0.6)
    client.whoami()
    assert len(studio.issued) == 2


def test_an_access_token_that_is_refused_early_is_exchanged_at_once(studio):
    client = LabelStudioClient(studio.url, REFRESH)
    client.whoami()
    studio.issued.append("another token is valid now")
    assert client.whoami() == "ann@example.com"
    assert len(studio.issued) == 3


def test_a_netrc_file_does_not_replace_the_key(studio, tmp_path, monkeypatch):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert LabelStudioClient(studio.url, LEGACY).whoami() == "ann@example.com"


def test_what_is_sent(studio):
    done = (201, {"id": 5, "task_ids": [11, 12]}, {})
    calls = [
        ("POST", "/api/projects/"),
        ("PATCH", "/api/projects/3/"),
        ("POST", "/api/projects/3/import?return_task_ids=true"),
        ("PATCH", "/api/tasks/11/"),
        ("POST", "/api/predictions/"),
        ("POST", "/api/tasks/11/drafts"),
        ("POST", "/api/tasks/11/annotations/2/drafts"),
        ("POST", "/api/ml/"),
    ]
    studio.answers.update(dict.fromkeys(calls, done))
    client = LabelStudioClient(studio.url, LEGACY)
    assert client.create_project("t", "<View/>") == 5
    client.set_label_config(3, "<View/>")
    assert client.create_tasks(3, [{"a": 1}, {"a": 2}]) == [11, 12]
    client.update_task_data(11, {"a": 3})
    assert client.create_prediction(11, {"result": [], "score": 0.5, "model_version": "v"}) == 5
    assert client.create_draft(11, [{"id": "x"}]) == 5
    assert client.create_draft(11, [], annotation_id=2) == 5
    assert client.add_ml_backend(3, "http://b:9090", "TAM", basic_auth=("u", "p")) == 5
    assert [(method, path) for method, path, _ in studio.asked] == calls
    assert [payload for _, _, payload in studio.asked] == [
        {"title": "t", "label_config": "<View/>"},
        {"label_config": "<View/>"},
        [{"data": {"a": 1}}, {"data": {"a": 2}}],
        {"data": {"a": 3}},
        {"result": [], "score": 0.5, "model_version": "v", "task": 11},
        {"result": [{"id": "x"}], "lead_time": 0},
        {"result": [], "lead_time": 0},
        {
            "project": 3,
            "url": "http://b:9090",
            "title": "TAM",
            "is_interactive": True,
            "auth_method": "BASIC_AUTH",
            "basic_auth_user": "u",
            "basic_auth_pass": "p",
        },
    ]


def test_reading(studio):
    studio.answers["GET", "/api/projects/3/"] = (200, {"id": 3, "label_config": "<View/>"}, {})
    client = LabelStudioClient(studio.url, LEGACY)
    assert client.get_project(3)["label_config"] == "<View/>"


def test_no_tasks_need_no_call(studio):
    assert LabelStudioClient(studio.url, LEGACY).create_tasks(3, []) == []
    assert studio.asked == []


@pytest.mark.parametrize("answer", [{}, {"task_ids": [1]}, {"task_ids": None}])
def test_an_import_that_does_not_say_its_tasks_is_an_error(studio, answer):
    studio.answers["POST", "/api/projects/3/import?return_task_ids=true"] = (201, answer, {})
    with pytest.raises(LabelStudioError, match="project 3"):
        LabelStudioClient(studio.url, LEGACY).create_tasks(3, [{}, {}])


def refusal(studio, status, answer=None, headers=None, key=LEGACY):
    studio.answers["GET", "/api/projects/3/"] = (status, {} if answer is None else answer, headers or {})
    with pytest.raises(LabelStudioError) as error:
        LabelStudioClient(studio.url, key).get_project(3)
    assert error.value.remedy
    assert error.value.status == 502
    return str(error.value)


def test_a_project_that_is_not_there(studio):
    assert f"There is no project 3 in the Label Studio at {studio.url}." in refusal(studio, 404)


def test_not_allowed(studio):
    assert "does not allow" in refusal(studio, 403)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"detail": "-", "validation_errors": {"x": ["Bad"]}}, 'refused GET /api/projects/3/: {"x": ["Bad"]}'),
        ({"detail": "Nope."}, "Nope."),
        (["a list"], "a list"),
        (b"<html>", "status 400"),
    ],
)
def test_what_label_studio_refuses_is_told_in_its_own_words(studio, answer, said):
    assert said in refusal(studio, 400, answer)


def test_label_studio_failing(studio):
    assert "status 500" in refusal(studio, 500, b"<html>")


def test_a_redirect_is_not_followed_with_the_key(studio):
    assert "https://elsewhere.example" in refusal(studio, 301, headers={"location": "https://elsewhere.example/api"})
    assert len(studio.asked) == 1


@pytest.mark.parametrize("answer", [b"<html>hello</html>", [1], b""])
def test_something_else_answers_there(studio, answer):
    assert "does not speak" in refusal(studio, 200, answer)


def test_an_answer_without_an_id(studio):
    studio.answers["POST", "/api/projects/"] = (201, {"id": None}, {})
    with pytest.raises(LabelStudioError, match="does not speak"):
        LabelStudioClient(studio.url, LEGACY).create_project("t", "<View/>")


@pytest.mark.parametrize("key", ["0" * 40, "a.b.c", "x.eyJ9.y"])
def test_a_wrong_legacy_token(studio, key):
    assert "does not take the API key" in refusal(studio, 200, key=key)


def test_a_revoked_personal_access_token(studio):
    studio.revoked = True
    assert "not valid: expired, revoked, or no token of this Label Studio" in refusal(studio, 200, key=REFRESH)


@pytest.mark.parametrize("answer", [(200, {}, {}), (200, b"x", {}), (200, [1], {}), (500, {}, {})])
def test_an_exchange_that_fails(studio, answer, monkeypatch):
    monkeypatch.setattr(studio, "answer", lambda *_: answer)
    with pytest.raises(LabelStudioError):
        LabelStudioClient(studio.url, REFRESH).authorization()


def test_nobody_answers(studio):
    studio.close()
    with pytest.raises(LabelStudioError, match="cannot be reached"):
        LabelStudioClient(studio.url, LEGACY).whoami()


def test_an_answer_that_takes_too_long(studio):
    studio.silence_s = 1
    with pytest.raises(LabelStudioError, match=r"within 0\.2 s"):
        LabelStudioClient(studio.url, LEGACY, timeout_s=0.2).whoami()


@pytest.mark.parametrize(("url", "key"), [("", LEGACY), ("http://localhost:1", ""), ("http://localhost:1", "a\nb")])
def test_missing_settings_are_told_before_any_call(url, key):
    with pytest.raises(LabelStudioError, match=r"not set|no usable"):
        LabelStudioClient(url, key)


def test_errors_never_show_the_key(studio):
    for message in (refusal(studio, 404), refusal(studio, 400, {"detail": "x"}), refusal(studio, 200, key="0" * 40)):
        assert LEGACY not in message
        assert "0" * 40 not in message


def test_tasks_are_asked_for_page_by_page_and_not_beyond_the_last(studio):
    for page, ids in ((1, [3, 4]), (2, [7, 9])):
        path = f"/api/tasks?project=5&page={page}&page_size=2&include=id&ordering=id"
        studio.answers["GET", path] = (200, {"tasks": [{"id": each} for each in ids], "total": 4}, {})
    assert LabelStudioClient(studio.url, LEGACY).task_ids(5, page_size=2) == [3, 4, 7, 9]
    assert len(studio.asked) == 2


def test_a_project_without_tasks_has_none(studio):
    path = "/api/tasks?project=5&page=1&page_size=100&include=id&ordering=id"
    studio.answers["GET", path] = (200, {"tasks": [], "total": 0}, {})
    assert LabelStudioClient(studio.url, LEGACY).task_ids(5) == []


def test_how_far_people_are_is_listed_page_by_page(studio):
    counts = "include=id%2Ctotal_annotations%2Ccancelled_annotations&ordering=id"
    for page, (task, submitted, skipped) in enumerate([(3, 2, 0), (4, 0, 1)], 1):
        about = {"id": task, "total_annotations": submitted, "cancelled_annotations": skipped}
        path = f"/api/tasks?project=5&page={page}&page_size=1&{counts}"
        studio.answers["GET", path] = (200, {"tasks": [about], "total": 2}, {})
    found = list(LabelStudioClient(studio.url, LEGACY).progress(5, page_size=1))
    assert found == [TaskProgress(3, 2, 0), TaskProgress(4, 0, 1)]
    studio.answers["GET", path] = (200, {"tasks": [{"id": 4, "total_annotations": None}], "total": 2}, {})
    with pytest.raises(LabelStudioError, match="does not speak"):
        list(LabelStudioClient(studio.url, LEGACY).progress(5, page_size=1))


def test_projects_are_found_by_their_whole_title(studio):
    path = "/api/projects/?title=Frames+of+project+1&include=id%2Ctitle&page_size=1000"
    found = [{"id": 9, "title": "Frames of project 1"}, {"id": 8, "title": "Frames of project 12"}]
    found.append({"id": 4, "title": "Frames of project 1"})
    studio.answers["GET", path] = (200, {"results": found}, {})
    assert LabelStudioClient(studio.url, LEGACY).projects_called("Frames of project 1") == [4, 9]
