"""Pictures and weights that the tests of benchmarks make."""

import torch
from PIL import Image
from scipy import ndimage
from wellposed.training import recipe_from, save_weights
from wellposed.training.learner import build_learner


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
