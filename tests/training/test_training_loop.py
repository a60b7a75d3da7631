"""Training: settings, rates, lessons that reach every weight they should, and going on after a kill."""

from __future__ import annotations

from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from tam_backend.adaptation.blending import blend
from tam_backend.adaptation.click_lesson import ClickLesson
from tam_backend.adaptation.mask_losses import batch_iou, mask_loss
from tam_backend.adaptation.simulated_clicks import Click, draw_click
from tam_backend.adaptation.track_lesson import TrackLesson, read_memory
from tam_backend.models.compact_tracker.compact_network import CompactNetwork, TrackedFrame
from tam_backend.models.memory_reading.affinity import memory_rows, query_rows, read_out, similarity, top_k_softmax
from tam_backend.models.segmenters.click_network import ClickNetwork
from tam_backend.models.weights import load_verified
from tam_backend.models.zoo import EMBEDDED_DIR
from training.clips import ClipMaker
from training.export import export
from training.loop import (
    BEST,
    CHECKPOINT,
    CURVES,
    Trainer,
    TrainingConfig,
    freeze,
    rate_factor,
    read_config,
    split_parameters,
)
from training.segmenter import SegmenterConfig
from training.segments import AnnotatedImage, annotate
from training.smoke import main as smoke
from training.stills import StillMaker
from training.streams import SampleStream
from training.tracker import TrackerConfig

SIDE = 64


@pytest.fixture(scope="module")
def images() -> list[AnnotatedImage]:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (120, 160, 3), dtype=np.uint8)
    regions = np.ones((120, 160), np.uint8)
    regions[30:90, 40:110] = 2
    image[regions == 2] //= 3
    return [annotate("square", image, [regions])]


def config(folder: Path, **changes: object) -> TrackerConfig:
    return TrackerConfig(output=str(folder), data="", cache="", **changes)  # type: ignore[arg-type]


def click_config(**changes: float) -> SegmenterConfig:
    return SegmenterConfig(output="", data="", cache="", rounds=2, **changes)  # type: ignore[arg-type]


def test_unknown_setting_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "c.toml"
    file.write_text('output = "o"\ndata = "d"\ncache = "c"\nlegnth = 4\n')
    with pytest.raises(ValueError, match="legnth"):
        read_config(TrackerConfig, file)


def test_configs_in_the_repository_can_be_read() -> None:
    folder = Path(__file__).parents[2] / "training" / "configs"
    assert read_config(TrackerConfig, folder / "tracker.toml").shares.keys() == {"bsds500", "photos"}
    assert read_config(SegmenterConfig, folder / "segmenter.toml").rounds == 3


def test_rates_rise_stay_and_fall() -> None:
    assert rate_factor(0, 0.0, 10, 0.5) == pytest.approx(0.1)
    assert rate_factor(100, 0.4, 10, 0.5) == pytest.approx(1.0)
    assert rate_factor(100, 0.75, 10, 0.5) == pytest.approx(0.51)
    assert rate_factor(100, 1.0, 10, 0.5) == pytest.approx(0.02)


def test_loss_is_small_for_the_truth_and_large_for_its_opposite() -> None:
    truth = torch.zeros(1, 8, 8)
    truth[:, 2:6, 2:6] = 1
    sure = (truth * 2 - 1) * 12
    assert mask_loss(sure, truth)[0] < 0.01
    assert mask_loss(-sure, truth)[0] > 10
    # The hardest quarter of the pixels weighs more than all of them where only a few are wrong.
    wrong = sure.clone()
    wrong[0, 0, 0] = 12
    assert mask_loss(wrong, truth, 0.25)[0] > mask_loss(wrong, truth)[0]
    assert batch_iou(sure, truth)[0] == 1


def test_click_is_a_disc_cut_off_at_the_rim() -> None:
    plane = np.zeros((20, 20), np.float32)
    draw_click(plane, Click(10, 10, True), 4.3)
    assert plane.sum() == 61  # the whole points within 4.3 of the middle
    draw_click(plane, Click(0, 0, True), 2)
    assert plane[0, 0] == plane[2, 0] == 1


