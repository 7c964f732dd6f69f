"""Bad arguments of constructors, for every public metric by discovery: each is refused in the grammar, with what came."""

from __future__ import annotations

import inspect
import math

import pytest

import epochal
from epochal import classification as ec
from epochal.metric import OPTIONS
from tests.errors.grammar import refused
from tests.laws.examples import ABSTRACT, EXAMPLES
from tests.laws.test_laws import PUBLIC

VALUES, TYPES = ValueError, TypeError
BAD = {  # by the name of an argument: values that no metric takes
    "threshold": [(1.5, VALUES), (-0.1, VALUES), (math.nan, VALUES), ("0.5", TYPES), (None, TYPES), (True, TYPES)],
    "num_classes": [(0, VALUES), (1, VALUES), (-3, VALUES), (3.0, TYPES), ("3", TYPES), (True, TYPES)],
    "num_labels": [(0, VALUES), (1, VALUES), (3.0, TYPES), ("3", TYPES)],
    "top_k": [(0, VALUES), (-1, VALUES), (1.0, TYPES), ("1", TYPES)],
    "data_range": [(0, VALUES), (-1.0, VALUES), (math.nan, VALUES), ((1.0, 0.0), VALUES), ((1.0,), VALUES), ("1", TYPES)],
    "base": [(0, VALUES), (1, VALUES), (math.inf, VALUES), ("10", TYPES), (None, TYPES)],
    "dim": [(1.5, TYPES), ("1", TYPES), ((1, None), TYPES)],
    "gaussian_kernel": [("yes", VALUES), (None, VALUES)],
    "sigma": [(0, VALUES), (-1.0, VALUES), (math.nan, VALUES), ("1.5", TYPES), (None, TYPES)],
    "kernel_size": [(0, VALUES), (4, VALUES), (2.5, TYPES), ("11", TYPES)],
    "k1": [(-1, VALUES), ("0.01", TYPES)],
    "k2": [(-1, VALUES), ("0.03", TYPES)],
    "betas": [((), VALUES), (("a",), VALUES), (0.5, VALUES)],
    "return_full_image": [("yes", VALUES), (None, VALUES)],
    "return_contrast_sensitivity": [("yes", VALUES), (None, VALUES)],
    "feature": [(100, VALUES), (True, TYPES), ("2048", TYPES), (None, TYPES)],
    "reset_real_features": [("yes", VALUES), (None, VALUES)],
    "input_img_size": [((299, 299), VALUES), (299, VALUES), ((1, 299, 299), VALUES), ((3, 0, 299), VALUES)],
    "antialias": [("yes", VALUES), (None, VALUES)],
    "average": [("macor", VALUES), ("samples", VALUES), (1, VALUES)],
    "multidim_average": [("sampelwise", VALUES), (None, VALUES)],
    "ignore_index": [(1.5, TYPES), ("a", TYPES)],
    "normalize": [("tru", VALUES), (True, VALUES)],
    "weights": [("linaer", VALUES), (2, VALUES)],
    "beta": [(0, VALUES), (-1.0, VALUES), (math.nan, VALUES), (math.inf, VALUES), ("1", TYPES), (None, TYPES)],
    "zero_division": [("warn", TYPES), (None, TYPES)],
    "logits": [("yes", VALUES), (2, VALUES)],
    "thresholds": [
        (1, VALUES),
        (-3, VALUES),
        ([], VALUES),
        ([0.5, 1.5], VALUES),
        ([0.5, math.nan], VALUES),
        ("5", TYPES),
        (True, TYPES),
    ],
    "max_fpr": [(0, VALUES), (1.5, VALUES), (math.nan, VALUES), ("1", TYPES), (True, TYPES)],
    "normalization": [("sigmiod", VALUES), (True, VALUES)],
    "nan_strategy": [("eror", VALUES), (None, TYPES)],
    "window": [(0, VALUES), (-1, VALUES), (2.0, TYPES)],
    "adjusted": [(-1, VALUES), (1.5, TYPES)],
    "alternative": [("greatr", VALUES), (None, VALUES)],
    "average_method": [("geometrc", VALUES), (None, VALUES)],
    "multioutput": [("raw_value", VALUES), (None, VALUES)],
    "variant": [("d", VALUES), (None, VALUES)],
    "aggregation_level": [("globl", VALUES), (None, VALUES)],
    "input_format": [("one_hot", VALUES), (None, VALUES)],
    "include_background": [("yes", VALUES), (None, VALUES)],
    "nan_replace_value": [("0", TYPES), (None, TYPES)],
    "metric_func": [(1, TYPES), (None, TYPES)],
    "mode": [("speakerwise", VALUES), (None, VALUES)],
    "eval_func": [("maximum", VALUES), (None, VALUES)],
    "filter_length": [(0, VALUES), (2.5, TYPES)],
    "use_cg_iter": [(0, VALUES), (2.5, TYPES)],
    "load_diag": [(-1.0, VALUES), ("1", TYPES)],
    "empty_target_action": [("negg", VALUES), (None, VALUES)],
    "aggregation": [("maen", VALUES), (None, VALUES)],
    "adaptive_k": [("yes", VALUES), (None, VALUES)],
    "max_k": [(0, VALUES), (-1, VALUES), (1.0, TYPES), ("1", TYPES), (True, TYPES)],
    "min_precision": [(-0.1, VALUES), (1.5, VALUES), (math.nan, VALUES), ("1", TYPES), (None, TYPES)],
    "num_outputs": [(0, VALUES), (2.5, TYPES)],
    "substitution_cost": [(-1, VALUES), (1.0, TYPES), ("1", TYPES), (True, TYPES)],
    "reduction": [("maen", VALUES), (1, VALUES)],
    "n_gram": [(0, VALUES), (2.0, TYPES), ("2", TYPES), (True, TYPES)],
    "n_char_order": [(0, VALUES), (2.0, TYPES)],
    "n_word_order": [(-1, VALUES), (2.0, TYPES)],
    "tokenize": [("13b", VALUES), (None, VALUES)],
    "rouge_keys": [("rougeLsun", VALUES), ("rouge0", VALUES), ("rouge10", VALUES), ((), VALUES), (1, VALUES)],
    "accumulate": [("bset", VALUES), (None, VALUES)],
    "normalizer": [("lower", TYPES), (True, TYPES)],
    "tokenizer": [("split", TYPES)],
    "task": [("binray", VALUES), ("multi", VALUES), (1, VALUES)],
    "box_format": [("xyhw", VALUES), (None, VALUES)],
    "iou_type": [("segmm", VALUES), (None, VALUES), ((), VALUES)],
    "iou_thresholds": [([], VALUES), ([0.5, 1.5], VALUES), ([math.nan], VALUES), ("0.5", TYPES), (0.5, TYPES), ([True], TYPES)],
    "rec_thresholds": [([], VALUES), ([-0.1], VALUES), ([math.nan], VALUES), ("0.5", TYPES), (0.5, TYPES)],
    "max_detection_thresholds": [([], VALUES), ([0], VALUES), (100, TYPES), ([1.0], TYPES), ([True], TYPES)],
    "iou_threshold": [(math.nan, VALUES), ("0.5", TYPES), (True, TYPES)],
    "respect_labels": [("yes", VALUES), (None, VALUES)],
    "backend": [("pycoco", VALUES), (None, VALUES)],
    "class_metrics": [("yes", VALUES), (None, VALUES)],
    "extended_summary": [("yes", VALUES), (None, VALUES)],
    "warn_on_many_detections": [("yes", VALUES), (None, VALUES)],
}
HINTS = {
    "macor": "macro",
    "sampelwise": "samplewise",
    "tru": "true",
    "linaer": "linear",
    "eror": "error",
    "binray": "binary",
    "sigmiod": "sigmoid",
    "maen": "mean",
    "rougeLsun": "rougeLsum",
    "bset": "best",
    "xyhw": "xywh",
    "segmm": "segm",
    "pycoco": "pycocotools",
    "negg": "neg",
}


