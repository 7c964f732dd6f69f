"""Which samples a process gets, and how batches reach its device.

Training: each epoch's order is a function of seed and epoch alone, so that any number of processes sees the same global batches;
it is padded to equal shares, as ``DistributedSampler`` does. Evaluation: shares without padding or repetition, so that each sample
counts once.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, Dataset, IterableDataset, RandomSampler, Sampler, SequentialSampler
from torch.utils.data.distributed import DistributedSampler

from epochal import check


@dataclass(frozen=True)
class Share:
    """This process's place among all."""

    rank: int = 0
    world: int = 1
    seed: int = 0
    in_order: bool = False  # overfit_batches: the same batches in each epoch


class TrainingOrder(Sampler[int]):
    """One process's share of an epoch's order: elements ``rank::world`` of it, padded from its start.

    ``begin``: how many samples of the order were seen, by any number of processes, before the run was broken off.
    """

    def __init__(self, source: Sized, share: Share, shuffle: bool) -> None:
        self.source, self.share, self.shuffle = source, share, shuffle
        self.epoch = self.begin = 0

    def set_epoch(self, epoch: int) -> None:
        """The order depends on it."""
        self.epoch, self.begin = epoch, 0
        if hasattr(self.source, "set_epoch"):
            self.source.set_epoch(epoch)

    def __iter__(self) -> Iterator[int]:
        length, world = len(self.source), self.share.world
        if isinstance(self.source, Sampler):  # the user's own: drawn with one seed on all ranks
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(self.share.seed + self.epoch)
                order = list(self.source)
        elif self.shuffle:
            generator = torch.Generator().manual_seed(self.share.seed + self.epoch)
            order = torch.randperm(length, generator=generator).tolist()
        else:
            order = list(range(length))
        left = order[self.begin :]
        short = len(order) and -len(left) % world
        left += itertools.islice(itertools.cycle(order), short)
        return iter(left[self.share.rank :: world])

    def __len__(self) -> int:
        return math.ceil(max(0, len(self.source) - self.begin) / self.share.world)


class EvaluationShare(Sampler[int]):
    """One process's share of a sampler's order: no padding, no repetition, so it may be one shorter than another's, or empty."""

    def __init__(self, order: Sampler[int], share: Share) -> None:
        self.order, self.share = order, share

    def __iter__(self) -> Iterator[int]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.share.seed)
            order = list(self.order)
        return iter(order[self.share.rank :: self.share.world])

    def __len__(self) -> int:
        return max(0, math.ceil((len(self.order) - self.share.rank) / self.share.world))  # type: ignore[arg-type]


class EveryNth:
    """One process's share of a stream: every ``world``-th batch."""

    def __init__(self, loader: Iterable[Any], share: Share) -> None:
        self.loader, self.share = loader, share

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self.loader), self.share.rank, None, self.share.world)

    def __len__(self) -> int:
        return max(0, math.ceil((len(self.loader) - self.share.rank) / self.share.world))  # type: ignore[arg-type]


class NotedBatches(Sampler[list[int]]):
    """The batches of a sampler, of which the indices are kept."""

    def __init__(self, batches: Sampler[list[int]]) -> None:
        self.batches = batches
        self.indices: list[list[int]] = []

    def __iter__(self) -> Iterator[list[int]]:
        self.indices = []
        for batch in self.batches:
            self.indices.append(list(batch))
            yield batch

    def __len__(self) -> int:
        return len(self.batches)  # type: ignore[arg-type]  # of a sampler without a length it is an error, as there


def noting(loader: Any) -> tuple[Any, NotedBatches | None]:
    """The loader with its batches noted; None where they have no indices, or come in another order."""
    if _sampler_of(loader) is None or loader.batch_sampler is None or not getattr(loader, "in_order", True):
        return loader, None
    twin, noted = copy.copy(loader), NotedBatches(loader.batch_sampler)
    twin.__dict__["_iterator"] = None
    twin.__dict__["batch_sampler"] = noted
    return twin, noted


def for_training(loader: Any, share: Share, replace: bool) -> Any:
    """The loader with this process's share of each epoch; one that can't be divided is left as it is."""
    sampler = _sampler_of(loader)
    if sampler is None or isinstance(sampler, DistributedSampler | TrainingOrder) or not replace:
        return loader
    if type(sampler) is SequentialSampler:
        return with_sampler(loader, TrainingOrder(sampler.data_source, share, shuffle=False)) if share.world > 1 else loader
    if share.in_order and type(sampler) is RandomSampler:
        return with_sampler(loader, TrainingOrder(sampler.data_source, share, shuffle=False))
    if type(sampler) is RandomSampler and not sampler.replacement and sampler.num_samples == len(sampler.data_source):
        if sampler.generator is not None:
            share = Share(share.rank, share.world, sampler.generator.initial_seed())
        return with_sampler(loader, TrainingOrder(sampler.data_source, share, shuffle=True))
    if share.world > 1 and isinstance(sampler, Sized):
        return with_sampler(loader, TrainingOrder(sampler, share, shuffle=False))
    return loader


