"""The table of SAM-shaped networks: each row builds what its published file holds, and nothing else is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam

from tam_backend.errors import WeightsError
from tam_backend.models import zoo
from tam_backend.models.kind_registry import segmenter_kinds
from tam_backend.models.sam_variants import SAM_VARIANTS
from tam_backend.models.segmenters.sam_network import check_sam, load_sam
from tam_backend.models.segmenters.sam_parts import sam_around

# Millions of weights: the image encoder (ViT: table of the paper's code; TinyViT-5M with its classifier and SAM's neck)
# and the whole network.
MILLIONS = {"vit_h": (637.0, 641.1), "vit_l": (308.3, 312.3), "vit_b": (89.7, 93.7), "mobile_sam": (6.07, 10.13)}


def on_meta(name: str) -> Sam:
    with torch.device("meta"):
        return SAM_VARIANTS[name].build()


@pytest.mark.parametrize("name", SAM_VARIANTS)
def test_a_network_has_as_many_weights_as_its_authors_say(name: str) -> None:
    sam = on_meta(name)
    counted = [sum(weight.numel() for weight in part.parameters()) / 1e6 for part in (sam.image_encoder, sam)]
    assert counted == pytest.approx(MILLIONS[name], abs=0.05)
    assert {tensor.device.type for tensor in sam.state_dict().values()} == {"meta"}, "no memory was taken"


@pytest.mark.parametrize("name", SAM_VARIANTS)
def test_a_published_file_is_as_large_as_its_tensors_and_their_names(name: str) -> None:
    tensors = on_meta(name).state_dict().values()
    held = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    size = SAM_VARIANTS[name].file.size_bytes
    assert size is not None
    assert 200 < (size - held) / len(tensors) < 500, "bytes per tensor for its name, its entry and its alignment"


@pytest.mark.parametrize(("name", "blocks", "channels"), [("vit_b", 12, 768), ("vit_l", 24, 1024), ("vit_h", 32, 1280)])
def test_a_vit_has_the_published_names_and_shapes(name: str, blocks: int, channels: int) -> None:
    shapes = {key: tuple(tensor.shape) for key, tensor in on_meta(name).state_dict().items()}
    assert {int(key.split(".")[2]) for key in shapes if key.startswith("image_encoder.blocks.")} == {*range(blocks)}
    assert shapes["image_encoder.pos_embed"] == (1, 64, 64, channels)
    assert shapes["image_encoder.patch_embed.proj.weight"] == (channels, 3, 16, 16)
    whole_frame = {key for key in shapes if key.endswith("rel_pos_h") and shapes[key][0] == 127}
    every = blocks // 4
    assert whole_frame == {f"image_encoder.blocks.{4 * every - 1 - n * every}.attn.rel_pos_h" for n in range(4)}
    assert shapes["image_encoder.neck.0.weight"] == (256, channels, 1, 1)


def test_what_is_put_around_an_image_encoder_is_sams_own() -> None:
    with torch.device("meta"):
        original = sam_model_registry["vit_b"]()
        ours = sam_around(original.image_encoder)
    assert repr(ours) == repr(original)
    shapes = [{key: tensor.shape for key, tensor in sam.state_dict().items()} for sam in (ours, original)]
    assert shapes[0] == shapes[1]
    assert (ours.pixel_mean.shape, ours.mask_threshold) == (original.pixel_mean.shape, original.mask_threshold)


def test_each_row_is_a_segmenter_and_names_are_used_once() -> None:
    rows = SAM_VARIANTS.values()
    assert {row.kind for row in rows} <= segmenter_kinds().by_name.keys()
    assert len({row.file.name for row in rows}) == len({row.kind for row in rows}) == len(SAM_VARIANTS)
    for row in rows:
        assert zoo.profile(f"{row.kind}+xmem", Path("weights")).weights[0] == Path("weights", row.file.name)


def test_mobile_sam_is_loaded_to_the_last_tensor_and_a_wrong_file_is_told_by_its_first(tmp_path: Path) -> None:
    path = tmp_path / "mobile_sam.pt"
    torch.manual_seed(0)
    state = SAM_VARIANTS["mobile_sam"].build().state_dict()
    torch.save(state, path)
    assert abs(path.stat().st_size - 40_728_226) < 200_000
    check_sam(path, SAM_VARIANTS["mobile_sam"])
    loaded = load_sam(path, SAM_VARIANTS["mobile_sam"], torch.device("cpu"))
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())
    with pytest.raises(WeightsError, match=r"not those of SAM vit_b: image_encoder\.blocks\.0\.\S+ is missing"):
        check_sam(path, SAM_VARIANTS["vit_b"])
    del state["image_encoder.layers.3.blocks.1.attn.attention_biases"]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"layers\.3\.blocks\.1\.attn\.attention_biases is missing"):
        load_sam(path, SAM_VARIANTS["mobile_sam"], torch.device("cpu"))