def constructors():
    """(class, arguments that it is fine with): each task of a family, and the way without a task."""
    for name, cls in PUBLIC.items():
        if name == cls.__name__ and name not in ABSTRACT and EXAMPLES.get(name) and EXAMPLES[name][0].build is None:
            yield cls, dict(EXAMPLES[name][0].arguments)
            if "task" in parameters(cls):
                sizes = {"binary": {}, "multiclass": {"num_classes": 4}, "multilabel": {"num_labels": 3}}
                members = [m for m in cls.__subclasses__() if m.task_name]
                beta = {"beta": 2.0} if "beta" in parameters(cls) else {}
                for member in members:
                    yield cls, {"task": member.task_name, **sizes[member.task_name], **beta}


def parameters(cls):
    return [name for name in inspect.signature(cls).parameters if name != "kwargs"]


def takes(cls, arguments, name):
    """Whether a family passes an argument on: it drops those that its task has no use for."""
    if "task" not in arguments or name == "task":
        return name in parameters(cls)
    (member,) = [m for m in cls.__subclasses__() if m.task_name == arguments["task"]]
    return name in parameters(member)


CLASSES = list(constructors())
FINE = {
    *((name, "num_classes", "1") for name in ("MeanIoU", "DiceScore")),  # a mask of one class
    ("FrechetInceptionDistance", "normalize", "True"),
}
WITH_A_TASK = ("num_classes", "num_labels", "average", "multidim_average")  # see test_without_a_task_there_is_one_average


def cases(cls, arguments):
    for name in BAD:
        if takes(cls, arguments, name) and (arguments.get("task") or name not in WITH_A_TASK or "task" not in parameters(cls)):
            for value, error in BAD[name]:
                if (cls.__name__, name, repr(value)) not in FINE:
                    yield name, value, error


def shown(value):
    return value.__name__ if isinstance(value, type) else repr(value) if not isinstance(value, dict) else ""


def names(cls, arguments):
    """The class that an error may name: the member of a family that is built, or the family."""
    members = [m.__name__ for m in cls.__subclasses__() if arguments.get("task") and m.task_name == arguments["task"]]
    return f"({'|'.join([cls.__name__, *members])})"