def for_resumption(loader: Any, share: Share, replace: bool, anew: bool) -> Any:
    """:func:`for_training` for a run that goes on, with the seed that it had; ``anew``: among another number of processes."""
    sampler = _sampler_of(loader)
    if not replace or sampler is None:
        return loader
    if type(sampler) is SequentialSampler:
        return with_sampler(loader, TrainingOrder(sampler.data_source, share, shuffle=False))
    if isinstance(sampler, DistributedSampler) and anew:
        whole: Any = DistributedSampler(sampler.dataset, 1, 0, sampler.shuffle, sampler.seed)
        return with_sampler(loader, TrainingOrder(whole, share, shuffle=False))
    found = for_training(loader, share, replace)
    order = _sampler_of(found)
    if isinstance(order, TrainingOrder):
        order.share = share
    elif anew and isinstance(order, Sized) and not isinstance(order, DistributedSampler):
        return with_sampler(loader, TrainingOrder(order, share, shuffle=False))
    return found


def seed_of(loader: Any, share: Share) -> int:
    """What an epoch's order is drawn from."""
    sampler = _sampler_of(loader)
    return sampler.share.seed if isinstance(sampler, TrainingOrder) else share.seed


def samples_of(loader: Any, batches: int, share: Share) -> int | None:
    """How many samples of an epoch's order all processes together have in so many batches; None where nobody knows."""
    batch_sampler, sampler = getattr(loader, "batch_sampler", None), _sampler_of(loader)
    if type(batch_sampler) is not BatchSampler or not isinstance(sampler, TrainingOrder | SequentialSampler | DistributedSampler):
        return None
    return batches * batch_sampler.batch_size * share.world


def leave_out(loader: Any, samples: int) -> bool:
    """Begin an epoch behind so many samples of its order; False where that is not possible."""
    sampler = _sampler_of(loader)
    if not isinstance(sampler, TrainingOrder):
        return False
    sampler.begin = samples
    return True


def for_evaluation(loader: Any, share: Share, replace: bool) -> Any:
    """The loader with this process's share: each sample on one process, once."""
    if share.world == 1 or not replace:
        return loader
    sampler = _sampler_of(loader)
    if sampler is None:
        return EveryNth(loader, share)
    if isinstance(sampler, DistributedSampler):
        sampler = SequentialSampler(sampler.dataset)  # type: ignore[arg-type]  # it has a length, or it would not have worked
    return with_sampler(loader, EvaluationShare(sampler, share))


def with_sampler(loader: DataLoader[Any], sampler: Sampler[int]) -> DataLoader[Any]:
    """The same loader, of whatever class, in another order."""
    twin = copy.copy(loader)
    twin.__dict__["_iterator"] = None  # workers are not shared; DataLoader refuses an assignment after its __init__
    twin.__dict__["sampler"] = sampler
    if loader.batch_sampler is not None:
        twin.__dict__["batch_sampler"] = copy.copy(loader.batch_sampler)
        twin.batch_sampler.sampler = sampler  # type: ignore[union-attr]
    return twin


def _sampler_of(loader: Any) -> Sampler[int] | None:
    """What orders the samples of a loader; None where nothing can be put in its place."""
    if not isinstance(loader, DataLoader) or isinstance(loader.dataset, IterableDataset):
        return None
    batches = loader.batch_sampler
    found = loader.sampler if batches is None else getattr(batches, "sampler", None)
    return found if isinstance(found, Sampler) else None


def set_epoch(loader: Any, epoch: int) -> None:
    """Tell the sampler which epoch's order is wanted."""
    for holder in (getattr(loader, "sampler", None), getattr(loader, "batch_sampler", None)):
        for sampler in (holder, getattr(holder, "sampler", None)):
            if sampler is not None and hasattr(sampler, "set_epoch"):
                sampler.set_epoch(epoch)


def length(loader: Any) -> float:
    """How many batches; infinity where nobody knows."""
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return math.inf


