"""The pairs of method and encoder that the inventory refuses."""

import pytest

from pretextbench import registry
from pretextbench.encoder import Encoder, ResNet, TokenEncoder
from pretextbench.errors import UserError
from pretextbench.method import Requires
from pretextbench.params import Params
from pretextbench.project.inventory import TRANSFORMER, take_stock
from tests.faults import Sound

ONE_BLOCK = {"name": "vit-tiny", "depth": 1}


class Tokens(Encoder):
    """A kind of encoder that params.yaml cannot ask for."""


class OwnTokens(Sound):
    """A method that needs it, and brings it."""

    requires = Requires(encoder=Tokens)

    @classmethod
    def build_encoder(cls, params, encoder, data):
        return Tokens(data.mean, data.std)


def take_stock_of(requires: Requires, monkeypatch: pytest.MonkeyPatch, method: type[Sound] = Sound) -> None:
    """What the inventory says of `rotation` where its class is another, at 32 px."""
    monkeypatch.setattr(registry, "load", lambda name: type("Planted", (method,), {"requires": requires}))
    take_stock(Params(compare={"methods": ("rotation",), "controls": ()}), {})


@pytest.mark.parametrize(
    ("requires", "message"),
    [
        (Requires(encoder=Tokens), "'rotation' needs an encoder of kind Tokens, found ResNet.*encoder.name"),
        (
            Requires(encoder=TokenEncoder),
            "'rotation' needs an encoder of kind TokenEncoder.*such as vit-tiny or timm/vit_.*, or take",
        ),
        (Requires(image_size=33), "'rotation' needs images of at least 33 px, found 32 px.*prepare.image_size"),
    ],
)
def test_a_pair_that_cannot_work_is_refused(requires: Requires, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=message):
        take_stock_of(requires, monkeypatch)


def test_a_patch_that_does_not_divide_the_images_is_one_sentence() -> None:
    """And not one for each method and control."""
    take_stock(Params(compare={"methods": ("rotation",)}, encoder={**ONE_BLOCK, "patch": 8}), {})
    with pytest.raises(
        UserError, match=r"\Aencoder.patch is 5 px, which does not divide images of 32 px.*\Z"
    ) as caught:
        take_stock(Params(compare={"methods": ("rotation",)}, encoder={**ONE_BLOCK, "patch": 5}), {})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("encoder", "own", "name", "lr"),
    [
        ("resnet10", {}, "sgd", 0.1),
        ("vit-tiny", {}, "adamw", 1e-3),
        ("vit-tiny", {"optimizer": {"name": "sgd", "lr": 0.1}}, "sgd", 0.1),
        ("vit-tiny", {"batch_size": 64}, "adamw", 1e-3),
    ],
)
def test_a_transformer_has_an_optimizer_of_its_own_for_all_methods(
    encoder: str, own: dict[str, object], name: str, lr: float
) -> None:
    """Where params.yaml gives none; it is in the record of the run. Rotation's is SGD."""
    depth = 1 if encoder == "vit-tiny" else None
    compare = {"methods": ("rotation", "simclr")}
    params = Params(encoder={"name": encoder, "depth": depth}, compare=compare, methods={"rotation": own})
    stock = take_stock(params, {})
    optimizer = stock["rotation"]["params"]["optimizer"]
    assert (optimizer["name"], optimizer["lr"]) == (name, lr)
    if encoder == "vit-tiny":
        assert stock["simclr"]["params"]["optimizer"] == stock["supervised"]["params"]["optimizer"]
        assert stock["simclr"]["params"]["optimizer"] == TRANSFORMER.model_dump(mode="json")


def test_a_method_that_needs_tokens_keeps_its_own_optimizer() -> None:
    stock = take_stock(Params(encoder=ONE_BLOCK, compare={"methods": ("mae",), "controls": ()}), {})
    assert stock["mae"]["params"]["optimizer"]["lr"] == 1.5e-3


@pytest.mark.parametrize("name", ["jigsaw", "relative-location"])
def test_what_a_method_refuses_when_it_is_built_is_known_to_the_inventory(name: str) -> None:
    """And not only to its training, which may come after those of other methods."""
    compare = {"methods": ("rotation", name), "controls": ()}
    take_stock(Params(compare=compare), {})
    with pytest.raises(UserError, match=r"at least 12 px .*found 8 px|no gap in images of 8 px"):
        take_stock(Params(compare=compare, prepare={"image_size": 8}), {})


def test_a_method_that_needs_the_data_to_be_built_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Sound, params: object, encoder: object, data: object) -> None:
        raise KeyError("prior")

    monkeypatch.setattr(registry, "load", lambda name: type("Planted", (Sound,), {"__init__": refuse}))
    assert set(take_stock(Params(compare={"methods": ("rotation",), "controls": ()}), {})) == {"rotation"}


def test_pairs_that_can_work_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    for requires in (Requires(), Requires(encoder=ResNet, image_size=32, colour=True)):
        take_stock_of(requires, monkeypatch)
    take_stock_of(OwnTokens.requires, monkeypatch, OwnTokens)


def test_a_pair_that_was_accepted_is_judged_again_with_another_image_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "load", lambda name: type("Planted", (Sound,), {"requires": Requires(image_size=32)}))
    params = Params(compare={"methods": ("rotation",), "controls": ()})
    known = {entry["fingerprint"]: entry for entry in take_stock(params, {}).values()}
    smaller = params.model_copy(update={"prepare": params.prepare.model_copy(update={"image_size": 16})})
    with pytest.raises(UserError, match="at least 32 px, found 16 px"):
        take_stock(smaller, known)


def test_grey_images_are_refused_where_colour_is_needed() -> None:
    with pytest.raises(UserError, match="'colorization' needs images in colour, and all training images are grey"):
        registry.load("colorization").requires.check("colorization", 32, colour=False)
    registry.load("rotation").requires.check("rotation", 32, colour=False)


def test_prototypes_are_compared_with_the_number_of_images_where_it_is_known() -> None:
    """A folder is not read yet: the paper's 3,000 may be fewer than its images."""
    wanted = {"compare": {"methods": ("swav",), "controls": ()}, "methods": {"swav": {"prototypes": 3000}}}
    take_stock(Params(**wanted, prepare={"source": "folder", "path": "photos"}), {})
    accepted = take_stock(Params(**wanted, prepare={"synthetic": {"train": 3000}}), {})
    known = {entry["fingerprint"]: entry for entry in accepted.values()}
    with pytest.raises(UserError, match=r"'swav' needs 2 to 2999 prototypes.*found 3000"):
        take_stock(Params(**wanted, prepare={"synthetic": {"train": 2999}}), known)


@pytest.mark.parametrize("own", [{}, {"batch_size": 256}])
@pytest.mark.parametrize("name", ["moco", "nnclr"])
def test_a_queue_shorter_than_a_batch_is_known_to_the_inventory(name: str, own: dict[str, int]) -> None:
    """Whoever sets the batch; and what was accepted is judged again with another batch."""
    compare = {"methods": (name,), "controls": ()}
    params = Params(compare=compare, methods={name: {"queue": 200}}, pretrain={"batch_size": 128})
    known = {entry["fingerprint"]: entry for entry in take_stock(params, {}).values()}
    larger = Params(compare=compare, methods={name: {"queue": 200, **own}}, pretrain={"batch_size": 256})
    with pytest.raises(UserError, match=r"shorter than a batch of 256"):
        take_stock(larger, known)
