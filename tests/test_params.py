"""params.yaml: every mistake is one UserError that names it, and nothing else is ever raised."""

from pathlib import Path

import pytest
import yaml

from pretextbench.errors import UserError
from pretextbench.params import Params, load


def mistakes(tmp_path: Path, text: str) -> str:
    """The message that a parameter file is refused with."""
    file = tmp_path / "params.yaml"
    file.write_text(text)
    with pytest.raises(UserError) as caught:
        load(file)
    return str(caught.value)


def accepted(tmp_path: Path, text: str) -> Params:
    file = tmp_path / "params.yaml"
    file.write_text(text)
    return load(file)


# --- what is accepted ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "# nothing but a comment\n", "{}"])
def test_an_empty_file_is_all_defaults(tmp_path: Path, text: str) -> None:
    assert accepted(tmp_path, text) == Params()


def test_defaults_written_out_are_the_defaults(tmp_path: Path) -> None:
    assert accepted(tmp_path, yaml.safe_dump(Params().model_dump(mode="json"))) == Params()


def test_epochs_instead_of_images(tmp_path: Path) -> None:
    pretrain = accepted(tmp_path, "pretrain: {images: null, epochs: 2.5}").pretrain
    assert (pretrain.images, pretrain.epochs) == (None, 2.5)


def test_a_method_without_parameters_of_its_own(tmp_path: Path) -> None:
    assert accepted(tmp_path, "methods:\n  simclr:\n  rotation: {padding: 2}\n").methods == {
        "simclr": None,
        "rotation": {"padding": 2},
    }


def test_parameters_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Params().encoder.width = 8  # type: ignore[misc]


