"""What members and results are called: as torchmetrics calls them, whose users have the names in their dashboards."""

from __future__ import annotations

import pytest
import torch
import torchmetrics

import epochal
from epochal.arithmetic import CompositionalMetric
from epochal.collection import MetricCollection
from tests.collection import family


def toys(library):
    """The same two metrics for both libraries: a scalar, and a dictionary with the keys that it is given."""

    class One(library.Metric):
        full_state_update = False

        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

        def update(self, x):
            self.total += x.sum()

        def compute(self):
            return self.total.clone()

    class Two(One):
        pass

    class Several(One):
        def __init__(self, keys="ab", **kwargs):
            super().__init__(**kwargs)
            self.keys_of_result = keys

        def compute(self):
            return {key: self.total.clone() for key in self.keys_of_result}

    return library.MetricCollection, One, Two, Several


CASES = {
    "a list": lambda C, A, B, D: C([A(), B()]),
    "positions": lambda C, A, B, D: C(A(), B()),
    "a tuple": lambda C, A, B, D: C((A(), B())),
    "a list and more": lambda C, A, B, D: C([A()], B()),
    "one": lambda C, A, B, D: C(A()),
    "none": lambda C, A, B, D: C([]),
    "a dictionary, sorted": lambda C, A, B, D: C({"z": A(), "a": B()}),
    "prefix and postfix": lambda C, A, B, D: C([A(), B()], prefix="p_", postfix="_q"),
    "a result of several": lambda C, A, B, D: C({"m": D(), "s": A()}),
    "several, with affixes": lambda C, A, B, D: C({"m": D(), "s": A()}, prefix="p_", postfix="_q"),
    "all names clash": lambda C, A, B, D: C({"m": D(), "n": D()}, prefix="p_", postfix="_q"),
    "one name clashes": lambda C, A, B, D: C({"m": D("ab"), "n": D("bc")}),
    "a member's name clashes": lambda C, A, B, D: C({"m": D("ab"), "a": A()}),
    "nested in a dictionary": lambda C, A, B, D: C({"x": C([A(), B()]), "y": C([A(), B()])}),
    "nested, all with affixes": lambda C, A, B, D: C(
        {"x": C([A()], prefix="i_", postfix="_j"), "y": C([B()], postfix="_k")}, prefix="o_", postfix="_r"
    ),
    "nested in a list": lambda C, A, B, D: C([C([A()], prefix="i_", postfix="_j"), C([B()], prefix="k_")], prefix="o_"),
    "nested in a list, one name twice": lambda C, A, B, D: C([C([A()], prefix="i_"), C([A()], prefix="k_")]),
    "nested alone": lambda C, A, B, D: C(C([A(), B()], prefix="i_"), prefix="o_"),
    "nested twice": lambda C, A, B, D: C({"x": C({"u": C([A()], prefix="i_")}, prefix="h_")}, prefix="o_"),
    "nested, several": lambda C, A, B, D: C({"x": C({"u": D(), "v": A()}, prefix="h_", postfix="_i")}, prefix="o_"),
    "nested, all clash": lambda C, A, B, D: C({"x": C({"u": D(), "v": D()}, prefix="h_", postfix="_i")}, prefix="o_"),
    "nested, clash outside": lambda C, A, B, D: C({"x": C({"u": D(), "v": A()}, prefix="h_", postfix="_i"), "y": D()}, prefix="o_"),
    "a formula": lambda C, A, B, D: C({"f": A() + B(), "a": A()}),
    "a formula in a list": lambda C, A, B, D: C([A() + B(), A()]),
    "added": lambda C, A, B, D: added(C([A()], prefix="p_"), B(), {"z": D(), "b": A()}),
    "cloned with a prefix": lambda C, A, B, D: C([A(), D()], prefix="p_", postfix="_q").clone(prefix="c_"),
    "cloned with a postfix": lambda C, A, B, D: C([A(), D()], prefix="p_").clone(postfix="_c"),
    "cloned and nested": lambda C, A, B, D: C({"x": C([D(), A()], prefix="p_").clone(prefix="c_")}),
}


def added(collection, *more):
    for metrics in more:
        collection.add_metrics(metrics)
    return collection


@pytest.mark.parametrize("case", CASES)
def test_names_are_those_of_torchmetrics(case):
    ours, theirs = (CASES[case](*toys(library)) for library in (epochal, torchmetrics))
    x = torch.tensor([1.0, 2.0])
    assert list(ours.keys()) == list(theirs.keys())
    assert list(ours.keys(keep_base=True)) == list(theirs.keys(keep_base=True))
    assert list(dict(ours.items())) == list(dict(theirs.items()))
    assert list(ours) == list(theirs)
    for verb in ("forward", "compute"):
        mine, its = (getattr(collection, verb)(*([x] if verb == "forward" else [])) for collection in (ours, theirs))
        assert list(mine) == list(its)
        torch.testing.assert_close(mine, its)
    assert list(ours.of(x)) == list(ours.batch_value()) == list(ours.compute())
    assert list(ours.metric_state) == list(theirs.metric_state)


