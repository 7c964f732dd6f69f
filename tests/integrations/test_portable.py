"""A file that was written for ``epochal.training`` goes back to Lightning with its import alone changed, and does the same."""

from __future__ import annotations

from pathlib import Path

import lightning
import pytest

OURS, THEIRS = "import epochal.training as pl", "import lightning.pytorch as pl"


@pytest.mark.skipif(lightning.__version__ < "2", reason="the hooks of Lightning 1.x have other arguments")
@pytest.mark.filterwarnings("ignore")  # Lightning's
def test_a_file_runs_in_both_with_its_import_changed(tmp_path):
    source = Path(__file__).with_name("portable.py").read_text()
    assert source.count(OURS) == 1
    found = []
    for line in (OURS, THEIRS):
        names: dict = {"__name__": "portable"}
        exec(source.replace(OURS, line), names)
        folder = tmp_path / str(len(found))
        folder.mkdir()
        found.append(names["run"](folder))
    (values, weights, calls, tested, predicted, steps), theirs = found
    assert calls == theirs[2]
    assert values == pytest.approx(theirs[0], rel=1e-5)
    assert {"loss_step", "loss_epoch", "val_loss", "f1", "gradient", "rate", "seen", "epoch", "largest", "samples"} <= set(values)
    for ours, other in zip(weights, theirs[1], strict=True):
        assert ours == pytest.approx(other, rel=1e-5)
    assert tested == pytest.approx(theirs[3], rel=1e-5)
    assert (predicted, steps) == theirs[4:]
    assert steps == 2 * 4
