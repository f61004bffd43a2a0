"""Weights as .safetensors in half precision with a card; loaded strictly, never unpickled."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
import wellposed.registry as reg
from torch import Tensor, nn

from ..describe import versions
from ..errors import WeightsError
from .cards import FORMAT, card_path, check_hash, read_bytes, read_card, read_header
from .durable import write_durably

__all__ = ["load_weights", "read_weights", "save_weights"]

_NAMED: Final = 3


def save_weights(path: Path, module: nn.Module, card: Mapping[str, Any]) -> dict[str, Any]:
    """Write the state of a module and the card beside it; return the card, with the hash.

    `card` holds at least the recipe, what the weights were trained for, the quality that was
    measured and the licence. The weights are written first: one that was killed in between has a
    card that does not fit, which is an error on loading, and saving again repairs it.
    Raises: WeightsError for weights that half precision cannot hold; TrainingError when the disk
    is full.
    """
    from safetensors.torch import save

    state = {key: _half(key, value) for key, value in module.state_dict().items()}
    data = save(state, {"format": "pt"})
    whole = {
        "format": FORMAT,
        **card,
        "parameters": sum(p.numel() for p in module.parameters()),
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "versions": {name: str(version) for name, version in versions().items()},
    }
    text = reg.dump_yaml(whole)
    write_durably(path, data)
    write_durably(card_path(path), text.encode())
    return whole


def read_weights(path: str | os.PathLike[str]) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors, as they are stored, and the card of a weights file, both verified.

    Raises: WeightsError when a file is missing, altered or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = Path(path)
    data = read_bytes(path)
    card = read_card(path)
    check_hash(path, data, card)
    read_header(data, path)
    try:
        return load(data), card
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged ({error}); get it again.") from error


def load_weights(module: nn.Module, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Put weights into a module, which must have exactly these tensors; return their card.

    The module keeps its own precision and device. Nothing of it is changed when anything is wrong.
    Raises: WeightsError, naming what differs.
    """
    state, card = read_weights(path)
    own = module.state_dict()
    missing, unknown = sorted(set(own) - set(state)), sorted(set(state) - set(own))
    other = [
        f"{key} has shape {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in sorted(set(own) & set(state))
        if state[key].shape != own[key].shape
    ]
    wrong = [f"{_some(other)}"] if other else []
    wrong += [f"it lacks {_some(missing)}"] if missing else []
    wrong += [f"it has {_some(unknown)} besides"] if unknown else []
    if wrong:
        raise WeightsError(
            f"{path} does not fit {type(module).__name__}: {'; '.join(wrong)}. It was trained for "
            f"{_trained(card)}; build the network with the same parameters, or train it anew."
        )
    module.load_state_dict(state, strict=True)
    return card


def _half(key: str, value: Tensor) -> Tensor:
    value = value.detach().cpu().contiguous()
    if not value.is_floating_point():
        return value.clone()
    half = value.to(torch.float16)
    if not bool(torch.isfinite(half).all()):
        raise WeightsError(
            f"the weights {key} reach {float(value.abs().max()):.3g}, more than half precision "
            "holds, or are not finite. The training diverged: lower its rate, or clip gradients."
        )
    return half.clone()  # tied weights share memory, which the format refuses


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def _trained(card: Mapping[str, Any]) -> str:
    recipe = card.get("recipe")
    given = (recipe.get("solver") or recipe.get("network")) if isinstance(recipe, dict) else None
    return f"{given!s:.200}"
