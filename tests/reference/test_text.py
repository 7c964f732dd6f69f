"""Text metrics against jiwer, sacrebleu and rouge-score: on sentences that were made, and on real translations."""

from __future__ import annotations

import functools
import os
import random
import sys
from pathlib import Path

import jiwer
import pytest
import torch
from rouge_score.rouge_scorer import RougeScorer, lcs_ind
from sacrebleu.metrics import BLEU, CHRF

from epochal import MetricCollection
from epochal import functional as ef
from epochal import text as et
from tests.laws.rows.text import texts

REAL = Path(os.environ.get("EPOCHAL_TEST_DATA", "nowhere")) / "text"


@functools.cache
def translations(count: int = 300) -> tuple[list[str], list[str]]:
    """Hypotheses of a machine and references, from the middle of a news test set."""
    if not REAL.is_dir():
        pytest.skip("EPOCHAL_TEST_DATA names no folder with text")
    lines = [(REAL / f"{name}.txt").read_text(encoding="utf-8").splitlines() for name in ("hypotheses", "references")]
    return lines[0][500 : 500 + count], lines[1][500 : 500 + count]


def made() -> tuple[list[str], list[str]]:
    batches = texts()()
    return [t for preds, _ in batches for t in preds], [t for _, target in batches for t in target]


DATA = {
    "made": made,
    "real": translations,
    "the same": lambda: (made()[1], made()[1]),
    "nothing right": lambda: (["x y"] * 3, ["a b c", "a", "a b"]),
    "silence": lambda: (["", "a"], ["", "a"]),
    "only silence": lambda: ([""], [""]),
    "preds empty": lambda: (["", ""], ["a b", "c"]),
    "more white space": lambda: (["  a   b ", "c  d"], ["a b", "  c e"]),
    "two ways": lambda: (["a b"], ["b a c"]),  # alignments of one distance and other hits
}


def computed(metric, preds, target, *sizes):
    """Over batches of these sizes."""
    start = 0
    for size in (*sizes, len(preds)):
        metric.update(preds[start : start + size], target[start : start + size])
        start += size
    return metric.compute()


EDITS = {
    "wer": (et.WordErrorRate, ef.word_error_rate),
    "mer": (et.MatchErrorRate, ef.match_error_rate),
    "wil": (et.WordInfoLost, ef.word_information_lost),
    "wip": (et.WordInfoPreserved, ef.word_information_preserved),
}


@pytest.mark.parametrize("data", DATA)
@pytest.mark.parametrize("name", EDITS)
def test_words_as_jiwer(name, data):
    cls, function = EDITS[name]
    preds, target = DATA[data]()
    expected = getattr(jiwer.process_words(target, preds), name)
    for found in (computed(cls(), preds, target, 0, 1), function(preds, target)):
        assert found.dtype == torch.float32
        assert found.item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("data", ["made", "real", "the same", "nothing right", "silence", "preds empty"])
def test_characters_as_jiwer(data):
    preds, target = ([text.strip() for text in side] for side in DATA[data]())
    expected = jiwer.cer(target, preds)
    for found in (computed(et.CharErrorRate(), preds, target, 0, 1), ef.char_error_rate(preds, target)):
        assert found.item() == pytest.approx(expected, rel=1e-6)


def test_error_rates_of_no_target():
    """No words that could be wrong: no error is 0, any is infinite."""
    for cls in (et.WordErrorRate, et.CharErrorRate):
        assert cls().of("", "") == 0
        assert cls().of("a", "") == torch.inf
    assert et.CharErrorRate().of(" a ", "a") == 2


def costs(x: str, y: str, cost: int) -> int:
    """By its definition: the table of all prefixes."""
    row = list(range(len(y) + 1))
    for i, a in enumerate(x, 1):
        before, row = row, [i]
        for j, b in enumerate(y, 1):
            row.append(min(row[-1] + 1, before[j] + 1, before[j - 1] + cost * (a != b)))
    return row[-1]


