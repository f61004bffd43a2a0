"""Where results go: no input is ever overwritten, and nothing else without being asked to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..errors import ImageFileError, ParameterError
from ..files import check_place
from ..images import SUFFIXES, check_target

__all__ = ["plan", "plan_kernels", "plan_report", "refuse_overwriting"]


def plan(
    inputs: Sequence[Path], out: Path | None, *, tail: str, bits: int | None, force: bool
) -> list[Path]:
    """Return one output path per input, checked; folders are made.

    `out` is a file, or a folder when there are several inputs, when it exists as one, or when it
    has no suffix. Left out, results lie beside the inputs with `tail` behind their names.
    Raises: ParameterError, ImageFileError.
    """
    if out is None:
        targets = [p.with_name(f"{p.stem}{tail}{_suffix(p)}") for p in inputs]
    elif out.is_dir() or not out.suffix:
        targets = [out / f"{p.stem}{_suffix(p)}" for p in inputs]
        _make_folder(out)
    elif len(inputs) > 1:
        raise ParameterError(f"-o {out} names one file, for {len(inputs)} pictures; name a folder.")
    else:
        targets = [out]
    twice = sorted({str(t) for t in targets if targets.count(t) > 1})
    if twice:
        raise ParameterError(
            f"several pictures would be written to {', '.join(twice)}; restore them in several "
            "calls, or rename them."
        )
    for target in targets:
        check_target(target, bits)
        check_place(target)
    refuse_overwriting(targets, inputs, force=force)
    return targets


def plan_kernels(
    inputs: Sequence[Path], pictures: Sequence[Path], wanted: Path | None, *, force: bool
) -> list[Path] | list[None]:
    """Return where the kernel of each input goes; a folder is made for several inputs.

    pictures: where the results go, which no kernel may replace.

    Raises: ParameterError, ImageFileError.
    """
    from ..kernel_files import kernel_paths

    if wanted is None:
        return [None for _ in inputs]
    targets = [wanted]
    if len(inputs) > 1 or wanted.is_dir():
        if wanted.suffix:
            raise ParameterError(
                f"--save-kernel {wanted} names one file, for {len(inputs)} pictures; name a folder."
            )
        _make_folder(wanted)
        targets = [wanted / f"{p.stem}-kernel" for p in inputs]
    files = [file for target in targets for file in kernel_paths(target)]
    both = sorted({str(f) for f in files} & {str(p) for p in pictures})
    if both:
        raise ParameterError(
            f"{', '.join(both)} would be both a picture and its kernel; give --save-kernel "
            "another name."
        )
    for file in files:
        check_place(file)
    refuse_overwriting(files, inputs, force=force)
    return targets


def plan_report(
    report: Path | None, inputs: Sequence[Path], pictures: Sequence[Path], *, force: bool
) -> None:
    """Check that a report can be written, where there is to be one.

    Raises: ParameterError, ImageFileError.
    """
    if report is None:
        return
    if report.resolve() in {p.resolve() for p in pictures}:
        raise ParameterError(f"{report} would be both a picture and the report; name another.")
    check_place(report)
    refuse_overwriting([report], inputs, force=force)


def refuse_overwriting(targets: Sequence[Path], inputs: Sequence[Path], *, force: bool) -> None:
    """Check that no input, and without `force` no existing file, would be overwritten.

    Raises: ImageFileError.
    """
    sources = {p.resolve() for p in inputs}
    lost = [str(t) for t in targets if t.resolve() in sources]
    if lost:
        raise ImageFileError(f"{', '.join(lost)} is an input, and is never overwritten.")
    there = [str(t) for t in targets if t.exists()]
    if there and not force:
        more = f" and {len(there) - 3} more" if len(there) > 3 else ""
        raise ImageFileError(f"{', '.join(there[:3])}{more} exists already; --force overwrites it.")


def _suffix(path: Path) -> str:
    suffix = path.suffix.lower()
    return path.suffix if suffix in SUFFIXES and suffix != ".npy" else ".png"


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageFileError(f"cannot make the folder {folder}: {error.strerror}.") from error
