"""A plugin for these tests: one tiny network, and a solver that holds one."""

from wellposed.registry import ComponentSpec, hookimpl


@hookimpl
def wellposed_components():
    for kind, name in (("network", "toy_network"), ("solver", "toy_solver")):
        target = f"toy_learner_parts:{'ToyNetwork' if kind == 'network' else 'ToySolver'}"
        yield ComponentSpec(kind, name, target, "Of these tests", "none")