@pytest.mark.parametrize("cost", [0, 1, 2, 3])
def test_edit_distance_by_definition(cost):
    preds, target = made()
    expected = [costs(x, y, cost) for x, y in zip(preds, target, strict=True)]
    readings = {"none": expected, None: expected, "sum": sum(expected), "mean": sum(expected) / len(expected)}
    for reduction, reading in readings.items():
        metric = et.EditDistance(cost, reduction)
        for found in (computed(metric, preds, target, 2, 0), ef.edit_distance(preds, target, cost, reduction)):
            assert found.tolist() == pytest.approx(reading, rel=1e-6)
    assert ef.edit_distance("", "abc").item() == 3
    assert et.EditDistance(reduction="none").of([], []).tolist() == []
    assert et.EditDistance().of([], []).isnan()


def test_a_collection_aligns_once(monkeypatch):
    metrics = MetricCollection([et.MatchErrorRate(), et.WordInfoLost(), et.WordInfoPreserved()])
    aligned = []
    original = et.edits.pairs
    monkeypatch.setattr(et.edits, "pairs", lambda *given: aligned.append(1) or original(*given))
    metrics.update(*made())
    assert len(aligned) == 1
    assert metrics.compute()["WordInfoLost"] == 1 - metrics.compute()["WordInfoPreserved"]


# --- n-grams -----------------------------------------------------------------------------------------------------------------


def with_references(number: int):
    """Texts with one, two, ... references each."""
    batches = texts(number)()
    return [t for preds, _ in batches for t in preds], [t for _, target in batches for t in target]


CORPORA = {
    "one": lambda: with_references(1),
    "up to four": lambda: with_references(4),
    "real": lambda: (translations()[0], [[text] for text in translations()[1]]),
    "two real": lambda: (
        translations()[0],
        [list(pair) for pair in zip(translations()[1], reversed(translations()[1]), strict=True)],
    ),
    "capitals": lambda: (["The Cat.", "A DOG, (here) & there"], [["the cat ."], ["a dog here", "A dog ( here )"]]),
    "the same": lambda: (["a b c d e", "f g h i"], [["a b c d e"], ["f g h i"]]),
    "short": lambda: (["a", "b c", ""], [["a"], ["b c d", "b"], ["x"]]),
    "nothing right": lambda: (["x y z w"], [["a b c d e"]]),
    "ties in length": lambda: (["a b c d e"], [["a b c d e f g", "a b c"]]),
    "scripts": lambda: (["猫は寝ます 🐈", "Ёлка 2.5%"], [["猫が寝ます 🐈🐈"], ["ёлка 2,5 %", "Ёлка 2.5 %"]]),
}


def transposed(target):
    """As sacrebleu takes references: the first of each text, the second of each, ..."""
    most = max(map(len, target))
    return [[given[i] if i < len(given) else None for given in target] for i in range(most)]


@pytest.mark.parametrize("data", CORPORA)
@pytest.mark.parametrize(("n_gram", "smooth"), [(4, False), (4, True), (2, False), (1, True)])
@pytest.mark.parametrize("tokenize", ["none", "13a"])
def test_bleu_as_sacrebleu(tokenize, n_gram, smooth, data):
    preds, target = CORPORA[data]()
    of = {"max_ngram_order": n_gram, "smooth_method": "add-k" if smooth else "none"}
    expected = BLEU(tokenize=tokenize, **of).corpus_score(preds, transposed(target)).score / 100
    if tokenize == "none":
        metric, function = et.BLEUScore(n_gram, smooth), ef.bleu_score(preds, target, n_gram, smooth)
    else:
        metric, function = et.SacreBLEUScore(n_gram, smooth), ef.sacre_bleu_score(preds, target, n_gram, smooth)
    for found in (computed(metric, preds, target, 0, 1), function):
        assert found.item() == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("data", ["one", "scripts", "capitals", "real"])
@pytest.mark.parametrize("lowercase", [False, True])
@pytest.mark.parametrize("tokenize", ["none", "13a", "intl", "char", "zh", "ja-mecab", "ko-mecab"])
def test_tokenizers_of_sacrebleu(tokenize, lowercase, data):
    preds, target = CORPORA[data]()
    preds, target = preds[:60], target[:60]
    expected = BLEU(tokenize=tokenize, lowercase=lowercase, smooth_method="add-k").corpus_score(preds, transposed(target))
    found = ef.sacre_bleu_score(preds, target, smooth=True, tokenize=tokenize, lowercase=lowercase)
    assert found.item() == pytest.approx(expected.score / 100, rel=1e-6)


