"""Signs of life of a colorizer, and the names of its failures."""

from collections.abc import Mapping

from torch import Tensor


def _variation(ab: Tensor) -> Tensor:
    """Mean step (B,) between neighbouring pixels of maps (B, h, w, 2), in ab units; 0 for a single pixel."""
    steps = ab.new_zeros(len(ab))
    for axis in (1, 2):
        if ab.shape[axis] > 1:
            steps = steps + ab.diff(dim=axis).norm(dim=-1).mean((1, 2))
    return steps


def colourfulness(predicted: Tensor, true: Tensor, shown: Tensor, size: tuple[int, int]) -> dict[str, float]:
    """Chroma and roughness of colours (N, 2) as shares of the true ones, over images that have colour."""
    predicted, true = (ab.unflatten(0, (-1, *size)) for ab in (predicted, true))  # (B, h, w, 2)
    has = shown.unflatten(0, (-1, *size))[:, 0, 0]  # (B,)
    chroma = [(ab.norm(dim=-1).mean((1, 2)) * has).sum() for ab in (predicted, true)]
    rough = [(_variation(ab) * has).sum() for ab in (predicted, true)]
    return {
        "chroma_share": float(chroma[0] / chroma[1].clamp_min(1e-6)),
        "roughness_share": float(rough[0] / rough[1].clamp_min(1e-6)),
    }


def symptoms(health: Mapping[str, float]) -> list[str]:
    """What is wrong, in words, given the numbers of `health`."""
    if health["coloured_images"] == 0:
        return ["all images are grey: there is no colour to learn from, choose another method"]
    symptoms = []
    if health["coloured_images"] < 0.5:
        symptoms.append(f"only {health['coloured_images']:.0%} of the images have colour; the rest teach nothing")
    if health["loss"] > 0.99 * health["constant_loss"]:
        symptoms.append(
            f"predicts the prior: loss {health['loss']:.3f} against {health['constant_loss']:.3f} of a constant guess; "
            "train longer or raise the learning rate"
        )
    if health["chroma_share"] < 0.2:
        symptoms.append(
            f"predicts grey: {health['chroma_share']:.0%} of the true chroma; train longer or lower `uniform`"
        )
    if health["chroma_share"] > 1.5 or health["roughness_share"] > 1.5:
        symptoms.append(
            f"saturated speckle: {health['chroma_share']:.1f} times the true chroma, {health['roughness_share']:.1f} "
            "times its variation between pixels; raise `uniform`, the share of the uniform in the rebalancing"
        )
    return symptoms