def test_members_are_found_by_both_names():
    collection = MetricCollection([family.Total(), family.Own()], prefix="p_", postfix="_q")
    assert collection["Total"] is collection["p_Total_q"] is collection.Total
    assert "Total" in collection
    assert "p_Total_q" in collection
    assert "Total_q" not in collection
    assert list(collection.values()) == [collection["Total"], collection["Own"]]
    assert next(iter(collection.values(copy_state=False))) is collection["Total"]
    assert len(collection) == 2
    with pytest.raises(KeyError, match=r"MetricCollection: there is no 'Totl', but one of \['p_Total_q', 'p_Own_q'\] is needed"):
        collection["Totl"]


def test_an_affix_of_a_clone_is_its_own():
    collection = MetricCollection([family.Own()], prefix="train_")
    twin = collection.clone(prefix="val_")
    assert (collection.prefix, twin.prefix, twin.postfix) == ("train_", "val_", None)
    twin(torch.ones(2), torch.ones(2))
    assert (int(twin["Own"].total), int(collection["Own"].total)) == (2, 0)
    assert collection.clone(prefix="").prefix == ""


@pytest.mark.parametrize(
    ("build", "error", "text"),
    [
        (lambda: MetricCollection([family.Own(), family.Own()]), ValueError, "two members are named 'Own', but each needs a name"),
        (lambda: MetricCollection([family.Own()], family.Own()), ValueError, "two members are named 'Own'"),
        (lambda: MetricCollection([MetricCollection([family.Own()]), family.Own()]), ValueError, "two members are named 'Own'"),
        (lambda: MetricCollection(3), TypeError, "a member is 3, but a Metric or a MetricCollection is needed"),
        (lambda: MetricCollection("acc"), TypeError, "a member is 'acc'"),
        (lambda: MetricCollection([family.Own(), torch.nn.Linear(1, 1)]), TypeError, "a member is Linear"),
        (lambda: MetricCollection(family.Own(), 3), TypeError, "a member is 3"),
        (lambda: MetricCollection({"a": family.Own}), TypeError, "member 'a' is <class"),
        (lambda: MetricCollection({"a": family.Own()}, family.Total()), ValueError, "1 metrics came after a dictionary"),
        (lambda: MetricCollection({1: family.Own()}), TypeError, "a name is 1, but a string is needed. Pass '1'."),
        (lambda: MetricCollection({"a.b": family.Own()}), ValueError, "a name is 'a.b', but one without dots"),
        (
            lambda: MetricCollection({"update": family.Own()}),
            ValueError,
            "a name is 'update', but one without dots that is no attr",
        ),
        (lambda: MetricCollection([family.Own()], prefix=1), TypeError, "prefix is 1, but a string is needed"),
        (lambda: MetricCollection([family.Own()]).clone(postfix=1), TypeError, "postfix is 1, but a string is needed"),
        (lambda: MetricCollection([family.Own()], compute_groups=[["Own", "F1"]]), ValueError, "a name in compute_groups is 'F1'"),
    ],
)
def test_what_is_no_collection(build, error, text):
    with pytest.raises(error, match=r"MetricCollection: .*(but .*needed|each needs)") as caught:
        build()
    assert text in str(caught.value)


def test_one_object_under_two_names():
    metric = family.Own()
    with pytest.raises(
        ValueError, match=r"members 'a' and 'b' are one object, but each needs its own state. Pass metric.clone\(\)"
    ):
        MetricCollection({"a": metric, "b": metric})


def test_nothing_is_added_if_one_cannot_be():
    collection = MetricCollection([family.Own()])
    with pytest.raises(ValueError, match="two members are named 'Own'"):
        collection.add_metrics([family.Total(), family.Own()])
    assert list(collection.keys()) == ["Own"]


def test_results_with_one_name_are_an_error():
    collection = MetricCollection({"m": family.Spread(), "n": family.Spread(), "m_std": family.Own()})
    with pytest.raises(ValueError, match="two results are named 'm_std', but each needs a name of its own"):
        collection(torch.ones(2), torch.ones(2))


def test_a_formula_is_named_after_its_class():
    assert list(MetricCollection([family.Own() * 2]).keys()) == [CompositionalMetric.__name__]


def test_repr_shows_members_and_affixes():
    text = repr(MetricCollection({"a": family.Own(), "b": family.Total(size=7)}, prefix="p_"))
    assert "prefix=p_" in text
    assert "postfix" not in text
    assert "(a): Own()" in text
    assert "(b): Total(scale=1.0, size=7)" in text