def test_every_tokenizer_is_known():
    """Also those that need another package or load a model, which are sacrebleu's to say."""
    assert {"spm", "flores101", "flores200"} <= set(BLEU.TOKENIZERS)
    with pytest.raises(ValueError, match=r"SacreBLEUScore: tokenize is 'flores', but one of .*'flores200'"):
        et.SacreBLEUScore(tokenize="flores")


def test_weights_of_bleu():
    preds, target = CORPORA["up to four"]()
    alone = [ef.bleu_score(preds, target, n, weights=[0.0] * (n - 1) + [1.0]).double() for n in (1, 2, 3)]
    mixed = ef.bleu_score(preds, target, 3, weights=[0.5, 0.2, 0.3]).item()
    product = alone[0] ** 0.5 * alone[1] ** 0.2 * alone[2] ** 0.3  # the penalty for short texts has the sum of weights, too
    assert mixed == pytest.approx(product.item(), rel=1e-6)
    with pytest.raises(ValueError, match=r"BLEUScore: weights is \[1\.0\], but 4 numbers are needed, as n_gram is 4"):
        et.BLEUScore(weights=[1.0])


@pytest.mark.parametrize("data", CORPORA)
@pytest.mark.parametrize(
    ("char", "word", "beta", "lowercase", "whitespace"),
    [(6, 2, 2, False, False), (6, 0, 2, True, False), (3, 1, 1, False, True), (1, 3, 3, True, True)],
)
def test_chrf_as_sacrebleu(char, word, beta, lowercase, whitespace, data):
    preds, target = CORPORA[data]()
    oracle = CHRF(char, word, beta, lowercase, whitespace)
    arguments = (char, word, beta, lowercase, whitespace)
    expected = oracle.corpus_score(preds, transposed(target)).score / 100
    for found in (computed(et.CHRFScore(*arguments), preds, target, 0, 1), ef.chrf_score(preds, target, *arguments)):
        assert found.item() == pytest.approx(expected, rel=1e-6)
    each = [oracle.sentence_score(text, given).score / 100 for text, given in zip(preds, target, strict=True)]
    corpus, sentences = computed(et.CHRFScore(*arguments, return_sentence_level_score=True), preds, target, 1)
    assert corpus.item() == pytest.approx(expected, rel=1e-6)
    assert sentences.tolist() == pytest.approx(each, rel=1e-6)


def test_one_reference_each_and_one_text():
    preds, target = CORPORA["one"]()
    flat = [text for (text,) in target]
    for function in (ef.bleu_score, ef.sacre_bleu_score, ef.chrf_score):
        assert function(preds, flat) == function(preds, target)
        assert function("a b c d e", ["a b c d e", "x"]) == function(["a b c d e"], [["a b c d e", "x"]]) == 1
        assert function("a b c d e", "a b c d e") == 1
        assert function([], []) == 0
        with pytest.raises(ValueError, match=r"target\[1\] is empty, but a reference of each text is needed"):
            function(["a", "b"], [["a"], []])


def test_numbers_of_ngrams_do_not_wrap_around(monkeypatch):
    """There are more 8-grams of a vocabulary than int64 has numbers: they are numbered by rank."""
    preds, target = CORPORA["two real"]()
    tokens = et.ngrams.words([text.split() for text in preds], [[text.split() for text in given] for given in target])
    assert tokens.size**8 > 2**64
    expected = BLEU(tokenize="none", max_ngram_order=8, smooth_method="add-k").corpus_score(preds, transposed(target)).score / 100
    assert ef.bleu_score(preds, target, 8, True).item() == pytest.approx(expected, rel=1e-6)
    chrf = ef.chrf_score(preds, target)
    monkeypatch.setattr(et.ngrams, "LIMIT", 0)  # at each order
    assert ef.bleu_score(preds, target, 8, True).item() == pytest.approx(expected, rel=1e-6)
    assert ef.chrf_score(preds, target) == chrf


# --- ROUGE -------------------------------------------------------------------------------------------------------------------


