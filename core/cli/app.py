"""The typer application: which commands there are. Their modules import torch only when run."""

from __future__ import annotations

import typer

from . import looking, making, solving, training

__all__ = ["app"]

app = typer.Typer(
    name="wellposed",
    help="Operators, priors and solvers for imaging inverse problems.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # an unexpected error keeps its plain traceback
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for _name, _function in (
    ("list", looking.list_components),
    ("info", looking.info),
    ("plugins", looking.plugins),
    ("solve", solving.solve),
    ("simulate", solving.simulate),
    ("train", training.train),
    ("weights", training.weights),
    ("check", making.check),
    ("demo", making.demo),
    ("new-plugin", making.new_plugin),
    ("version", looking.version),
):
    app.command(_name)(_function)
