"""Mean average precision against pycocotools: on random images, and on COCO's own demonstration."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as runs
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from epochal import functional as ef
from epochal.detection import MeanAveragePrecision
from tests.errors.grammar import same

NAMES = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")
NAMES += ("mar_1", "mar_10", "mar_100", "mar_small", "mar_medium", "mar_large")
DATA = Path(os.environ.get("EPOCHAL_TEST_DATA", "nowhere")) / "coco"
SIZE = 120, 160  # of masks


# --- data and oracle ----------------------------------------------------------------------------------------------------------


def corners(n, g):
    """(N, 4) from a few to 250 pixels wide, in float64: small, medium and large ones."""
    corner = 200 * torch.rand(n, 2, generator=g, dtype=torch.float64)
    return torch.cat([corner, corner + 3 + 250 * torch.rand(n, 2, generator=g, dtype=torch.float64) ** 3], 1)


def images(seed, number=12, classes=3, masks=False, scores=20):
    """Crowds, images without objects or detections, classes without objects, tied scores, given areas and none."""
    g = torch.Generator().manual_seed(seed)
    preds, target = [], []
    for i in range(number):
        n, m = (0 if i % 5 == k else int(torch.randint(high, (), generator=g)) for k, high in ((1, 12), (2, 30)))
        objects, found = corners(n, g), corners(m, g)
        names, guessed = torch.randint(classes, (n,), generator=g), torch.randint(classes + 1, (m,), generator=g)
        if n:
            near = torch.randint(n, (m,), generator=g)
            sides = (objects[near, 2:] - objects[near, :2]).repeat(1, 2)
            found = objects[near] + 0.08 * sides * torch.randn(m, 4, generator=g, dtype=torch.float64)
            found[:, 2:] = torch.maximum(found[:, 2:], found[:, :2])
            found[: m // 4] = objects[near[: m // 4]]  # no error: overlaps are tied, too
            guessed = torch.where(torch.rand(m, generator=g) < 0.8, names[near], guessed)
        score = torch.randint(scores, (m,), generator=g) / torch.tensor(scores, dtype=torch.float64)
        preds.append({"boxes": found, "labels": guessed, "scores": score})
        target.append({"boxes": objects, "labels": names, "iscrowd": (torch.rand(n, generator=g) < 0.2).long()})
        if i % 2:
            target[-1]["area"] = 100 * 100 * torch.rand(n, generator=g, dtype=torch.float64) ** 2
        for image in (preds[-1], target[-1]) if masks else ():
            image["masks"] = painted(image["boxes"])
    return preds, target


def painted(boxes):
    """Ellipses in the boxes."""
    y, x = torch.meshgrid(torch.arange(SIZE[0]) * 2.0, torch.arange(SIZE[1]) * 2.0, indexing="ij")
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2 + 1
    across, down = ((p - centre[:, [i], None]) / half[:, [i], None] for i, p in enumerate((x, y)))
    return across**2 + down**2 <= 1


def annotation(image, i, place):
    x0, y0, x1, y1 = image["boxes"][place].tolist()
    out = {"image_id": i, "category_id": int(image["labels"][place]), "bbox": [x0, y0, x1 - x0, y1 - y0]}
    if "masks" in image:
        out["segmentation"] = runs.encode(np.asfortranarray(image["masks"][place].numpy().astype(np.uint8)))
    return out


def oracle(preds, target, kind="bbox", **params):
    """COCOeval after all its steps."""
    objects, found = [], []
    for i, (p, t) in enumerate(zip(preds, target, strict=True)):
        for place in range(len(t["labels"])):
            one = annotation(t, i, place)
            own = one["bbox"][2] * one["bbox"][3] if kind == "bbox" else float(runs.area(one["segmentation"]))
            area = float(t["area"][place]) if "area" in t else own
            objects.append({**one, "id": len(objects) + 1, "iscrowd": int(t["iscrowd"][place]), "area": area})
        for place in range(len(p["labels"])):
            one = {**annotation(p, i, place), "score": float(p["scores"][place])}
            found.append(one if kind == "bbox" else {k: v for k, v in one.items() if k != "bbox"})
    whole = COCO()
    labels = sorted({a["category_id"] for a in objects + found})
    whole.dataset = {"annotations": objects, "categories": [{"id": label} for label in labels]}
    whole.dataset["images"] = [{"id": i, "height": SIZE[0], "width": SIZE[1]} for i in range(len(preds))]
    with contextlib.redirect_stdout(io.StringIO()):
        whole.createIndex()
        evaluation = COCOeval(whole, whole.loadRes(found), kind)
        for name, value in params.items():
            setattr(evaluation.params, name, value)
        evaluation.evaluate()
        evaluation.accumulate()
        if not params:
            evaluation.summarize()
    return evaluation


def mean(values):
    return values[values > -1].mean() if (values > -1).any() else -1


def computed(preds, target, **arguments):
    """Over updates of 1, 5 and the other images, as two metrics that are merged."""
    first, second = (MeanAveragePrecision(warn_on_many_detections=False, **arguments).set_dtype(torch.float64) for _ in range(2))
    first.update(preds[:1], target[:1])
    first.update(preds[1:6], target[1:6])
    second.update(preds[6:], target[6:])
    first.merge_state(second)
    return first.compute()


def assert_stats(found, stats, prefix=""):
    for name, expected in zip(NAMES, stats, strict=True):
        assert found[prefix + name].item() == pytest.approx(expected, abs=1e-9), name


# --- random images ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_boxes(seed):
    preds, target = images(seed)
    evaluation = oracle(preds, target)
    found = computed(preds, target, class_metrics=True, extended_summary=True)
    assert_stats(found, evaluation.stats)
    assert found["classes"].tolist() == evaluation.params.catIds
    assert found["map_per_class"].dtype == torch.float64
    tables = evaluation.eval
    for k in range(len(found["classes"])):
        assert found["map_per_class"][k].item() == pytest.approx(mean(tables["precision"][:, :, k, 0, -1]), abs=1e-9)
        assert found["mar_100_per_class"][k].item() == pytest.approx(mean(tables["recall"][:, k, 0, -1]), abs=1e-9)
    for name in ("precision", "recall", "scores"):
        assert np.allclose(found[name].numpy(), tables[name], rtol=0, atol=1e-12)
    assert min(evaluation.stats) > 0  # every range of areas has objects
    seen = {key: ious for key, ious in evaluation.ious.items() if len(ious)}
    assert seen.keys() == {key for key, ious in found["ious"].items() if ious.numel()}
    for key, ious in seen.items():
        assert np.allclose(found["ious"][key].numpy(), ious, rtol=0, atol=1e-15)


@pytest.mark.parametrize("seed", range(3))
def test_masks_and_both(seed):
    preds, target = images(seed, masks=True)
    found = computed(preds, target, iou_type=("bbox", "segm"))
    for kind in ("bbox", "segm"):
        assert_stats(found, oracle(preds, target, kind).stats, f"{kind}_")
        assert_stats(computed(preds, target, iou_type=kind), oracle(preds, target, kind).stats)
    assert len(found) == 2 * len(NAMES) + 5


def encoded(image, listed=False):
    out = runs.encode(np.asfortranarray(image["masks"].numpy().astype(np.uint8).transpose(1, 2, 0)))
    if listed:
        for one, mask in zip(out, image["masks"], strict=True):
            column = mask.numpy().reshape(-1, order="F").astype(np.int8)
            ends = np.flatnonzero(np.diff(column, prepend=0, append=-1))
            one["counts"] = np.diff(ends, prepend=0).tolist()
    return {**image, "masks": out}


def test_run_lengths_are_masks_too():
    preds, target = images(3, masks=True)
    arguments = {"iou_type": "segm", "warn_on_many_detections": False}
    expected = ef.mean_average_precision(preds, target, **arguments)
    for listed in (False, True):
        lists = ([encoded(image, listed) for image in given] for given in (preds, target))
        assert same(ef.mean_average_precision(*lists, **arguments), expected)
    as_bytes = [[{**image, "masks": image["masks"].to(torch.uint8) * 255} for image in given] for given in (preds, target)]
    assert same(ef.mean_average_precision(*as_bytes, **arguments), expected)


def pooled(*lists):
    return [[{**image, "labels": torch.zeros_like(image["labels"])} for image in given] for given in lists]


def test_micro():
    """All of one class, but in the values of each."""
    preds, target = images(1)
    found = computed(preds, target, average="micro", class_metrics=True)
    assert_stats(found, oracle(*pooled(preds, target)).stats)
    macro = computed(preds, target, class_metrics=True)
    for name in ("classes", "map_per_class", "mar_100_per_class"):
        assert found[name].equal(macro[name])
    assert computed(preds, target, average="micro")["map_per_class"] == -1


@pytest.mark.parametrize("average", ["macro", "micro"])
def test_thresholds_and_limits_of_ones_own(average):
    preds, target = images(2)
    arguments = {"iou_thresholds": [0.75, 0.3, 1.0], "rec_thresholds": [0.05, 0.5, 0.9], "max_detection_thresholds": [4, 2]}
    params = {"iouThrs": np.array([0.75, 0.3, 1.0]), "recThrs": np.array([0.05, 0.5, 0.9]), "maxDets": [4, 2]}
    tables = oracle(*((preds, target) if average == "macro" else pooled(preds, target)), **params).eval
    found = computed(preds, target, average=average, extended_summary=True, **arguments)
    for name in ("precision", "recall", "scores"):
        assert np.allclose(found[name].numpy(), tables[name], rtol=0, atol=1e-12)
    assert found["map"].item() == pytest.approx(mean(tables["precision"][..., 0, -1]), abs=1e-12)
    assert found["map_75"].item() == pytest.approx(mean(tables["precision"][0, ..., 0, -1]), abs=1e-12)
    assert found["map_50"] == -1
    assert found["mar_2"].item() == pytest.approx(mean(tables["recall"][..., 0, 0]), abs=1e-12)
    assert found["mar_4"].item() == pytest.approx(mean(tables["recall"][..., 0, 1]), abs=1e-12)
    assert found["mar_4_per_class"] == -1


def test_thresholds_may_be_arrays_or_tensors():
    preds, target = images(2)
    as_list = {"iou_thresholds": [0.5, 0.625], "rec_thresholds": [0.25, 0.5], "max_detection_thresholds": [2, 100]}
    expected = ef.mean_average_precision(preds, target, **as_list)
    for form in (np.array, torch.tensor, tuple):
        assert same(ef.mean_average_precision(preds, target, **{k: form(v) for k, v in as_list.items()}), expected)
        assert MeanAveragePrecision(**{k: form(v) for k, v in as_list.items()}).max_detection_thresholds == [2, 100]


def test_formats():
    preds, target = images(4)
    expected = computed(preds, target)

    def written(image, form):
        first, last = image["boxes"][:, :2], image["boxes"][:, 2:]
        start = first if form == "xywh" else (first + last) / 2
        return {**image, "boxes": torch.cat([start, last - first], 1)}

    for form in ("xywh", "cxcywh"):
        lists = ([written(image, form) for image in given] for given in (preds, target))
        found = computed(*lists, box_format=form)
        assert found.keys() == expected.keys()
        for name in NAMES:
            assert found[name].item() == pytest.approx(expected[name].item(), abs=1e-9 if form == "xywh" else 0.02)  # ties at 1


def test_precision_of_the_input():
    """float32 boxes are read exactly: their sides are differences in float64; half scores keep their order."""
    preds, target = images(5)
    single = [
        [{k: v.float() if v.is_floating_point() else v for k, v in image.items()} for image in given] for given in (preds, target)
    ]
    assert_stats(computed(*single), oracle(*single).stats)
    narrow = [{**image, "scores": image["scores"].bfloat16()} for image in preds]
    wide = [{**image, "scores": image["scores"].double()} for image in narrow]
    assert same(computed(narrow, target), computed(wide, target))


def test_many_detections_of_one_class():
    preds, target = images(6, number=4, classes=1, scores=1000)
    preds[0] = {"boxes": corners(300, torch.Generator().manual_seed(0)), "labels": torch.zeros(300, dtype=torch.long)}
    preds[0]["scores"] = torch.linspace(1, 0, 300, dtype=torch.float64)
    assert_stats(computed(preds, target), oracle(preds, target).stats)
    metric = MeanAveragePrecision()
    with pytest.warns(UserWarning, match="MeanAveragePrecision: 200 detections are left out, .*, but at most 100 count"):
        metric.update(preds, target)
    metric.warn_on_many_detections = False
    metric.update(preds, target)
    metric.merge_state(MeanAveragePrecision())  # which would have warned: the statistic is the same
    with pytest.raises(ValueError, match="MeanAveragePrecision: merge_state got"):
        metric.merge_state(MeanAveragePrecision(max_detection_thresholds=[1, 10, 50]))


# --- what has no value --------------------------------------------------------------------------------------------------------


def empty():
    return {"boxes": torch.zeros(0), "labels": torch.zeros(0), "scores": torch.zeros(0)}


def test_without_objects_or_detections():
    box = {"boxes": torch.tensor([[0.0, 0, 50, 50]]), "labels": torch.tensor([7]), "scores": torch.tensor([0.5])}
    nothing = ef.mean_average_precision([], [])
    assert {name: nothing[name].item() for name in NAMES} == dict.fromkeys(NAMES, -1)
    assert nothing["classes"].tolist() == []
    for preds, target, value, classes in (
        ([empty()], [empty()], -1, []),
        ([box], [empty()], -1, [7]),
        ([empty()], [box], 0, [7]),
        ([box], [box], 1, [7]),
        ([box, box], [box, empty()], 1, [7]),  # tied with the hit, which came first
        ([box, box], [empty(), box], 0.5, [7]),
    ):
        found = ef.mean_average_precision(preds, target, class_metrics=True)
        assert (found["map"].item(), found["classes"].tolist()) == (value, classes)
        assert found["map_per_class"].tolist() == [value] * len(classes)
        assert found["map_small"] == -1


def test_the_sentinel_is_as_in_the_oracle():
    """No large objects."""
    preds, target = images(7)
    for image in target:
        image["area"] = torch.full((len(image["labels"]),), 50.0)
    stats = oracle(preds, target).stats
    assert -1 in stats
    assert_stats(computed(preds, target), stats)


def test_the_state_is_small():
    preds, target = images(8, number=40, masks=True)
    metric = MeanAveragePrecision(iou_type="segm", warn_on_many_detections=False)
    metric.update(preds, target)
    held = sum(part.numel() * part.element_size() for field in metric.metric_state.values() for part in field)
    single = sum(len(image["labels"]) for image in preds) * 4  # scores came in float64
    assert held - single <= 23 * sum(len(image["labels"]) for image in preds) + 9 * sum(len(image["labels"]) for image in target)


def test_masks_of_one_image_have_one_size():
    preds, target = images(0, masks=True)
    full = next(i for i in range(12) if len(preds[i]["labels"]) and len(target[i]["labels"]))
    target[full]["masks"] = target[full]["masks"][:, 1:]
    target[full]["labels"], preds[full]["labels"] = (torch.zeros_like(given[full]["labels"]) for given in (target, preds))
    metric = MeanAveragePrecision(iou_type="segm", warn_on_many_detections=False)
    with pytest.raises(ValueError, match=r"MeanAveragePrecision: masks of an image have the sizes .*, but one size is needed"):
        metric.update(preds, target)
    for masks, error in ((preds[full]["masks"].double(), ValueError), (preds[full]["masks"][:, 0], ValueError), ([3], TypeError)):
        wrong = [{**preds[full], "masks": masks if error is ValueError else masks * len(preds[full]["labels"])}]
        with pytest.raises(error, match=r"MeanAveragePrecision: preds\[0\]\['masks'\] .*, but .* needed"):
            metric.update(wrong, target[full : full + 1])


def test_missing_pycocotools_is_named(monkeypatch):
    preds, target = images(0, masks=True)
    monkeypatch.setitem(sys.modules, "pycocotools.mask", None)
    with pytest.raises(ModuleNotFoundError, match=r"MeanAveragePrecision: pycocotools is not installed, .*epochal\[detection\]"):
        MeanAveragePrecision(iou_type="segm").update(preds, target)
    MeanAveragePrecision(warn_on_many_detections=False).update(preds, target)


# --- COCO's demonstration -----------------------------------------------------------------------------------------------------

KNOWN = {  # as pycocotools prints them
    "bbox": "0.504581 0.696973 0.572982 0.585626 0.519400 0.501398 0.386813 0.593680 0.595353 0.639811 0.566421 0.564291",
    "segm": "0.319545 0.562288 0.298927 0.387374 0.310183 0.326934 0.268230 0.415449 0.416839 0.469450 0.376759 0.381472",
}


def demonstration(kind):
    """As lists of images, and COCOeval over the same 100."""
    with contextlib.redirect_stdout(io.StringIO()):
        whole = COCO(str(DATA / "instances_val2014_100.json"))
        results = json.loads((DATA / f"fake{kind}100_results.json").read_text())
        evaluation = COCOeval(whole, whole.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()

    def image(annotations):
        out = {"labels": torch.tensor([a["category_id"] for a in annotations], dtype=torch.long)}
        if kind == "bbox":
            out["boxes"] = torch.tensor([a["bbox"] for a in annotations], dtype=torch.float64)
        else:
            out["masks"] = [whole.annToRLE(a) for a in annotations]
        return out

    preds, target = [], []
    for i in sorted(whole.imgs):
        objects, found = whole.imgToAnns[i], [r for r in results if r["image_id"] == i]
        scores = torch.tensor([r["score"] for r in found], dtype=torch.float64)
        preds.append({**image(found), "scores": scores})
        extra = {name: torch.tensor([a[name] for a in objects], dtype=torch.float64) for name in ("area", "iscrowd")}
        target.append({**image(objects), **extra})
    return preds, target, evaluation


@pytest.mark.skipif(not DATA.exists(), reason="COCO's demonstration is found through EPOCHAL_TEST_DATA")
@pytest.mark.parametrize("kind", KNOWN)
def test_demonstration_of_coco(kind):
    preds, target, evaluation = demonstration(kind)
    found = computed(preds, target, iou_type=kind, box_format="xywh")
    assert_stats(found, evaluation.stats)
    for name, printed in zip(NAMES, KNOWN[kind].split(), strict=True):
        assert found[name].item() == pytest.approx(float(printed), abs=5e-7)
