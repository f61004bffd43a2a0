"""Symmetries of parallel-beam tomography: one row of weights serves up to eight rays.

Turning the picture by a quarter about the centre pixel adds 90 degrees to every angle; mirroring
its columns negates the angle and the detector's offset t. Written in offsets (i, j) from the centre
pixel, with `t0 = j cos a - i sin a` and `u0 = j sin a + i cos a`,

    (i, j) -> (-j, i):   (t0, u0)(a + 90) becomes (t0, u0)(a)
    (i, j) -> (i, -j):   (t0, u0)(-a) becomes (-t0, u0)(a)

The weight of a pixel is a function of t0, u0, t and the angle in which the sign of t and t0 may
change together, and the points u of a ray are the same for all angles. So both hold exactly, also
for the asymmetric range [-n / 2, n / 2) of pixels and detectors of an even size: those that the
moved range has beyond it are zero, or dropped.

Angles that such moves take to each other form an orbit; only one angle of each has its weights
stored, and they multiply as many moved copies of the picture. Angles without a partner are orbits
of their own. Orbits with the same moves make up a block, a matrix of its own; a few orbits with
only some of another block's moves join that one, since copying the pictures costs more than they.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import attrs
import numpy as np
from numpy.typing import NDArray

__all__ = ["Block", "Move", "blocks", "moved_pixels", "moved_rays"]

_TILE = 8
# Degrees: some units in the last place of an angle. Over a thousand pixels, 2e-12 of a pixel.
_SAME = 1e-13
_FEW = 4  # moving the pictures costs about as much as the weights of so many angles
_NOWHERE = -1

Indices = NDArray[np.int64]


@attrs.frozen
class Move:
    """A mirroring, or none, and then quarter turns."""

    quarters: int
    mirrored: bool

    def angle(self, degrees: float) -> float:
        """Return the angle whose rays are those of `degrees` on the moved picture."""
        return (-degrees if self.mirrored else degrees) + 90 * self.quarters

    def source(self, i: Indices, j: Indices) -> tuple[Indices, Indices]:
        """Return which offsets from the centre the moved picture shows at (i, j)."""
        if self.mirrored:
            j = -j
        for _ in range(self.quarters):
            i, j = -j, i
        return i, j


MOVES = tuple(Move(quarters, mirrored) for mirrored in (False, True) for quarters in range(4))


@attrs.frozen
class Block:
    """Angles with stored weights, and what the moves make of them."""

    moves: tuple[Move, ...]
    angles: tuple[float, ...]
    places: tuple[tuple[int, ...], ...]  # for each angle and move, where among all angles it leads


def blocks(angles: Sequence[float]) -> tuple[Block, ...]:
    """Return the orbits of the angles, those of the same moves together."""
    orbits: dict[float, list[dict[Move, int]]] = {}
    for place in sorted(range(len(angles)), key=lambda k: angles[k] % 360):
        # Angles of one orbit agree in this number, up to rounding.
        key = round(abs((angles[place] + 45) % 90 - 45), 6)
        candidates = orbits.setdefault(key, [])
        if not any(_joins(orbit, place, angles) for orbit in candidates):
            candidates.append({MOVES[0]: place})
    groups: dict[tuple[Move, ...], list[dict[Move, int]]] = {}
    for orbit in itertools.chain.from_iterable(orbits.values()):
        groups.setdefault(tuple(move for move in MOVES if move in orbit), []).append(orbit)
    for moves in sorted(groups, key=len):
        larger = [others for others in groups if set(moves) < set(others)]
        if larger and len(groups[moves]) <= _FEW:
            groups[min(larger, key=len)] += groups.pop(moves)
    return tuple(_block(moves, group, angles) for moves, group in groups.items())


def _joins(orbit: dict[Move, int], place: int, angles: Sequence[float]) -> bool:
    """Add an angle to the orbit under a move that is free and leads to it, if there is one."""
    first = angles[orbit[MOVES[0]]]
    for move in MOVES:
        off = (move.angle(first) - angles[place] + 180) % 360 - 180
        if move not in orbit and abs(off) <= _SAME * max(1.0, abs(angles[place]) / 360):
            orbit[move] = place
            return True
    return False


def _block(
    moves: tuple[Move, ...], orbits: Sequence[dict[Move, int]], angles: Sequence[float]
) -> Block:
    return Block(
        moves=moves,
        angles=tuple(angles[orbit[MOVES[0]]] for orbit in orbits),
        places=tuple(tuple(orbit.get(move, _NOWHERE) for move in moves) for orbit in orbits),
    )


def moved_pixels(
    rows: Indices, columns: Indices, inside: NDArray[np.bool_], moves: Sequence[Move]
) -> tuple[Indices, Indices, Indices]:
    """Return offsets `(slots,)` that cover all moved pictures, and the pixels there.

    The picture's own offsets come in flat order, with which of them count; the pixels, by slot and
    move `(slots, moves)`, are flat indices into it, or its size where there is none. The slots are
    ordered tile by tile, so that a ray reads neighbours from the cache.
    """
    reach = int(max(np.abs(rows[inside]).max(), np.abs(columns[inside]).max()))
    flat = np.full((2 * reach + 1, 2 * reach + 1), rows.size)
    flat[rows[inside] + reach, columns[inside] + reach] = np.flatnonzero(inside)
    i, j = np.indices(flat.shape).reshape(2, -1) - reach
    order = np.lexsort((j, i, j // _TILE, i // _TILE))
    i, j = i[order], j[order]
    sources = (move.source(i, j) for move in moves)
    pixels = np.stack([flat[a + reach, b + reach] for a, b in sources], axis=1)
    some = (pixels < rows.size).any(1)
    return i[some], j[some], pixels[some]


def moved_rays(block: Block, detectors: int, angles: int) -> Indices:
    """Return the rays `(slots, moves)` that the products of a block's matrix are.

    Its rows go by detector, of which there are `2 (detectors // 2) + 1`, then by stored angle. The
    rays are flat indices into the sinogram `(detectors, angles)`, or its size where there is none.
    """
    half = detectors // 2
    t = np.arange(-half, half + 1)[:, None, None]
    k = half + np.where([move.mirrored for move in block.moves], -t, t)
    places = np.array(block.places)
    measured = (k < detectors) & (places != _NOWHERE)
    rays = np.where(measured, k * angles + places, detectors * angles)
    return rays.reshape(-1, len(block.moves))