# --- one mistake, one line ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "pretrian: {}",
            "pretrian: unknown key. Did you mean 'pretrain'? Allowed: prepare, augment, encoder, pretrain,",
        ),
        (
            "compare: {references: [wide]}",
            "the file: compare.references names wide, which the section `references` does not have. Add it there",
        ),
        (
            "{compare: {references: [simclr]}, references: {simclr: {}}}",
            "compare: `references` has a name that a method or control has: simclr",
        ),
        ("references: {wide: {name: resnet81}}", "references.wide.name: "),
        (
            "encoder: {widht: 3}",
            "encoder.widht: unknown key. Did you mean 'width'? Allowed: name, width, stem, patch, depth, weights,",
        ),
        (
            "prepare: {synthetic: {trian: 3}}",
            "prepare.synthetic.trian: unknown key. Did you mean 'train'? Allowed:",
        ),
        (
            "encoder: {zzz: 3}",
            "encoder.zzz: unknown key. Allowed: name, width, stem, patch, depth, weights, skip_stem, mean, std.",
        ),
        ("1: 2", "1: Keys should be strings"),
        (
            "encoder: {name: resnet19}",
            "encoder.name: Input should be 'resnet10', 'resnet18', 'resnet34', 'resnet50', 'vit-",
        ),
        (
            "encoder: {name: tim/resnet18}",
            "encoder.name: Input should be 'resnet10', 'resnet18', 'resnet34', 'resnet50',",
        ),
        ("encoder: {name: timm/../x}", "encoder.name: Input should be 'resnet10', 'resnet18', 'resnet34', 'resnet50',"),
        (
            "encoder: {name: timm/resnet18, width: 64}",
            "encoder: `width` is for residual networks, found 64 with name 'timm/resnet18'. Leave it out, or set 16.",
        ),
        (
            "encoder: {name: torchvision/resnet18, stem: large}",
            "encoder: `stem` is for residual networks, found 'large' with name 'torchvision/resnet18'. Leave it out",
        ),
        (
            "encoder: {weights: pretrained}",
            "encoder: `weights: pretrained` names weights of timm or torchvision, and resnet10 is a network of this",
        ),
        (
            "encoder: {name: timm/resnet18.a1_in1k, weights: a2_in1k}",
            "encoder: `name: timm/resnet18.a1_in1k` and `weights: a2_in1k` name different weights; name one.",
        ),
        ("encoder: {skip_stem: true}", "encoder: `skip_stem` needs `weights`: without them every layer stays as"),
        ("encoder: {mean: [0.5, 0.5, 0.5]}", "encoder: give both `mean` and `std`, or none."),
        ("encoder: {mean: [127, 0, 0], std: [1, 1, 1]}", "encoder.mean.0: Input should be less than or equal to 1"),
        ("prepare: {source: imagenet}", "prepare.source: Input should be 'synthetic', 'folder', 'cifar10'"),
        ("encoder: {width: wide}", "encoder.width: needs a whole number (found 'wide')."),
        ("encoder: {width: 16.5}", "encoder.width: needs a whole number (found 16.5)."),
        ("encoder: {width: null}", "encoder.width: needs a whole number (found null)."),
        ("pretrain: {compile: maybe}", "pretrain.compile: needs true or false (found 'maybe')."),
        ("encoder: {width: 3}", "encoder.width: Input should be greater than or equal to 4 (found 3)."),
        ("prepare: {image_size: 4}", "prepare.image_size: Input should be greater than or equal to 8 (found 4)."),
        ("prepare: {val_fraction: 1.0}", "prepare.val_fraction: Input should be less than 1 (found 1.0)."),
        ("pretrain: {images: 0}", "pretrain.images: Input should be greater than 0 (found 0)."),
        ("pretrain: {clip: .inf}", "pretrain.clip: Input should be a finite number (found inf)."),
        ("pretrain: {checkpoint_seconds: .nan}", "pretrain.checkpoint_seconds: Input should be a finite number"),
        ("encoder: {width: .inf}", "encoder.width: Input should be a finite number (found inf)."),
        ("evaluate: {linear_l2: []}", "evaluate.linear_l2: needs at least 1 entry (found [])."),
        ("evaluate: {linear_l2: [1, -1]}", "evaluate.linear_l2.1: Input should be greater than 0 (found -1)."),
        ("compare: {seeds: []}", "compare.seeds: needs at least 1 entry (found [])."),
        ("compare: {seeds: 0}", "compare.seeds: needs a list, such as [a, b] (found 0)."),
        (
            "compare: {methods: [SimCLR]}",
            "compare.methods.0: needs a name of lower-case letters, digits and single dashes",
        ),
        ("compare: {methods: [../etc]}", "compare.methods.0: needs a name of lower-case letters"),
        ("methods: {Sim CLR: {}}", "methods.Sim CLR.[key]: needs a name of lower-case letters"),
        (
            "methods: {simclr: 3}",
            "methods.simclr: needs a section: lines of the form `key: value`, indented below it (found",
        ),
        ("encoder: 3", "encoder: needs a section: lines of the form"),
        ("prepare: {source: folder}", "prepare: source 'folder' needs `path`, the folder that holds the images."),
        (
            "pretrain: {images: 10, epochs: 2}",
            "pretrain: give exactly one of `images`, `epochs` and `multiply_adds`, the others null; found images: "
            "10, epochs: 2, multiply_adds: null.",
        ),
        (
            "pretrain: {images: null}",
            "pretrain: give exactly one of `images`, `epochs` and `multiply_adds`, the others null; found images: "
            "null, epochs: null, multiply_adds: null.",
        ),
        (
            "pretrain: {multiply_adds: 1.0e12}",
            "pretrain: give exactly one of `images`, `epochs` and `multiply_adds`, the",
        ),
        (
            "pretrain: {images: null, multiply_adds: 0}",
            "pretrain.multiply_adds: Input should be greater than 0 (found 0).",
        ),
        (
            "compare: {methods: [simclr, simclr]}",
            "compare.methods: names one entry twice (found ['simclr', 'simclr']).",
        ),
        ("compare: {seeds: [1, 2, 1]}", "compare.seeds: names one entry twice (found [1, 2, 1])."),
        ("compare: {controls: [random, random]}", "compare.controls: names one entry twice"),
        ("compare: {methods: [], controls: []}", "compare: `methods` and `controls` are both empty"),
        ("compare: {seeds: [1.5]}", "compare.seeds.0: needs a whole number (found 1.5)."),
        ("compare: {seeds: [1.0]}", "compare.seeds.0: needs a whole number (found 1.0)."),
        ("compare: {seeds: [true]}", "compare: `seeds`: expected a number or a word, not true or false."),
        (f"compare: {{seeds: [{2**70}]}}", "compare.seeds.0: Input should be less than 4294967296"),
        (f"evaluate: {{seed: {2**32}}}", "evaluate.seed: Input should be less than 4294967296"),
        ("compare: {name: !!str 'a\tb'}", "compare.name: needs one line without quotes"),
        *(
            (f"evaluate: {{budgets: ['5', '{budget}']}}", "evaluate.budgets.1: not a label budget. Allowed: a share of")
            for budget in ("0%", "101%", "1e9", "-5", "abc", "", "0", "2.5", "nan%", "1 %%", "٣", "9999999999")
        ),
        ("evaluate: {finetune: [abc]}", "evaluate.finetune.0: not a label budget."),
        ("evaluate: {budgets: ['1%', ' 1.0 %']}", "evaluate.budgets: names one entry twice (found ['1%', ' 1.0 %'])."),
        ("evaluate: {budgets: [5]}", "evaluate.budgets.0: needs a text; put it into quotes (found 5)."),
        ("prepare: {path: 2024}", "prepare.path: needs a text; put it into quotes (found 2024)."),
        ("evaluate: {linear_l2: [1e300]}", "evaluate.linear_l2.0: Input should be less than or equal to 1000000"),
        ("evaluate: {linear_l2: [0.001, 1e-3]}", "evaluate.linear_l2: names one entry twice (found [0.001, 0.001])."),
        ("evaluate: {knn_temperature: 1e-300}", "evaluate.knn_temperature: Input should be greater than or equal to"),
        ("pretrain: {devices: 1000000}", "pretrain.devices: Input should be less than or equal to 1024"),
        (f"pretrain: {{images: {10**20}}}", "pretrain.images: Input should be less than or equal to 1000000000000"),
        (f"prepare: {{synthetic: {{train: {10**12}}}}}", "prepare.synthetic.train: Input should be less than or equal"),
        ("prepare: {path: photos}", "prepare: `path` is 'photos', with source 'synthetic', which reads no files. Set"),
        ("transfer: {path: photos}", "transfer: `path` is 'photos', with no source. Set `source: folder`, or"),
        ("pretrain: {clip: 12:30:45}", "pretrain.clip: needs a number (found"),
        ("'a\\x1b[31m\\n': 1".replace("'", '"'), "a\\x1b[31m\\n: unknown key. Allowed: prepare,"),
        (
            'encoder: {"\\u202eb": 1}',
            "encoder.\\u202eb: unknown key. Allowed: name, width, stem, patch, depth, weights, skip_stem, mean, std.",
        ),
        ("[1, 2]", "the file: needs a section: lines of the form"),
        ("3", "the file: needs a section: lines of the form"),
        ("hello", "the file: needs a section: lines of the form"),
    ],
)
def test_one_mistake_is_one_line(tmp_path: Path, text: str, line: str) -> None:
    head, *lines = mistakes(tmp_path, text).splitlines()
    assert head == f"{tmp_path / 'params.yaml'} has 1 mistake:"
    assert len(lines) == 1
    assert lines[0].strip().startswith(line)


