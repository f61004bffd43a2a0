"""The autoencoders against the paper's sizes, and the divergence of their codes."""

import pytest
import torch
from torch import nn
from wellposed.errors import IncompatibleError, ParameterError, ShapeError, WeightsError
from wellposed.plugins.generative_bilinear import trained as trained_module
from wellposed.plugins.generative_bilinear.autoencoders import PooledAutoencoder
from wellposed.plugins.generative_bilinear.blocks import ToOneChannel
from wellposed.plugins.generative_bilinear.vae import BlurVae, FaceVae, MnistVae, SvhnVae
from wellposed.training.trained import _read


def sizes(network, x):
    """Return what the encoder's layers give, and what the decoder's take and give."""
    found = []
    kinds = (nn.Conv2d, nn.MaxPool2d, nn.Linear)
    hooks = [
        module.register_forward_hook(lambda m, i, o: found.append(tuple(o.shape[1:])))
        for module in network.modules()
        if isinstance(module, kinds)
    ]
    mean, _ = network.encode(x)
    network.decode(mean)
    for hook in hooks:
        hook.remove()
    v = torch.rand(2, *network.inner)
    for layer in (network.first, network.second, network.last):
        v = v if layer is network.last else nn.functional.interpolate(v, scale_factor=2)
        v = layer(v)
        found.append(tuple(v.shape[1:]))
    return found


def test_the_blur_network_is_that_of_section_4_1():
    network = BlurVae().for_training(seed=0).trained
    assert sizes(network, torch.rand(2, 1, 28, 28)) == [
        (20, 27, 27), (20, 13, 13), (20, 12, 12), (20, 6, 6), (50,), (50,),
        (720,), (20, 13, 13), (20, 27, 27), (1, 28, 28),
    ]  # fmt: skip


def test_the_mnist_network_is_that_of_section_4_3():
    network = MnistVae().for_training(seed=0).trained
    assert sizes(network, torch.rand(2, 1, 28, 28)) == [
        (20, 26, 26), (20, 13, 13), (20, 11, 11), (20, 5, 5), (500,), (100,), (100,),
        (500,), (20, 12, 12), (20, 26, 26), (1, 28, 28),
    ]  # fmt: skip


def outputs(layers, v):
    """Return what each convolution and dense layer gives for v, and the last of all."""
    found = []
    for layer in layers:
        v = layer(v)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            found.append(tuple(v.shape[1:]))
    return found, v


def test_the_svhn_network_is_that_of_section_4_3():
    network = SvhnVae().for_training(seed=0).trained
    down, values = outputs(network.encoder, torch.rand(2, 3, 32, 32))
    assert down == [(128, 16, 16), (256, 8, 8), (512, 4, 4)]
    assert values.shape == (2, 8192)
    assert {m.kernel_size for m in network.encoder if isinstance(m, nn.Conv2d)} == {(2, 2)}
    up, picture = outputs(network.decoder, network.dense(torch.randn(2, 100)).reshape(2, 512, 4, 4))
    assert up == [(512, 8, 8), (256, 16, 16), (128, 32, 32), (3, 32, 32)]
    assert network.decoder[-2].kernel_size == (1, 1)
    assert isinstance(network.decoder[-1], nn.Sigmoid)
    kinds = [type(m).__name__ for m in network.decoder]
    assert kinds[:-2] == 3 * ["ConvTranspose2d", "BatchNorm2d", "ReLU"]
    code = torch.randn(2, 100)
    again = network.decoder(network.dense(code).reshape(2, 512, 4, 4))
    torch.testing.assert_close(network.decode(code), again)
    assert 0 <= picture.min() and picture.max() <= 1


