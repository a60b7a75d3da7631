from __future__ import annotations

import torch

from tam_backend.models.memory_reading.aggregation import overrule, soft_aggregate


def test_one_object_at_p_has_the_squared_odds_of_the_paper() -> None:
    p = torch.tensor(0.8)
    probabilities = soft_aggregate(torch.logit(p).reshape(1, 1, 1))
    torch.testing.assert_close(probabilities[1, 0, 0], p**2 / (p**2 + (1 - p) ** 2))


def test_probabilities_sum_to_one_even_for_extreme_logits() -> None:
    probabilities = soft_aggregate(torch.tensor([[[1000.0, -1000.0]], [[1000.0, 0.0]]]))
    assert torch.isfinite(probabilities).all()
    torch.testing.assert_close(probabilities.sum(0), torch.ones(1, 2))


def test_given_objects_are_exact_and_sit_in_the_order_of_ids() -> None:
    predicted = torch.tensor([[[0.3, 0.3, 0.3]], [[0.7, 0.7, 0.7]]])  # background and object 5
    result = overrule(predicted, torch.tensor([[2, 9, 0]]), predicted=[5], given=[2, 9])
    expected = torch.tensor([[[0, 0, 0.3]], [[1, 0, 0]], [[0, 0, 0.7]], [[0, 1, 0]]])
    torch.testing.assert_close(result, expected)


def test_labels_that_the_mask_does_not_speak_for_are_ignored() -> None:
    predicted = torch.tensor([[[0.3]], [[0.7]]])
    result = overrule(predicted, torch.tensor([[5]]), predicted=[5], given=[2])
    torch.testing.assert_close(result[:, 0, 0], torch.tensor([0.3, 0.0, 0.7]))
