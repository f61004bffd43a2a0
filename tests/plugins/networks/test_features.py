"""Feature networks: their layers, their published sizes, and files of weights, good and bad."""

from __future__ import annotations

import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from wellposed import Problem, Space
from wellposed.edge import build_operator
from wellposed.errors import IncompatibleError, ParameterError, WeightsError
from wellposed.plugins.networks.alexnet import AlexNetFeatures
from wellposed.plugins.networks.features import CAFFE, TORCHVISION, Window
from wellposed.plugins.networks.published import read_published
from wellposed.plugins.networks.solver import NetworkSolver
from wellposed.plugins.networks.squeezenet import SqueezeNetFeatures

F64 = torch.float64
TORCHVISION_NAMES = {
    "conv1": "features.0",
    "fire2": "features.3",
    "fire3": "features.4",
    "fire4": "features.6",
    "fire5": "features.7",
    "fire6": "features.9",
    "fire7": "features.10",
    "fire8": "features.11",
    "fire9": "features.12",
}


def rand(*shape, seed=0, dtype=F64):
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def moved(spec):
    """Return a network whose biases are no longer zero."""
    network = spec.build(seed=2, dtype=F64).eval()
    with torch.no_grad():
        for number, p in enumerate(network.parameters()):
            p.add_(0.05 * rand(*p.shape, seed=number))
    return network


def count(spec):
    with torch.device("meta"):
        return sum(p.numel() for p in spec._module().parameters())


def conv(z, weights, name, **how):
    return F.relu(F.conv2d(z, weights[f"{name}.weight"], weights[f"{name}.bias"], **how))


def largest(z):
    """Return the maximum over 3 x 3 with a stride of 2; windows stick out by repeating a pixel."""
    more = [(n - 3) % 2 if n > 3 else 3 - n for n in z.shape[-2:]]
    z = F.pad(z, (0, more[1], 0, more[0]), mode="replicate")
    return z.unfold(-2, 3, 2).unfold(-2, 3, 2).amax((-2, -1))


def squeezenet(x, weights, padding):
    maps = {"conv1": conv(x, weights, "conv1", stride=2, padding=padding)}
    z = maps["conv1"]
    for n in range(2, 10):
        if n in (2, 4, 6):
            z = largest(z)
        s = conv(z, weights, f"fire{n}.squeeze1x1")
        wide = conv(s, weights, f"fire{n}.expand3x3", padding=1)
        z = maps[f"fire{n}"] = torch.cat([conv(s, weights, f"fire{n}.expand1x1"), wide], 1)
    return maps


def alexnet(x, weights):
    z = maps = conv(x, weights, "features.0", stride=4, padding=2)
    maps = {"conv1": z}
    z = maps["conv2"] = conv(F.max_pool2d(z, 3, 2), weights, "features.3", padding=2)
    z = maps["conv3"] = conv(F.max_pool2d(z, 3, 2), weights, "features.6", padding=1)
    z = maps["conv4"] = conv(z, weights, "features.8", padding=1)
    z = maps["conv5"] = conv(z, weights, "features.10", padding=1)
    z = F.adaptive_avg_pool2d(F.max_pool2d(z, 3, 2), (6, 6)).reshape(len(x), -1)
    full = F.relu(z @ weights["classifier.1.weight"].mT + weights["classifier.1.bias"])
    return {**maps, "fc6": full[:, :, None, None]}


def seen(x, kind):
    """Return colours as the publisher's network takes them."""
    if kind == CAFFE:
        mean = torch.tensor([103.939, 116.779, 123.68], dtype=F64)
        return 255 * x[:, [2, 1, 0]] - mean.reshape(3, 1, 1)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]], dtype=F64)
    return (x - mean.reshape(3, 1, 1)) / std.reshape(3, 1, 1)


@pytest.mark.parametrize("layer", ["conv1", *(f"fire{n}" for n in range(2, 10))])
@pytest.mark.parametrize("kind", [CAFFE, TORCHVISION])
def test_squeezenet(layer, kind):
    network = moved(SqueezeNetFeatures(layer=layer, preprocessing=kind))
    x = rand(2, 3, 38, 33)
    whole = moved(SqueezeNetFeatures()).state_dict()
    whole.update(network.state_dict())
    want = squeezenet(seen(x, kind), whole, int(kind == CAFFE))[layer]
    got = network(x)
    torch.testing.assert_close(got, want)
    assert got.shape[1:] == (network.out_channels, *network.out_sides(38, 33))


@pytest.mark.parametrize("layer", ["conv1", "conv2", "conv3", "conv4", "conv5", "fc6"])
def test_alexnet(layer):
    network = moved(AlexNetFeatures(layer=layer, width=2, features=7))
    x = rand(2, 3, 80, 71)
    whole = moved(AlexNetFeatures(width=2, features=7)).state_dict()
    whole.update(network.state_dict())
    want = alexnet(seen(x, TORCHVISION), whole)[layer]
    got = network(x)
    torch.testing.assert_close(got, want)
    assert got.shape[1:] == (network.out_channels, *network.out_sides(80, 71))


