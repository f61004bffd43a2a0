"""The progress bar: a plain callback that reads no tensor."""

from __future__ import annotations

import io

import torch
import wellposed
from rich.console import Console
from wellposed.progress import solve_progress


def terminal():
    return Console(file=io.StringIO(), force_terminal=True, width=100, highlight=False)


def test_the_bar_counts_steps_and_pictures():
    console = terminal()
    y = torch.rand(1, 6, 7)
    with solve_progress(2, console) as bar:
        for name in ("first", "second"):
            bar.begin(name)
            solution = wellposed.solve(
                y, op="identity", solver="admm", solver_params={"max_steps": 4}, callback=bar
            )
            bar.end()
        steps = bar._progress.tasks[1]
        assert (steps.completed, steps.total) == (int(solution.steps), 4)
        assert bar._progress.tasks[0].completed == 2
    text = console.file.getvalue()
    assert "second" in text and "pictures" in text


def test_the_callback_neither_stops_nor_reads(dense):
    class Event:
        step, max_steps = 3, 9

        @property
        def change(self):
            raise AssertionError("reading a tensor makes a GPU wait")

        active = estimate = change

    with solve_progress(1, terminal()) as bar:
        bar.begin("x")
        assert bar(Event()) is None


def test_nothing_is_drawn_into_a_file():
    console = Console(file=io.StringIO())
    with solve_progress(1, console) as bar:
        bar.begin("x")
        bar.end()
    assert not console.file.getvalue()
