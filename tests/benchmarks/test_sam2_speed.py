from __future__ import annotations

import re

import pytest

pytest.importorskip("sam2", reason="an extra")

from benchmarks.lively_sam2 import enliven, tiny_config
from benchmarks.sam2_speed import VIDEO_PREDICTOR, print_segmenting, print_tracking
from tam_backend.models.sam2_network import network_of


def test_both_ways_are_timed_on_masks_that_agree(capsys: pytest.CaptureFixture[str]) -> None:
    network = enliven(network_of({**tiny_config(), "_target_": VIDEO_PREDICTOR}))
    print_tracking(network, frames=2)
    print_segmenting(network, frames=1)
    said = capsys.readouterr().out
    assert re.search(r"track a frame, 1 object( \| \d+){3}\n", said)
    assert re.search(r"encode a frame( \| \d+){3}\nanswer a click( \| \d+){3}\n", said)
    agreed = re.search(r"predicted frame: (\d\.\d+)", said)
    assert agreed and float(agreed[1]) > 0.999
