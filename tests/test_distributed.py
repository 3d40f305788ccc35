"""Two processes against one: values and gradients of what crosses the border, in float64.

The two are copies of the test's process, which has torch; the tests compare what they wrote with a single process. The
random data of methods that gather hide a missing gradient (it is wrong by 1 % only): hence 1e-10, and a planted fault.
"""

import os
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from pretextbench import distributed
from pretextbench.distributed import join
from tests.forked import fork

WORLD, ROWS, DIM = 2, 6, 5  # processes, images of all of them, dimensions


def inputs() -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(0)
    x1, x2 = (torch.randn(ROWS, DIM, generator=draw, dtype=torch.float64) for _ in range(2))
    return x1, x2


class Contrast(nn.Module):
    """Two views through one linear layer into SimCLR's loss: the least that has parameters to average."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(DIM, DIM, bias=False, dtype=torch.float64)
        with torch.no_grad():
            self.layer.weight.copy_(torch.linspace(-1, 1, DIM * DIM).view(DIM, DIM).sin())

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return simclr().nt_xent(self.layer(x1), self.layer(x2), 0.5)


class Normed(nn.Module):
    """Maps through convolutions and batch norms, as an encoder has them: only the norms let the images meet."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(nn.Conv2d(1, 4, 2), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
        self.last = nn.BatchNorm1d(3, affine=False)
        self.double()

    def forward(self, x: Tensor) -> Tensor:
        return (self.last(self.layers(x)) ** 3 + self.layers(x)).square().mean()


def maps() -> Tensor:
    """(ROWS, 1, 3, 3): each image of another brightness, so that half of them have other statistics than all."""
    x, _ = inputs()
    return torch.cat([x, x, x], 1)[:, :9].view(ROWS, 1, 3, 3) + torch.arange(ROWS).view(-1, 1, 1, 1)


