"""Finding and replacing operators inside compositions."""

import torch
from wellposed import Space, parts_of, stack, with_part
from wellposed.edge import build_operator


def parts():
    space = Space((3, 16, 16), torch.float64)
    blur = build_operator("blur", {"boundary": "circular"}, x_space=space)
    mask = build_operator("random_mask", {"missing": 0.3}, x_space=space)
    return blur, mask


def test_parts_are_found_in_every_kind_of_node():
    blur, mask = parts()
    for op in (mask @ blur, 2.0 * (mask @ blur), mask @ blur + mask, stack([blur, mask]), blur.H):
        assert any(part is blur for part in parts_of(op))
    assert next(iter(parts_of(blur))) is blur


def test_a_part_is_replaced_everywhere_and_nothing_else_changes():
    blur, mask = parts()
    other = build_operator("blur", {"boundary": "circular", "kernel": "box"}, x_space=blur.in_space)
    x = blur.in_space.randn((), generator=torch.Generator().manual_seed(0))
    op = 2.0 * (mask @ blur) + mask
    new = with_part(op, blur, other)
    torch.testing.assert_close(new(x), 2 * mask(other(x)) + mask(x))
    torch.testing.assert_close(op(x), 2 * mask(blur(x)) + mask(x))
    assert with_part(op, other, blur) is op
    assert with_part(blur, blur, other) is other
