"""The linear probe: multinomial logistic regression on standardised features, its penalty chosen on validation.

minimise over W (D, K), b (K):   1/n sum_i CE(W' x_i + b, y_i)  +  l2/2 ||W||^2        (the bias goes free)

in coordinates where L-BFGS has an easy time. With X'X/n = V diag(v) V', the Hessian is about v/K + l2 along each column
of V, so U = V' W / s with s = (v/K + l2)^(-1/2) makes it about the identity. The optimum is the same one, the number of
iterations falls several times (the badly conditioned features of narrow encoders are the usual case), and directions
that the training images do not span drop out, where W is zero at the optimum anyway. The loss and its gradient are
computed on the device, for few enough images at once that their logits stay small. SciPy's L-BFGS takes the steps, in
one thread of the CPU. With many classes the vectors are long, and this would take longer than the loss does: then
torch's L-BFGS takes the steps, on the device. (Building any of torch's optimizers imports its compiler, which takes
4 to 9 seconds.)
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
from torch import Tensor

from pretextbench.errors import UserError

Floats = npt.NDArray[np.float64]
TINY = 1e-6  # a standard deviation, or a share of the largest variance, that is rounding error in float32
FLOOR = -60.0  # nats: smaller probabilities change no sum, but become denormal numbers, which are 15 times as slow
SMALL = 2**30  # products of features and weights from which threads help: fewer gain nothing, or lose tenfold
CHUNK = {"cpu": 2**20, "other": 2**26}  # logits at once: 4 MiB, which a CPU's caches hold, or 256 MiB
LONG = 2**16  # weights from which torch's L-BFGS is faster than SciPy's
MEMORY, FLAT = 20, 1e-6  # of L-BFGS: steps that it remembers, and the slope at which it stops
CHANGE = {"short": 1e-8, "long": 1e-6}  # of the loss, at which it stops: 1e-6 saves a third of the steps


@dataclass(frozen=True)
class Model:
    """A fitted probe: p(class | x) = softmax(scale(x) @ weight + bias)."""

    mean: Tensor  # (D,)
    std: Tensor  # (D,), 1 where the training features do not vary
    weight: Tensor  # (D, K)
    bias: Tensor  # (K,), -inf for a class without a training example
    l2: float
    loss: float  # mean cross-entropy plus penalty at the end, nats
    iterations: int
    converged: bool  # stopped by itself, not by the limit

    def probabilities(self, features: Tensor) -> Tensor:
        """(n, D) -> (n, K) on the CPU, rows sum to 1."""
        x = (features.to(self.mean.device) - self.mean) / self.std
        return (x @ self.weight + self.bias).softmax(1).cpu()


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (D,) of (n, D) features; 1 where they do not vary."""
    std, mean = torch.std_mean(x, 0, correction=0)
    return mean, torch.where(std > TINY * mean.abs().clamp(min=1), std, 1.0)


def eigenbasis(x: Tensor) -> tuple[Tensor, Tensor]:
    """Directions (D, r) in which (n, D) standardised features vary, orthonormal, and the variance (r,) along each.

    With n < D they are made from the products of the rows, of which there are fewer: the optimum lies in their span.
    """
    few = len(x) < x.shape[1]
    table = x.double() @ x.T.double() if few else (x.T @ x / len(x)).double()
    variance, basis = torch.linalg.eigh(table)
    informative = variance > TINY * variance[-1].clamp(min=TINY)
    variance, basis = variance[informative], basis[:, informative]
    if few:
        variance, basis = variance / len(x), x.T.double() @ basis / variance.sqrt()
    return basis.to(x.dtype), variance.to(x.dtype)


