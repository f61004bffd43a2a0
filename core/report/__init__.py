"""One HTML page that shows pictures before and after, with how each came about.

The page is a single file: the pictures lie in it, and it loads nothing from anywhere.
"""

from __future__ import annotations

import importlib.resources
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
from torch import Tensor

from ..files import write_bytes
from .code import call_text, hung, literal
from .panels import Panel, shown

if TYPE_CHECKING:
    from ..solution import Solution

__all__ = ["Entry", "Panel", "call_text", "entry_of", "facts_of", "hung", "literal", "write_report"]


@attrs.frozen(eq=False, kw_only=True)
class Entry:
    """One section of a report.

    `summary` is its row in the table at the top, one column per key; `facts` are shown on demand,
    and so is `code`, the Python call that repeats it. `status` is one word, `error` a message.
    """

    title: str
    text: str = ""
    panels: Sequence[Panel] = ()
    summary: Mapping[str, str] = attrs.field(factory=dict)
    facts: Mapping[str, str] = attrs.field(factory=dict)
    code: str = ""
    status: str = ""
    error: str = ""


def entry_of(
    solution: Solution, *, title: str, problem: Mapping[str, Any], source: str = ""
) -> Entry:
    """Return the section about a solution; `problem` is what a problem file would hold."""
    p = solution.provenance
    steps = int(solution.steps.max())
    arguments = {key: literal(value) for key, value in problem.items() if value is not None}
    measurement = solution.measurement
    panels = []
    if measurement is not None:
        panels.append(Panel(label="Measurement", picture=_first(measurement), measured=True))
    panels.append(Panel(label="Restored", picture=_first(solution.image)))
    return Entry(
        title=title,
        panels=panels,
        summary={"seconds": f"{p.seconds:.2f}", "steps": str(steps)},
        facts=facts_of(solution),
        code=call_text("wellposed.solve", repr(source or title), arguments),
        status=str(solution.status),
    )


def facts_of(solution: Solution) -> dict[str, str]:
    """Return what is known about how a solution came about."""
    p = solution.provenance
    versions = ", ".join(f"{name} {number}" for name, number in p.versions.items())
    return {
        "operator": p.operator,
        "solver": p.solver,
        "prior": p.prior or "-",
        "noise": p.noise or "-",
        "picture": f"{tuple(solution.image.shape)} {p.dtype} on {p.device}",
        "status": f"{solution.status}: {solution.status.advice}",
        "steps": f"{int(solution.steps.max())}, {p.seconds:.2f} s",
        "seed": str(p.seed),
        "versions": versions,
    }


def write_report(
    path: str | Path,
    title: str,
    entries: Sequence[Entry],
    *,
    intro: Sequence[str] = (),
    subject: str = "problem",
) -> Path:
    """Write the page; it appears whole or not at all. `subject` heads the column of titles.

    Raises: ImageFileError when it cannot be written.
    """
    body = [f"<h1>{escape(title)}</h1>"]
    body += [f"<p>{escape(paragraph)}</p>" for paragraph in intro]
    body.append(
        '<p class="hint">Click a picture to magnify it, with its neighbours, four times; '
        "move the pointer to look around; click again, or press Escape, to go back.</p>"
    )
    body.append(_table(entries, subject))
    body += [_section(number, entry) for number, entry in enumerate(entries)]
    page = importlib.resources.files(__package__).joinpath("page.html").read_text("utf-8")
    page = page.replace("<!--TITLE-->", escape(title)).replace("<!--BODY-->", "\n".join(body))
    return write_bytes(path, page.encode("utf-8", "replace"))


def _first(x: Tensor) -> Tensor:
    """Return the first sample of a batch."""
    return x.reshape(-1, *x.shape[-3:])[0]


def _table(entries: Sequence[Entry], subject: str) -> str:
    columns = list(dict.fromkeys(key for entry in entries for key in entry.summary))
    numeric = {c for c in columns if all(_is_number(e.summary.get(c, "")) for e in entries)}
    heads = "".join(_cell("th", c, c in numeric) for c in columns)
    lines = [
        f'<div class="wide"><table><thead><tr><th>{escape(subject)}</th>{heads}<th>status</th></tr>'
        "</thead><tbody>"
    ]
    for number, entry in enumerate(entries):
        cells = "".join(_cell("td", entry.summary.get(c, ""), c in numeric) for c in columns)
        status = f'<td class="{"bad" if entry.error else "good"}">{escape(entry.status)}</td>'
        title = f'<td><a href="#case{number}">{escape(entry.title)}</a></td>'
        lines.append(f"<tr>{title}{cells}{status}</tr>")
    return "\n".join([*lines, "</tbody></table></div>"])


def _cell(tag: str, text: str, numeric: bool) -> str:
    return f"<{tag}{' class=number' if numeric else ''}>{escape(text)}</{tag}>"


def _is_number(text: str) -> bool:
    """Tell whether a cell holds a number, several numbers, or nothing."""
    parts = text.split(" / ")
    return all(p in ("", "-") or p.replace(".", "", 1).lstrip("-").isdigit() for p in parts)


def _section(number: int, entry: Entry) -> str:
    word = "bad" if entry.error else "good"
    parts = [
        f'<section id="case{number}"><div class="head"><h2>{escape(entry.title)}</h2>'
        f'<span class="{word}">{escape(entry.status)}</span></div>'
    ]
    if entry.text:
        parts.append(f"<p>{escape(entry.text)}</p>")
    if entry.error:
        parts.append(f'<p class="error">{escape(entry.error)}</p>')
    if entry.panels:
        figures = "".join(shown(panel) for panel in entry.panels)
        parts.append(f'<div class="pictures" style="--count: {len(entry.panels)}">{figures}</div>')
    if entry.facts or entry.code:
        facts = "".join(
            f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>"
            for name, value in entry.facts.items()
        )
        code = f"<pre>{escape(entry.code)}</pre>" if entry.code else ""
        parts.append(
            f"<details><summary>Parameters, and the call that repeats it</summary><dl>{facts}</dl>"
            f"{code}</details>"
        )
    return "\n".join([*parts, "</section>"])
