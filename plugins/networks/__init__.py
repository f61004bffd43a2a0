"""Manifest of the networks: what learned solvers train, and papers compare with."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, Example, hookimpl

_HERE = "wellposed.plugins.networks"
_SR = "super-resolution"


def _network(name: str, target: str, summary: str, source: str, *tags: str) -> ComponentSpec:
    return ComponentSpec(
        kind="network",
        name=name,
        target=f"{_HERE}.{target}",
        summary=summary,
        source=source,
        tags=tags,
    )


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield networks, the solver that restores by one alone, and what makes their conditions."""
    yield ComponentSpec(
        kind="solver",
        name="network",
        target=f"{_HERE}.solver:NetworkSolver",
        summary="One pass of a trained network",
        source="Dong et al., 2014, Learning a deep convolutional network for image "
        "super-resolution, equation (3)",
    )
    yield _network(
        "context_encoder",
        "context_encoder:ContextEncoder",
        "Autoencoder with a channel-wise fully connected middle, for 64 x 64 pixels",
        "Pathak et al., 2016, Context encoders; Guo et al., 2021, Deep likelihood network",
        "inpainting",
    )
    yield _network(
        "vdsr",
        "vdsr:Vdsr",
        "20 layers of 3x3 convolutions and a bicubic skip",
        "Kim, Lee and Lee, 2016, Accurate image super-resolution using very deep convolutional "
        "networks",
        _SR,
    )
    yield _network(
        "drrn",
        "drrn:Drrn",
        "One pair of convolutions, applied nine times, and a bicubic skip",
        "Tai, Yang and Liu, 2017, Image super-resolution via deep recursive residual network; "
        "Guo et al., 2021, Deep likelihood network",
        _SR,
    )
    yield _network(
        "idn",
        "idn:Idn",
        "Four blocks that distil their features, and a bicubic skip",
        "Hui, Wang and Gao, 2018, Fast and accurate single image super-resolution via information "
        "distillation network",
        _SR,
    )
    yield _network(
        "srcnn",
        "srcnn:Srcnn",
        "Three layers that sharpen an interpolated picture",
        "Dong et al., 2014, Learning a deep convolutional network for image super-resolution",
        _SR,
    )
    yield _network(
        "dncnn",
        "vdsr:Dncnn",
        "17 layers with batch normalisation that learn the noise",
        "Zhang et al., 2017, Beyond a Gaussian denoiser",
        "denoising",
    )
    yield _network(
        "unet",
        "unet:Unet",
        "U-Net with a skip around it, for real or complex pictures of any size",
        "Ronneberger, Fischer and Brox, 2015, U-Net; Jin et al., 2017, Deep convolutional neural "
        "network for inverse problems in imaging",
        "mri",
        "ct",
    )
    yield _network(
        "srgan_generator",
        "srgan:SrganGenerator",
        "16 residual blocks and pixel shuffling: the generator of SRGAN, SRResNet",
        "Ledig et al., 2017, Photo-realistic single image super-resolution using a generative "
        "adversarial network",
        _SR,
    )
    yield _network(
        "edge_connect",
        "edge_connect:EdgeConnect",
        "EdgeConnect's generator: residual blocks that fill gaps along a given map of edges",
        "Nazeri et al., 2019, EdgeConnect: generative image inpainting with adversarial edge "
        "learning; Guo et al., 2021, Deep likelihood network",
        "inpainting",
    )
    yield _network(
        "vespcn",
        "vespcn:Vespcn",
        "Three frames of a video, aligned by estimated motion, to the middle one enlarged",
        "Caballero et al., 2017, Real-time video super-resolution with spatio-temporal networks "
        "and motion compensation",
        _SR,
        "video",
    )
    yield _network(
        "inversenet_unet",
        "inversenet:InverseNetUnet",
        "U-Net of strided convolutions that inverts an operator: InverseNet's first half",
        "Fan et al., 2017, InverseNet, table 3; Isola et al., 2017, Image-to-image translation "
        "with conditional adversarial networks",
    )
    yield _network(
        "inversenet_dae",
        "inversenet:InverseNetDae",
        "Autoencoder between two pixel shuffles that cleans up: InverseNet's second half",
        "Fan et al., 2017, InverseNet, table 4",
        "denoising",
    )
    yield _network(
        "hradis_cnn",
        "hradis:HradisCnn",
        "15 plain convolutions, from 19 x 19 to 1 x 1, for blind deblurring",
        "Hradis, Kotera, Zemcik and Sroubek, 2015, Convolutional neural networks for direct text "
        "deblurring",
        "deblurring",
    )
    yield _network(
        "squeezenet_features",
        "squeezenet:SqueezeNetFeatures",
        "Features of SqueezeNet 1.1, for losses that compare pictures by them",
        "Iandola et al., 2016, SqueezeNet: AlexNet-level accuracy with 50x fewer parameters",
        "features",
    )
    yield _network(
        "alexnet_features",
        "alexnet:AlexNetFeatures",
        "Features of AlexNet, its FC6 or a convolution: InverseNet's comparator",
        "Krizhevsky, Sutskever and Hinton, 2012, ImageNet classification with deep convolutional "
        "neural networks; Fan et al., 2017, InverseNet, appendix A",
        "features",
    )
    yield ComponentSpec(
        kind="condition",
        name="canny",
        target=f"{_HERE}.edges:Canny",
        summary="Canny's edges of the true picture, which edge_connect is given",
        source="Canny, 1986, A computational approach to edge detection; Guo et al., 2021, Deep "
        "likelihood network, section IV-C",
        extras=("skimage",),
    )
    yield ComponentSpec(
        kind="condition",
        name="shifted_frames",
        target=f"{_HERE}.frames:ShiftedFrames",
        summary="Frames of a camera that moves before a still picture, which vespcn is given",
        source="Caballero et al., 2017, Real-time video super-resolution with spatio-temporal "
        "networks and motion compensation, section 2",
        tags=("video",),
    )


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield strategies that draw small ones."""
    yield Example(kind="solver", name="network", target=f"{_HERE}.examples:network")
    for name in (
        "context_encoder",
        "vdsr",
        "drrn",
        "idn",
        "srcnn",
        "dncnn",
        "unet",
        "srgan_generator",
        "edge_connect",
        "vespcn",
        "squeezenet_features",
        "alexnet_features",
        "inversenet_unet",
        "inversenet_dae",
        "hradis_cnn",
    ):
        yield Example(kind="network", name=name, target=f"{_HERE}.examples:{name}")
    for name in ("canny", "shifted_frames"):
        yield Example(kind="condition", name=name, target=f"{_HERE}.examples:{name}")
