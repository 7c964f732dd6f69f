"""How much a value depends on the sample that happened to be drawn."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from typing_extensions import Unpack

from epochal import check
from epochal.metric import Metric, MetricOptions
from epochal.numeric import wide
from epochal.results import mapped
from epochal.wrappers.base import Inner, Share, Wrapper, look_like, metric_needed
from epochal.wrappers.replicates import Copies, Weighted, lengths, replicates

STRATEGIES = ("poisson", "multinomial")


class BootStrapper(Wrapper, composite=True):
    r"""The bootstrap of a metric: its values on resampled data, as their mean, standard deviation, quantiles, or all of them.

    Of B replicates each takes every row of a batch k times, k from a Poisson distribution of mean 1 ("poisson"), or draws as many
    rows as there are, with replacement ("multinomial"). With :math:`\theta_b` the metric's value on all that replicate b took,

    .. math:: \bar\theta = \frac{1}{B} \sum_b \theta_b, \qquad
        s = \sqrt{\frac{1}{B - 1} \sum_b (\theta_b - \bar\theta)^2}

    ``update``: what the metric takes: of its tensors and lists rows are drawn, others stay as they are; a rank resamples its
    own data. ``compute()``: a dictionary with "mean", "std", "quantile" and "raw", as asked for; "raw" is ``(B, ...)``, several
    quantiles ``(Q, ...)``, in the unit of the metric. ``forward``: the same of the batch alone; of a small one a replicate may have
    no row, and then has the metric's value of no data. Reproducible under ``torch.manual_seed``.

    Where all the metric keeps are sums and extremes, a batch is measured once for all replicates, else once for each.

    Args:
        base_metric: the metric; it is copied, without its data.
        num_bootstraps: B.
        mean, std, raw: whether they are returned.
        quantile: one or several in [0, 1]; None: none is returned.
        sampling_strategy: "poisson" suits batches: to draw from all the data or from each batch is the same for it.

    Raises:
        ValueError: no argument has rows, or they have different numbers of them.

    Source: B. Efron, Bootstrap methods: another look at the jackknife, 1979; for Poisson weights J. A. Hanley and B. MacGibbon,
    Creating non-parametric bootstrap samples using Poisson frequencies, 2006.

    >>> from epochal import MeanMetric
    >>> _ = torch.manual_seed(0)
    >>> boot = BootStrapper(MeanMetric(), num_bootstraps=1000)
    >>> boot.update(torch.arange(100.0))
    >>> {name: round(value.item()) for name, value in boot.compute().items()}  # 28.9 / sqrt(100)
    {'mean': 50, 'std': 3}
    """

    random = True
    uncompiled = "how it measures depends on what its metric does with one row, which is tried"
    replicates: Weighted | Copies

    def __init__(
        self,
        base_metric: Metric,
        num_bootstraps: int = 10,
        mean: bool = True,
        std: bool = True,
        quantile: float | Sequence[float] | Tensor | None = None,
        raw: bool = False,
        sampling_strategy: str = "poisson",
        **kwargs: Unpack[MetricOptions],
    ) -> None:
        super().__init__(**kwargs)
        metric_needed(self, "base_metric", base_metric, collection=False)
        check.whole(self, "num_bootstraps", num_bootstraps, 1)
        check.choice(self, "sampling_strategy", sampling_strategy, STRATEGIES)
        listed = quantile.reshape(-1).tolist() if isinstance(quantile, Tensor) else quantile
        for level in listed if isinstance(listed, list | tuple) else [] if listed is None else [listed]:
            check.number(self, "quantile", level, 0, 1)
        self.num_bootstraps, self.sampling_strategy = num_bootstraps, sampling_strategy
        self.mean, self.std, self.quantile, self.raw = mean, std, quantile, raw
        metric = base_metric.clone()
        metric.reset()
        self.hold(replicates=replicates(metric, num_bootstraps))
        look_like(self, metric)

    @property
    def inner(self) -> Sequence[Inner]:
        return [self.replicates]

    def shares(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Sequence[Share]:
        return [((self.weights(args, kwargs), *args), kwargs)]

    def result(self, values: Sequence[Any], **_: Any) -> dict[str, Any]:
        """What is asked for, of the values of the replicates."""
        wanted = {"mean": self.mean, "std": self.std, "quantile": self.quantile is not None, "raw": self.raw}
        return {name: mapped(getattr(self, f"_{name}"), values[0]) for name, asked in wanted.items() if asked}

    def weights(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor:
        """How often each replicate takes each row: int ``(num_bootstraps, N)``."""
        named = {**{f"argument {i + 1}": value for i, value in enumerate(args)}, **kwargs}
        sizes = {name: found for name, value in named.items() if (found := lengths(value))}
        found = set().union(*sizes.values())
        if len(found) != 1:
            rows = ", ".join(f"{name} has {sorted(size)}" for name, size in sizes.items())
            came = f"the numbers of rows differ: {rows}" if found else "no argument has rows"
            check.fail(self, came, "a row for each sample is needed", "Pass tensors or lists with one row for each sample.")
        shape, device = (self.num_bootstraps, found.pop()), self.replicates.device
        if self.sampling_strategy == "poisson":
            return torch.bucketize(torch.rand(shape, device=device), POISSON.to(device), right=True, out_int32=True)
        weights = torch.zeros(shape, dtype=torch.int64, device=device)
        return weights.scatter_add_(1, torch.randint(max(1, shape[1]), shape, device=device), torch.ones_like(weights))

    def _mean(self, values: Tensor) -> Tensor:
        return self._as_result(wide(values).mean(0), values)

    def _std(self, values: Tensor) -> Tensor:
        exact = wide(values)
        squares = (exact - exact.mean(0)).square().sum(0)
        return self._as_result((squares / (values.shape[0] - 1)).sqrt(), values)  # NaN of one, without a warning

    def _quantile(self, values: Tensor) -> Tensor:
        exact = wide(values)
        return self._as_result(exact.quantile(torch.as_tensor(self.quantile, dtype=exact.dtype, device=exact.device), 0), values)

    def _raw(self, values: Tensor) -> Tensor:
        return values

    def _as_result(self, result: Tensor, values: Tensor) -> Tensor:
        return result.to(values.dtype if values.is_floating_point() else self.dtype)


# The distribution function of Poisson's law of mean 1 at 0, 1, 2, ...: a uniform number above k of these stands for k.
POISSON = torch.tensor([math.fsum(math.exp(-1) / math.factorial(j) for j in range(k + 1)) for k in range(12)], dtype=torch.float32)