@dataclass(frozen=True)
class Problem:
    """Training data in the eigenbasis of its covariance; solved once per penalty."""

    mean: Tensor  # (D,)
    std: Tensor  # (D,)
    basis: Tensor  # (D, r): V
    variance: Tensor  # (r,): v
    z: Tensor  # (n, r): standardised features in that basis
    target: Tensor  # (n,) into `present`
    present: Tensor  # (K',) classes that have a training example
    classes: int  # K

    @classmethod
    def of(cls, features: Tensor, labels: Tensor, classes: int, device: torch.device) -> "Problem":
        """Standardise and rotate (n, D) features; every label is a class, none is -1."""
        x = features.to(device)
        mean, std = moments(x)
        x = (x - mean) / std
        basis, variance = eigenbasis(x)
        present, target = labels.to(device).unique(return_inverse=True)
        return cls(mean, std, basis, variance, x @ basis, target, present, classes)

    def solve(self, l2: float, steps: int, start: tuple[Tensor, Tensor] | None = None) -> tuple[Model, Tensor, Tensor]:
        """The optimum for one penalty, from `start` (weights in the basis, bias): model, weights, bias."""
        rank, count = self.z.shape[1], len(self.present)
        scale = (self.variance / count + l2).rsqrt()[:, None]  # (r, 1): s
        scale = torch.cat([scale, scale.new_full((1, 1), count**0.5)])  # (r + 1, 1): the last row is the bias
        weight, bias = start or (self.z.new_zeros(rank, count), self.z.new_zeros(count))
        u = torch.cat([weight, bias[None]]) / scale

        def objective(u: Tensor) -> tuple[float, Tensor]:
            loss, gradient = self._loss(scale * u.to(self.z), l2)
            return loss, (scale * gradient).double()

        step = _walk_on_device if u.numel() >= LONG else walk
        u, loss, iterations = step(objective, u.double(), steps)
        w = scale * u.to(self.z)
        return self._model(w[:-1], w[-1], l2, loss, iterations, iterations < steps), w[:-1], w[-1]

    def _loss(self, w: Tensor, l2: float) -> tuple[float, Tensor]:
        """Objective and gradient at weights and bias (r + 1, K'); the loss is summed in double precision."""
        size = max(1, CHUNK["cpu" if w.device.type == "cpu" else "other"] // w.shape[1])
        parts = zip(self.z.split(size), self.target.split(size), strict=True)
        likelihoods, gradients = zip(*(self._likelihood(w, z, target) for z, target in parts), strict=True)
        loss = -sum(likelihoods[1:], likelihoods[0]) / len(self.z) + l2 / 2 * w[:-1].double().square().sum()
        gradient = sum(gradients[1:], gradients[0])
        gradient[:-1] += l2 * w[:-1]
        return float(loss), gradient

    def _likelihood(self, w: Tensor, z: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Summed log-likelihood of some rows, and their part of the gradient of minus its mean; no copies of logits."""
        rows = torch.arange(len(z), device=z.device)
        log_p = (z @ w[:-1]).add_(w[-1]).log_softmax(1)  # (B, K')
        likelihood = log_p[rows, target].double().sum()
        error = log_p.clamp_min_(FLOOR).exp_()
        error[rows, target] -= 1
        error /= len(self.z)  # d loss / d logits
        return likelihood, torch.cat([z.T @ error, error.sum(0, keepdim=True)])

    def _model(self, weight: Tensor, bias: Tensor, l2: float, loss: float, iterations: int, converged: bool) -> Model:
        full = self.z.new_zeros(len(self.mean), self.classes)
        full[:, self.present] = self.basis @ weight
        free = self.z.new_full((self.classes,), -torch.inf)
        free[self.present] = bias
        return Model(self.mean, self.std, full, free, l2, loss, iterations, converged)


Objective = Callable[[Tensor], tuple[float, Tensor]]  # point -> value, gradient (double, of the point's shape)


def walk(objective: Objective, start: Tensor, steps: int) -> tuple[Tensor, float, int]:
    """Minimise by SciPy's L-BFGS; returns the point, the value and the iterations."""
    from scipy.optimize import minimize  # 1 s to import; a training, which watches by k-NN alone, does not need it

    def on_vectors(flat: Floats) -> tuple[float, Floats]:
        value, gradient = objective(torch.from_numpy(flat).to(start.device).view_as(start))
        return value, gradient.flatten().cpu().numpy()

    options = {"maxiter": steps, "maxfun": 10 * steps, "maxcor": MEMORY, "ftol": CHANGE["short"], "gtol": FLAT}
    first = start.flatten().cpu().numpy()
    result = minimize(on_vectors, first, jac=True, method="L-BFGS-B", options=options)
    return torch.from_numpy(result.x).to(start.device).view_as(start), float(result.fun), int(result.nit)


def _walk_on_device(objective: Objective, start: Tensor, steps: int) -> tuple[Tensor, float, int]:
    """The same by torch's L-BFGS, whose vectors stay where the features are."""
    point = start.clone().requires_grad_(True)

    def closure() -> float:
        value, point.grad = objective(point.detach())
        return value

    optimizer = torch.optim.LBFGS(
        [point], 1.0, steps, 10 * steps, FLAT, CHANGE["long"], history_size=MEMORY, line_search_fn="strong_wolfe"
    )
    optimizer.step(closure)
    return point.detach(), objective(point.detach())[0], int(optimizer.state[point]["n_iter"])


def path(
    features: Tensor, labels: Tensor, classes: int, grid: Sequence[float], steps: int, device: torch.device
) -> list[Model]:
    """One model per penalty, strongest first, each started where the one before ended.

    Args:
        features: (n, D) float32.
        labels: (n,) int64; rows labelled -1 are left out.
        classes: K; a class without a training example gets probability 0.
        grid: penalties on the mean loss; scikit-learn's C is 1 / (n l2).
        steps: L-BFGS iterations at most, per penalty.

    Raises:
        UserError: the features are not finite, or fewer than two classes have an example.
    """
    labelled = labels >= 0
    features, labels = features[labelled], labels[labelled]
    if len(labels.unique()) < 2:
        raise UserError(f"A linear probe needs examples of two classes or more; found {len(labels.unique())}.")
    if not features.isfinite().all():
        raise UserError("A linear probe needs finite features; found NaN or infinity. The encoder has diverged.")
    start, models = None, []
    with spare_threads(features.numel() * classes):
        problem = Problem.of(features, labels, classes, device)
        for l2 in sorted(grid, reverse=True):
            model, *weight_and_bias = problem.solve(l2, steps, start)
            start = (weight_and_bias[0], weight_and_bias[1])
            models.append(model)
    return models


@contextlib.contextmanager
def spare_threads(products: int) -> Iterator[None]:
    """One thread for small problems: on busy cores they wait for each other, and 0.1 s becomes 5 s (measured)."""
    before = torch.get_num_threads()
    with threadpool_limits(1, "blas"):  # the vectors of SciPy's L-BFGS are always small
        torch.set_num_threads(1 if products < SMALL else before)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def choose(models: Sequence[Model], features: Tensor, labels: Tensor) -> tuple[Model, float]:
    """The model with the best accuracy on held-out (n, D) features, and that accuracy; ties go to the lower loss."""
    labelled = labels >= 0
    features, labels = features[labelled], labels[labelled]
    best, merit = models[0], (-1.0, 0.0)
    for model in models:
        p = model.probabilities(features)
        accuracy = float((p.argmax(1) == labels).double().mean())
        loss = -p[torch.arange(len(p)), labels].clamp(min=1e-12).log().mean().item()
        if (accuracy, -loss) > merit:
            best, merit = model, (accuracy, -loss)
    return best, merit[0]
