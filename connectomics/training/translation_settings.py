"""How a translation is judged while it is learnt: weights of its losses, each off at 0."""

from pydantic import Field, model_validator

from connectomics.networks.contract import Head
from connectomics.roi import IntTriple
from connectomics.settings import Settings


class TranslationSettings(Settings):
    """Weights of the losses, and what they need. Grey values count in standard deviations of the targets."""

    l1: float = Field(default=1.0, ge=0)
    """Weight of the mean absolute error."""
    nll: float = Field(default=1.0, ge=0)
    """Weight of the Gaussian negative log-likelihood, which trains the variance; 0: no variance head."""
    beta: float = Field(default=0.5, ge=0, le=1)
    """Likelihood terms weigh by the predicted variance to this power, so that hard voxels keep their gradient
    (doi:10.48550/arXiv.2203.09168); 0: plain likelihood."""
    ssim: float = Field(default=0.0, ge=0)
    """Weight of 1 - structural similarity (MONAI)."""
    membrane: float = Field(default=0.0, ge=0)
    """Weight of the cross-entropy between an EM network's affinities on real and translated images."""
    membrane_model: str | tuple[str, ...] | None = None
    """EM segmentation model (name or folder) for the membrane loss, at the target's voxel size; of several,
    each step looks through one, drawn at random."""
    membrane_crop: IntTriple = (48, 48, 48)
    """Voxels of each target crop that the membrane loss looks at, at a place that changes with every step."""
    adversarial: float = Field(default=0.0, ge=0)
    """Weight of an adversarial loss against MONAI's patch discriminator."""
    discriminator_channels: int = Field(default=16, ge=1)
    """Channels of the discriminator's first layer."""
    discriminator_layers: int = Field(default=2, ge=1)
    """Layers of the discriminator; each halves the resolution."""
    discriminator_lr: float = Field(default=2e-4, gt=0)
    """Learning rate of the discriminator (Adam)."""
    tolerance: int = Field(default=1, ge=0, le=4)
    """Misregistration that the losses overlook: each crop is compared with its target shifted by up to so
    many target voxels along each axis, where it fits best."""
    tolerance_price: float = Field(default=0.005, ge=0)
    """What a shift must gain in mean absolute error, per voxel of it, to be taken."""
    samples: int | None = Field(default=None, ge=1)
    """Passes with which the uncertainty is calibrated: those that prediction will take. Default: one a
    member; 8 for one network with dropout."""

    @model_validator(mode="after")
    def _complete(self) -> "TranslationSettings":
        if self.membrane and not self.membrane_models:
            raise ValueError("membrane: give membrane_model, the EM network that it looks through")
        if not (self.l1 or self.nll):
            raise ValueError("l1, nll: one of them must be positive, or grey values mean nothing")
        return self

    @property
    def membrane_models(self) -> tuple[str, ...]:
        """Every model of the membrane loss."""
        one_or_more = self.membrane_model
        return (one_or_more,) if isinstance(one_or_more, str) else one_or_more or ()

    def heads(self) -> tuple[Head, ...]:
        """The network's heads, in channel order."""
        grey = Head(kind="intensity")
        return (grey, Head(kind="log_variance")) if self.nll else (grey,)