def test_sizes_as_published():
    # Of 1,235,496 and 61,100,840 parameters, without what follows the last layer here.
    assert count(SqueezeNetFeatures()) == 1_235_496 - 513_000
    assert count(AlexNetFeatures()) == 61_100_840 - (4096 + 1) * (4096 + 1000)

    def side(spec):
        with torch.device("meta"):
            return spec._module().out_sides(224, 224)

    wanted = {"conv1": 55, "conv2": 27, "conv3": 13, "conv5": 13, "fc6": 1}
    for layer, n in wanted.items():
        assert side(AlexNetFeatures(layer=layer)) == (n, n)
    wanted = {"conv1": 111, "fire2": 55, "fire4": 27, "fire6": 13, "fire9": 13}
    for layer, n in wanted.items():
        assert side(SqueezeNetFeatures(layer=layer, preprocessing=TORCHVISION)) == (n, n)


@pytest.mark.parametrize(
    ("spec", "least"),
    [
        (SqueezeNetFeatures(layer="fire2"), 3),
        (SqueezeNetFeatures(layer="fire5"), 7),
        (SqueezeNetFeatures(), 15),
        (AlexNetFeatures(layer="conv1", width=1), 7),
        (AlexNetFeatures(width=1, features=3), 63),
    ],
    ids=str,
)
def test_small_pictures_are_repeated_beyond_their_frame(spec, least):
    network = moved(spec)
    assert network.least == least
    x = rand(3, 1, 1)
    torch.testing.assert_close(network(x), network(x.expand(3, least, least)))
    x = rand(3, 2, least + 4)
    rows = torch.arange(least) - (least - 2) // 2
    torch.testing.assert_close(network(x), network(x[:, rows.clamp(0, 1)]))


def test_windows_are_counted_as_torch_does():
    for window in (Window(3, 2, partial=True), Window(3, 2), Window(11, 4, 2)):
        for side in range(max(window.kernel - 2 * window.padding - window.partial, 1), 30):
            z = rand(1, 1, side, side)
            if window.padding:
                got = F.conv2d(z, rand(1, 1, 11, 11), stride=4, padding=2)
            else:
                got = F.max_pool2d(z, window.kernel, window.stride, ceil_mode=window.partial)
            assert got.shape[-1] == window.count(side)


def test_wrong_parameters():
    with pytest.raises(ParameterError, match="layer"):
        SqueezeNetFeatures(layer="fire1")
    with pytest.raises(ParameterError, match="preprocessing"):
        SqueezeNetFeatures(preprocessing="bgr")
    with pytest.raises(ParameterError, match="layer"):
        AlexNetFeatures(layer="fc7")
    with pytest.raises(ParameterError, match="width expects a whole number of at least 1"):
        AlexNetFeatures(width=0)


def test_features_are_no_pictures():
    network = SqueezeNetFeatures(layer="fire2").build(dtype=F64).eval()
    operator = build_operator({"name": "identity"}, x_space=Space((3, 12, 12), F64))
    problem = Problem(operator=operator, measurement=rand(3, 12, 12))
    with pytest.raises(IncompatibleError, match="makes 128 channels out of 3"):
        NetworkSolver(trained=network).solve(problem)


def tensors(spec, seed=5):
    """Return the tensors of a published file, in half precision, and one layer more."""
    state = spec.build(seed=seed).half().state_dict()
    return {**state, "conv10.weight": torch.ones(2, 2, 1, 1)}


def write(path: Path, state):
    if path.suffix == ".npz":
        np.savez(path, **{key: value.numpy() for key, value in state.items()})
    else:
        save_file(state, path)
    return str(path)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    "spec", [SqueezeNetFeatures(layer="fire3"), AlexNetFeatures(width=1, features=3)], ids=str
)
def test_weights_are_those_of_the_file(tmp_path, suffix, spec):
    state = tensors(spec)
    path = write(tmp_path / f"weights{suffix}", state)
    given = type(spec)(**{**_parameters(spec), "weights": tmp_path / f"weights{suffix}"})
    assert given.weights == path
    for seed, dtype in ((0, F64), (1, torch.float32)):
        network = given.build(seed=seed, dtype=dtype)
        assert set(network.state_dict()) == set(state) - {"conv10.weight"}
        for name, tensor in network.state_dict().items():
            torch.testing.assert_close(tensor, state[name].to(dtype), rtol=0, atol=0)
    shown = network(rand(3, 8, 8, dtype=torch.float32))
    assert bool(shown.isfinite().all())


def _parameters(spec):
    return {
        name: getattr(spec, name) for name in ("layer", "width", "features") if hasattr(spec, name)
    }


