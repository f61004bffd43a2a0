"""Small networks for the conformance kit: every switch, few layers."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from .context_encoder import ContextEncoder
from .drrn import Drrn
from .idn import Idn
from .srcnn import Srcnn
from .srgan import SrganGenerator
from .unet import Unet
from .vdsr import Dncnn, Vdsr

__all__ = [
    "context_encoder",
    "dncnn",
    "drrn",
    "idn",
    "srcnn",
    "srgan_generator",
    "unet",
    "vdsr",
]

_some = st.sampled_from
_both = st.booleans()
_channels = _some([1, 3])
_masks = _some([0, 0, 1, 2])
_scales = _some([1, 2, 3, 4])


def _enlarging(**more: Any) -> dict[str, Any]:
    return {
        "scale": _scales,
        "channels": _channels,
        "mask_channels": _masks,
        "upscaling": _some(["transposed", "shuffle"]),
        "head_kernel": _some([None, 5, 7]),
        **more,
    }


def context_encoder() -> st.SearchStrategy[ContextEncoder]:
    """Draw the smallest sizes."""
    return st.builds(
        ContextEncoder,
        channels=_channels,
        size=_some([16, 32]),
        width=_some([1, 2]),
        mask_channels=_masks,
        start=_some(["msra", "normal"]),
    )


def vdsr() -> st.SearchStrategy[Vdsr]:
    """Draw every scale and kind of head."""
    return st.builds(Vdsr, depth=_some([2, 3, 4]), width=_some([1, 4]), **_enlarging())


def drrn() -> st.SearchStrategy[Drrn]:
    """Draw units that are no multiple of those kept, too."""
    more = {"units": _some([1, 2, 4]), "every": _some([1, 2, 3]), "head_width": _some([1, 3])}
    return st.builds(Drrn, width=_some([2, 4]), **_enlarging(**more))


def idn() -> st.SearchStrategy[Idn]:
    """Draw the narrowest."""
    return st.builds(Idn, blocks=_some([1, 2]), width=st.just(16), **_enlarging())


def srcnn() -> st.SearchStrategy[Srcnn]:
    """Draw kernels larger than the picture."""
    return st.builds(
        Srcnn,
        kernels=_some([(9, 1, 5), (3, 5, 1)]),
        widths=_some([(4, 2), (1, 3)]),
        scale=_scales,
        channels=_channels,
        start_std=_some([None, 1e-3]),
    )


def dncnn() -> st.SearchStrategy[Dncnn]:
    """Draw with and without batch normalisation."""
    return st.builds(
        Dncnn, depth=_some([2, 3, 4]), width=_some([1, 4]), channels=_channels, batch_norm=_both
    )


def unet() -> st.SearchStrategy[Unet]:
    """Draw depths whose multiple is larger than the picture."""
    return st.builds(
        Unet,
        depth=_some([1, 2, 3]),
        width=_some([1, 2]),
        channels=_some([1, 2]),
        complex_valued=_both,
        batch_norm=_both,
        residual=_both,
    )


def srgan_generator() -> st.SearchStrategy[SrganGenerator]:
    """Draw every scale."""
    return st.builds(
        SrganGenerator,
        blocks=_some([1, 2]),
        width=_some([1, 3]),
        scale=_some([2, 3, 4, 8]),
        channels=_channels,
        batch_norm=_both,
    )