def test_the_face_network_is_a_dcgan_and_linear_paths():
    network = FaceVae(width=4).for_training(seed=0).trained
    down, _ = outputs(network.encoder, torch.rand(2, 3, 64, 64))
    assert down == [(4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4)]
    up, _ = outputs(network.decoder, torch.rand(2, 32, 4, 4))
    assert up == [(16, 8, 8), (8, 16, 16), (4, 32, 32), (3, 64, 64)]
    code = torch.randn(2, 128)
    with torch.no_grad():
        fine = network.decoder(network.dense(code).reshape(2, 32, 4, 4))
        coarse = nn.Upsample(scale_factor=2, mode="bilinear")(
            network.coarse(code).reshape(2, 3, 32, 32)
        )
        torch.testing.assert_close(network.decode(code), (fine + coarse + 1) / 2)
        # with nothing to add, what is coded is the picture at half the size
        network.mean.weight.zero_()
        x = torch.rand(2, 3, 64, 64)
        halved = x.reshape(2, 3, 32, 2, 32, 2).mean((3, 5))
        wanted = (2 * halved - 1).flatten(1) @ network.coarse_mean.weight.T
        torch.testing.assert_close(network.encode(x)[0], wanted)


def test_a_prior_follows_the_precision_of_the_measurement():
    prior = MnistVae()
    assert prior.out_space.dtype == torch.float32
    assert prior.to(dtype=torch.float64).out_space.dtype == torch.float64
    trained = prior.for_training(seed=0).to(dtype=torch.float64)
    assert trained.out_space.dtype == torch.float64


def test_without_any_weights_a_path_is_asked_for():
    with pytest.raises(ParameterError, match="no weights of SvhnVae are installed"):
        SvhnVae().decode(torch.randn(100))


@pytest.mark.parametrize("kernel", [2, 3])
def test_the_decoder_is_its_layers_by_hand(kernel):
    network = PooledAutoencoder(kernel=kernel, latent=4, width=3, hidden=False).double()
    network.initialise(torch.Generator().manual_seed(1))
    code = torch.randn(5, 4, dtype=torch.float64)
    v = torch.relu(network.dense(code)).reshape(5, *network.inner)
    up = nn.Upsample(scale_factor=2, mode="nearest")
    v = torch.relu(network.first(up(v)))
    v = torch.relu(network.second(up(v)))
    torch.testing.assert_close(network.decode(code), torch.sigmoid(network.last(v)))


def test_a_network_that_is_given_may_go_on_changing():
    prior = MnistVae(latent=4, width=2).for_training(seed=0)
    prior.trained.requires_grad_(False)
    code = torch.randn(3, 4)
    before = prior.decode(code)
    prior.trained.second.weight.add_(0.1)
    after = prior.decode(code)
    assert not torch.allclose(before, after)
    torch.testing.assert_close(after, prior.trained.decode(code))


def test_installed_weights_are_laid_out_once(monkeypatch):
    laid_out = []
    of = ToOneChannel.of
    monkeypatch.setattr(ToOneChannel, "of", lambda layer: laid_out.append(layer) or of(layer))
    prior, code = BlurVae(), torch.randn(3, 50)
    first = prior.decode(code)
    torch.testing.assert_close(prior.decode(code), first, rtol=0, atol=0)
    assert len(laid_out) == 1
    assert prior.decode(code.double()).dtype == torch.float64
    assert len(laid_out) == 2


@pytest.mark.parametrize("layer", ["first", "second", "last", "dense"])
def test_installed_weights_that_are_changed_are_laid_out_again(monkeypatch, layer):
    trained = MnistVae(latent=4, width=2).for_training(seed=0)
    trained.trained.requires_grad_(False)
    monkeypatch.setattr(trained_module, "prior_from_weights", lambda *a, **k: trained)
    prior, code = MnistVae(latent=4, width=2, weights="x"), torch.randn(3, 4)
    before = prior.decode(code)
    weight = getattr(prior.loaded(), layer).weight
    weight.mul_(2)
    assert not torch.allclose(prior.decode(code), before)
    torch.testing.assert_close(prior.decode(code), prior.loaded().decode(code))
    weight.requires_grad_()
    for _ in range(2):
        weight.grad = None
        prior.decode(code).sum().backward()
        assert weight.grad.abs().sum() > 0


def test_codes_and_pictures_of_other_shapes():
    prior = MnistVae(latent=4, width=2).for_training(seed=0)
    with pytest.raises(ShapeError, match=r"MnistVae expects z of shape .*4\); got \(3, 8\)"):
        prior.decode(torch.randn(3, 8))
    with pytest.raises(ShapeError, match=r"MnistVae expects x of shape .*got \(2, 1, 14, 28\)"):
        prior.encode(torch.rand(2, 1, 14, 28))


