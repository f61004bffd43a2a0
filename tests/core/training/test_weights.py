"""Weights and their cards: strict in, strict out, and nothing half done."""

import hashlib
import json
import struct

import pytest
import torch
from safetensors.torch import save
from torch import nn
from wellposed.errors import DataError, WeightsError
from wellposed.registry import default_registry, dump_yaml, load_yaml
from wellposed.training import installed_weights, load_weights, read_weights, save_weights
from wellposed.training.installed import verify_weights, weights_in

CARD = {
    "recipe": {"network": "toy_network"},
    "trained_for": {"operator": "identity"},
    "quality": {"psnr": 30.0},
    "licence": "BSD-3-Clause",
}


def network(width=4):
    return nn.Sequential(nn.Conv2d(3, width, 3), nn.BatchNorm2d(width))


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "w.safetensors"
    module = network()
    save_weights(path, module, CARD)
    return path, module


def test_weights_come_back_in_half_precision_with_their_card(saved):
    path, module = saved
    fresh = network()
    card = load_weights(fresh, path)
    for (key, value), other in zip(
        module.state_dict().items(), fresh.state_dict().values(), strict=True
    ):
        assert other.dtype == value.dtype, key
        expected = value.half().to(value.dtype) if value.is_floating_point() else value
        assert torch.equal(other, expected)
    state, _ = read_weights(path)
    assert {v.dtype for v in state.values()} == {torch.float16, torch.int64}
    assert card["parameters"] == 120 and card["bytes"] == path.stat().st_size
    assert card["licence"] == "BSD-3-Clause" and card["versions"]["torch"] == torch.__version__
    assert load_yaml(path.with_suffix(".yaml")) == card
    assert verify_weights(path).problem == ""


def test_weights_of_another_network_are_refused_and_change_nothing(saved):
    path, _ = saved
    wide = network(5)
    before = {key: value.clone() for key, value in wide.state_dict().items()}
    with pytest.raises(
        WeightsError, match=r"0.bias has shape \(4,\), expected \(5,\).*toy_network"
    ):
        load_weights(wide, path)
    assert all(torch.equal(value, before[key]) for key, value in wide.state_dict().items())
    with pytest.raises(WeightsError, match=r"does not fit Conv2d: it lacks bias, weight; it has 0"):
        load_weights(nn.Conv2d(3, 4, 3), path)


def change(path, **entries):
    card = path.with_suffix(".yaml")
    data = {**load_yaml(card), **entries}
    card.write_text(dump_yaml({k: v for k, v in data.items() if v is not None}))


def rehash(path, data):
    path.write_bytes(data)
    change(path, sha256=hashlib.sha256(data).hexdigest())


def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def bad_offsets(path):
    header = json.dumps({"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 2]}}).encode()
    rehash(path, struct.pack("<Q", len(header)) + header + b"\0\0")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip, r"is not what its card says: its sha256 is .* get it again"),
        (lambda p: p.write_bytes(p.read_bytes()[:-9]), r"is not what its card says"),
        (lambda p: p.unlink(), r"there are no weights .*`wellposed weights` lists"),
        (lambda p: (p.unlink(), p.mkdir()), r"is a folder; give the weights file in it, such as"),
        (lambda p: change(p, recipe=3), r"has int under 'recipe', where a mapping should be"),
        (lambda p: change(p, trained_for=["a"]), r"has list under 'trained_for'"),
        (
            lambda p: change(p, trained_for={"levels": {"ratio": "two"}}),
            r"something else than \[least, greatest\] under 'trained_for.levels'",
        ),
        (lambda p: change(p, trained_for={"levels": 3}), r"something else than \[least"),
        (lambda p: p.with_suffix(".yaml").unlink(), r"has no card w.yaml beside it"),
        (lambda p: p.with_suffix(".yaml").write_text("a: [1"), r"the card .* cannot be read"),
        (lambda p: change(p, sha256=None, licence=None), r"has no sha256, licence"),
        (lambda p: change(p, format=2), r"has format 2, this version reads 1"),
        (lambda p: rehash(p, b"\xff" * 50), r"is no whole .safetensors file"),
        (lambda p: rehash(p, b"abc"), r"is no whole .safetensors file"),
        (lambda p: rehash(p, p.read_bytes()[:-2]), r"its length is not what its header says"),
        (lambda p: rehash(p, struct.pack("<Q", 2) + b"[]"), r"is no whole .safetensors file"),
    ],
)
def test_damage_is_found_and_said(saved, damage, message):
    path, module = saved
    damage(path)
    with pytest.raises(WeightsError, match=message):
        load_weights(module, path)
    assert verify_weights(path).problem


def test_an_unchanged_file_is_verified_once_and_a_changed_one_again(saved):
    path, _ = saved
    first = verify_weights(path)
    assert verify_weights(path) is first and not first.problem
    change(path, licence=None)
    assert "has no licence" in verify_weights(path).problem
    path.unlink()
    assert "there are no weights" in verify_weights(path).problem


def test_a_lying_header_is_an_error_too(saved):
    path, _ = saved
    bad_offsets(path)
    with pytest.raises(WeightsError, match=r"is damaged"):
        read_weights(path)


def test_pickles_are_never_loaded(saved, tmp_path):
    path, module = saved
    torch.save(module.state_dict(), path)
    rehash(path, path.read_bytes())
    with pytest.raises(WeightsError, match=r"is no whole .safetensors file"):
        load_weights(module, path)


def test_what_half_precision_cannot_hold_is_not_written(tmp_path):
    module = network()
    with torch.no_grad():
        module[0].weight[0] = 1e6
    with pytest.raises(WeightsError, match=r"0.weight reach 1e\+06, more than half precision"):
        save_weights(tmp_path / "w.safetensors", module, CARD)
    assert not list(tmp_path.iterdir())


def test_wide_weights_are_reported(saved):
    path, module = saved
    rehash(path, save(module.state_dict()))
    assert "more than half precision" in verify_weights(path).problem


def test_weights_are_found_beside_the_manifests(tmp_path, monkeypatch):
    package = tmp_path / "toy_shipped"
    (package / "weights").mkdir(parents=True)
    text = "from wellposed.registry import hookimpl\n\n\n@hookimpl\n"
    text += "def wellposed_components():\n    return []\n"
    (package / "__init__.py").write_text(text)
    save_weights(package / "weights" / "w.safetensors", network(), CARD)
    info = tmp_path / "toy_shipped-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-shipped\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wellposed]\nshipped = toy_shipped\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    default_registry.cache_clear()
    try:
        found = [one for one in installed_weights() if one.plugin == "shipped"]
    finally:
        default_registry.cache_clear()
    assert [(one.path.name, one.problem) for one in found] == [("w.safetensors", "")]
    assert [one.path for one in weights_in(package)] == [found[0].path]
    with pytest.raises(DataError, match=r"holds no weights"):
        weights_in(tmp_path / "toy_shipped-1.0.dist-info")


def test_everything_that_ships_is_whole():
    assert [one.problem for one in installed_weights() if one.problem] == []
