"""Parameters of the context encoder; the defaults are for small images, the paper's are named beside them."""

from typing import Literal

from pydantic import Field

from pretextbench.params import MethodParams, OptimizerParams, Positive


class Params(MethodParams):
    """The paper: 227 px, Adam with beta_1 = 0.5, batch 64; a learning rate ten times lower for the discriminator."""

    optimizer: OptimizerParams = OptimizerParams(name="adamw", lr=2e-3, betas=(0.5, 0.999), weight_decay=0, warmup=0.1)
    discriminator_optimizer: OptimizerParams = Field(
        OptimizerParams(name="adamw", lr=2e-4, betas=(0.5, 0.999), weight_decay=0, warmup=0.1),
        description="of the discriminator; decay 0 makes AdamW Adam (reference code: 2e-4, the main player's is 2e-3)",
    )
    missing: Literal["central", "blocks", "region"] = Field(
        "blocks", description="central square, random blocks, or random irregular regions (paper, for features: region)"
    )
    block: float = Field(0.4, gt=0, le=0.75, description="side of a block, share of the image's; at least a pixel")
    blocks: int = Field(5, ge=1, le=64, description="blocks per image: 5 cover about half of it (paper: a quarter)")
    cells: int = Field(8, ge=2, le=64, description="noise cells along a side: fewer make larger regions (code: 7.7)")
    bank: Positive = Field(256, description="masks in the bank; each is used in 8 symmetries and at every shift")
    overlap: float | None = Field(
        None, ge=0, le=0.1, description="width of the band, share of the side; null = 7/128 if central (paper), else 0"
    )
    overlap_weight: float = Field(10.0, ge=1, description="of squared errors in the band (paper: 10)")
    adversarial: float = Field(
        0.001,
        ge=0,
        lt=1,
        description="lambda; the other loss weighs 1 - lambda; 0 = no discriminator (paper: 0.001)",
    )
    discriminator_width: Positive = Field(
        16, description="channels of its first convolution (paper: 64, as its encoder)"
    )
    crop_min: float = Field(0.5, gt=0, le=1, description="smallest share of the area in a crop (code: 128 of 350 px)")
