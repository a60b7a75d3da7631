"""What a test may ask of the machine that it runs on."""

from __future__ import annotations

import pytest
import torch

from tam_backend.models.devices import has_fast_bfloat16

needs_bfloat16 = pytest.mark.skipif(not has_fast_bfloat16(torch.device("cpu")), reason="no bfloat16 here")
"""For what the product does only where the CPU multiplies bfloat16."""
