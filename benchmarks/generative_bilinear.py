"""Blind deblurring by the generative bilinear solver: its paper's tables, and MNIST's digits.

    python -m benchmarks generative_bilinear --table 1 --reference DIR [--look OUT.png]
    python -m benchmarks generative_bilinear --table 2 --reference DIR [--out FIGURE.png]
    python -m benchmarks generative_bilinear --table 3 --reference DIR
    python -m benchmarks generative_bilinear --data t10k-images-idx3-ubyte.gz --count 20 --steps 600

1: the authors' own blurred pictures, restored by us and by them, and by other methods. 2: faces
with much noise, restored by us and by a network. 3: how much is lost because the generator cannot
make the picture. --reference: the folder with what the authors gave out, `CelebA.npz` and others;
see `_generative_reference.py`. --data: digits with blurs of class A; see `_generative_digits.py`.

--faces, --kernels, --network: weights, by path or name; otherwise those that are installed. Rows
without weights show `-`, and the command that trains them stands below.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from ._generative_digits import digits
from ._generative_noise import table_2
from ._generative_range import table_3
from ._generative_reference import SETS
from ._generative_tables import table_1
from ._notes import with_notes

_TABLES = {"1": table_1, "2": table_2, "3": table_3}
_USUAL = {"table": {"count": 8, "steps": 500, "restarts": 5}}
_USUAL["data"] = {"count": 20, "steps": 1500, "restarts": 10}


def main(argv: list[str]) -> int:
    """Run `python -m benchmarks generative_bilinear`."""
    parser = _parser()
    options = parser.parse_args(argv)
    for name, value in _USUAL["table" if options.table else "data"].items():
        if getattr(options, name) is None:
            setattr(options, name, value)
        if getattr(options, name) < 1:
            parser.error(f"--{name}: expected 1 or more")
    for name, tables in (("look", "1"), ("out", "2")):
        if getattr(options, name) is not None and options.table != tables:
            parser.error(f"--{name} belongs to --table {tables}")
    if options.halve_every is not None and options.halve_every < 1:
        parser.error("--halve-every: expected 1 or more")
    for name in ("halve-every", "cpu-time"):
        given = getattr(options, name.replace("-", "_"))
        if given and (options.table or options.one_by_one):
            parser.error(f"--{name} belongs to --data, without --one-by-one")
    if options.skip < 0:
        parser.error("--skip: expected 0 or more")
    if options.table and options.reference is None:
        parser.error("--reference: expected the folder with the pictures of the paper's authors")
    run = _TABLES[options.table] if options.table else digits
    return with_notes(parser, lambda: run(options))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks generative_bilinear",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--table", choices=list(_TABLES))
    what.add_argument("--data", type=Path, help="an idx file of test digits")
    parser.add_argument("--reference", type=Path, help="the folder of the authors' pictures")
    parser.add_argument("--set", choices=SETS, default=SETS[0], help="of them, for tables 1 and 3")
    parser.add_argument("--count", type=int, help="of pictures, the first ones: 8; of digits: 20")
    parser.add_argument("--skip", type=int, default=0, help="leave out so many of the first ones")
    parser.add_argument("--steps", type=int, help="500; for digits 1500")
    parser.add_argument("--restarts", type=int, help="5; for digits 10")
    parser.add_argument("--faces", help="weights of the pictures' generator")
    parser.add_argument("--kernels", help="weights of the generator of the authors' kernels")
    parser.add_argument("--network", help="weights of hradis_cnn")
    parser.add_argument("--digits", help="weights of mnist_vae")
    parser.add_argument(
        "--one-by-one", action="store_true", help="of digits: time restarts one after another"
    )
    parser.add_argument(
        "--halve-every", type=int, metavar="STEPS", help="of digits: let the worse restarts rest"
    )
    parser.add_argument("--cpu-time", action="store_true", help="of digits: for a busy machine")
    parser.add_argument("--look", type=Path, metavar="OUT", help="write the pictures of table 1")
    parser.add_argument("--out", type=Path, help="draw the curves of table 2, a .png")
    parser.add_argument("--device", default="cpu")
    return parser
