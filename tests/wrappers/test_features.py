"""FeatureShare: a network that several metrics look through runs once for a batch."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import nn

import epochal
from epochal.metric import Metric
from epochal.wrappers import FeatureShare
from tests.errors.grammar import refused


class Net(nn.Module):
    """Counts how often it runs."""

    scale = 3.0

    def __init__(self, out: int = 2, seed: int = 0) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layer = nn.Linear(2, out)
        self.register_buffer("runs", torch.tensor(0), persistent=False)

    def forward(self, x, shift=0.0):
        self.runs += 1
        return self.layer(x + shift)


class Total(Metric):
    feature_network = "net"

    def __init__(self, net=None, shift=0.0, **kwargs):
        super().__init__(**kwargs)
        self.net, self.shift = net or Net(), shift
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

    def measure(self, x):
        return {"total": self.net(x, shift=self.shift).double().sum()}

    def value(self, total):
        return total


class Classic(Metric):
    """Each call of its forward updates twice."""

    feature_network = "backbone"
    full_state_update = True

    def __init__(self, net=None):
        super().__init__()
        self.backbone = net or Net()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, x):
        self.total += self.backbone(x, shift=0.0).square().sum().detach()

    def compute(self):
        return self.total


X = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def runs(share):
    return [int(network.network.runs) for network in share.networks()]


def test_a_batch_runs_through_once_and_every_batch_anew():
    share = FeatureShare({"a": Total(), "b": Classic(), "c": Total()})
    expected = {"a": Total().of(X), "b": Classic().of(X), "c": Total().of(X)}
    assert share.members()["a"].net is share.members()["b"].backbone is share.members()["c"].net
    for calls, verb in enumerate((share, share.of, share.update), start=1):
        value = verb(X)
        assert runs(share) == [calls], "once in each call, also for an input that was seen before"
        if value is not None:
            torch.testing.assert_close(value, expected)
    torch.testing.assert_close(share.compute(), {name: 2 * value for name, value in expected.items()})


def test_an_input_that_was_written_to_is_another():
    share, x = FeatureShare([Total(), Classic()]), X.clone()
    first = share(x)
    x += 1
    assert not torch.equal(share(x)["Total"], first["Total"])
    torch.testing.assert_close(share.of(x), {"Total": Total().of(X + 1), "Classic": Classic().of(X + 1)})


def test_nothing_is_kept_and_a_member_alone_runs_by_itself():
    share = FeatureShare([Total(), Classic()])
    share.update(X)
    with pytest.raises(Exception, match="shape"):
        share.update(torch.ones(2, 3))
    (network,) = share.networks()
    share["Total"].update(X)
    share["Total"].update(X)
    assert runs(share) == [1 + 1 + 2]  # the one that failed has counted, too
    assert not [module for module in network.__dict__.values() if isinstance(module, list) and module]
    assert network.scale == 3.0, "attributes are the network's"


def test_networks_that_differ_stay_apart():
    share = FeatureShare({"a": Total(Net(seed=1)), "b": Total(Net(seed=2)), "c": Total(Net(out=3)), "d": Total(Net(seed=1))})
    assert len(share.networks()) == 3
    value = share(X)
    torch.testing.assert_close(value["b"], Total(Net(seed=2)).of(X))
    torch.testing.assert_close(value["a"], value["d"])
    assert runs(share) == [1, 1, 1]


def test_other_arguments_are_another_input():
    share = FeatureShare({"a": Total(), "b": Total(shift=1.0), "c": Total(shift=1.0)}, max_cache_size=1)
    torch.testing.assert_close(share(X)["c"], Total(shift=1.0).of(X))
    assert runs(share) == [2]
    alternating = FeatureShare({"a": Total(), "b": Total(shift=1.0), "c": Total(), "d": Total(shift=1.0)}, max_cache_size=1)
    alternating.update(X)
    assert runs(alternating) == [4], "only the latest is kept"


def test_a_copy_of_an_input_is_the_same_input():
    class Copies(Total):
        def measure(self, x):
            return super().measure(x.clone())

    share = FeatureShare([Copies(), Total()])
    share.update(X)
    assert runs(share) == [1]


def test_gradients_pass():
    share, x = FeatureShare([Total(), Classic()]), X.clone().requires_grad_()
    share(x)["Total"].backward()
    assert x.grad is not None


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda share: share.clone(), lambda share: pickle.loads(pickle.dumps(share))])
def test_copies_share_one_network_of_their_own(copied):
    share = FeatureShare([Total(), Classic()])
    share.update(X)
    twin = copied(share)
    twin.update(X)
    assert (runs(share), runs(twin)) == ([1], [2])
    assert twin["Total"].net is twin["Classic"].backbone is not share["Total"].net


def test_members_that_come_later_and_what_is_refused():
    share = FeatureShare(Total())
    share.add_metrics([Classic()])
    share.update(X)
    assert runs(share) == [1]
    refused(lambda: share.add_metrics([epochal.MeanMetric()]), TypeError, "FeatureShare", ("member 'MeanMetric' is None",))
    assert list(share.keys()) == ["Total", "Classic"]

    class Misnamed(Total):
        feature_network = "nte"

    refused(lambda: FeatureShare([Misnamed()]), TypeError, "FeatureShare", ("is 'nte'", "torch.nn.Module"))
    refused(lambda: FeatureShare([Total()], max_cache_size="a"), TypeError, "FeatureShare", ("max_cache_size is 'a'",))
