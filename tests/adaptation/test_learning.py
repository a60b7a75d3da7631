"""Learning changes the heads alone, and a kill in the middle loses at most the last seconds."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from labeled_discs import labeled_discs

from tam_backend.adaptation import learning
from tam_backend.adaptation.courses import SEGMENTER, TRACKER, Course
from tam_backend.adaptation.kept_video import keep
from tam_backend.adaptation.learning import Learner, Spell
from tam_backend.adaptation.samples import Samples
from tam_backend.errors import OutputError
from tam_backend.models.kind_registry import EMBEDDED_DIR


class Killed(BaseException):
    pass


def learner(course: Course, folder: Path, key: str = "key", seconds: float = 1000.0, iterations: int = 1000) -> Learner:
    samples = Samples([keep(labeled_discs("discs", discs=2), 2**30, [])], 64)
    spell = Spell(seconds, iterations, course.rate, batch=1, checkpoint=folder / "discs.learning", key=key)
    network = course.loaded(EMBEDDED_DIR / course.file)
    return Learner(network, course.lesson(), lambda rng: course.draw(samples, rng), spell)


def teach(one: Learner, iterations: int) -> None:
    """Learn so many iterations, and be killed."""
    target = one.iterations + iterations

    def tell(_: float) -> None:
        if one.iterations >= target:
            raise Killed

    with pytest.raises(Killed):
        one.run(tell)


@pytest.mark.parametrize("course", [SEGMENTER, TRACKER], ids=lambda each: each.what)
def test_heads_learn_and_the_backbone_stays(course: Course, tmp_path: Path) -> None:
    before = course.loaded(EMBEDDED_DIR / course.file).state_dict()
    one = learner(course, tmp_path)
    teach(one, 2)
    for learnt in (one.network.state_dict(), one.average):
        changed = {name for name, value in learnt.items() if not torch.equal(value, before[name])}
        assert changed
        assert not any(name.startswith("backbone.") for name in changed)
        assert all(torch.isfinite(value).all() for value in learnt.values())


def test_what_was_killed_goes_on_and_comes_to_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning.time, "monotonic", lambda: 0.0)  # so that rates do not depend on the machine
    monkeypatch.setattr(learning, "_CHECKPOINT_EVERY_S", -1.0)
    whole = learner(TRACKER, tmp_path / "whole")
    (tmp_path / "whole").mkdir()
    teach(whole, 3)
    (tmp_path / "parts").mkdir()
    teach(learner(TRACKER, tmp_path / "parts"), 2)
    resumed = learner(TRACKER, tmp_path / "parts")
    assert resumed.iterations == 1  # the last one was not saved: the kill came first
    teach(resumed, 2)
    assert resumed.iterations == whole.iterations
    for name, value in whole.average.items():
        assert torch.allclose(resumed.average[name], value, atol=1e-5), name
    for name, value in whole.network.state_dict().items():
        assert torch.allclose(resumed.network.state_dict()[name], value, atol=1e-5), name


def test_a_checkpoint_of_other_labels_is_not_gone_on_with(tmp_path: Path) -> None:
    teach(learner(TRACKER, tmp_path, key="these"), 1)
    assert learner(TRACKER, tmp_path, key="these").iterations == 1
    assert learner(TRACKER, tmp_path, key="others").iterations == 0


def test_a_damaged_checkpoint_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "discs.learning").write_bytes(b"half a file")
    one = learner(TRACKER, tmp_path)
    assert one.iterations == 0
    teach(one, 1)
    assert learner(TRACKER, tmp_path).iterations == 1


def fill(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the disk take a part of what is written, and then no more."""
    whole = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        whole(path, bytes(content[: len(content) // 2]))
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)


def full_disk_met(one: Learner, monkeypatch: pytest.MonkeyPatch) -> OutputError:
    fill(monkeypatch)
    monkeypatch.setattr(learning, "_CHECKPOINT_EVERY_S", -1.0)
    with pytest.raises(OutputError, match="the disk is full") as error:
        one.run(lambda _: None)
    return error.value


def test_a_full_disk_is_said_and_the_last_checkpoint_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teach(learner(TRACKER, tmp_path), 1)
    error = full_disk_met(learner(TRACKER, tmp_path), monkeypatch)
    assert error.remedy == "Make room on it, and start it again: it goes on from its last checkpoint."
    assert [each.name for each in tmp_path.iterdir()] == ["discs.learning"], "what is half written is removed"
    assert learner(TRACKER, tmp_path).iterations == 1


def test_where_the_disk_is_full_before_the_first_checkpoint_none_is_promised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    error = full_disk_met(learner(TRACKER, tmp_path), monkeypatch)
    assert error.remedy == "Make room on it, and start it again: it begins anew."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here that is always full")
def test_what_a_disk_that_is_really_full_says_is_understood(tmp_path: Path) -> None:
    (tmp_path / "discs.part").symlink_to("/dev/full")
    one = learner(TRACKER, tmp_path)
    with pytest.raises(OutputError, match=r"discs\.learning cannot be written: the disk is full\. Make room"):
        one.run(lambda _: teach_no_more())
    assert list(tmp_path.iterdir()) == []


def teach_no_more() -> None:
    raise Killed


def test_single_steps_that_go_astray_count_little_in_the_average(tmp_path: Path) -> None:
    one = learner(TRACKER, tmp_path)
    teach(one, 3)
    before, name = {each: value.clone() for each, value in one.average.items()}, "to_logit.weight"
    with torch.no_grad():
        one.network.get_parameter(name).add_(1.0)
    teach(one, 1)
    moved = (one.average[name] - before[name]).abs().mean()
    assert 0.5 < moved < 0.9  # 10 of 14: so early it follows quickly


def test_a_checkpoint_of_an_earlier_release_is_not_gone_on_with(tmp_path: Path) -> None:
    teach(learner(TRACKER, tmp_path), 1)
    state = torch.load(tmp_path / "discs.learning", weights_only=True)
    del state["average"]
    torch.save(state, tmp_path / "discs.learning")
    assert learner(TRACKER, tmp_path).iterations == 0


def test_it_ends_after_so_many_iterations_however_much_time_there_is(tmp_path: Path) -> None:
    one, told = learner(TRACKER, tmp_path, iterations=2), list[float]()
    one.run(told.append)
    assert one.iterations == 2
    assert told == [0.5, 1.0]


def test_no_time_is_no_learning(tmp_path: Path) -> None:
    one = learner(TRACKER, tmp_path, seconds=0)
    one.run(lambda _: None)
    assert one.iterations == 0
    assert list(tmp_path.iterdir()) == []
