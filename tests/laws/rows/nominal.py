"""Examples of nominal metrics."""

from __future__ import annotations

import torch

from tests.laws.data import each, labels, row

categories = each(lambda n, g: (labels(4, n, g=g), labels(3, n, g=g)))
scores = each(lambda n, g: (torch.randn(n, 4, generator=g), torch.randn(n, 4, generator=g)))

row("CramersV", "categories", categories, {"num_classes": 4})
row("CramersV", "biased", categories, {"num_classes": 4, "bias_correction": False})
row("CramersV", "scores", scores, {"num_classes": 4})