def test_the_divergence_is_that_of_two_normal_distributions():
    prior = MnistVae(latent=6, width=2).for_training(seed=3)
    x = torch.rand(4, 1, 28, 28)
    with torch.no_grad():
        mean, log_variance = prior.trained.encode(x)
        found = prior.reconstructed(x, sampling=True)
        mine = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
        wanted = torch.distributions.kl_divergence(mine, torch.distributions.Normal(0.0, 1.0))
        torch.testing.assert_close(found.parts["divergence"], wanted.sum(-1))
        plain = prior.reconstructed(x, sampling=False).picture
        torch.testing.assert_close(plain, prior.decode(prior.encode(x)))
        assert not torch.allclose(found.picture, plain)


def test_codes_are_drawn_around_their_mean():
    prior = BlurVae(latent=2, width=2).for_training(seed=3)
    x = torch.rand(1, 1, 28, 28)
    prior.trained.decode = lambda code: code  # what the decoder is given
    torch.manual_seed(0)
    with torch.no_grad():
        mean, log_variance = prior.trained.encode(x)
        codes = torch.cat([prior.reconstructed(x, sampling=True).picture for _ in range(4000)])
    torch.testing.assert_close(codes.mean(0), mean[0], atol=0.05, rtol=0)
    torch.testing.assert_close(codes.std(0), (0.5 * log_variance[0]).exp(), atol=0.05, rtol=0)


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_kernels_sum_to_one_and_digits_are_left_alone(batch):
    for cls in (BlurVae, MnistVae):
        prior = cls(latent=4, width=2).for_training(seed=0)
        picture = prior.decode(torch.randn(*batch, 4))
        assert picture.shape == (*batch, 1, 28, 28)
        total = picture.sum((-2, -1))
        assert torch.allclose(total, torch.ones_like(total)) == (cls is BlurVae)
        assert prior.encode(picture).shape == (*batch, 4)


def test_weights_that_are_not_there(tmp_path):
    with pytest.raises(WeightsError, match="no installed weights of a prior called nothing"):
        BlurVae(weights="nothing").decode(torch.randn(50))
    with pytest.raises(WeightsError, match="there are no weights"):
        BlurVae(weights=str(tmp_path / "gone.safetensors")).decode(torch.randn(50))


def test_weights_of_another_prior(monkeypatch):
    other = MnistVae(latent=4, width=2).for_training(seed=0)
    monkeypatch.setattr(
        "wellposed.plugins.generative_bilinear.trained.prior_from_weights", lambda *a, **k: other
    )
    with pytest.raises(IncompatibleError, match=r"^weights: the weights mine belong to MnistVae"):
        BlurVae(weights="mine").decode(torch.randn(50))


@pytest.mark.parametrize(("wrong", "where"), [({"latent": 5}, "latent"), ({"width": 3}, "width")])
def test_weights_of_another_size(monkeypatch, wrong, where):
    other = MnistVae(latent=4, width=2).for_training(seed=0)
    monkeypatch.setattr(
        "wellposed.plugins.generative_bilinear.trained.prior_from_weights", lambda *a, **k: other
    )
    prior = MnistVae(weights="mine", **{"latent": 4, "width": 2, **wrong})
    with pytest.raises(IncompatibleError, match=rf"^{where}: .* latent 4 and width 2; got"):
        prior.decode(torch.randn(prior.latent))


def test_weights_may_be_read_first_inside_a_transform():
    _read.cache_clear()
    codes = torch.randn(3, 50)
    mapped = torch.func.vmap(BlurVae().decode)(codes)
    torch.testing.assert_close(mapped, BlurVae().decode(codes))


def test_a_folder_called_as_installed_weights_does_not_hide_them(tmp_path, monkeypatch):
    (tmp_path / "blur_a").mkdir()
    monkeypatch.chdir(tmp_path)
    assert BlurVae().decode(torch.randn(50)).shape == (1, 28, 28)