def test_weights_by_torchvisions_names(tmp_path):
    state = tensors(SqueezeNetFeatures())
    named = {}
    for name, tensor in state.items():
        layer, _, rest = name.partition(".")
        if layer in TORCHVISION_NAMES:
            named[f"{TORCHVISION_NAMES[layer]}.{rest}".replace("squeeze1x1", "squeeze")] = tensor
    path = write(tmp_path / "squeezenet.safetensors", named)
    network = SqueezeNetFeatures(weights=path, preprocessing=TORCHVISION).build()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name].float())
    with pytest.raises(WeightsError, match=r"lacks conv1.weight, .* more\. It holds features.0"):
        SqueezeNetFeatures(weights=path).build()


SPEC = SqueezeNetFeatures(layer="conv1")
GOOD = {"conv1.weight": torch.ones(64, 3, 3, 3), "conv1.bias": torch.ones(64)}


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv1.bias": None}, r"does not fit SqueezeNetFeatures: it lacks conv1\.bias\. It holds"),
        (
            {"conv1.weight": torch.ones(64, 3, 7, 7)},
            r"conv1\.weight has shape \(64, 3, 7, 7\), expected \(64, 3, 3, 3\)\.",
        ),
        ({"conv1.bias": torch.ones(64, dtype=torch.int32)}, "bias holds no floating-point numbers"),
        ({"conv1.bias": torch.full((64,), torch.nan)}, r"not finite, in conv1\.bias; get it again"),
    ],
)
def test_weights_that_do_not_fit(tmp_path, suffix, change, message):
    state = {key: value for key, value in {**GOOD, **change}.items() if value is not None}
    path = write(tmp_path / f"weights{suffix}", state)
    with pytest.raises(WeightsError, match=message):
        SqueezeNetFeatures(weights=path, layer="conv1").build()


def test_files_that_are_not_read(tmp_path):
    with pytest.raises(WeightsError, match=r"there is no file .* the path of the weights of"):
        SqueezeNetFeatures(weights=tmp_path / "none.npz").build()
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(WeightsError, match="there is no file"):
        SqueezeNetFeatures(weights=tmp_path / "folder.npz").build()
    for name in ("net.pth", "net.pt", "net.PKL"):
        message = f"may run code .* Convert it once: .*{re.escape(repr(name))}, weights_only=True"
        with pytest.raises(WeightsError, match=message):
            SqueezeNetFeatures(weights=name).build()
    with pytest.raises(WeightsError, match=r"read from \.safetensors and \.npz files; got net\.h5"):
        AlexNetFeatures(weights="net.h5", width=1, features=1).build()


def _member(shape, data=b"", descr="<f4"):
    """Return a .npy file with a header that may lie."""
    member = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(member, header)
    return member.getvalue() + data


class Bomb:
    def __reduce__(self):
        return (pytest.fail, ("a pickle was loaded",))


def _npz(weight):
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as file:
        file.writestr("conv1.weight.npy", weight)
        file.writestr("conv1.bias.npy", _member((64,), bytes(256)))
    return whole.getvalue()


def _pickled():
    member = io.BytesIO()
    np.save(member, np.full((64, 3, 3, 3), Bomb(), dtype=object), allow_pickle=True)
    return member.getvalue()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"no archive", "cannot be read"),
        (_npz(_member((64, 3, 3, 3), bytes(4 * 64 * 27)))[:-30], "cannot be read"),
        (_npz(_member((64, 3, 3, 3), bytes(100))), "cannot be read"),
        (_npz(b"\x93NUMPY\x09\x00rubbish"), "cannot be read"),
        (_npz(_member((2**40, 2**40), b"")), "weight has shape"),
        (_npz(_pickled()), "conv1.weight holds no floating-point numbers"),
    ],
)
def test_damaged_and_hostile_archives(tmp_path, data, message):
    path = tmp_path / "weights.npz"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=message):
        SqueezeNetFeatures(weights=path, layer="conv1").build()


@pytest.mark.parametrize(
    "data", [b"", b"rubbish", b"\xff" * 64, (2**60).to_bytes(8, "little") + b"{}"]
)
def test_damaged_safetensors(tmp_path, data):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match=r"cannot be read .*; get it again"):
        SqueezeNetFeatures(weights=path, layer="conv1").build()


def test_many_names_are_cut_short(tmp_path):
    path = write(tmp_path / "weights.npz", {f"layer{n}": torch.ones(1) for n in range(9)})
    with pytest.raises(WeightsError, match="It holds layer0, layer1, layer2 and 6 more"):
        read_published(path, {"a": (1,)}, "a network")
    with pytest.raises(WeightsError, match="It holds nothing"):
        read_published(write(tmp_path / "empty.npz", {}), {"a": (1,)}, "a network")
