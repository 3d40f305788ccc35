"""Methods come in by entry point: real distributions in a temporary folder, and every way in which one can be wrong."""

import importlib
import os
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from pretextbench import registry
from pretextbench.errors import PluginError
from pretextbench.methods.controls import Random, Supervised
from pretextbench.registry import GROUP, Plugin, available, find, load, source_hash
from tests.conftest import Install

GOOD = """
from pretextbench.method import PretextMethod
class Ours(PretextMethod):
    api_version = 1
"""
HEAD = r"method 'ours' \(pretext_ours:Ours, from pretext-ours 1\.2\.3\) "


def refused(name: str) -> str:
    with pytest.raises(PluginError) as caught:
        load(name)
    return str(caught.value)


def ours(install: Install, source: str = GOOD, target: str = "pretext_ours:Ours") -> Path:
    return install("pretext-ours", {"ours": target}, {"pretext_ours.py": source})


# --- finding ------------------------------------------------------------------------------------------------------


def test_an_installed_distribution_is_found_and_loaded(install: Install) -> None:
    ours(install)
    assert find("ours") == Plugin("ours", "pretext_ours:Ours", "pretext-ours", "1.2.3")
    assert load("ours").__name__ == "Ours"
    assert str(find("ours")) == "method 'ours' (pretext_ours:Ours, from pretext-ours 1.2.3)"


def test_a_distribution_may_bring_several_methods(install: Install) -> None:
    install("pretext-two", {"one": "pretext_two:A", "two": "pretext_two:B"}, {"pretext_two.py": ""})
    assert {"one", "two"} <= set(available())
    assert find("one").target == "pretext_two:A"


def test_the_controls_come_in_by_the_same_door() -> None:
    assert find("random").distribution == find("supervised").distribution == "pretextbench"
    assert (load("random"), load("supervised")) == (Random, Supervised)


