"""docs/write-a-method.md, run: every block of it, in the order of the page."""

import itertools
import math
import os
import re
import shutil
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from pretextbench import registry, scaffold, testing
from pretextbench.base.section import parse
from pretextbench.params import Params
from pretextbench.testing import bench
from tests.conftest import Install

PROJECT = Path(__file__).parents[1]
PATIENCE = 500  # seconds for a command: `uv add` fills an environment
GUIDE = (PROJECT / "docs/write-a-method.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.S | re.M)
TINY = """
prepare: {synthetic: {train: 200, val: 40, test: 60}}
augment: {derive_images: 50, view_images: 20}
encoder: {width: 4}
pretrain: {images: 64, batch_size: 16, log_every: 2}
evaluate: {budgets: ["10%"], redraws: 1, linear_l2: [0.001, 0.1], linear_steps: 20}
compare: {methods: [mean-colour], controls: [], references: [], seeds: [0], budgets: [], resamples: 200}
methods: {}
"""


def test_the_page_has_the_blocks_that_are_run_here() -> None:
    assert [kind for kind, _ in BLOCKS] == ["sh", "yaml", "sh", *["python"] * 5]


def test_the_names_of_all_checks_are_on_the_page_and_no_others() -> None:
    table = GUIDE.split("| theme | checks |")[1].split("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) == set(testing.CHECKS)


def test_the_parameters_are_allowed(install: Install) -> None:
    params = parse(Params, yaml.safe_load(BLOCKS[1][1]), "the guide")
    assert params.compare.methods[-1] == "mean-colour"
    source = scaffold.TEMPLATES / "module.py.j2"
    assert set(params.methods["mean-colour"] or {}) <= set(re.findall(r"^    (\w+):", source.read_text(), re.M))


@pytest.mark.parametrize("check", testing.CHECKS)
def test_the_method_on_the_page_passes_the_kit(check: str, install: Install) -> None:
    install(
        "pretext-brightness", {"brightness": "pretext_brightness:Brightness"}, {"pretext_brightness.py": BLOCKS[3][1]}
    )
    testing.CHECKS[check](registry.load("brightness"))


def test_the_method_with_two_views_on_the_page_is_what_new_writes(tmp_path: Path) -> None:
    module = scaffold.write("align-uniform", tmp_path / "align-uniform", two_views=True)[2]
    assert module.read_text() == BLOCKS[5][1]


SLOW = [pytest.mark.slow]


@pytest.fixture
def two_views(install: Install) -> Any:
    """The module of the method with two views."""
    install("pretext-align", {"align-uniform": "pretext_align:AlignUniform"}, {"pretext_align.py": BLOCKS[5][1]})
    method = registry.load("align-uniform")
    return sys.modules[method.__module__]


@pytest.mark.parametrize(
    "check",
    [pytest.param(name, marks=[pytest.mark.slow] if name == "two_processes" else []) for name in testing.CHECKS],
)
def test_the_method_with_two_views_passes_the_kit(check: str, two_views: Any) -> None:
    testing.CHECKS[check](two_views.AlignUniform)


RECIPES = {"pairs": ("Pairs", BLOCKS[6][1]), "follower": ("Follower", BLOCKS[7][1])}


@pytest.fixture(params=RECIPES)
def recipe(request: pytest.FixtureRequest, install: Install) -> Any:
    """The class of a recipe, as a plugin of its own."""
    name, (cls, code) = request.param, RECIPES[request.param]
    install(f"pretext-{name}", {name: f"pretext_{name}:{cls}"}, {f"pretext_{name}.py": code})
    return registry.load(name)


@pytest.mark.parametrize("check", [pytest.param(x, marks=SLOW if x == "two_processes" else []) for x in testing.CHECKS])
def test_the_recipes_pass_the_kit(check: str, recipe: Any) -> None:
    testing.CHECKS[check](recipe)


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_has_ten_lines_of_its_own(name: str) -> None:
    """Below the class: without its docstring, empty lines and the three signatures."""
    body = RECIPES[name][1].partition("class ")[2].splitlines()[1:]
    lines = [line.strip() for line in body if line.strip() and not line.strip().startswith(('"""', "def "))]
    assert len(lines) <= 10


def test_the_twin_of_the_recipe_moves_once_per_step(install: Install) -> None:
    """A hundredth of the way to the encoder at the start, and not at all by the loss, which gives it no gradient."""
    install("pretext-follower", {"follower": "pretext_follower:Follower"}, {"pretext_follower.py": BLOCKS[7][1]})
    training = bench.build(registry.load("follower"))
    method = training.method
    weight, own = (next(network.parameters()) for network in (method.encoder, method.twin))
    with torch.no_grad():
        weight.add_(1.0)
    before = own.clone()
    method.loss(bench.batch(training)).total.backward()
    assert own.grad is None
    assert torch.equal(own, before)
    method.after_step(0.0, {})
    torch.testing.assert_close(own, before + 0.01)


def test_the_method_with_two_views_minimises_what_the_page_says(two_views: Any) -> None:
    z1, z2 = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x, y = ((z / z.norm(dim=1, keepdim=True)).tolist() for z in (z1, z2))
    distance = [math.dist(a, b) ** 2 for a, b in zip(x, y, strict=True)]
    spread = [
        math.log(statistics.fmean(math.exp(-2 * math.dist(a, b) ** 2) for a, b in itertools.combinations(z, 2)))
        for z in (x, y)
    ]
    expected = statistics.fmean(distance), statistics.fmean(spread)
    assert [float(term) for term in two_views.terms(z1, z2)] == pytest.approx(expected, abs=1e-12)


def test_the_test_on_the_page_judges(tmp_path: Path, install: Install) -> None:
    module = scaffold.write("mean-colour", tmp_path / "mean-colour")[2].read_text()
    install(
        "pretext-mean-colour", {"mean-colour": "pretext_mean_colour:MeanColour"}, {"pretext_mean_colour.py": module}
    )
    names: dict[str, object] = {}
    exec(BLOCKS[4][1], names)  # a block of our own documentation
    names["test_contract"]("quiet")  # type: ignore[operator]
    names["MeanColour"].reference = ""  # type: ignore[attr-defined]
    with pytest.raises(testing.CheckFailed):
        names["test_contract"]("described")  # type: ignore[operator]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What a clone has, without tests; small parameters. `uv` may ask nobody for anything: all of it is cached."""
    root = tmp_path / "checkout"
    listed = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    files = subprocess.run(listed, cwd=PROJECT, capture_output=True, text=True, check=True).stdout.splitlines()
    for name in [*files, "uv.lock"]:
        if (PROJECT / name).is_file() and not name.startswith(("tests/", "benchmarks/")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(PROJECT / name, root / name)
    settings = root / "pyproject.toml"  # compiling an environment whole takes minutes of a processor
    settings.write_text(settings.read_text().replace("compile-bytecode = true", "compile-bytecode = false"))
    try:
        link_environment(root / ".venv")
    except OSError:  # links across devices: uv fills the environment, and takes minutes
        shutil.rmtree(root / ".venv", ignore_errors=True)
    with (root / ".dvc/config").open("a") as config:
        config.write("    no_scm = true\n")
    (root / "params.yaml").write_text(TINY)
    return root


def link_environment(target: Path) -> None:
    """Fill `target` with hard links to the packages of this environment, which are compiled; its scripts are its own.

    What uv changes in it is replaced there and not here: it writes new files and never into one that stands.
    """
    origin = Path(sys.prefix)
    shutil.copytree(origin / "lib", target / "lib", symlinks=True, copy_function=os.link)
    shutil.copy(origin / "pyvenv.cfg", target)
    (target / "bin").mkdir()
    for script in (origin / "bin").iterdir():
        own = target / "bin" / script.name
        shutil.copy(script, own, follow_symlinks=False)
        if not script.is_symlink() and (content := own.read_bytes()).startswith(b"#!"):
            own.write_bytes(content.replace(bytes(origin), bytes(target)))


@pytest.mark.slow
def test_from_nothing_to_the_stages_of_a_comparison(checkout: Path) -> None:
    unwanted = {"VIRTUAL_ENV", "UV", "PYTHONPATH", "UV_PROJECT_ENVIRONMENT"}
    env = {name: value for name, value in os.environ.items() if name not in unwanted}
    env |= {"UV_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PRETEXTBENCH_SERVER_LINGER": "5"}
    run = "uv run pretextbench run"
    lines = (BLOCKS[0][1] + BLOCKS[2][1]).splitlines()
    assert lines[-1] == run
    for line in (*lines[:-1], f"{run} --dry-run"):  # tests/test_pipeline.py runs a method that the scaffold has written
        done = subprocess.run(line.split(), cwd=checkout, env=env, capture_output=True, text=True, timeout=PATIENCE)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
    kept = (checkout / "pyproject.toml").read_text()
    assert '"pretext-mean-colour",' in kept
    assert "pretext-mean-colour = { workspace = true }" in kept
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    stages = ("augment mean-colour:", "pretrain mean-colour-0:", "evaluate mean-colour-0:", "compare")
    assert all(f"{stage} has not run yet" in lines for stage in stages), done.stdout
