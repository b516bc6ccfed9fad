"""What may be configured about the network, its optimisation and the device.

Imports neither torch nor anything that does, so that a configuration is read, checked and rejected
within milliseconds.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

BlockCount = Annotated[int, Field(ge=1, le=8)]
Width = Annotated[int, Field(ge=1)]
MOST_STAGES = 16
"""The last of them leaves one pixel of an image of 32,768."""


class StemConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How the network begins; that of ResNet, for photos, halves the image twice."""

    stride: int = Field(
        1, ge=1, le=2, description="Stride of the first convolution: 1 (3x3), or 2 (7x7)."
    )
    pool: bool = Field(
        False, description="Halve the resolution after it: 3x3 max pool with stride 2."
    )

    @property
    def kernel_size(self) -> int:
        """Height and width of the first convolution's kernel."""
        return 7 if self.stride == 2 else 3


class NetworkConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Shape of the residual network."""

    stem: StemConfig = StemConfig()
    blocks: tuple[BlockCount, ...] = Field(
        (2, 2, 2),
        min_length=1,
        max_length=MOST_STAGES,
        description="Residual blocks of each stage, 1 to 8; one number for each width.",
    )
    widths: tuple[Width, ...] = Field(
        (64, 128, 256),
        min_length=1,
        max_length=MOST_STAGES,
        description="Channels of each stage; the stem has the first, each further stage halves.",
    )
    dropout: float = Field(
        0.1, ge=0, lt=1, description="Probability that a block drops a whole channel."
    )
    activation: Literal["relu", "leaky_relu", "elu", "gelu", "selu"] = Field(
        "relu", description="Non-linearity after every convolution and every block."
    )
    batch_norm: bool = Field(True, description="Normalise after every convolution.")
    residual: bool = Field(True, description="Add each block's input to its output.")
    zero_init_last_norm: bool = Field(
        False, description="Start each block as its shortcut: last norm's weight at zero."
    )

    @model_validator(mode="after")
    def _every_stage_has_blocks_and_a_width(self) -> Self:
        if len(self.blocks) != len(self.widths):
            n_widths = len(self.widths)
            fitting = ",".join(map(str, [*self.blocks, *[2] * n_widths][:n_widths]))
            raise ValueError(
                f"blocks must have one number for each of {n_widths} widths, received "
                f"{list(self.blocks)}: set network.blocks=[{fitting}], or other network.widths"
            )
        return self

    @model_validator(mode="after")
    def _zero_init_needs_norm_and_shortcut(self) -> Self:
        """Reject a network whose blocks would start, and stay, at zero."""
        if self.zero_init_last_norm and not (self.batch_norm and self.residual):
            raise ValueError(
                "zero_init_last_norm needs batch_norm=True and residual=True, received "
                f"batch_norm={self.batch_norm} and residual={self.residual}: "
                "set zero_init_last_norm=False"
            )
        return self


class OptimizationConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How the weights are fitted."""

    optimizer: Literal["sgd", "adam", "adamw"] = Field(
        "sgd", description="sgd has Nesterov momentum; adam couples weight decay, adamw does not."
    )
    learning_rate: float = Field(0.1, gt=0, description="Peak learning rate, after warm-up.")
    weight_decay: float = Field(5e-4, ge=0, description="Weight decay of kernels and matrices.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Nesterov momentum; sgd only.")
    decay_norm_and_bias: bool = Field(
        False, description="Decay normalisation weights and biases too."
    )
    schedule: Literal["cosine", "restarts", "constant"] = Field(
        "cosine",
        description="After warm-up: one cosine to zero, cosines with restarts, or the peak kept.",
    )
    restart_epochs: int = Field(
        20, ge=1, description="Epochs from the end of warm-up to the first restart; restarts only."
    )
    restart_factor: int = Field(
        2, ge=1, description="Length of each cosine divided by the one before; restarts only."
    )
    warmup_epochs: float = Field(
        1.0, ge=0, description="Epochs of linear warm-up; must be shorter than the run."
    )
    label_smoothing: float = Field(
        0.0, ge=0, lt=1, description="Share of each target spread over all classes, training only."
    )
    gradient_clip_norm: float | None = Field(
        None, gt=0, description="Largest norm of the whole gradient; none: never clipped."
    )
    ema_decay: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="Evaluate a moving average of the weights; none: none is kept.",
    )
    batch_size: int = Field(128, ge=1, description="Images per training step.")


class EvaluationConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """How a network is judged."""

    flip_average: bool = Field(
        False,
        description="Average the logits of an image and its mirror image, at validation and test.",
    )


class DeviceConfig(BaseModel, frozen=True, extra="forbid", allow_inf_nan=False):
    """Where and in which precision the network runs."""

    device: str = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto (first GPU, else CPU), cpu, cuda or cuda:N.",
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="auto: bfloat16 autocast on CUDA, float32 elsewhere."
    )
    compile: bool = Field(
        False, description="Compile the network: pays for runs longer than a few minutes."
    )
    channels_last: bool = Field(True, description="Keep channels innermost in memory.")

    @field_validator("device", mode="before")
    @classmethod
    def _device_in_any_case(cls, value: Any) -> Any:
        return value.lower() if isinstance(value, str) else value
