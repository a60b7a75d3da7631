"""The adapter under stand-ins that have the base classes' signatures; tests/e2e serves it with the real 1.0.9."""

import importlib
import multiprocessing
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fake_backend import PREDICT, FakeBackend

from tam_backend.errors import MediaNotFoundError, PayloadError


class BaseOf1X:
    """LabelStudioMLBase as 1.0.9 has it."""

    def __init__(self, label_config: str | None = None, train_output: Any = None, **kwargs: Any) -> None:
        if label_config:
            raise ValueError("parse_config chokes on this")
        self.label_config = label_config
        self.hostname = kwargs.get("hostname", "")
        self.access_token = kwargs.get("access_token", "")


class BaseOf2X:
    """LabelStudioMLBase as the 2.x line has it."""

    def __init__(self, project_id: str | None = None, label_config: str | None = None) -> None:
        self.values = {"label_config": label_config}
        self.setup()

    @property
    def label_config(self) -> str | None:
        return self.values["label_config"]

    def set(self, key: str, value: str) -> None:
        self.values[key] = value

    def setup(self) -> None:
        raise NotImplementedError


class RecordingBackend(FakeBackend):
    """Remembers what it was asked."""

    def __init__(self, data_dir: Path) -> None:
        super().__init__(data_dir)
        self.asked: list[tuple[str, Any]] = []

    def setup(self, payload: Any) -> str:
        self.asked.append(("setup", payload))
        return super().setup(payload)

    def predict(self, payload: Any, *, cancelled: Callable[[], bool]) -> list[dict[str, Any]]:
        self.asked.append(("predict", payload))
        assert cancelled() is False
        return super().predict(payload, cancelled=cancelled)

    def webhook(self, payload: Any) -> None:
        self.asked.append(("webhook", payload))


@pytest.fixture
def backend(tmp_path: Path) -> RecordingBackend:
    return RecordingBackend(tmp_path / "data")


