"""What a device can do."""

from __future__ import annotations

from typing import Any

import torch

__all__ = ["computes_bf16"]


def computes_bf16(device: torch.device) -> bool:
    """Return whether a device multiplies bfloat16 in hardware, as far as torch says so."""
    if device.type == "cuda":
        native: bool = torch.cuda.is_bf16_supported(including_emulation=False)
        return native
    able: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(able.get("avx512_bf16") or able.get("amx_bf16"))
