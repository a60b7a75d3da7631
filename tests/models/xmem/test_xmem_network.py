from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.lively_weights import Shape, official_layout, textured
from benchmarks.xmem_reference import Transcription
from tam_backend.errors import WeightsError
from tam_backend.models.xmem import load_xmem
from tam_backend.models.xmem.loading import published_xmem
from tam_backend.models.xmem.network import XMemNetwork, XMemSizes


def _hollow(layout: dict[str, Shape]) -> dict[str, Tensor]:
    """Zeros of any shape that take no place in a file."""
    return {
        name: torch.zeros((), dtype=torch.int64 if name.endswith("tracked") else torch.float32).expand(shape)
        for name, shape in layout.items()
    }


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "XMem.pth"


@pytest.mark.parametrize("sizes", [(64, 512, 64), (32, 256, 16), (64, 512, 0)], ids=["published", "smaller", "no Ch"])
def test_published_layout_is_loaded_strictly_and_sizes_are_read_from_it(
    sizes: tuple[int, int, int], path: Path
) -> None:
    layout = official_layout(*sizes)
    if sizes == (64, 512, 64):
        assert len(layout) == 412
    torch.save(_hollow(layout), path)
    network = published_xmem(path)
    assert network.sizes == XMemSizes(*sizes)
    assert {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()} == layout
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_every_tensor_of_the_file_arrives(path: Path) -> None:
    state = _hollow(official_layout())
    numbered = {name: tensor + i for i, (name, tensor) in enumerate(state.items())}
    small = {name: tensor[(slice(0, 1),) * tensor.ndim].expand(state[name].shape) for name, tensor in numbered.items()}
    torch.save(small, path)
    loaded = published_xmem(path).state_dict()
    assert all(float(loaded[name].flatten()[0]) == i for i, name in enumerate(state))


def test_half_precision_becomes_float32(path: Path) -> None:
    state = _hollow(official_layout())
    torch.save({name: t.half() if t.is_floating_point() else t for name, t in state.items()}, path)
    assert published_xmem(path).decoder.pred.weight.dtype == torch.float32


def test_single_object_weights_get_a_channel_of_zeros_for_the_others(path: Path) -> None:
    state = _hollow(official_layout())
    state["value_encoder.conv1.weight"] = torch.ones(()).expand(64, 4, 7, 7)
    torch.save(state, path)
    weight = published_xmem(path).value_encoder.conv1.weight
    assert weight.shape == (64, 5, 7, 7)
    assert (weight[:, :4] == 1).all()
    assert (weight[:, 4] == 0).all()


@pytest.mark.parametrize(
    ("name", "tensor", "complaint"),
    [
        ("decoder.pred.bias", None, r"decoder\.pred\.bias is missing"),
        ("key_proj.key_proj.weight", None, r"key_proj\.key_proj\.weight is missing"),
        ("key_proj.key_proj.weight", torch.zeros(64), r"key_proj\.key_proj\.weight has shape \(64,\)"),
        ("value_encoder.conv1.weight", torch.zeros(64, 3, 7, 7), r"shape \(64, 3, 7, 7\), not \(64, 5, 7, 7\)"),
        ("key_encoder.bn1.num_batches_tracked", None, "num_batches_tracked is missing"),
        ("decoder.extra", torch.zeros(1), r"decoder\.extra is unexpected"),
        ("decoder.pred.bias", "text", r"decoder\.pred\.bias is a str"),
    ],
)
def test_other_weights_are_refused_with_the_first_mismatch(
    name: str, tensor: Tensor | str | None, complaint: str, path: Path
) -> None:
    state: dict[str, Tensor | str] = {**_hollow(official_layout())}
    if tensor is None:
        del state[name]
    else:
        state[name] = tensor
    torch.save(state, path)
    with pytest.raises(WeightsError, match=complaint) as caught:
        load_xmem(path)
    assert "XMem.pth" in str(caught.value)
    assert caught.value.remedy


def test_first_mismatch_is_the_first_by_name(path: Path) -> None:
    state = _hollow(official_layout())
    for name in ("value_encoder.bn1.bias", "decoder.pred.weight", "key_encoder.bn1.bias"):
        del state[name]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"decoder\.pred\.weight is missing"):
        load_xmem(path)


class _Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (str(Path.cwd() / "harmed"),))


@pytest.mark.parametrize("content", [b"", b"no weights", None, "harmful", "list"])
def test_damaged_missing_and_harmful_files_are_refused(content: bytes | str | None, path: Path) -> None:
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save({"a": _Harmful()} if content == "harmful" else [1], path)
    with pytest.raises(WeightsError, match=r"XMem\.pth"):
        load_xmem(path)
    assert not Path("harmed").exists()


