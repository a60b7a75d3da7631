"""The report as files: CSV for spreadsheets, JSON for scripts, a picture, and a page that needs nothing beside it."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from datetime import datetime, timezone
from html import escape
from pathlib import Path

from tam_backend.effort.chart import as_svg, effort_chart, write_png
from tam_backend.effort.durations import duration
from tam_backend.effort.learning_chart import learning_charts
from tam_backend.effort.learning_curve import STAGE_COLUMNS, LearningCurve, stage_rows, what_changed
from tam_backend.effort.summary import Effort, EffortReport, Pace
from tam_backend.out_folder import OutFolder

COLUMNS = ("video", "task", "frames", "touched", "clicks", "masks", "kept", "clicked", "edited", "drawn", "erased",
           "IoU", "time", "saved")  # fmt: skip
"""Of the table that people see: on the terminal and on the page."""

DETAILS, WIDE = ("clicks", "kept", "clicked", "edited", "drawn", "erased"), 120
"""Columns that a terminal of fewer characters than that has no room for."""

_STYLE = """
:root { color-scheme: light dark; --page: #f6f7f9; --card: #fff; --ink: #1a1e24; --soft-ink: #5d6673; --line: #dde1e7;
  --look: #6d3fd1; --fair: #b86a00; }
@media (prefers-color-scheme: dark) { :root { --page: #14171b; --card: #1c2026; --ink: #e3e7ec; --soft-ink: #97a1ae;
  --line: #2d333c; --look: #b79bff; --fair: #f0a640; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 68rem;
  margin: 0 auto;  padding: 1.6rem 1.2rem 3rem; }
h1 { font-size: 1.5rem; margin: 0 0 .3rem; } .soft { color: var(--soft-ink); }
.card { background: var(--card); border: 1px solid var(--line); border-radius: .6rem;
  padding: .6rem 1rem; margin: 1rem 0;  overflow-x: auto; }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: .8rem; }
.numbers div { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .6rem 1rem; }
.numbers b { display: block; font-size: 1.5rem; } .numbers span { font-size: .86rem; color: var(--soft-ink); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .35rem .6rem; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { font-size: .86rem; color: var(--soft-ink); } th:first-child, td:first-child { text-align: left; }
tr:last-child td { border-bottom: 0; } table:not(.stages) tr:last-child td { font-weight: 600; }
svg { display: block; width: 100%; min-width: 36rem; height: auto; } svg + svg { margin-top: 1rem; }
"""


def write_report(report: EffortReport, folder: Path, *, overwrite: bool = False) -> list[Path]:
    """Write report.csv, report.json, report.png and report.html; return their paths.

    Args:
        report: what to write.
        folder: made if it is not there.
        overwrite: whether files of these names that we did not write are replaced.

    Raises:
        InvalidInputError: there are such files, or the folder cannot be written to.
        OSError: the disk is full.
    """
    names = [f"report.{kind}" for kind in ("csv", "json", "png", "html")]
    out = OutFolder(folder, files=names, overwrite=overwrite)
    out.clear()
    with out.writing(names[0]) as path:
        _write_csv(report, path)
    with out.writing(names[1]) as path:
        path.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    with out.writing(names[2]) as path:
        write_png(effort_chart(report), path)
    with out.writing(names[3]) as path:
        path.write_text(as_html(report), encoding="utf-8")
    return [folder / name for name in names]


def _write_csv(report: EffortReport, path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(Effort)])
        writer.writeheader()
        for each in report.tasks:
            begun = None if each.begun_at is None else datetime.fromtimestamp(each.begun_at, timezone.utc)
            writer.writerow(asdict(each) | {"begun_at": begun and begun.isoformat(timespec="seconds")})


def rows(report: EffortReport) -> list[tuple[str, ...]]:
    """Return the table, the total last, as people read it."""
    return [_row(each) for each in (*report.tasks, report.total)]


def sentences(report: EffortReport) -> list[str]:
    """Say what the figures mean, and what the estimate rests on."""
    total = report.total
    frames = f" of {total.frames}" if total.frames else ""
    said = [f"People touched {total.frames_touched}{frames} frames; {total.masks} masks were submitted."]
    if total.agreement is not None:
        said.append(f"What was proposed and what was submitted overlap by {total.agreement:.2f} (mean IoU).")
    origin = {
        "given": "as given",
        "measured": f"as measured on {report.by_hand.annotations} annotations made without the model",
        "assumed": "what COCO's annotators took (22 hours for 1,000 masks); --seconds-per-mask sets your own",
    }[report.seconds_from]
    said.append(f"A mask drawn by hand is taken to cost {report.seconds_per_mask:.0f} s: {origin}.")
    for name, pace in (("With", report.with_model), ("Without", report.by_hand)):
        if pace.seconds_per_mask is not None:
            said.append(f"{name} the model: {_pace(pace)}.")
    if report.faster is not None and total.saved_s is not None:
        verb = "saved" if total.saved_s >= 0 else "cost"
        said.append(f"{report.faster:.1f} times as fast; the model {verb} about {duration(abs(total.saved_s))}.")
    return [*said, *report.learnt, *what_changed(report.curve), *report.unread]


def as_html(report: EffortReport) -> str:
    """Return a page that loads nothing."""
    total = report.total
    numbers = [
        (f"{total.frames_touched}" + (f" of {total.frames}" if total.frames else ""), "frames touched by people"),
        (str(total.masks), "masks submitted"),
        ("?" if total.agreement is None else f"{total.agreement:.2f}", "mean IoU of proposed and submitted"),
        ("?" if total.lead_time_s is None else duration(total.lead_time_s), "working time"),
        ("?" if total.saved_s is None else duration(total.saved_s), "saved, estimated"),
    ]
    tiles = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for value, name in numbers)
    head = _cells("th", COLUMNS)
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows(report))
    title = escape(report.title or f"Project {report.project}")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f"<title>Effort: {title}</title><style>{_STYLE}</style></head><body>\n"
        f'<h1>{title}</h1><p class="soft">Effort report of project {report.project}</p>\n'
        f'<div class="numbers">{tiles}</div>\n<div class="card">{as_svg(effort_chart(report))}</div>\n'
        f'<div class="card"><table><tr>{head}</tr>{body}</table></div>\n{_curve(report.curve)}'
        f'<p class="soft">{"<br>".join(map(escape, sentences(report)))}</p>\n</body></html>\n'
    )


def _curve(curve: LearningCurve) -> str:
    """Return the cards with the curve and with what it comes to in figures."""
    charts = "".join(as_svg(chart) for chart in learning_charts(curve))
    if not charts:
        return ""
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in stage_rows(curve))
    return (
        f'<div class="card">{charts}</div>\n<div class="card"><table class="stages"><tr>{_cells("th", STAGE_COLUMNS)}'
        f"</tr>{body}</table></div>\n"
    )


def _cells(tag: str, values: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escape(value)}</{tag}>" for value in values)


def _row(effort: Effort) -> tuple[str, ...]:
    return (
        effort.video,
        "" if effort.task is None else str(effort.task),
        str(effort.frames or "?"),
        str(effort.frames_touched),
        "" if effort.clicks is None else str(effort.clicks),
        *(str(getattr(effort, name)) for name in ("masks", "kept", "clicked", "edited", "drawn", "erased")),
        "" if effort.agreement is None else f"{effort.agreement:.2f}",
        "" if effort.lead_time_s is None else duration(effort.lead_time_s),
        "" if effort.saved_s is None else duration(effort.saved_s),
    )


def _pace(pace: Pace) -> str:
    return f"{pace.seconds_per_mask or 0:.1f} s a mask ({pace.masks} masks in {duration(pace.seconds)})"
