"""Methods in a form that is not their default, for checks of the kit; another process imports them from here."""

from typing import Any

from pydantic import create_model

from pretextbench import registry


def form(name: str, **values: Any) -> Any:
    """A subclass of an installed method whose parameters have these defaults."""
    method: Any = registry.load(name)
    fields = {key: (method.Params.model_fields[key].annotation, value) for key, value in values.items()}
    params: Any = create_model(f"{method.__name__}Params", __base__=method.Params, **fields)
    return type(method)("Form", (method,), {"Params": params, "__module__": __name__, "__doc__": method.__doc__})


class MoCoV3(form("moco", form="v3")):  # type: ignore[misc]
    """Without a queue, symmetric, with a prediction head."""


class VISReg(form("lejepa", regulariser="visreg")):  # type: ignore[misc]
    """LeJEPA's loss with scale, centre and shape of the embeddings."""


class Decoupled(form("simclr", decoupled=True)):  # type: ignore[misc]
    """SimCLR without the positive in the denominator."""


class Queued(form("swav", queue=32)):  # type: ignore[misc]
    """SwAV with embeddings of earlier batches."""


class OneGroup(form("moco", norm_groups=1)):  # type: ignore[misc]
    """MoCo v2 with batch norms over the whole batch."""


FORMS = (MoCoV3, VISReg, Decoupled, Queued)
