"""The HTML page: self-contained, escaped, and with pictures that can be decoded again."""

from __future__ import annotations

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import torch
import wellposed
from PIL import Image
from wellposed.errors import ImageFileError
from wellposed.report import Entry, Panel, call_text, entry_of, literal, write_report
from wellposed.report.panels import displayable, shown

VOID = {"meta", "img", "br", "link"}


class Checker(HTMLParser):
    """Notes every element that is not closed, and everything that would be loaded."""

    def __init__(self):
        super().__init__()
        self.open, self.loads = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append(tag)
        self.loads += [
            v for k, v in attrs if k in ("src", "href") and not v.startswith(("#", "data"))
        ]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def pictures(html):
    for data in re.findall(r"data:image/png;base64,([^\"]+)", html):
        yield np.asarray(Image.open(io.BytesIO(base64.b64decode(data))))


def test_the_page_is_one_valid_file_that_loads_nothing(tmp_path):
    x = torch.rand(3, 5, 7)
    entries = [
        Entry(
            title="A <script>alert(1)</script>",
            text="a < b & c",
            panels=[Panel(label='"quoted"', picture=x), Panel(label="b", picture=x, still=True)],
            summary={"dB": "3.5", "both": "1.2 / -", "name": "n"},
            facts={"<f>": "<v>"},
            code="x < y",
            status="converged",
        ),
        Entry(title="failed", status="failed", error="what <went> wrong", summary={"dB": "-"}),
    ]
    path = write_report(tmp_path / "page.html", "T & U", entries, intro=["<i>"])
    html = path.read_text()
    checker = Checker()
    checker.feed(html)
    assert not checker.open and not checker.loads
    assert "<script>alert" not in html and "<went>" not in html and "<f>" not in html
    assert "A &lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert html.count("<th class=number>") == 2
    for found in pictures(html):
        expected = (x.movedim(0, -1) * 255).round().byte().numpy()
        assert np.array_equal(found, expected)


def test_a_page_that_cannot_be_written(tmp_path):
    with pytest.raises(ImageFileError, match="it is a folder"):
        write_report(tmp_path, "T", [])


def test_a_solution_as_an_entry(tmp_path):
    y = torch.rand(2, 3, 12, 12)
    solution = wellposed.solve(y, op="identity", solver="adjoint")
    problem = {"op": "identity", "solver": "adjoint", "prior": None}
    entry = entry_of(solution, title="t", problem=problem, source="y.png")
    assert [tuple(p.picture.shape) for p in entry.panels] == [(3, 12, 12)] * 2
    assert entry.code == "wellposed.solve('y.png', op='identity', solver='adjoint')"
    assert entry.facts["status"].startswith("direct: ")
    assert "in_shape=(3, 12, 12)" in entry.facts["operator"]


@pytest.mark.parametrize(
    ("x", "measured", "low", "high", "note"),
    [
        (torch.tensor([[[0.2, 0.7]]]), False, 0.2, 0.7, ""),
        (torch.tensor([[[-0.1, 1.1]]]), True, -0.1, 1.1, ""),
        (torch.tensor([[[10.0, 30.0]]]), True, 0, 1, "scaled from [10, 30]"),
        (torch.tensor([[[10.0, 30.0]]]), False, 10, 30, ""),
        (torch.tensor([[[3j, 0.5]]]), False, 0.5, 3, "magnitude"),
        (torch.tensor([[[3j, 0]]]), True, 0, 1, "logarithm of the magnitude"),
        (torch.zeros(1, 2, 2, dtype=torch.complex64), True, 0, 0, "logarithm of the magnitude"),
        (torch.tensor([[[0.0, 1]], [[1, 1]]]), False, 0.5, 1, "mean of 2 channels"),
        (torch.tensor([[[torch.nan, 0.5]]]), False, 0, 0.5, ""),
        (torch.full((1, 2, 2), 7.0), True, 7, 7, ""),
        (torch.rand(2, 2, 3, 4), True, None, None, "mean of 4 channels"),
    ],
)
def test_everything_can_be_shown(x, measured, low, high, note):
    picture, found = displayable(x, measured=measured)
    assert found == note
    assert picture.ndim == 3 and picture.shape[0] == 1
    if low is not None:
        assert float(picture.min()) == pytest.approx(low)
        assert float(picture.max()) == pytest.approx(high)
    shown(Panel(label="x", picture=x, measured=measured))


def test_calls_are_valid_python():
    values = {"op": {"name": "blur", "params": {"kernel": {"name": "motion", "length": 1e-9}}}}
    values |= {"solver": "x" * 60, "prior": ["a" * 70, {"b": [1.5, None]}]}
    seen = {}
    text = call_text("f", "y", {key: literal(value) for key, value in values.items()})
    eval(text, {"f": lambda y, **kw: seen.update(kw), "y": 0})
    assert seen == values
    assert max(map(len, text.splitlines())) <= 110
    assert call_text("f", "y", {"a": "1"}) == "f(y, a=1)"
