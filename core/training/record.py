"""What a run writes besides its checkpoints: the recipe, the logs, and TensorBoard's events."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import wellposed.registry as reg

from ..errors import MissingExtraError, TrainingError
from .durable import Journal, checkpoints, write_durably
from .recipe import Recipe, load_recipe

__all__ = ["Record", "keep_recipe", "prepare_folder"]

RECIPE: Final = "recipe.yaml"
_LOG: Final = ("step", "loss", "rate", "gradient", "seconds")
_QUALITY: Final = ("step", "psnr", "psnr_estimate", "residual")


def prepare_folder(folder: Path, recipe: Recipe, *, resume: bool) -> None:
    """Make the folder of a run, and check that it is free, or holds a run of this recipe.

    Raises: TrainingError when the folder holds another run, or cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise TrainingError(f"cannot make the folder {folder}: {error.strerror}.") from error
    kept = folder / RECIPE
    if checkpoints(folder):
        if not resume:
            raise TrainingError(
                f"{folder} holds a run already. Go on with it (--resume), or take another folder."
            )
        if kept.is_file():
            _check_same(load_recipe(kept), recipe, folder)


def keep_recipe(folder: Path, recipe: Recipe) -> None:
    """Write the recipe into the folder of its run. Raises: TrainingError."""
    write_durably(folder / RECIPE, reg.dump_yaml(recipe.as_data()).encode())


def _check_same(before: Recipe, now: Recipe, folder: Path) -> None:
    old, new = _flat(before.essence()), _flat(now.essence())
    changed = sorted(key for key in {*old, *new} if old.get(key) != new.get(key))
    if changed:
        listed = "; ".join(f"{k} was {old.get(k)}, is {new.get(k)}" for k in changed[:3])
        raise TrainingError(
            f"the run in {folder} began with another recipe: {listed}. Resume with its own "
            f"{RECIPE}, or take another folder."
        )


def _flat(data: Any, path: str = "") -> dict[str, Any]:
    if isinstance(data, Mapping):
        parts = [_flat(v, f"{path}.{k}" if path else str(k)) for k, v in data.items()]
        return {key: value for part in parts for key, value in part.items()}
    return {path: list(data) if isinstance(data, tuple) else data}


class Record:
    """The logs of a run; of several processes only the first has one."""

    def __init__(
        self,
        folder: Path,
        keep: Mapping[str, int] | None,
        *,
        step: int = 0,
        tensorboard: bool = False,
        columns: Sequence[str] = (),
    ) -> None:
        """Open the logs, cut back to what a checkpoint says (`keep`). Raises: TrainingError.

        columns: of `log.csv`, beside the usual ones.
        """
        keep = keep or {}
        self._events: Any = _writer(folder, step) if tensorboard else None
        self._log = Journal(folder / "log.csv", (*_LOG, *columns), keep=keep.get("log"))
        self._quality = Journal(folder / "quality.csv", _QUALITY, keep=keep.get("quality"))

    def log(self, step: int, **values: float) -> None:
        """Add a line to `log.csv`."""
        self._log.write({"step": step, **values})
        self._show(step, values)

    def validate(self, step: int, quality: Mapping[str, float]) -> None:
        """Add a line to `quality.csv`."""
        self._quality.write({"step": step, **quality})
        self._show(step, quality)

    def sync(self) -> dict[str, int]:
        """Bring the logs to the disk; return their lengths, for the checkpoint."""
        return {"log": self._log.sync(), "quality": self._quality.sync()}

    def close(self) -> None:
        """Close the logs."""
        self._log.close()
        self._quality.close()
        if self._events is not None:
            self._events.close()

    def _show(self, step: int, values: Mapping[str, float]) -> None:
        if self._events is not None:
            for key, value in values.items():
                self._events.add_scalar(key, value, step)


def _writer(folder: Path, step: int) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError(
            "TensorBoard is not installed: pip install tensorboard, or leave --tensorboard out "
            "(log.csv holds the same numbers)."
        ) from error
    return SummaryWriter(str(folder), purge_step=step)