def test_names_are_sorted_and_a_folder_listed_twice_claims_once(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = ours(install)
    monkeypatch.setattr(sys, "path", [*sys.path, str(site)])
    methods = available()
    assert list(methods) == sorted(methods)
    assert len(methods["ours"]) == 1
    twice = list(entry_points(group=GROUP)) * 2
    assert available(twice) == available()


def test_asking_what_exists_imports_neither_torch_nor_plugins(install: Install) -> None:
    """In a fresh process; the plugin would end it if it were imported."""
    site = ours(install, "raise SystemExit('imported')")
    code = (
        "import sys; from pretextbench import registry\n"
        "print(registry.find('ours')); print(len(registry.source_hash(registry.find('ours'))))\n"
        "print([m for m in ('torch', 'numpy', 'pydantic', 'pretext_ours') if m in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["method 'ours' (pretext_ours:Ours, from pretext-ours 1.2.3)", "64", "[]"]


def test_loading_one_method_imports_no_other(install: Install) -> None:
    ours(install)
    install("pretext-other", {"other": "pretext_other:Other"}, {"pretext_other.py": "raise RuntimeError"})
    load("ours")
    assert "pretext_other" not in sys.modules


# --- four errors, and a fifth -------------------------------------------------------------------------------------


def test_unknown(install: Install) -> None:
    ours(install)
    result = refused("our")
    installed = ", ".join(registry.available())  # every name, sorted, whatever this environment holds
    assert {"ours", "random", "simclr", "supervised"} < set(registry.available())
    assert sorted(registry.available()) == list(registry.available())
    assert result.startswith(f"Unknown method 'our'. Did you mean 'ours'? Installed: {installed}.")
    assert result.endswith("Install the distribution that provides it, or correct compare.methods in params.yaml.")


def test_unknown_where_nothing_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "entry_points", lambda group: ())
    assert refused("simclr").startswith("Unknown method 'simclr'. Installed: none.")


@pytest.mark.parametrize(
    ("source", "cause"),
    [
        ("import a_module_that_is_not_there", "ModuleNotFoundError: No module named 'a_module_that_is_not_there'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("def broken(:", "SyntaxError: "),
        ("", "AttributeError: module 'pretext_ours' has no attribute 'Ours'"),
    ],
)
def test_broken(install: Install, source: str, cause: str) -> None:
    ours(install, source)
    with pytest.raises(PluginError, match=HEAD + f"does not import: {cause}"):
        load("ours")


def test_a_broken_method_keeps_its_traceback_for_its_author(install: Install) -> None:
    ours(install, "1 / 0")
    with pytest.raises(PluginError) as caught:
        load("ours")
    assert isinstance(caught.value.__cause__, ZeroDivisionError)


def test_claimed_twice(install: Install) -> None:
    ours(install)
    install("pretext-theirs", {"ours": "pretext_theirs:Theirs"}, {"pretext_theirs.py": GOOD}, version="9")
    result = refused("ours")
    assert result.startswith("Method 'ours' is claimed twice: ")
    assert "pretext_ours:Ours (from pretext-ours 1.2.3)" in result
    assert "pretext_theirs:Theirs (from pretext-theirs 9)" in result
    assert result.endswith("Uninstall one of them.")


def test_a_name_of_ours_cannot_be_taken(install: Install) -> None:
    install("pretext-thief", {"random": "pretext_thief:Ours"}, {"pretext_thief.py": GOOD})
    assert refused("random").startswith("Method 'random' is claimed twice: ")


@pytest.mark.parametrize(
    ("version", "spoken"), [("api_version = 2", "2"), ("pass", "None"), ("api_version = '1'", "1")]
)
def test_wrong_api_version(install: Install, version: str, spoken: str) -> None:
    ours(install, GOOD.replace("api_version = 1", version))
    with pytest.raises(
        PluginError, match=HEAD + f"is written for API {spoken}, but this is API 1. Install a matching version."
    ):
        load("ours")


@pytest.mark.parametrize("source", ["Ours = 3", "class Ours: api_version = 1", "def Ours(): pass"])
def test_not_a_method(install: Install, source: str) -> None:
    ours(install, source)
    with pytest.raises(
        PluginError, match=HEAD + "is not a PretextMethod but .*Subclass pretextbench.method.PretextMethod"
    ):
        load("ours")


def test_a_target_without_a_class(install: Install) -> None:
    install("pretext-ours", {"ours": "pretext_ours"}, {"pretext_ours.py": GOOD})
    assert "is not a PretextMethod but <module" in refused("ours")


def test_labels_are_for_the_librarys_own_control_alone(install: Install) -> None:
    ours(install, GOOD + "    uses_labels = True\n")
    with pytest.raises(PluginError, match=HEAD + "asks for labels. .* remove uses_labels."):
        load("ours")


# --- what makes a method stale ------------------------------------------------------------------------------------


def hashes() -> dict[str, str]:
    importlib.invalidate_caches()
    return {name: source_hash(find(name)) for name in ("ours", "other", "random")}


def test_editing_a_plugin_changes_its_hash_and_no_other(install: Install) -> None:
    site = ours(install)
    install("pretext-other", {"other": "pretext_other:Ours"}, {"pretext_other.py": GOOD})
    before = hashes()
    (site / "pretext_ours.py").write_text(GOOD + "# edited\n")
    after = hashes()
    assert before["ours"] != after["ours"]
    assert before["other"] == after["other"] == source_hash(find("other"))
    assert before["random"] == after["random"]


def test_editing_the_test_beside_a_module_changes_nothing(install: Install) -> None:
    site = ours(install)
    (site / "test_ours.py").write_text("")
    before = source_hash(find("ours"))
    (site / "test_ours.py").write_text("# edited\n")
    assert source_hash(find("ours")) == before


@pytest.mark.parametrize("file", ["__init__.py", "loss.py", "nets/decoder.py"])
def test_a_package_is_all_of_its_modules(install: Install, file: str) -> None:
    files = {f"pretext_ours/{name}": "" for name in ("__init__.py", "loss.py", "nets/__init__.py", "nets/decoder.py")}
    site = install("pretext-ours", {"ours": "pretext_ours.loss:Ours"}, files)
    before = source_hash(find("ours"))
    (site / "pretext_ours" / file).write_text("# edited\n")
    assert source_hash(find("ours")) != before


def test_moving_code_between_files_is_an_edit(install: Install) -> None:
    """Names and borders of the files are in the hash: the same bytes elsewhere are another program."""
    site = install(
        "pretext-ours", {"ours": "pretext_ours:Ours"}, {"pretext_ours/__init__.py": "", "pretext_ours/a.py": "x"}
    )
    before = source_hash(find("ours"))
    (site / "pretext_ours" / "a.py").rename(site / "pretext_ours" / "b.py")
    assert source_hash(find("ours")) != before


def test_the_controls_hash_their_own_module_alone() -> None:
    plain = Plugin("random", "pretextbench.methods.controls:Random", "pretextbench", "0.1.0")
    other = Plugin("random", "pretextbench.measures:x", "pretextbench", "0.1.0")
    assert source_hash(plain) == source_hash(find("supervised")) != source_hash(other)


def test_a_module_that_is_gone_has_no_hash() -> None:
    with pytest.raises(PluginError, match=r"does not import: there is no module 'pretext_gone'\. Install it again"):
        source_hash(Plugin("gone", "pretext_gone:Gone", "pretext-gone", "1"))


def test_hashing_imports_nothing(install: Install) -> None:
    ours(install, "raise SystemExit('imported')")
    assert len(source_hash(find("ours"))) == 64
    assert "pretext_ours" not in sys.modules
