"""The networks as the paper draws them, layer by layer, with autograd: the oracle of the tests.

Layers and losses as in the authors' code; see the facts in the plugin's docstrings.
"""

import torch
import torch.nn.functional as F


def generate(weights, x):
    """Push `(N, C, H, W)` through the layers, the stride in the last; one set of weights each."""
    out = []
    for n in range(len(x)):
        h = x[n].unsqueeze(1)  # channels as a batch of grey pictures
        for i, weight in enumerate(weights):
            h = F.conv2d(h, weight[n], stride=2 if i == len(weights) - 1 else 1)
        out.append(h.squeeze(1))
    return torch.stack(out)


def spectral(weight, left):
    """Return the weight over its spectral norm, after one power iteration, and its new vector."""
    flat = weight.flatten(1)
    with torch.no_grad():
        right = F.normalize(flat.T @ left, dim=0, eps=1e-12)
        left = F.normalize(flat @ right, dim=0, eps=1e-12)
    return weight / (left @ flat @ right), left


class Judge:
    """One discriminator, its parameters taken out of the stacked ones."""

    def __init__(self, net, n, channels):
        shapes = [(64, channels, 7, 7), *[(64, 64, 1, 1)] * 5, (1, 64, 1, 1)]
        self.weights, self.biases, self.lefts = [], [], []
        for i, shape in enumerate(shapes):
            rows, columns = shape[0], shape[1] * shape[2] * shape[3]
            weight = net.weight[i, n, :rows, :columns].reshape(shape).clone()
            self.weights.append(weight.requires_grad_())
            bias = torch.zeros(rows, dtype=weight.dtype)
            if i == 6:
                bias = net.bias[n].reshape(1).clone()
            self.biases.append(bias.requires_grad_())
            self.lefts.append(net.left.unflatten(0, (7, -1))[i, n, :rows, 0].clone())
        self.gains = net.gain[:, n, :, 0].clone().requires_grad_()
        self.shifts = net.shift[:, n, :, 0].clone().requires_grad_()

    @property
    def parameters(self):
        return [*self.weights, *self.biases, self.gains, self.shifts]

    def __call__(self, x):
        h = x[None]
        for i in range(7):
            weight, self.lefts[i] = spectral(self.weights[i], self.lefts[i])
            h = F.conv2d(h, weight, self.biases[i])
            if 1 <= i <= 5:
                h = F.batch_norm(
                    h, None, None, self.gains[i - 1], self.shifts[i - 1], training=True
                )
                h = F.relu(h)
        return torch.sigmoid(h)[0, 0]


def regularization(k, alpha, beta, gamma, delta, power=0.2):
    side = k.shape[-1]
    at = torch.arange(side, dtype=k.dtype)
    hill = torch.exp(-((at - side // 2) ** 2) / (2 * side**2))
    mask = 30 * (1 - hill[:, None] * hill)
    mask[2:-2, 2:-2] = 0
    rows = (k.sum(1) * at).sum() / k.sum()
    columns = (k.sum(0) * at).sum() / k.sum()
    goal = side // 2 + 0.5
    return (
        alpha * (1 - k.sum()).abs()
        + beta * (k * mask).abs().mean()
        + gamma * k.abs().pow(power).mean()
        + delta * ((rows - goal) ** 2 + (columns - goal) ** 2) / 2
    )


class Run:
    """One sample of a `Training`, trained layer by layer with autograd and torch's Adam."""

    def __init__(self, training, n, channels):
        self.training, self.n = training, n
        self.weights = [
            w[n : n + 1].detach().clone().requires_grad_() for w in training.generator.weights
        ]
        self.judge = Judge(training.net, n, channels)
        self.adams = [
            torch.optim.Adam(p, lr=2e-4, betas=(0.5, 0.999))
            for p in (self.weights, self.judge.parameters)
        ]

    @property
    def kernel(self):
        k = self.weights[0][0]  # (64, 1, 7, 7): as channels of one picture
        impulse = torch.zeros(1, 1, 25, 25, dtype=k.dtype)
        impulse[0, 0, 12, 12] = 1
        for weight in self.weights:
            impulse = F.conv2d(impulse, weight[0])
        return impulse.flip(2, 3)[0, 0]

    def step(self, crop, real, noise, bicubic, weights, sum_channels):
        """Train once on crops in [-1, 1]; weights: of the bicubic loss, gamma and delta."""
        made = generate(self.weights, crop[None])[0]
        target = F.conv2d(crop[:, None], bicubic[None, None], stride=2)[:, 0]
        if sum_channels:
            target = target.sum(0, keepdim=True).expand_as(target)
        distance = F.mse_loss(made, target)
        loss = (self.judge(made) - 1).abs().mean() + weights[0] * distance
        loss = loss + regularization(self.kernel, 0.5, 0.5, *weights[1:])
        grads = torch.autograd.grad(loss, self.weights)
        for weight, grad in zip(self.weights, grads, strict=True):
            weight.grad = grad
        self.adams[0].step()
        made = generate(self.weights, crop[None])[0].detach()
        loss = (self.judge(real) - 1).abs().mean() + self.judge(made + noise / 255).abs().mean()
        for parameter, grad in zip(
            self.judge.parameters,
            torch.autograd.grad(loss / 2, self.judge.parameters),
            strict=True,
        ):
            parameter.grad = grad
        self.adams[1].step()
        return float(distance.detach())
