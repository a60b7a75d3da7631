"""What the table of adaptations says: each mean over the rows that it is of."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.adaptation import print_table


def figures(gain: float) -> dict[str, Any]:
    return {"mask": 80 + gain, "click": 60 + gain, "clicks": 5 - gain, "first_click": 70 + gain}


def learnt(gain: float, served: float | None, promote: bool) -> dict[str, Any]:
    judged = {"promote": promote}
    said = {"promote": promote, "segmenter": judged, "tracker": judged}
    return {**figures(gain), "served": None if served is None else figures(served), "said": said}


def test_what_users_get_is_compared_with_what_the_same_rows_learnt(capsys: pytest.CaptureFixture[str]) -> None:
    alone = {**figures(-9), "served": None, "said": {}}
    print_table({"a 0": figures(0), "a 1": alone, "a 2": learnt(3, 3, True), "a 4": learnt(-1, 0, False)})
    *_, one, both, users, gate = capsys.readouterr().out.splitlines()
    assert one == (
        "what was learnt where no gate judged it, mean: -9.0 first mask, -9.0 one click, +9.0 clicks to 0.85"
    )
    assert both == "what was learnt, promoted or not, mean: +1.0 first mask, +1.0 one click, -1.0 clicks to 0.85"
    assert users.endswith("what users get after the gate, mean: +1.5 first mask, +1.5 one click, -1.5 clicks to 0.85")
    assert gate == "the gate was right about 4 of 4 networks"


def test_a_file_from_before_users_figures_were_kept_is_still_read(capsys: pytest.CaptureFixture[str]) -> None:
    print_table({"a 0": figures(0), "a 2": {**figures(2), "said": {}}})
    assert "no gate judged it, mean: +2.0 first mask" in capsys.readouterr().out
