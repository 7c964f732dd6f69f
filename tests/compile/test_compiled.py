"""``torch.compile(fullgraph=True)`` of the verbs of every public metric whose states have a fixed shape."""

from __future__ import annotations

import functools
import pickle

import pytest
import torch
from torch import nn
from torch.utils._pytree import tree_leaves

import epochal
from epochal.classification import (
    MulticlassAccuracy,
    MulticlassCohenKappa,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)
from epochal.resplit import call
from epochal.testing import difference
from epochal.wrappers import Running
from tests.compile.choice import CHOSEN, FIRSTS, SIZES, steps


class Counting:
    """A backend that runs the graph as it is, and counts the graphs."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, module, _):
        self.graphs += 1
        return module.forward


def equal(got, expected, what):
    text = difference(got, expected, rtol=1e-6, atol=1e-7)
    assert text is None, f"{what}: {text}"


def compiled(example, verb):
    """Twelve steps as eager code makes them, ``verb`` of a metric at each; how many graphs there were after each."""
    torch.compiler.reset()
    metric, eager, backend = example.make(), example.make(), Counting()
    step = torch.compile(verb(metric), fullgraph=True, backend=backend)
    graphs = []
    for number, batch in enumerate(steps(example)):
        equal(call(step, batch), call(verb(eager), batch), f"step {number}")
        graphs.append(backend.graphs)
    assert metric.update_count == eager.update_count == len(graphs)
    equal(metric.batch_value(), eager.batch_value(), "the last batch's value")
    equal(metric.compute(), eager.compute(), "compute")
    return graphs


def check_graphs(example, graphs):
    """None is new after the second step, but at most one for each new size."""
    known = []
    for step, batch in enumerate(steps(example)):
        shapes = [value.shape for value in tree_leaves(batch) if isinstance(value, torch.Tensor)]
        new = graphs[step] - (graphs[step - 1] if step else 0)
        assert new <= (shapes not in known or step == 1), f"step {step}, of shapes {shapes}, made {new} graphs: {graphs}"
        known.append(shapes)


@pytest.mark.parametrize("example", CHOSEN, ids=str)
def test_forward(example):
    check_graphs(example, compiled(example, lambda metric: metric.forward))


@pytest.mark.parametrize("example", FIRSTS, ids=str)
def test_update_and_of(example):
    """One after the other, since what takes long is to compile; a function, where there is one, is ``of``."""
    function = example.case().function

    def both(metric):
        of = function or metric.of

        def step(*args, **kwargs):
            metric.update(*args, **kwargs)
            return of(*args, **kwargs)

        return step

    check_graphs(example, compiled(example, both))


# --- where else metrics are compiled ---------------------------------------------------------------------------------------------


def scores(size: int) -> tuple[torch.Tensor, torch.Tensor]:
    source = torch.Generator().manual_seed(size)
    return torch.randn(size, 4, generator=source), torch.randint(4, (size,), generator=source)


SCORES = [scores(size) for size in SIZES]


@pytest.fixture(autouse=True)
def anew():
    torch.compiler.reset()


def collection():
    of = {"average": "none", "num_classes": 4}
    metrics = [MulticlassPrecision(**of), MulticlassRecall(**of), MulticlassConfusionMatrix(4), MulticlassCohenKappa(4)]
    precision, recall = MulticlassPrecision(4), MulticlassRecall(4)
    formula = 2 * precision * recall / (precision + recall)
    return epochal.MetricCollection({**{type(m).__name__: m for m in metrics}, "of both": formula}, prefix="val_")


@pytest.mark.parametrize("verb", ["forward", "update"])
def test_a_collection(verb):
    metrics, eager, backend = collection(), collection(), Counting()
    step = torch.compile(getattr(metrics, verb), fullgraph=True, backend=backend)
    for batch in SCORES:
        equal(step(*batch), getattr(eager, verb)(*batch), verb)
    equal(metrics.compute(), eager.compute(), "compute")
    equal(metrics.batch_value(), eager.batch_value(), "batch_value")
    assert backend.graphs <= 3  # the plan of who shares what is made in the first


@pytest.mark.parametrize("verb", ["forward", "update"])
def test_members_measure_once(verb):
    """A shared statistic is counted once in the graph; a state that members hold together is one node of it, too."""
    graphs = []

    def backend(module, _):
        graphs.append([str(node.target) for node in module.graph.nodes])
        return module.forward

    metrics, eager = collection(), collection()
    for each in (metrics, eager):
        each.update(*SCORES[0])  # eager: now they hold one state
    step = torch.compile(getattr(metrics, verb), fullgraph=True, backend=backend)
    for batch in SCORES:
        equal(step(*batch), getattr(eager, verb)(*batch), verb)
    assert all(sum("scatter_add" in target for target in graph) == 1 for graph in graphs)
    members = list(metrics.values())
    assert len({id(member.table) for member in members[:4]}) == 1
    metrics["MulticlassRecall"].update(*SCORES[1])  # one alone has another state from now on, and merges for itself
    eager["MulticlassRecall"].update(*SCORES[1])
    for batch in SCORES[:2]:
        equal(step(*batch), getattr(eager, verb)(*batch), verb)
    equal(metrics.compute(), eager.compute(), "compute")
    assert [member.update_count for member in members] == [member.update_count for member in eager.values()]


@pytest.mark.parametrize("verb", ["forward", "update", "of"])
def test_a_window(verb):
    """A graph for each length of the window, none when it is full."""
    make = functools.partial(Running, MulticlassAccuracy(4, average=None), window=3)
    metric, eager, backend = make(), make(), Counting()
    step = torch.compile(getattr(metric, verb), fullgraph=True, backend=backend)
    for batch in [SCORES[0]] * 4:
        equal(step(*batch), getattr(eager, verb)(*batch), verb)
    graphs = backend.graphs
    assert graphs == (1 if verb == "of" else 4)
    for batch in [SCORES[0], scores(5), SCORES[0]]:
        equal(step(*batch), getattr(eager, verb)(*batch), verb)
    assert backend.graphs == graphs
    if verb != "of":
        equal(metric.compute(), eager.compute(), "compute")


def test_keyword_arguments_go_to_those_that_take_them():
    metrics = epochal.MetricCollection([epochal.MeanMetric(), epochal.SumMetric()])
    step = torch.compile(lambda x, w: metrics(value=x, weight=w), fullgraph=True, backend="eager")
    for _ in range(3):
        results = step(torch.tensor([1.0, 4.0]), torch.tensor([2.0, 1.0]))
    assert (results["MeanMetric"].item(), results["SumMetric"].item()) == (2.0, 5.0)


class Model(nn.Module):
    """A training step with metrics in it, as a user writes one."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.accuracy, self.metrics = nn.Linear(4, 4), MulticlassAccuracy(4, average="micro"), collection()

    def forward(self, x, target):
        scores = self.layer(x)
        loss = nn.functional.cross_entropy(scores, target)
        self.metrics.update(scores, target)
        return loss, self.accuracy(scores, target)