def test_key_is_projected_shrinkage_at_least_one_and_selection_between_zero_and_one(xmem: XMemNetwork) -> None:
    frame = xmem.encode_key(xmem.normalise(textured(5))[None])
    assert [tuple(x.shape[1:]) for x in (frame.stride4, frame.stride8, frame.stride16)] == [
        (256, 12, 16),
        (512, 6, 8),
        (1024, 3, 4),
    ]
    d = xmem.key_proj.d_proj(frame.stride16)
    torch.testing.assert_close(frame.shrinkage, d * d + 1)
    torch.testing.assert_close(frame.selection, torch.sigmoid(xmem.key_proj.e_proj(frame.stride16)))
    assert frame.key.shape == frame.selection.shape == (1, 64, 3, 4)


def test_frames_are_normalised_by_imagenet(xmem: XMemNetwork) -> None:
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None].expand(3, 2, 2)
    assert (xmem.normalise(mean) == 0).all()
    spread = xmem.normalise(mean + torch.tensor([0.229, 0.224, 0.225])[:, None, None])
    torch.testing.assert_close(spread, torch.ones(3, 2, 2))


@pytest.mark.parametrize("quick", [False, True], ids=["published", "quick"])
def test_network_computes_the_formulas_of_the_specification(
    quick: bool, published: XMemNetwork, xmem: XMemNetwork
) -> None:
    generator = torch.Generator().manual_seed(1)
    naive = Transcription(published.state_dict())
    xmem = xmem if quick else published
    image = xmem.normalise(textured(6))[None]
    masks = torch.rand(3, 48, 64, generator=generator)
    frame = xmem.encode_key(image)
    for own, other in zip((frame.stride4, frame.stride8, frame.stride16), naive.key(image), strict=True):
        torch.testing.assert_close(own, other, atol=1e-3, rtol=1e-3)
    values = xmem.encode_value(frame, masks)
    torch.testing.assert_close(values, naive.value(image, frame.stride16, masks), atol=1e-3, rtol=1e-3)

    sensory = torch.randn(3, 64, 3, 4, generator=generator)
    logits, moved = xmem.decode(frame, values, sensory, True)
    naive_logits, naive_moved = naive.decode(frame.stride4, frame.stride8, frame.stride16, values, sensory)
    torch.testing.assert_close(logits, naive_logits, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(moved, naive_moved, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(
        xmem.deep_update(values, sensory),
        naive.gru("value_encoder.hidden_reinforce", values, sensory),
        atol=1e-4,
        rtol=1e-4,
    )


def test_sensory_update_worked_by_hand(xmem: XMemNetwork) -> None:
    update = copy.deepcopy(xmem.value_encoder.hidden_reinforce)
    assert update is not None
    update.transform.weight.zero_()
    update.transform.bias[:64], update.transform.bias[64:128], update.transform.bias[128:] = 0.0, 1.0, 2.0
    h = update(torch.zeros(1, 512, 1, 1), torch.full((1, 64, 1, 1), 4.0))
    # forget = 1/2, update = 0.731059, new = 0.964028: 1/2 * 4 * 0.268941 + 0.731059 * 0.964028
    torch.testing.assert_close(h, torch.full((1, 64, 1, 1), 1.242643))


def test_without_an_update_the_sensory_memory_stays(xmem: XMemNetwork) -> None:
    frame = xmem.encode_key(xmem.normalise(textured(6))[None])
    sensory = torch.ones(1, 64, 3, 4)
    logits, stays = xmem.decode(frame, torch.zeros(1, 512, 3, 4), sensory, False)
    assert torch.equal(stays, sensory)
    assert logits.shape == (1, 48, 64)


def test_batch_of_objects_equals_one_after_the_other(xmem: XMemNetwork) -> None:
    frame = xmem.encode_key(xmem.normalise(textured(7))[None])
    readout = torch.randn(2, 512, 3, 4, generator=torch.Generator().manual_seed(2))
    both = xmem.decode(frame, readout, torch.zeros(2, 64, 3, 4), False)[0]
    one = xmem.decode(frame, readout[1:], torch.zeros(1, 64, 3, 4), False)[0]
    torch.testing.assert_close(both[1:], one, atol=1e-4, rtol=1e-4)


def test_without_sensory_channels_the_network_still_predicts(path: Path) -> None:
    torch.save(_hollow(official_layout(hidden=0)), path)
    network = load_xmem(path)
    frame = network.encode_key(torch.zeros(1, 3, 16, 16))
    values = network.encode_value(frame, torch.ones(1, 16, 16))
    sensory = torch.zeros(1, 0, 1, 1)
    assert network.deep_update(values, sensory).shape == (1, 0, 1, 1)
    logits, sensory = network.decode(frame, values, sensory, True)
    assert logits.shape == (1, 16, 16)
    assert sensory.shape == (1, 0, 1, 1)
