"""Recipes of tiny InverseNets, for faces and for natural pictures, and of the U-Net alone."""

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