own = [pytest.mark.filterwarnings(f"ignore::{kind}") for kind in ("DeprecationWarning", "FutureWarning")]  # of torch about itself
inductor = pytest.param("inductor", marks=own)


@pytest.mark.parametrize("backend", ["aot_eager", inductor])
def test_in_a_training_step(backend):
    model, eager = Model(), Model()
    step = torch.compile(model, fullgraph=True, backend=backend)
    optimizers = [torch.optim.SGD(module.parameters(), 0.1) for module in (model, eager)]
    for batch in SCORES:
        results = step(*batch), eager(*batch)
        for (loss, _), optimizer in zip(results, optimizers, strict=True):
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-6)
    equal(model.metrics.compute(), eager.metrics.compute(), "compute")
    assert not any(t.requires_grad for t in tree_leaves(model.metrics.metric_state))


def test_a_value_is_a_loss():
    metric = epochal.MeanSquaredError()
    step = torch.compile(metric, fullgraph=True, backend="aot_eager")
    for _ in range(3):
        x = torch.tensor([1.0, 2.0], requires_grad=True)
        step(x, torch.tensor([0.0, 5.0])).backward()
        torch.testing.assert_close(x.grad, torch.tensor([1.0, -3.0]))
    assert not metric.total.requires_grad


@pytest.mark.parametrize("backend", [inductor])
def test_counts(backend):
    metric, eager = MulticlassF1Score(4), MulticlassF1Score(4)
    step = torch.compile(metric.forward, fullgraph=True, backend=backend)
    for batch in SCORES:
        equal(step(*batch), eager(*batch), "forward")
    equal(metric.compute(), eager.compute(), "compute")