def test_tracker_lesson_teaches_everything_that_is_not_frozen(images: list[AnnotatedImage], tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = CompactNetwork()
    freeze(network, 6)
    frames, labels = map(
        torch.stack, zip(*islice(SampleStream(partial(ClipMaker, images, SIDE, 3), 0), 2), strict=True)
    )
    loss, figures = TrackLesson(config(tmp_path))(network, frames, labels, 0.5)
    loss.backward()
    backbone, heads = split_parameters(network)
    assert all(p.grad is not None for p in [*backbone, *heads])
    assert all(p.grad is None for p in network.backbone.stem.parameters())
    assert set(figures) == {"iou1", "iou2"}


def test_all_clips_of_a_batch_read_their_own_memory_as_the_tracker_does() -> None:
    generator = torch.Generator().manual_seed(4)
    clips, frames, objects, channels, height, width = 3, 4, 2, 5, 4, 6

    def frame() -> TrackedFrame:
        key, selection = (torch.randn(clips, 8, height, width, generator=generator) for _ in range(2))
        shrinkage = 1 + torch.rand(clips, 1, height, width, generator=generator)
        return TrackedFrame(*(torch.zeros(clips, 1, 1, 1),) * 3, key, shrinkage, torch.sigmoid(selection))

    def rows(features: torch.Tensor, clip: int) -> torch.Tensor:
        return features[clip].flatten(1).T

    memory, query = [frame() for _ in range(frames)], frame()
    values = [torch.randn(clips * objects, channels, height, width, generator=generator) for _ in memory]
    read = read_memory(memory, values, query)
    for clip in range(clips):
        keys, shrinkage = (torch.cat([rows(getattr(m, part), clip) for m in memory]) for part in ("key", "shrinkage"))
        queries = query_rows(rows(query.key, clip), rows(query.selection, clip))
        top = top_k_softmax(similarity(queries, memory_rows(keys, shrinkage)), 30)
        for number in range(objects):
            own = torch.cat([rows(value, clip * objects + number) for value in values])
            expected = read_out(top, own).T.reshape(channels, height, width)
            torch.testing.assert_close(read[clip * objects + number], expected, atol=1e-4, rtol=1e-4)


def test_click_lesson_teaches_everything_that_is_not_frozen(images: list[AnnotatedImage]) -> None:
    torch.manual_seed(0)
    network = ClickNetwork()
    freeze(network, 6)
    pictures, masks = map(torch.stack, zip(*islice(SampleStream(partial(StillMaker, images, SIDE), 0), 2), strict=True))
    loss, figures = ClickLesson(click_config())(network, pictures, masks, 0.0)
    loss.backward()
    assert all(p.grad is not None for part in split_parameters(network) for p in part)
    assert set(figures) == {"iou1", "iou2"}


def test_first_click_can_count_more_in_the_loss_than_later_ones(images: list[AnnotatedImage]) -> None:
    network = ClickNetwork()
    pictures, masks = map(torch.stack, zip(*islice(SampleStream(partial(StillMaker, images, SIDE), 0), 2), strict=True))
    losses = []
    for first_weight in (0.0, 1.0, 3.0):
        torch.manual_seed(0)
        lesson = ClickLesson(click_config(first_weight=first_weight))
        losses.append(float(lesson(network, pictures, masks, 0.0)[0].detach()))
    later, both, mostly_first = losses
    assert both != later
    assert mostly_first == pytest.approx(both + (both - later) / 2, rel=1e-3)


def trainer(folder: Path, images: list[AnnotatedImage], minutes: float) -> Trainer:
    torch.manual_seed(0)
    settings: TrainingConfig = config(folder, minutes=minutes, batch=1, checkpoint_every=0.0, validate_every=0.0)
    return Trainer(
        CompactNetwork(),
        settings,
        TrackLesson(TrackerConfig(output="", data="", cache="")),
        partial(ClipMaker, images, SIDE, 2),
        lambda network: {"score": float(sum(p.detach().sum() for p in network.parameters()))},
    )


def test_training_goes_on_where_it_was_killed(images: list[AnnotatedImage], tmp_path: Path) -> None:
    first = trainer(tmp_path, images, minutes=0.01)
    first.run()
    assert first.iteration > 0
    again = trainer(tmp_path, images, minutes=0.01)
    assert again.iteration == first.iteration
    assert again.best == first.best
    for name, value in first.average.items():
        assert torch.equal(again.average[name], value)
    for name, value in first.network.state_dict().items():
        assert torch.equal(again.network.state_dict()[name], value)
    assert (tmp_path / BEST).exists()
    assert "validation" in (tmp_path / CURVES).read_text()


def test_exported_weights_are_half_precision_and_recorded(tmp_path: Path) -> None:
    network = CompactNetwork()
    torch.save({"average": network.state_dict()}, tmp_path / "best.pt")
    target = tmp_path / "compact_tracker.safetensors"
    export(tmp_path / "best.pt", target)
    loaded = CompactNetwork()
    load_verified(loaded, target)
    for name, value in network.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value.half().float())
    assert target.stat().st_size < 2.1 * sum(v.numel() for v in network.state_dict().values())


def test_what_was_exported_elsewhere_is_exported_again_as_it_is(tmp_path: Path) -> None:
    save_file({"w": torch.tensor([0.1, 2.0], dtype=torch.half)}, tmp_path / "elsewhere.safetensors")
    export(tmp_path / "elsewhere.safetensors", tmp_path / "here.safetensors")
    assert torch.equal(load_file(tmp_path / "here.safetensors")["w"], torch.tensor([0.1, 2.0], dtype=torch.half))


def test_export_halfway_is_the_mean_of_start_and_checkpoint(tmp_path: Path) -> None:
    save_file({"w": torch.full((3,), 2.0)}, tmp_path / "start.safetensors")
    torch.save({"average": {"w": torch.full((3,), 4.0)}}, tmp_path / "best.pt")
    export(tmp_path / "best.pt", tmp_path / "half.safetensors", tmp_path / "start.safetensors", 0.5)
    assert load_file(tmp_path / "half.safetensors")["w"].tolist() == [3.0, 3.0, 3.0]


def test_weights_of_two_networks_cannot_be_blended() -> None:
    with pytest.raises(ValueError, match="one network"):
        blend({"a": torch.zeros(1)}, {"b": torch.zeros(1)}, 0.5)


def test_both_commands_train_from_every_kind_of_source(tmp_path: Path) -> None:
    smoke([str(tmp_path), "--seconds", "0.5"])
    for network in ("tracker", "segmenter"):
        checkpoint = torch.load(tmp_path / network / CHECKPOINT, weights_only=True)
        assert checkpoint["iteration"] >= 1
        assert checkpoint["seconds"] >= 0.5
        start = load_file(EMBEDDED_DIR / f"compact_{network}.safetensors")
        assert any(not torch.equal(checkpoint["network"][name], value.float()) for name, value in start.items())