def test_all_mistakes_are_listed_together(tmp_path: Path) -> None:
    result = mistakes(
        tmp_path,
        "encoder: {name: resnet19, with: 3}\nprepare: {source: folder}\ncompare: {confidence: 3}\n"
        "pretrain: {images: -1, batch_size: none}\nsomething: 1\n",
    )
    assert "has 7 mistakes:" in result
    for place in (
        "encoder.name:",
        "encoder.with:",
        "prepare: source 'folder'",
        "compare.confidence:",
        "pretrain.images:",
    ):
        assert place in result
    assert "pretrain.batch_size:" in result
    assert "something: unknown key" in result


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*missing\.yaml: No such file.* parameters of the pipeline"):
        load(tmp_path / "missing.yaml")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"Cannot read .*: Is a directory"):
        load(tmp_path)


def test_a_value_that_quotes_itself_is_cut(tmp_path: Path) -> None:
    assert len(mistakes(tmp_path, f"encoder: {{name: {'x' * 10_000}}}")) < 400


@pytest.mark.parametrize(
    "text", ["pretrain: {images: true}", "pretrain: {clip: false}", "evaluate: {linear_l2: [true]}"]
)
def test_a_truth_value_is_no_number(tmp_path: Path, text: str) -> None:
    assert "expected a number or a word, not true or false" in mistakes(tmp_path, text)