def normed(module: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """Loss, gradients and running statistics of one step."""
    loss = module(x)
    loss.backward()
    result = {"loss": loss.detach()}
    result |= {name.removeprefix("module."): p.grad.clone() for name, p in module.named_parameters()}
    return result | {name.removeprefix("module."): b.clone().double() for name, b in module.named_buffers()}


def simclr() -> object:
    """The plugin's module, by the door through which methods come in."""
    from pretextbench import registry

    return sys.modules[registry.load("simclr").__module__]


def contrast(module: nn.Module, x1: Tensor, x2: Tensor) -> dict[str, Tensor]:
    loss = module(x1, x2)
    loss.backward()
    weight = next(module.parameters())
    return {"loss": loss.detach(), "gradient": weight.grad.clone()}


def square_of_gathered(x: Tensor) -> Tensor:
    """A scalar in which every row meets every other, with another weight in each process."""
    everything = distributed.gather(x)
    return (distributed.rank() + 1) * ((everything.sum(0) ** 2).sum() + everything[0].prod())


def square_of_mean(x: Tensor) -> Tensor:
    return (distributed.rank() + 1) * (distributed.mean(x) ** 3).sum()


def work() -> dict[str, Tensor]:
    """What one process of the pair computes."""
    own = slice(distributed.rank() * ROWS // WORLD, (distributed.rank() + 1) * ROWS // WORLD)
    x1, x2 = (x[own] for x in inputs())
    result = {"rank": torch.tensor(distributed.rank())}
    for name, function in {"gather": square_of_gathered, "mean": square_of_mean}.items():
        leaf = x1.clone().requires_grad_()
        function(leaf).backward()
        result[f"{name}_value"] = getattr(distributed, name)(x1)
        result[f"{name}_gradient"] = leaf.grad
    for key, value in contrast(DistributedDataParallel(Contrast()), x1, x2).items():
        result[f"contrast_{key}"] = value
    rows = {"z": [x1[:1], x1[1:]], "other": [x1[:1, 0]]}
    result |= {f"joined_{name}": value for name, value in join(rows).items()}
    cpu = torch.device("cpu")
    for kind, net in (("normed", distributed.synchronised(Normed(), cpu)), ("apart", Normed())):
        for key, value in normed(DistributedDataParallel(net), maps()[own]).items():
            result[f"{kind}_{key}"] = value
    simclr().gather = lambda x: distributed.gather(x.detach())  # the planted fault
    for key, value in contrast(DistributedDataParallel(Contrast()), x1, x2).items():
        result[f"detached_{key}"] = value
    return result


def main(number: int, meeting: str, target: str) -> None:
    """Be one of the two processes. Its errors and warnings go to a file, past pytest, which would keep them."""
    torch.set_num_threads(1)
    os.environ |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    with open(f"{target}.err", "wb") as errors:
        os.dup2(errors.fileno(), 2)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        dist.init_process_group("gloo", init_method=f"file://{meeting}", rank=number, world_size=WORLD)
        torch.save(work(), target)
        dist.destroy_process_group()
    print(*(warning.message for warning in caught), sep="\n", file=sys.stderr)


class Pair(NamedTuple):
    """The results of the two processes, and their error output."""

    results: list[dict[str, Tensor]]
    errors: str


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Pair:
    folder = tmp_path_factory.mktemp("pair")
    targets = [folder / f"{number}.pt" for number in range(WORLD)]
    processes = [fork(main, number, str(folder / "meeting"), str(path)) for number, path in enumerate(targets)]
    for process in processes:
        process.join(240)
        process.kill()
    errors = "".join(Path(f"{target}.err").read_text() for target in targets)
    assert [process.exitcode for process in processes] == [0] * WORLD, errors
    return Pair([torch.load(target, weights_only=True) for target in targets], errors)


def close(result: Tensor, expected: Tensor) -> bool:
    return torch.allclose(result, expected, rtol=0, atol=1e-10)


@pytest.mark.slow
def test_gather_concatenates_in_order_of_rank(pair: Pair) -> None:
    assert [int(result["rank"]) for result in pair.results] == [0, 1]
    for result in pair.results:
        assert torch.equal(result["gather_value"], inputs()[0])


@pytest.mark.slow
def test_gather_carries_the_gradients_of_all_processes(pair: Pair) -> None:
    """A row's gradient is the sum over the losses of both processes, weighted 1 and 2 here."""
    x = inputs()[0].requires_grad_()
    ((1 + 2) * ((x.sum(0) ** 2).sum() + x[0].prod())).backward()
    assert close(torch.cat([result["gather_gradient"] for result in pair.results]), x.grad)


@pytest.mark.slow
def test_staged_rows_are_joined_over_parts_and_processes(pair: Pair) -> None:
    """A method applies them in after_step: its buffers stay equal."""
    x, _ = inputs()
    for result in pair.results:
        assert torch.equal(result["joined_z"], x)
        assert torch.equal(result["joined_other"], x[:: ROWS // WORLD, 0])


@pytest.mark.slow
def test_mean_averages_and_carries_the_gradient_of_the_average(pair: Pair) -> None:
    halves = [half.clone().requires_grad_() for half in inputs()[0].chunk(WORLD)]
    average = sum(halves) / WORLD
    ((1 + 2) * (average**3).sum()).backward()
    for result, half in zip(pair.results, halves, strict=True):
        assert close(result["mean_value"], average.detach())
        assert close(result["mean_gradient"], half.grad)


@pytest.mark.slow
def test_simclr_under_ddp_equals_one_process(pair: Pair) -> None:
    """The mean of the processes' losses is the loss of the whole batch, and DDP's averaged gradient is its gradient."""
    alone = contrast(Contrast(), *inputs())
    losses = torch.stack([result["contrast_loss"] for result in pair.results])
    assert close(losses.mean(), alone["loss"])
    assert not close(losses[0], losses[1])  # each process has its own rows
    for result in pair.results:
        assert close(result["contrast_gradient"], alone["gradient"])


@pytest.mark.slow
def test_a_gather_without_gradients_would_be_seen(pair: Pair) -> None:
    """The planted fault: equal losses, and gradients that are wrong by little but not by nothing."""
    alone = contrast(Contrast(), *inputs())
    assert close(torch.stack([result["detached_loss"] for result in pair.results]).mean(), alone["loss"])
    assert all(not torch.allclose(result["detached_gradient"], alone["gradient"], atol=1e-4) for result in pair.results)


@pytest.mark.slow
def test_batch_norm_over_two_processes_is_that_of_one(pair: Pair) -> None:
    """Losses, every gradient and the running statistics; without it they are others, which this oracle can tell."""
    alone = normed(Normed(), maps())
    assert close(torch.stack([result["normed_loss"] for result in pair.results]).mean(), alone.pop("loss"))
    assert len(alone) == 12, "six gradients, and three buffers of each of two norms"
    for result in pair.results:
        for key, value in alone.items():
            assert close(result[f"normed_{key}"], value), key
        assert not close(result["apart_layers.0.weight"], alone["layers.0.weight"])


def test_alone_a_batch_norm_stays_what_it_is() -> None:
    norm = nn.BatchNorm2d(3)
    assert distributed.synchronised(norm, torch.device("cpu")) is norm
    assert type(norm) is nn.BatchNorm2d
    x = torch.randn(4, 3, 2, 2)
    ours = distributed.SynchronisedBatchNorm(3)
    assert torch.equal(ours(x), norm(x))
    assert torch.equal(ours.eval()(x), norm.eval()(x))


@pytest.mark.slow
def test_uses_nothing_that_torch_will_remove(pair: Pair) -> None:
    assert "deprecated" not in pair.errors, pair.errors


def test_alone_everything_is_the_identity() -> None:
    x = torch.rand(3, 2, requires_grad=True)
    assert distributed.gather(x) is x
    assert distributed.mean(x) is x
    assert distributed.rank() == 0