@pytest.mark.parametrize(("cls", "arguments"), CLASSES, ids=shown)
def test_refused(cls, arguments):
    broken = []
    for name, value, error in cases(cls, arguments):
        try:
            text = refused(lambda: cls(**{**arguments, name: value}), error, names(cls, arguments), (f"{name} is {value!r}",))
            if (
                isinstance(value, str) and value in HINTS and repr(HINTS[value]) in text.split(" but ")[1]
            ):  # one of the choices, so the closest of them
                assert f"Did you mean {HINTS[value]!r}?" in text, text
        except (Exception, pytest.fail.Exception) as caught:
            broken.append(f"{name}={value!r}: {type(caught).__name__}: {caught}")
    assert not broken, "\n".join(broken)


MEMBERS = [cls for cls in PUBLIC.values() if getattr(cls, "task_name", None) and cls.__name__ not in ABSTRACT]


@pytest.mark.parametrize("cls", MEMBERS, ids=lambda cls: cls.__name__)
def test_what_another_task_or_a_base_takes_is_unknown(cls):
    """BinaryAccuracy(average="macro"), MulticlassF1Score(task="multiclass") and such."""
    arguments = dict(EXAMPLES[cls.__name__][0].arguments)
    foreign = {"task": "binary", "average": "macro", "num_classes": 3, "num_labels": 3, "top_k": 2, "multidim_average": "global"}
    for name, value in foreign.items():
        if name not in parameters(cls):
            refused(lambda: cls(**arguments, **{name: value}), TypeError, cls.__name__, (f"unexpected argument {name!r}",))


def test_all_arguments_are_tried():
    """Each argument of a public metric is in the table above, or can have no bad value of its own."""
    known = {
        *BAD,
        *OPTIONS,
        "validate_args",
        "squared",
        "t_test",
        "bias_correction",
        "per_class",
        "feature_extractor_weights_path",
        "zero_mean",
        "metric_a",
        "metric_b",
        "operator",
        "smooth",
        "use_stemmer",
        "lowercase",
        "whitespace",
        "return_sentence_level_score",
    }
    missing = {name for cls, _ in CLASSES for name in parameters(cls)} - known
    assert not missing


@pytest.mark.parametrize(("cls", "arguments"), CLASSES, ids=shown)
def test_unknown_arguments_with_the_closest_name(cls, arguments):
    words = [name for name in (*parameters(cls), *OPTIONS) if (takes(cls, arguments, name) and name != "task") or name in OPTIONS]
    assert words
    for word in words:
        wrong = word[:-1] if len(word) > 4 else word + "s"
        hint = (f"unexpected argument {wrong!r}", f"Did you mean {word!r}?")
        refused(lambda: cls(**arguments, **{wrong: 1}), TypeError, names(cls, arguments), hint)


@pytest.mark.parametrize("family", sorted({cls.__name__ for cls, a in CLASSES if "task" in parameters(cls)}))
def test_families_need_the_size(family):
    cls = getattr(ec, family)
    beta = {"beta": 2.0} if "beta" in parameters(cls) else {}
    members = {m.task_name for m in cls.__subclasses__() if m.task_name}
    averages = {"average": "macro"} if "average" in parameters(cls) else {}
    if "multiclass" in members:
        refused(
            lambda: cls(task="multiclass", **beta, **averages), ValueError, names(cls, {"task": "multiclass"}), ("num_classes",)
        )
    if "multilabel" in members:
        refused(lambda: cls(task="multilabel", **beta), ValueError, names(cls, {"task": "multilabel"}), ("num_labels",))


def test_families_without_a_task():
    """JaccardIndex and the readings of a matrix had none in 0.x that needed no size."""
    for name in ("JaccardIndex", "ConfusionMatrix", "CohenKappa", "MatthewsCorrCoef", "ExactMatch"):
        refused(lambda: getattr(ec, name)(), ValueError, name, ("task is None",))


def test_without_a_task_there_is_one_average():
    refused(lambda: epochal.F1Score(average="macro"), ValueError, "F1Score", ("average is 'macro'", "task is None"))
    refused(lambda: epochal.Accuracy(multidim_average="samplewise"), ValueError, "Accuracy", ("samplewise", "task is None"))


def test_top_k_within_the_classes():
    refused(lambda: ec.MulticlassAccuracy(3, top_k=4), ValueError, "MulticlassAccuracy", ("top_k is 4", "num_classes is 3"))


def test_functions_refuse_the_same():
    import torch

    preds, target = torch.rand(4, 3), torch.zeros(4, dtype=torch.long)
    f = epochal.functional
    refused(lambda: f.accuracy(preds, target, task="multiclas", num_classes=3), ValueError, "Accuracy", ("'multiclass'?",))
    refused(lambda: f.multiclass_precision(preds, target, 3, average="mean"), ValueError, "MulticlassPrecision", ("'mean'",))
    refused(lambda: f.multiclass_fbeta_score(preds, target, 0.0, 3), ValueError, "MulticlassFBetaScore", ("beta is 0",))
    refused(
        lambda: f.precision(preds, target, task="multiclass", average="macro"),
        ValueError,
        "(Multiclass)?Precision",
        ("num_classes",),
    )
