"""What a collection shares and what it leaves alone: members, keyword arguments, copies, devices, processes."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch

from epochal.collection import MetricCollection
from epochal.metric import metric_of
from tests.collection import family

A = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([0.0, 2.0, 3.0])
B = torch.tensor([4.0]), torch.tensor([-1.0])


def shared() -> MetricCollection:
    return MetricCollection(
        {"average": family.Average(), "spread": family.Spread(), "total": family.Total(), "raw": family.Underived()}
    )


@pytest.fixture
def calls():
    family.calls.clear()
    return family.calls


def expected(*batches):
    error = np.concatenate([(p - t).numpy() for p, t in batches])
    return {"average": error.mean(), "std": error.std(), "high": error.max(), "total": error.sum()}


def check_values(results, *batches):
    for name, value in expected(*batches).items():
        assert float(results[name]) == pytest.approx(value, rel=1e-6)


# --- sharing ---------------------------------------------------------------------------------------------------------------


def test_a_statistic_is_measured_merged_and_derived_once(calls):
    collection = shared()
    check_values(collection(*A), A)
    assert calls == {"measure": 1, "merge": 1, "derive": 1}
    collection.update(*B)
    assert calls == {"measure": 2, "merge": 2, "derive": 1}
    check_values(collection.compute(), A, B)
    assert calls == {"measure": 2, "merge": 2, "derive": 2}
    check_values(collection.compute(), A, B)
    assert calls["derive"] == 2, "the second compute reads the cached values"
    check_values(collection.of(*B), B)
    assert calls == {"measure": 3, "merge": 2, "derive": 3}


def test_who_shares_is_declared():
    assert MetricCollection(family.members()).compute_groups == {
        0: ["average", "refuses", "spread", "total", "twice", "underived"],
        1: ["classic"],
        2: ["other"],
        3: ["own"],
        4: ["wrapper"],
    }
    assert MetricCollection([family.Own(), family.Total()], compute_groups=False).compute_groups == {}
    assert MetricCollection([family.Average(), family.Total()], compute_groups=[["Average"], ["Total"]]).compute_groups == {
        0: ["Average", "Total"]
    }


def test_nothing_is_shared_where_one_says_so(calls):
    collection = MetricCollection([family.Average(), family.Total()], compute_groups=False)
    collection.update(*A)
    assert calls["measure"] == 2


def test_a_member_that_went_its_own_way_merges_for_itself(calls):
    collection = shared()
    collection.update(*A)
    collection["total"].update(*B)
    calls.clear()
    results = collection(*B)
    assert calls == {"measure": 1, "merge": 2, "derive": 1}
    check_values(results, B)
    computed = collection.compute()
    assert float(computed["total"]) == pytest.approx(expected(A, B, B)["total"])
    assert float(computed["average"]) == pytest.approx(expected(A, B)["average"])
    collection.reset()
    calls.clear()
    collection.update(*A)
    assert calls == {"measure": 1, "merge": 1}, "after a reset they hold the same again"


def test_copies_share_among_themselves(calls):
    collection = shared()
    collection.update(*A)
    for twin in (collection.clone(), copy.deepcopy(collection), pickle.loads(pickle.dumps(collection))):
        calls.clear()
        twin.update(*B)
        assert calls == {"measure": 1, "merge": 1}
        check_values(twin.compute(), A, B)
    check_values(collection.compute(), A)


def test_clones_of_new_metrics_share(calls):
    MetricCollection([family.Average().clone(), family.Total()]).update(*A)
    assert calls == {"measure": 1, "merge": 1}


def test_rows_are_kept_once():
    collection = shared()
    collection.update(*A)
    collection.update(*B)
    assert len({id(metric.rows) for metric in collection.values()}) == 1


# --- all or none -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["update", "forward"])
@pytest.mark.parametrize("fault", ["own", "classic", "value"])
def test_all_take_a_batch_or_none(verb, fault):
    """The last member refuses it: in its measure, in the classic way after it has changed its states, or in its value."""
    last = {"own": family.Own(), "classic": family.Wrapper(family.Total()), "value": family.Refuses()}[fault]
    collection = MetricCollection({"a": family.Total(), "b": family.Classic(), "z": last})
    collection.update(*A)
    before, counts = copy.deepcopy(collection.metric_state), [m.update_count for m in collection.values()]
    bad = {
        "own": (torch.ones(3), torch.ones(3, 1, 1)[:2]),
        "classic": (torch.tensor([-70.0]), torch.zeros(1)),
        "value": (torch.tensor([1e9, -1e9]), torch.zeros(2)),
    }[fault]
    if (verb, fault) == ("update", "value"):
        return  # an update reads no value
    with pytest.raises((ValueError, RuntimeError)):
        getattr(collection, verb)(*bad)
    after = collection.metric_state
    assert [m.update_count for m in collection.values()] == counts
    for name, fields in before.items():
        for field, content in fields.items():
            torch.testing.assert_close(
                list(content) if isinstance(content, list) else content, after[name][field], check_dtype=True
            )
    collection.update(*B)
    assert float(collection["a"].compute()) == pytest.approx(expected(A, B)["total"])


# --- arguments and results ---------------------------------------------------------------------------------------------------


def test_keyword_arguments_go_to_those_who_take_them():
    preds, target = A
    collection = MetricCollection([family.Own(), family.Total(), family.Classic()])
    results = collection(preds=preds, target=target, weight=0.5)
    assert float(results["Own"]) == pytest.approx(0.5 * float((preds * target).sum()))
    assert float(results["Total"]) == pytest.approx(expected(A)["total"])
    collection.update(preds, target, weight=2.0)
    assert float(collection["Own"].compute()) == pytest.approx(2.5 * float((preds * target).sum()))
    assert float(collection.of(preds, target, weight=3.0)["Own"]) == pytest.approx(3 * float((preds * target).sum()))


def test_a_keyword_argument_that_nobody_takes():
    collection = MetricCollection([family.Own(), family.Total()])
    with pytest.raises(TypeError, match=r"MetricCollection: unexpected argument 'weigth', but it takes .*Did you mean 'weight'\?"):
        collection.update(*A, weigth=2.0)
    with pytest.raises(TypeError, match=r"Total: update was called with \(Tensor\), but it takes \(preds"):
        MetricCollection([family.Total()]).update(A[0])


def test_a_value_remembers_its_member():
    collection = shared()
    for results in (collection(*A), collection.compute()):
        assert metric_of(results["total"])[0] is collection["total"]
        assert metric_of(results["std"]) == (collection["spread"], ("std",))
    twin = collection.clone()
    assert metric_of(twin.compute()["total"])[0] is twin["total"]


def test_the_gradient_of_a_batch_and_none_in_states():
    preds = A[0].clone().requires_grad_()
    collection = shared()
    collection(preds, A[1])["average"].backward()
    torch.testing.assert_close(preds.grad, torch.full((3,), 1 / 3))
    for field in collection.metric_state["total"].values():
        assert not any(t.requires_grad for t in (field if isinstance(field, list) else [field]))


def test_batch_values_without_forward():
    collection = shared()
    assert collection.batch_value()["total"] is None
    collection.update(*A)
    collection.update(*B)
    check_values(collection.batch_value(), B)


def test_a_formula_takes_a_batch_once_with_the_metrics_it_is_made_of(calls):
    total, average = family.Total(), family.Average()
    collection = MetricCollection({"count": total / average, "total": total, "average": average})
    results = collection(*A)
    assert calls["measure"] == 1
    assert float(results["count"]) == pytest.approx(3)
    collection.update(*B)
    assert float(collection.compute()["count"]) == pytest.approx(4)
    assert total.update_count == 2


# --- the life around it ------------------------------------------------------------------------------------------------------


def test_merge_state():
    one, other = shared(), shared()
    one.update(*A)
    other.update(*B)
    one.merge_state(other)
    check_values(one.compute(), A, B)
    check_values(other.compute(), B)
    with pytest.raises(ValueError, match=r"merge_state got the members \['Own'\]"):
        one.merge_state(MetricCollection([family.Own()]))


def test_members_come_and_go(calls):
    collection = shared()
    collection.update(*A)
    collection.add_metrics({"twice": family.Total(scale=2.0)})
    del collection["total"]
    calls.clear()
    results = collection(*B)
    assert calls == {"measure": 1, "merge": 2, "derive": 1}, "the new member has not seen the first batch"
    assert set(results) == {"average", "std", "high", "raw", "twice"}
    assert float(collection.compute()["twice"]) == pytest.approx(2 * expected(B)["total"])


def test_state_dict_and_dtype():
    collection = shared()
    collection.update(*A)
    assert collection.state_dict() == {}
    collection.persistent()
    loaded = shared()
    loaded.persistent(True)
    loaded.load_state_dict(collection.state_dict())
    check_values(loaded.compute(), A)
    assert loaded.set_dtype(torch.float64).compute()["total"].dtype == torch.float64
    collection.half()
    assert collection.compute()["total"].dtype == torch.float32
    assert collection["total"].table.dtype == torch.float64


def test_a_move_and_a_change_of_a_setting_make_a_new_plan():
    collection = shared()
    collection.update(*A)
    collection.to("meta")
    collection.to("cpu")
    collection.update(*B)
    check_values(collection.compute(), B)
    collection["total"].size = 1
    assert collection.compute_groups == {0: ["average", "raw", "spread"], 1: ["total"]}


def test_compute_before_update_warns_for_each():
    with pytest.warns(UserWarning, match="compute was called before update") as said:
        MetricCollection([family.Own(), family.Total()]).compute()
    assert sorted(str(w.message).split(":")[0] for w in said) == ["Own", "Total"]


def test_compiled():
    class Plain(family.Own):
        def measured_by(self):
            return ()

    class Doubled(Plain):
        def value(self, total):
            return 2 * total

    collection = MetricCollection([Plain(), Doubled()])
    step = torch.compile(lambda *batch: collection(*batch), fullgraph=True, backend="eager")
    for batch in (A, A, A):
        results = step(*batch)
    assert float(results["Doubled"]) == 2 * float(results["Plain"]) == 2 * float((A[0] * A[1]).sum())
    assert float(collection.compute()["Plain"]) == pytest.approx(3 * float((A[0] * A[1]).sum()))


# --- processes -----------------------------------------------------------------------------------------------------------------


def counted(function):
    """How many collectives a call takes."""
    import torch.distributed as dist

    names, taken = ("all_gather", "all_reduce", "barrier", "all_gather_object", "broadcast"), []
    kept = {name: getattr(dist, name) for name in names}
    for name, real in kept.items():
        setattr(dist, name, lambda *a, _real=real, _name=name, **k: (taken.append(_name), _real(*a, **k))[1])
    try:
        return function(), len(taken)
    finally:
        for name, real in kept.items():
            setattr(dist, name, real)


def uneven(rank, size):
    """Rank 1 has nothing; the last has two batches."""
    return [] if rank == 1 else [A, B] if rank == size - 1 else [A]


def job(rank, size):
    collection = MetricCollection(family.members())
    for batch in [A] if rank == 1 else uneven(rank, size):
        collection.update(*batch)
    if rank == 1:
        collection.reset()
    first, many = counted(collection.compute)
    again, none = counted(collection.compute)
    local = [m.update_count for m in collection.values()]
    apart = {name: metric.clone() for name, metric in collection.items()}
    apart = {name: metric.compute() for name, metric in apart.items()}
    collection["total"].update(*B)
    _, one = counted(collection.compute)
    return first, again, apart, (many, none, one), local


def test_one_exchange_for_all(pool):
    answers = pool.run(job)
    batches = [batch for rank in range(pool.size) for batch in uneven(rank, pool.size)]
    for rank, (first, again, apart, collectives, local) in enumerate(answers):
        check_values(first, *batches)
        check_values(again, *batches)
        for name, value in apart.items():
            torch.testing.assert_close({k: first[k] for k in value} if isinstance(value, dict) else first[name], value)
        assert collectives == (1, 1, 1), "one gather, each time: another rank may have new data"
        assert set(local) == {len(uneven(rank, pool.size))}


def stepwise(rank, size):
    options = [{"dist_sync_on_step": True}, {}]
    collection = MetricCollection(
        {"all": family.Total(**options[0]), "also": family.Average(**options[0]), "mine": family.Total(**options[1])}
    )
    values, taken = counted(lambda: collection(A[0] * (rank + 1), A[1]))
    return values, taken


def test_a_step_over_all_processes(pair):
    errors = [float((A[0] * (rank + 1) - A[1]).sum()) for rank in range(2)]
    for rank, (values, taken) in enumerate(pair.run(stepwise)):
        assert float(values["all"]) == pytest.approx(sum(errors))
        assert float(values["also"]) == pytest.approx(sum(errors) / 6)
        assert float(values["mine"]) == pytest.approx(errors[rank])
        assert taken == 1


def eight(rank, size):
    from epochal import classification

    names = ("Accuracy", "Precision", "Recall", "F1Score", "Specificity", "ConfusionMatrix", "CohenKappa", "MatthewsCorrCoef")
    collection = MetricCollection([getattr(classification, f"Multiclass{name}")(4) for name in names])
    generator = torch.Generator().manual_seed(rank)
    preds, target = (torch.randint(4, (5 + 20 * rank,), generator=generator) for _ in range(2))
    collection.update(preds, target)
    return *counted(collection.compute), collection.compute_groups, preds, target


def test_eight_of_one_table_over_processes(pair):
    from sklearn import metrics

    answers = pair.run(eight)
    preds, target = (torch.cat([answer[i] for answer in answers]).numpy() for i in (3, 4))
    for values, taken, groups, *_ in answers:
        assert taken == 1
        assert len(groups) == 1
        assert float(values["MulticlassF1Score"]) == pytest.approx(metrics.f1_score(target, preds, average="macro"), rel=1e-6)
        assert float(values["MulticlassCohenKappa"]) == pytest.approx(metrics.cohen_kappa_score(target, preds), rel=1e-5)
        assert values["MulticlassConfusionMatrix"].tolist() == metrics.confusion_matrix(target, preds).tolist()
