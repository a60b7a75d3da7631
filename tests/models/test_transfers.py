"""Numbers to a device and back: the same ones."""

from __future__ import annotations

import numpy as np
import torch

from tam_backend.models.transfers import Transfer, uploaded

CPU = torch.device("cpu")


def test_what_goes_there_comes_back_in_its_order_and_kind() -> None:
    sent = (np.arange(12, dtype=np.uint8).reshape(3, 4)[:, ::-1], np.array([True, False]), np.float32([0.5]))
    back = Transfer(*(uploaded(each, CPU) for each in sent)).arrays()
    assert [each.dtype for each in back] == [each.dtype for each in sent]
    assert all(np.array_equal(a, b) for a, b in zip(back, sent, strict=True))


def test_numbers_that_were_learnt_from_come_too() -> None:
    (back,) = Transfer(torch.ones(2, requires_grad=True) * 3).arrays()
    assert back.tolist() == [3, 3]
