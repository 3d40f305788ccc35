"""Stage `views`: test and validation images -> the corrupted and augmented images that every encoder is measured on."""

from pretextbench.data.prepared import Prepared
from pretextbench.project import layout
from pretextbench.project.settings import parameters
from pretextbench.views.frozen import Views
from pretextbench.views.make import make_views


def main() -> None:
    """Make the evaluation views of the prepared images."""
    data = Prepared(layout.IMAGES)
    make_views(data, parameters().augment, layout.VIEWS)
    views = Views(layout.VIEWS, data)
    corruptions, severities, images = views.corrupted.shape[:3]
    megabytes = (views.corrupted.nbytes + views.pairs.nbytes) / 1e6
    print(
        f"views: {images:,} test images, {corruptions} corruptions of {severities} severities; "
        f"{views.pairs.shape[1]:,} pairs of validation images; {megabytes:,.0f} MB"
    )
