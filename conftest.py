"""Names that the examples of docstrings may use."""

import pytest
import torch


@pytest.fixture(autouse=True)
def names(doctest_namespace):
    doctest_namespace["torch"] = torch