def in_lines():
    """Summaries of three sentences, a line each, some of them empty."""
    preds, target = translations()
    joined = [["\n".join(side[i : i + 3]) for i in range(0, 60, 3)] for side in (preds, target)]
    return [*joined[0], "\n", "a b\n\na c"], [[text] for text in [*joined[1], "a\nb", "\na c b\n b a"]]


SUMMARIES = {
    **{name: CORPORA[name] for name in ("one", "up to four", "capitals", "short", "nothing right", "scripts", "two real")},
    "lines": in_lines,
    "lines that repeat": lambda: (["the cat\nthe cat sat\non the mat"], [["the cat the cat\nthe mat", "sat\non\nmat the"]]),
    "words that are stemmed": lambda: (["running runner runs easily ties"], [["he runs easy, tied tie"]]),
}
EVERY = (*(f"rouge{n}" for n in range(1, 10)), "rougeL", "rougeLsum")


@pytest.mark.parametrize("data", SUMMARIES)
@pytest.mark.parametrize("accumulate", ["best", "avg"])
@pytest.mark.parametrize("use_stemmer", [False, True])
def test_rouge_as_rouge_score(use_stemmer, accumulate, data):
    preds, target = SUMMARIES[data]()
    preds, target = preds[:40], target[:40]
    scorer = RougeScorer(EVERY, use_stemmer=use_stemmer)
    if accumulate == "best":
        scored = [[scorer.score_multi(given, text)] for text, given in zip(preds, target, strict=True)]
    else:
        scored = [[scorer.score(reference, text) for reference in given] for text, given in zip(preds, target, strict=True)]
    metric = et.ROUGEScore(use_stemmer, accumulate=accumulate, rouge_keys=EVERY)
    function = ef.rouge_score(preds, target, accumulate, use_stemmer, rouge_keys=list(EVERY))
    for found in (computed(metric, preds, target, 0, 1), function):
        assert len(found) == 33
        for key in EVERY:
            for reading in ("precision", "recall", "fmeasure"):
                each = [sum(getattr(s[key], reading) for s in of_text) / len(of_text) for of_text in scored]
                assert found[f"{key}_{reading}"].item() == pytest.approx(sum(each) / len(each), rel=1e-6), key


def test_rouge_of_words_of_ones_own():
    def words(text):
        return [part for part in text.split("|") if part != "x"]

    metric = et.ROUGEScore(normalizer=str.upper, tokenizer=words, rouge_keys=("rouge1", "rougeLsum"))
    found = metric(["Ä b|c\n|x"], ["ä B|d|C"])
    assert found["rouge1_recall"].item() == pytest.approx(1 / 3)  # "Ä B"; "C\n" and "X" are other words
    assert found["rougeLsum_recall"].item() == pytest.approx(2 / 3)  # the line break is none
    assert et.ROUGEScore(tokenizer=str.split, rouge_keys="rouge2")("A-b", "a b")["rouge2_fmeasure"] == 1
    assert et.ROUGEScore(normalizer=str.strip, rouge_keys="rouge1")("A b", "a b ")["rouge1_fmeasure"] == 0.5
    assert all(value.isnan() for value in ef.rouge_score([], []).values())


@pytest.mark.parametrize("seed", range(5))
def test_common_places_as_a_table(seed):
    """Also of more tokens than a machine's word has bits."""
    chance = random.Random(seed)
    x, y = (chance.choices("abcdefg", k=n) for n in (70 * seed, 90))
    assert et.subsequences.common_places(x, y)[::-1] == lcs_ind(x, y)


NEEDED = [
    (et.WordErrorRate, {}, "rapidfuzz.distance.Levenshtein"),
    (et.EditDistance, {}, "rapidfuzz.distance.Levenshtein"),
    (et.SacreBLEUScore, {}, "sacrebleu.metrics.bleu"),
    (et.ROUGEScore, {}, "rapidfuzz.distance.LCSseq"),
    (et.ROUGEScore, {"use_stemmer": True}, "nltk.stem.porter"),
]


@pytest.mark.parametrize(("cls", "arguments", "module"), NEEDED)
def test_without_the_extra(cls, arguments, module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    name = module.partition(".")[0]
    named = rf"{cls.__name__}: {name} is not installed, but it is needed\. Install it by: pip install epochal\[text\]"
    with pytest.raises(ModuleNotFoundError, match=named):
        cls(**arguments)
