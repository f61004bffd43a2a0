"""The commands of the InverseNet benchmark on tiny pictures."""

import pytest
import torch
from PIL import Image

pytest.importorskip(
    "benchmarks", reason="run from the root of the repository", exc_type=ImportError
)


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

from .inversenet_recipes import FACES, NATURAL, alone
from .made import smooth, weights, write

Kind = _inversenet_weights.Kind


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
