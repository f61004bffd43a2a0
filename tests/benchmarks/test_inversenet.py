"""The protocol of the InverseNet tables, piece by piece, and the command on tiny pictures."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

pytest.importorskip(
    "benchmarks", reason="run from the root of the repository", exc_type=ImportError
)

from wellposed.cli.values import parameters
from wellposed.errors import DataError
from wellposed.training import load_recipe, recipe_from, save_weights
from wellposed.training.installed import find_recipe
from wellposed.training.learner import build_learner

from benchmarks import (
    _held_out,
    _inversenet_baselines,
    _inversenet_figures,
    _inversenet_throughput,
    _inversenet_weights,
    _trained,
    inversenet,
)
from benchmarks import _inversenet_protocol as protocol
from benchmarks._inversenet_annealing import annealing_recipe
from benchmarks._inversenet_paper import INVERSENET, MOTION, PIX2PIX, WIENER

Kind = _inversenet_weights.Kind
UNET = {"name": "inversenet_unet", "params": {"depth": 2, "width": 2}}
FACES = {
    "solver": {
        "name": "inversenet",
        "params": {
            "inversion": UNET,
            "denoiser": {"name": "inversenet_dae", "params": {"shuffle": 2, "width": 4}},
        },
    },
    "operator": "motion_blur",
    "data": {"middle": 36, "resize": 32, "crop": 32, "held_out": 2},
    "loss": [{"norm": "l2"}, {"norm": "l2", "of": "z"}],
    "batch": 2,
    "steps": 3,
}
NATURAL = {**FACES, "data": {"crop": 32}}


def alone(recipe):
    rest = {key: value for key, value in recipe.items() if key != "solver"}
    return {**rest, "network": UNET, "loss": {"norm": "l2"}}


def picture(seed, *shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def smooth(seed, height, width):
    rough = picture(seed, 3, height, width).numpy()
    values = ndimage.gaussian_filter(rough, (0, 2, 2))
    low, high = values.min(), values.max()
    return torch.from_numpy((values - low) / (high - low))


def write(path, x):
    values = (x * 255).round().to(torch.uint8)
    image = values[0] if len(x) == 1 else values.permute(1, 2, 0)
    Image.fromarray(image.numpy()).save(path)


def weights(folder, recipe, digest="?"):
    folder.mkdir()
    made = recipe_from(recipe)
    card = {
        "recipe": made.as_data(),
        "trained_for": {"operator": made.operator},
        "data": {"pictures": 4, "digest": digest},
        "steps": recipe["steps"],
        "quality": {},
        "licence": "BSD-3-Clause",
    }
    save_weights(folder / "weights.safetensors", build_learner(made).weights(), card)


@pytest.fixture
def faces(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(6):
        write(folder / f"{i}.png", smooth(i, 40, 36))
    return folder


@pytest.fixture
def quick(monkeypatch):
    """Two baselines, each with a grid of two points, and small pictures."""
    few = [
        _inversenet_baselines.Baseline(
            row=WIENER, solver="wiener", border="periodic", grid={"nsr": (1e-3, 1e-1)}
        ),
        _inversenet_baselines.Baseline(
            row="Robust motion deblurring",
            solver="admm",
            params={"max_steps": 2},
            prior="tv",
            border="unknown",
            grid={"weight": (1e-3, 1e-2)},
        ),
    ]
    monkeypatch.setattr(inversenet, "BASELINES", few)
    monkeypatch.setattr(inversenet, "_SIDES", {"motion": 32, "x4": 32, "colour": 32})


def run(capsys, *argv):
    assert inversenet.main([str(one) for one in argv]) == 0
    return capsys.readouterr().out


# Figures


def test_figures_are_means_over_pictures_of_limited_pictures():
    x, z = picture(0, 3, 3, 16, 13), 2 * picture(1, 3, 3, 16, 13) - 0.5
    parts = [
        protocol.Measured(truth=x[a], operator=None, measurement=z[a])
        for a in (slice(0, 2), slice(2, 3))
    ]
    found = protocol.scores(parts, lambda one: {"z": one.measurement, "x": one.truth / 2})
    a, b = x.double().numpy(), z.double().clamp(0, 1).numpy()
    squares = ((a - b) ** 2).mean((1, 2, 3))
    assert found["z"].psnr == pytest.approx((-10 * np.log10(squares)).mean())
    assert list(found) == ["z", "x"]
    same = protocol.scores(parts, lambda one: {"x": one.truth + 0})["x"]
    assert same.psnr == math.inf and same.ssim == pytest.approx(1)
    assert same.cells == ("inf", "1.0000")


# Measurements


def test_motion_is_the_kernel_of_the_operator_mirrored_beyond_the_frame():
    x = picture(0, 2, 3, 20, 17)
    one = protocol.degraded([x], "motion")[0]
    kernel = one.operator.kernel[0, 0].numpy()
    assert kernel.shape == (9, 9) and kernel.sum() == pytest.approx(1)
    expected = ndimage.convolve(x.numpy(), kernel[None, None], mode="mirror")
    assert np.allclose(one.measurement.numpy(), expected, atol=1e-6)


def test_colour_blurs_each_colour_in_its_own_way_and_takes_their_mean():
    grey = torch.full((1, 3, 24, 20), 0.25)
    (one,) = protocol.degraded([grey], "colour")
    assert torch.allclose(one.measurement, grey[:, :1, ::2, ::2])
    # a pixel at each of the four places of a block: together they meet every tap of the kernel
    responses = []
    for colour in range(3):
        points = torch.zeros(4, 3, 24, 20)
        for i in range(4):
            points[i, colour, 12 + i // 2, 10 + i % 2] = 1.0
        y = protocol.degraded([points], "colour")[0].measurement
        assert y.shape == (4, 1, 12, 10)
        assert y.sum() == pytest.approx(1 / 3, rel=1e-4)
        responses.append(y)
    red, green, blue = responses
    assert min((red - green).norm(), (green - blue).norm(), (blue - red).norm()) > red.norm() / 2


def test_x4_is_a_mean_over_squares():
    x = torch.zeros(1, 3, 40, 40)
    x[..., 20, 20] = 1.0
    y = protocol.degraded([x], "x4")[0].measurement
    assert y.shape == (1, 3, 10, 10)
    # a kernel of 7 pixels on a grid of 4 covers that pixel from one or two blocks, each way
    touched = (y[0, 0] > 1e-6).nonzero()
    assert 1 <= len(touched) <= 4
    assert y.max() == pytest.approx(1 / 49, rel=1e-4)


def test_noise_and_rounding_are_the_same_for_all():
    x = picture(0, 4, 3, 16, 16)
    clean = protocol.degraded([x], "motion")[0].measurement
    noisy = [protocol.degraded([x], "motion", sigma=0.02, batch=4)[0].measurement for _ in "ab"]
    assert torch.equal(*noisy)
    assert (noisy[0] - clean).std() == pytest.approx(0.02, rel=0.1)
    levels = protocol.degraded([x], "motion", rounded=True)[0].measurement * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert (levels - clean * 255).abs().max() <= 0.5 + 1e-4
    assert len(protocol.degraded([x], "motion", batch=3)) == 2


# Pictures


def test_natural_pictures_are_middle_parts_of_bsd100(tmp_path):
    (tmp_path / "val").mkdir()
    wide, grey = (picture(0, 3, 11, 14) * 255).round() / 255, picture(1, 1, 11, 13)
    write(tmp_path / "val" / "b.png", wide)
    write(tmp_path / "val" / "a.png", grey)
    write(tmp_path / "c.png", wide)
    (parts,) = protocol.natural(tmp_path, 8)
    assert torch.allclose(parts[1], wide[:, 1:9, 3:11])
    assert torch.equal(parts[0, 0], parts[0, 2])
    whole = protocol.natural(tmp_path, None)
    assert [tuple(one.shape) for one in whole] == [(2, 3, 8, 12)]
    assert len(protocol.natural(tmp_path, 8, 1)[0]) == 1
    with pytest.raises(DataError, match="smaller than 12 x 12"):
        protocol.natural(tmp_path, 12)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no pictures to test on"):
        protocol.natural(tmp_path / "none", 8)


def test_lfw_is_cut_to_its_middle(tmp_path):
    x = torch.zeros(3, 250, 250)
    x[:, 50:200, 50:200] = 1.0
    for i in range(2):
        write(tmp_path / f"{i}.png", x)
    (found,) = protocol.lfw(tmp_path, 1)
    assert found.shape == (1, 3, 64, 64) and found.min() == 1


def test_without_a_recipe_nothing_is_known_to_be_held_out(tmp_path):
    with pytest.raises(DataError, match="no recipe says"):
        _held_out.held_out(tmp_path, [], [])


# Baselines


@pytest.mark.parametrize("border", ["periodic", "unknown", "known"])
def test_borders_are_taken_as_they_say(border):
    x = torch.stack([smooth(i, 24, 28) for i in range(2)])
    one = protocol.degraded([x], "motion")[0]
    baseline = _inversenet_baselines.Baseline(
        row="", solver="tikhonov", border=border, grid={"weight": (1e-5,)}
    )
    found = _inversenet_baselines.solved(baseline, {"weight": 1e-5}, one)
    assert found.shape == x.shape
    assumed = _inversenet_baselines._assumed(border, one)
    far = {"periodic": "circular", "unknown": "valid", "known": "reflect"}[border]
    assert assumed.boundary == far
    middle = (found - x)[..., 8:-8, 8:-8].square().mean()
    blur = (one.measurement - x)[..., 8:-8, 8:-8].square().mean()
    assert middle < blur / 4 or border == "periodic"


def test_the_best_of_the_grid_is_taken():
    x = torch.stack([smooth(i, 32, 32) for i in range(3)])
    measured = protocol.degraded([x], "motion", sigma=0.02, batch=2)
    baseline = _inversenet_baselines.Baseline(
        row="", solver="tikhonov", border="known", grid={"weight": (1e-6, 3e-2, 1e3)}
    )
    choice, score = _inversenet_baselines.tuned(baseline, measured)
    assert choice == {"weight": 3e-2}
    alone = protocol.scores(
        measured, lambda one: {"x": _inversenet_baselines.solved(baseline, choice, one)}
    )
    assert alone["x"] == score


def test_every_baseline_can_be_run():
    x = smooth(0, 16, 16)[None]
    one = protocol.degraded([x], "motion")[0]
    for baseline in _inversenet_baselines.BASELINES:
        choice = list(baseline.choices())[-1]
        assert _inversenet_baselines.solved(baseline, choice, one).shape == x.shape
        assert baseline.border in baseline.label


# Rows and weights


def test_shipped_recipes_have_rows():
    kinds = {name: kind for name, _, kind in _inversenet_weights.recipes()}
    assert set(kinds) == {name for name, _ in _trained.shipped("wellposed.plugins.inversenet")}
    assert kinds["motion_deblurring_faces_small"] == Kind("motion", INVERSENET, "faces")
    assert kinds["motion_deblurring_small"] == Kind("motion", INVERSENET, "natural")
    assert kinds["colourisation_x2_faces_small"] == Kind("colour", INVERSENET, "faces")
    assert kinds["super_resolution_x4_flat_small"] == Kind("x4", INVERSENET, "natural")


def test_pix2pix_is_half_of_inversenet():
    for name, recipe, kind in _inversenet_weights.recipes():
        if kind.method != INVERSENET or kind.task != "motion":
            continue
        texts = _inversenet_weights.halved(recipe)
        made = load_recipe(find_recipe(name), changes=parameters(texts, "--set"))
        its = _inversenet_weights.kind_of(made.as_data())
        assert its == Kind("motion", PIX2PIX, kind.pictures)
        build_learner(made)
        assert all(term.of is None for term in made.loss) and not made.watch
        assert made.adversarial is None or made.adversarial.of == ("picture",)


def test_commands_are_ready_for_a_shell():
    (way, *_) = _inversenet_weights.commands(Kind("motion", PIX2PIX, "natural"))
    assert "--set solver=null --set 'network={name: inversenet_unet" in way
    (own, *_) = _inversenet_weights.commands(Kind("motion", INVERSENET, "faces"))
    assert own.startswith("`wellposed train motion_deblurring_faces")
    assert _inversenet_weights.commands(Kind("x4", INVERSENET, "faces")) == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, Kind("motion", INVERSENET, "faces")),
        ({"data": {"crop": 64}}, Kind("motion", INVERSENET, "natural")),
        (
            {"operator": {"name": "blur", "params": {"kernel": "inversenet_motion"}}},
            Kind("motion", INVERSENET, "faces"),
        ),
        ({"operator": "blur"}, None),
        ({"operator": {"name": "strided_blur", "params": {"stride": 4}}}, None),
        ({"operator": "nonsense"}, None),
        ({"operator": [[]]}, None),
        ({"operator": {"name": "blur", "params": {"kernel": {"uniform": [0, 1]}}}}, None),
        ({"solver": "dlnet"}, None),
        ({"solver": None, "network": "vdsr"}, None),
        ({"solver": None, "network": "inversenet_unet"}, Kind("motion", PIX2PIX, "faces")),
        (
            {"solver": {"name": "network", "params": {"network": UNET}}},
            Kind("motion", PIX2PIX, "faces"),
        ),
    ],
)
def test_recipes_find_their_rows(changes, kind):
    assert _inversenet_weights.kind_of({**FACES, **changes}) == kind


def test_another_boundary_is_said(tmp_path):
    round_about = {"name": "motion_blur", "params": {"boundary": "circular"}}
    weights(tmp_path / "one", {**FACES, "operator": round_about})
    weights(tmp_path / "two", FACES)
    found, notes = _inversenet_weights.find([tmp_path])
    assert len(found) == 2 and len(notes) == 1
    assert str(tmp_path / "one") in notes[0] and "another boundary" in notes[0]


# The command


def test_table_1_of_faces(faces, tmp_path, capsys, quick):
    digest = _held_out.faces(faces, FACES).digest
    weights(tmp_path / "one", FACES, digest)
    weights(tmp_path / "two", alone(FACES), "another")
    weights(tmp_path / "natural", NATURAL)
    out = run(capsys, "--table", 1, "--data", faces, "--weights", tmp_path)
    assert "2 faces that training held out, 32 x 32 pixels" in out
    assert "Noise of the measurement: 0, not rounded" in out
    assert "| Wiener filter | paper | 20.92 | 0.7020 |" in out
    assert "| Wiener filter | ours: `wiener`, border periodic, nsr 0." in out
    assert "ours: `admm` with tv, border unknown, weight 0.0" in out
    assert "| Neural motion deblurring | paper | 25.76 | 0.9649 |" in out
    networks = "inversenet_unet depth 2 width 2, inversenet_dae shuffle 2 width 4"
    lacking = "no adversarial, no comparator, 3 steps of 2"
    for name in ("z", "x̂"):
        assert out.count(f"| InverseNet | ours, {name}: {networks}, {lacking} | ") == 1
    assert f"| {PIX2PIX} | ours, x̂: inversenet_unet depth 2 width 2, {lacking} | " in out
    assert "| InverseNet over Wiener filter | paper | +13.10 |" in out
    assert "| InverseNet over Pix2Pix with comparator | ours | " in out
    assert out.count("was trained on other pictures") == 1
    assert "no weights for" not in out
    short = run(capsys, "--table", 1, "--data", faces, "--weights", tmp_path, "--networks")
    assert "`wiener`" not in short and set(short.splitlines()) < set(out.splitlines())


def test_table_1_of_natural_pictures_without_weights(tmp_path, capsys, quick, monkeypatch):
    monkeypatch.setattr(_trained, "installed_weights", list)
    write(tmp_path / "a.png", smooth(0, 33, 40))
    write(tmp_path / "b.png", smooth(1, 33, 40))
    argv = ["--table", 1, "--kind", "natural", "--data", tmp_path, "--rounded", "--noise", 0.01]
    out = run(capsys, *argv)
    assert "2 natural pictures (BSD100 stands in for ImageNet), 32 x 32 pixels" in out
    assert "Noise of the measurement: 0.01, rounded to 256 levels" in out
    assert "| InverseNet | ours | - | - |" in out
    assert "| InverseNet over Wiener filter | ours" not in out
    assert "no weights for InverseNet, motion, natural: `wellposed train motion_deblurring" in out
    assert run(capsys, "--task", "motion", *argv[2:]) == out
    assert "32 x 40 pixels" in run(capsys, *argv, "--whole", "--pictures", 1)


def test_table_2(faces, tmp_path, capsys, quick, monkeypatch):
    monkeypatch.setattr(
        inversenet, "recipes", lambda: [("x", FACES, _inversenet_weights.kind_of(FACES))]
    )
    weights(tmp_path / "natural", NATURAL)
    weights(tmp_path / "alone", alone(NATURAL))
    weights(tmp_path / "faces_too", FACES)
    (tmp_path / "bsd").mkdir()
    write(tmp_path / "bsd" / "a.png", smooth(0, 33, 40))
    (tmp_path / "lfw").mkdir()
    write(tmp_path / "lfw" / "a.png", smooth(0, 250, 250))
    argv = ["--table", 2, "--data", faces, "--weights", tmp_path]
    more = ["--lfw", tmp_path / "lfw", "--natural", tmp_path / "bsd"]
    lines = run(capsys, *argv, *more).splitlines()
    printed = "| InverseNet | paper, trained on VOC | 27.90 | 0.9373 | - | - | 28.52 | 0.9303 |"
    assert printed in lines
    ours = [line for line in lines if line.startswith("| InverseNet | ours: ")]
    assert len(ours) == 1 and ours[0].count("|") == 9
    assert sum(line.startswith(f"| {PIX2PIX} | ours: ") for line in lines) == 1
    assert any(line.startswith("| the blurred picture | ours | ") for line in lines)
    assert "LFW" not in run(capsys, *argv)


@pytest.mark.parametrize("task", ["x4", "colour"])
def test_tasks_without_a_table(task, tmp_path, capsys, quick):
    write(tmp_path / "a.png", smooth(0, 33, 40))
    operator = protocol.OPERATORS[task]
    weights(tmp_path / "one", {**NATURAL, "operator": operator})
    argv = ["--task", task, "--kind", "natural", "--data", tmp_path, "--weights", tmp_path]
    out = run(capsys, *argv)
    assert "(no table in the paper): 1 natural" in out
    assert "| bicubic interpolation" in out and "| Tikhonov | ours: `tikhonov`" in out
    assert "| InverseNet | ours, z: " in out and "| InverseNet | ours, x̂: " in out


def test_a_look(faces, tmp_path, capsys, quick):
    weights(tmp_path / "one", FACES)
    argv = ["--look", tmp_path / "sheet.png", "--data", faces, "--weights", tmp_path / "one"]
    out = run(capsys, *argv)
    assert "blurred, Wiener, TV, z, x^, truth" in out
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.size[0] > 6 * 128 and sheet.size[1] > 2 * 128


def test_sheets_show_the_pictures(tmp_path):
    x = torch.stack([torch.full((3, 8, 8), v) for v in (0.2, 0.6)])
    _inversenet_figures.draw_sheet({"a": x, "b": 1 - x}, tmp_path / "s.png")
    with Image.open(tmp_path / "s.png") as sheet:
        colours = {colour[0] for _, colour in sheet.getcolors(10**6)}
    assert {51, 153, 204, 102} <= colours


def test_weights_that_no_longer_fit_are_named(tmp_path, capsys, quick):
    write(tmp_path / "a.png", smooth(0, 33, 40))
    weights(tmp_path / "one", NATURAL)
    weights(tmp_path / "two", alone(NATURAL))
    card = tmp_path / "two" / "weights.yaml"
    card.write_text(card.read_text().replace("width: 2", "width: 3"))
    argv = ["--table", 1, "--kind", "natural", "--data", tmp_path, "--weights", tmp_path]
    out = run(capsys, *argv, "--networks")
    assert f"- {tmp_path / 'two' / 'weights.safetensors'} " in out
    assert "| InverseNet | ours, z" in out and f"| {PIX2PIX} | ours | - | - |" in out


# Annealing


def test_annealing_trains_and_draws(faces, tmp_path, capsys, monkeypatch):
    pytest.importorskip("lightning_fabric")
    from benchmarks import _inversenet_annealing

    monkeypatch.setattr(_inversenet_annealing, "ITERATIONS", (1, 3))
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(
        "solver:\n  name: inversenet\n  params:\n"
        "    inversion: {name: inversenet_unet, params: {depth: 2, width: 2}}\n"
        "    denoiser: {name: inversenet_dae, params: {shuffle: 2, width: 4}}\n"
        "operator: motion_blur\ndata: {middle: 36, resize: 32, crop: 32, held_out: 2}\n"
        "loss: [{norm: l2}, {norm: l2, of: z}]\nbatch: 2\nsteps: 900\n"
        "schedule: {name: cosine, warmup: 10}\n"
    )
    out = tmp_path / "figure.png"
    argv = ["--annealing", "--data", faces, "--recipe", recipe, "--out", out]
    text = run(capsys, *argv, "--set", "batch=3")
    assert "2 pictures held out, of 32 x 32 pixels" in text
    rows = [line for line in text.splitlines() if line[:3] in ("| 1", "| 3")]
    assert len(rows) == 2 and all(row.count("|") == 7 for row in rows)
    # 2 x 3 x 32 x 32 differences have a variance, and no two iterations the same
    assert rows[0].split("|")[3] != rows[1].split("|")[3]
    assert "- iteration 3: change mean " in text and f"- figure: {out}" in text
    with Image.open(out) as figure:
        assert figure.size[0] > 2 * 128


def test_the_rate_does_not_depend_on_where_annealing_stops():
    recipe = annealing_recipe("motion_deblurring_faces_small", {"batch": 7})
    assert recipe.batch == 7 and recipe.watch == ("z",)
    assert {recipe.schedule.fraction(s, n) for s in (0, 10, 99) for n in (1, 25, 100)} == {1.0}


# Throughput


def test_ratios_are_of_neighbours_in_time(monkeypatch):
    clock = [0.0]
    calls = []

    def job(name, cost):
        def run():
            calls.append(name)
            # the machine becomes ten times slower half way
            clock[0] += cost * (10 if len(calls) > 16 else 1)

        return run

    monkeypatch.setattr(_inversenet_throughput.time, "perf_counter", lambda: clock[0])
    a, b, ratio = _inversenet_throughput.compared(job("a", 0.9), job("b", 1.0), seconds=20)
    assert ratio == pytest.approx(0.9)
    assert calls[:8] == ["a", "b", "a", "b", "a", "b", "b", "a"]
    assert b > a


def test_throughput_compares_the_same_job(capsys, monkeypatch):
    pairs = []

    def once(first, second, *, seconds, cpu_time):
        pairs.append((first(), second()))
        return 9.0, 10.0, 0.91

    monkeypatch.setattr(_inversenet_throughput, "compared", once)
    monkeypatch.setattr(_inversenet_throughput, "_SHAPES", ((2, 3, 32, 32),))
    out = run(capsys, "--throughput")
    assert "| 2 of 32 x 32 | 9.00 | 10.00 | 91.0% |" in out
    bare, solution = pairs[0]
    assert bare.shape == solution.image.shape and "z" in solution.extras


# What is missing


def test_what_is_missing_is_said(faces, tmp_path, capsys):
    for argv, text in (
        (["--table", "1"], "--data: expected the pictures"),
        (["--table", "1", "--data", str(faces), "--pictures", "0"], "expected 1 or more"),
        (["--table", "3", "--data", str(faces)], "invalid choice"),
        (["--annealing", "--data", str(faces)], "--out: expected"),
        (["--table", "1", "--data", str(faces), "--weights", str(faces)], "holds no weights"),
        (["--task", "x4", "--kind", "faces", "--data", str(faces)], "no recipe says"),
    ):
        with pytest.raises(SystemExit):
            inversenet.main(argv)
        assert text in capsys.readouterr().err


def test_what_the_paper_prints_is_in_order():
    for rows in MOTION.values():
        assert all(0 < ssim < 1 and 20 < psnr < 35 for psnr, ssim in rows.values())
        assert max(rows, key=lambda name: rows[name]) == INVERSENET