# --- what is around it -----------------------------------------------------------------------------------------------------------


def test_compiled_and_eager_steps_mix():
    metric, eager = MulticlassAccuracy(4), MulticlassAccuracy(4)
    step = torch.compile(metric.update, fullgraph=True, backend="eager")
    for number, batch in enumerate(SCORES):
        (step if number % 3 else metric.update)(*batch)
        eager.update(*batch)
        equal(metric.batch_value(), eager.batch_value(), "batch_value")
        equal(metric.compute(), eager.compute(), "compute")
    assert metric.update_count == len(SCORES)
    twin = pickle.loads(pickle.dumps(metric))
    metric.reset()
    assert (metric.update_count, twin.update_count) == (0, len(SCORES))
    step(*SCORES[0])
    equal(metric.compute(), eager.of(*SCORES[0]), "after reset")


def test_the_way_of_a_module():
    """``metric.compile()`` and ``torch.compile(metric)``."""
    in_place = MulticlassAccuracy(4)
    in_place.compile(fullgraph=True, backend="eager")
    for metric in (in_place, torch.compile(MulticlassAccuracy(4), fullgraph=True, backend="eager")):
        for batch in SCORES[:3]:
            equal(metric(*batch), MulticlassAccuracy(4).of(*batch), "called")
        assert metric.update_count == 3


@pytest.mark.parametrize("values", [[1.5, 2.0, 2.5, 7.0], [3, 5, 7, 9]])
def test_numbers_of_python_are_no_new_graph(values):
    metric, backend = epochal.MeanMetric(), Counting()
    step = torch.compile(metric.update, fullgraph=True, backend=backend)
    for value in values:
        step(value)
    assert metric.compute() == sum(values) / 4
    assert backend.graphs <= 2


def test_double_is_seen():
    metric = epochal.MeanSquaredError()
    step = torch.compile(metric.forward, fullgraph=True, backend="eager")
    for dtype in (torch.float32, torch.float64, torch.float32):
        assert step(torch.zeros(3, dtype=dtype), torch.ones(3, dtype=dtype)).dtype == dtype
    assert metric.compute().dtype == torch.float64


def test_bad_values_are_found_at_compute():
    metric = MulticlassAccuracy(4)
    step = torch.compile(metric.update, fullgraph=True, backend="eager")
    step(*SCORES[0])
    step(SCORES[1][0], SCORES[1][1] + 4)
    with pytest.raises(ValueError, match="MulticlassAccuracy: 5 values are labels out of range or NaN, but labels 0 to 3"):
        metric.compute()


def test_bad_shapes_are_found_at_once():
    metric = MulticlassAccuracy(4)
    step = torch.compile(metric.update, fullgraph=True, backend="eager")
    step(*SCORES[0])
    before = metric.compute()
    with pytest.raises(Exception, match="preds has 3 classes in dim 1"):
        step(SCORES[1][0][:, :3], SCORES[1][1])
    assert metric.update_count == 1
    assert metric.compute() == before