@pytest.fixture
def adapter(backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """adapter("1.x") imports tam_backend.label_studio_ml freshly with that base."""

    def under(line: str) -> ModuleType:
        model = SimpleNamespace(LabelStudioMLBase=BaseOf1X if line == "1.x" else BaseOf2X)
        if line == "1.x":
            model.LabelStudioMLManager = object
        monkeypatch.setitem(sys.modules, "label_studio_ml", SimpleNamespace(model=model))  # type: ignore[arg-type]
        only_backend = SimpleNamespace(Backend=lambda settings: backend)
        monkeypatch.setitem(sys.modules, "tam_backend.service.backend", only_backend)  # type: ignore[arg-type]
        monkeypatch.delitem(sys.modules, "tam_backend.label_studio_ml", raising=False)
        return importlib.import_module("tam_backend.label_studio_ml")

    yield under  # type: ignore[misc]
    sys.modules.pop("tam_backend.label_studio_ml", None)


def test_missing_label_studio_ml_says_how_to_install_it(
    adapter: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch
) -> None:
    adapter("1.x")
    monkeypatch.delitem(sys.modules, "tam_backend.label_studio_ml")
    monkeypatch.setitem(sys.modules, "label_studio_ml", None)  # type: ignore[arg-type]
    with pytest.raises(ImportError, match="pip install --no-deps label-studio-ml"):
        importlib.import_module("tam_backend.label_studio_ml")


def test_1_x_hands_over_access_and_config_when_it_makes_a_model(
    adapter: Callable[[str], ModuleType], backend: RecordingBackend
) -> None:
    model = adapter("1.x").TrackAnythingModel(
        label_config="<View/>", hostname="http://ls", access_token="t", model_version=None
    )
    assert backend.asked == [
        ("setup", {"project": "", "schema": "<View/>", "hostname": "http://ls", "access_token": "t"})
    ]
    assert (model.label_config, model.hostname) == ("<View/>", "http://ls")


def test_1_x_loads_nothing_in_the_child_processes_of_its_webhooks(
    adapter: Callable[[str], ModuleType], backend: RecordingBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multiprocessing, "parent_process", object)
    adapter("1.x").TrackAnythingModel(label_config="<View/>", train_output={})
    assert backend.asked == []


def test_1_x_predicts_with_its_config_and_without_a_version_of_ours(
    adapter: Callable[[str], ModuleType], backend: RecordingBackend
) -> None:
    model = adapter("1.x").TrackAnythingModel(label_config="<View/>")
    context = {"result": []}
    results = model.predict(PREDICT["tasks"], login=None, password=None, context=context)
    assert results == [{"result": [], "score": 0.0}]
    payload = dict(backend.asked)["predict"]
    assert (payload["tasks"], payload["label_config"]) == (PREDICT["tasks"], "<View/>")
    assert payload["params"] == {"login": None, "password": None, "context": context}


def test_1_x_event_leaves_no_folder_that_setup_would_search(
    adapter: Callable[[str], ModuleType], tmp_path: Path
) -> None:
    folder = tmp_path / "1700000000"
    folder.mkdir()
    (folder / "event.json").write_text("{}")
    model = adapter("1.x").TrackAnythingModel(label_config="<View/>")
    model.process_event("ANNOTATION_CREATED", {}, "1700000000", {"workdir": str(folder)})
    assert not folder.exists()


def test_1_x_event_removes_nothing_else(adapter: Callable[[str], ModuleType], tmp_path: Path) -> None:
    model = adapter("1.x").TrackAnythingModel(label_config="<View/>")
    model.process_event("ANNOTATION_CREATED", {}, "1", {"workdir": str(tmp_path)})
    model.process_event("ANNOTATION_CREATED", {}, "1", {})
    assert tmp_path.exists()


def test_1_x_training_is_nothing(adapter: Callable[[str], ModuleType], backend: RecordingBackend) -> None:
    model = adapter("1.x").TrackAnythingModel()
    assert model.fit((), "/tmp/workdir", project="1") == {}
    assert backend.asked == []


def test_2_x_sets_up_and_tells_our_version(adapter: Callable[[str], ModuleType], backend: RecordingBackend) -> None:
    model = adapter("2.x").TrackAnythingModel(project_id="1", label_config="<View/>")
    assert model.values["model_version"] == "fake-1"
    assert backend.asked == [("setup", {"project": "1", "schema": "<View/>"})]


def test_2_x_predicts_with_our_version(adapter: Callable[[str], ModuleType], backend: RecordingBackend) -> None:
    model = adapter("2.x").TrackAnythingModel(project_id="1", label_config="<View/>")
    results = model.predict(PREDICT["tasks"], context={"result": []}, login=None, password=None)
    assert [result["model_version"] for result in results] == ["fake-1"]
    assert dict(backend.asked)["predict"]["project"] == "1"


def test_2_x_passes_events_on_like_our_webhook(adapter: Callable[[str], ModuleType], backend: RecordingBackend) -> None:
    model = adapter("2.x").TrackAnythingModel("1", label_config="<View/>")
    model.fit("ANNOTATION_UPDATED", {"task": {"id": 7}})
    assert backend.asked[-1] == ("webhook", {"task": {"id": 7}, "action": "ANNOTATION_UPDATED"})


@pytest.mark.parametrize("line", ["1.x", "2.x"])
def test_one_backend_serves_all_models_of_a_process(adapter: Callable[[str], ModuleType], line: str) -> None:
    module = adapter(line)
    module.TrackAnythingModel(label_config="<View/>")
    assert module.shared_backend() is module.shared_backend()


@pytest.mark.parametrize("line", ["1.x", "2.x"])
def test_failure_is_logged_with_its_sentence_before_the_framework_swallows_it(
    adapter: Callable[[str], ModuleType], backend: RecordingBackend, line: str
) -> None:
    model = adapter(line).TrackAnythingModel(label_config="<View/>")

    def fail(cancelled: object) -> None:
        raise MediaNotFoundError("No clip.", "Upload it.")

    backend.on_predict = fail
    with pytest.raises(MediaNotFoundError):
        model.predict(PREDICT["tasks"])
    with pytest.raises(PayloadError, match="'tasks' is missing"):
        model.predict(None)
    assert [problem.message for problem in backend.problems.recent()][1] == "No clip."
