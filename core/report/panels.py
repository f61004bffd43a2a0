"""Pictures and measurements as figures of an HTML page."""

from __future__ import annotations

import base64
from html import escape

import attrs
import torch
from torch import Tensor

__all__ = ["Panel", "shown"]

_SMALL = 160  # sides below this are magnified by the page: as squares, not smoothed


@attrs.frozen(eq=False, kw_only=True)
class Panel:
    """A picture `(C, H, W)` with its caption; `measured` allows any tensor, shown as it can be."""

    label: str
    picture: Tensor = attrs.field(repr=lambda t: str(tuple(t.shape)))
    note: str = ""
    measured: bool = False
    still: bool = False
    """Whether it stays as it is when its neighbours are magnified (it has another geometry)."""


def shown(panel: Panel) -> str:
    """Return the figure, with the picture in it as PNG."""
    from ..encoding import encode

    picture, how = displayable(panel.picture.detach().cpu(), measured=panel.measured)
    array = picture.clamp(0, 1).mul(255).round().byte().movedim(0, -1).numpy()
    data = base64.b64encode(encode(".png", array)).decode()
    height, width = array.shape[:2]
    kind = ' class="small"' if max(height, width) < _SMALL else ""
    size = f"{width} x {height}"
    note = ", ".join(t for t in (panel.note, how, size) if t)
    tag, frame = ("span", "frame still") if panel.still else ("button", "frame")
    button = "" if panel.still else ' type="button" aria-pressed="false"'
    return (
        f'<figure><{tag} class="{frame}"{button}><img{kind} width="{width}" height="{height}" '
        f'alt="{escape(panel.label)}" src="data:image/png;base64,{data}"></{tag}>'
        f"<figcaption><b>{escape(panel.label)}</b><small>{escape(note)}</small></figcaption>"
        "</figure>"
    )


def displayable(x: Tensor, *, measured: bool) -> tuple[Tensor, str]:
    """Return a tensor as a grey or RGB picture in [0, 1], and in words what was done to it.

    Complex pictures become magnitudes, complex measurements logarithms of them; channels other
    than RGB are averaged; real measurements far outside [0, 1] are scaled to it.
    """
    x = torch.nan_to_num(x.reshape(-1, *x.shape[-2:]))
    how = []
    if x.is_complex():
        x = x.abs()
        how.append("magnitude")
        if measured:
            x = torch.log1p(1e3 * x / x.amax().clamp_min(torch.finfo(x.dtype).tiny))
            how[-1] = "logarithm of the magnitude"
    if x.shape[0] not in (1, 3):
        how.append(f"mean of {x.shape[0]} channels")
        x = x.mean(0, keepdim=True)
    low, high = float(x.min()), float(x.max())
    if measured and (low < -0.5 or high > 1.5) and high > low:
        x = (x - low) / (high - low)
        if "logarithm of the magnitude" not in how:
            how.append(f"scaled from [{low:.3g}, {high:.3g}]")
    return x.float(), ", ".join(how)