def check_limit(flag: str, limit: float | int) -> None:
    """A whole number counts batches, a fraction is one of all."""
    if isinstance(limit, bool) or not isinstance(limit, int | float) or limit < 0:
        check.fail("Trainer", f"{flag} is {limit!r}", "a number of batches or a fraction in [0, 1] is needed")
    if isinstance(limit, float) and limit > 1:
        fix = f"Pass {flag}={int(limit)} to count batches." if math.isfinite(limit) else "Leave it out."
        check.fail("Trainer", f"{flag} is {limit!r}", "a fraction in [0, 1] is needed", fix)


def limited(total: float, limit: float | int | None, flag: str) -> float:
    """How many batches a ``limit_*_batches`` leaves."""
    if limit is None:
        return total
    check_limit(flag, limit)
    if isinstance(limit, int):
        return min(total, limit)
    if math.isinf(total):
        return total if limit == 1.0 else 0 if limit == 0.0 else _no_fraction(flag)
    count = int(total * limit)
    if total and limit and not count:
        came = f"{flag} is {limit}, of a loader of {total} batches"
        check.fail("Trainer", came, "one batch at least is needed", f"Pass {flag}=1 for one, or 0 for none.")
    return count


def _no_fraction(flag: str) -> float:
    check.fail("Trainer", f"{flag} is a fraction", "the loader has no length", "Pass a number of batches.")


def named_loaders(loaders: Any) -> dict[str, Any]:
    """One loader, a list or a dict of them, by the ending that their keys get."""
    if loaders is None:
        return {}
    if isinstance(loaders, Mapping):
        return {f"/{name}": loader for name, loader in loaders.items()}
    if is_several(loaders):
        return {f"/dataloader_idx_{i}": loader for i, loader in enumerate(loaders)}
    return {"": loaders}


def is_several(loaders: Any) -> bool:
    """Whether this holds loaders: a dict, or a list of what is not a batch."""
    return isinstance(loaders, Mapping) or (isinstance(loaders, list | tuple) and bool(loaders) and all(map(_holds, loaders)))


def _holds(item: Any) -> bool:
    """A loader, or loaders in lists and dicts of any depth."""
    if isinstance(item, list | tuple | Mapping):
        parts = list(item.values() if isinstance(item, Mapping) else item)
        return bool(parts) and all(map(_holds, parts))
    return _is_loader(item)


def _is_loader(item: Any) -> bool:
    a_batch = isinstance(item, torch.Tensor | str | list | tuple | dict)
    return isinstance(item, DataLoader) or (isinstance(item, Iterable) and not a_batch)


def check_loader(verb: str, loader: Any) -> None:
    """Refuse what hands out no batches."""
    came = f"the data set {type(loader).__name__} came"
    if isinstance(loader, Dataset) and not isinstance(loader, Iterable):
        fix = "Wrap it: torch.utils.data.DataLoader(dataset, batch_size=32)."
        raise TypeError(check.message(verb, came, "a loader of batches is needed", fix))
    if not isinstance(loader, Iterable) and not hasattr(loader, "__getitem__"):
        raise TypeError(check.message(verb, f"{loader!r} came", "a loader is needed", "Pass a torch.utils.data.DataLoader."))


def mover(owner: Any, base: type, device: torch.device) -> Callable[[Any, int], Any] | None:
    """How batches reach the device: None where there is nothing to do."""
    names = ("on_before_batch_transfer", "transfer_batch_to_device", "on_after_batch_transfer")
    changed = [name for name in names if getattr(type(owner), name) is not getattr(base, name)]
    if not changed and device.type == "cpu":
        return None
    before, to_device, after = (getattr(owner, name) for name in names)

    def move(batch: Any, dataloader_idx: int) -> Any:
        return after(to_device(before(batch, dataloader_idx), device, dataloader_idx), dataloader_idx)

    return move


def elsewhere(batch: Any, device: torch.device, path: str = "batch") -> list[str]:
    """The tensors of a batch that are not on the device, by their places in it."""
    if isinstance(batch, torch.Tensor):
        return [] if batch.device == device else [f"{path} is on {batch.device}"]
    parts: Iterable[tuple[str, Any]] = ()
    if isinstance(batch, Mapping):
        parts = ((f"{path}[{key!r}]", part) for key, part in batch.items())
    elif isinstance(batch, list | tuple):
        parts = ((f"{path}[{index}]", part) for index, part in enumerate(batch))
    elif hasattr(batch, "__dict__"):
        parts = ((f"{path}.{name}", part) for name, part in vars(batch).items())
    return [found for where, part in parts for found in elsewhere(part, device, where)]
