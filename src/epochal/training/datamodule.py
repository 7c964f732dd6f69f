"""LightningDataModule: the loaders of a task, apart from the model."""

from __future__ import annotations

from typing import Any

from torch.utils.data import DataLoader
from typing_extensions import Self

from epochal.training import storage
from epochal.training.hyperparameters import HyperParameters
from epochal.training.module import DataHooks


class LightningDataModule(DataHooks, HyperParameters):
    """Loaders for training, validation, test and prediction; pass it as ``datamodule=``."""

    CHECKPOINT_HYPER_PARAMS_KEY = "datamodule_hyper_parameters"
    trainer: Any = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to do."""

    @classmethod
    def from_datasets(
        cls,
        train_dataset: Any = None,
        val_dataset: Any = None,
        test_dataset: Any = None,
        predict_dataset: Any = None,
        batch_size: int = 1,
        num_workers: int = 0,
        **datamodule_kwargs: Any,
    ) -> Self:
        """A datamodule of datasets, or of lists of them; training data are shuffled."""
        self = cls(**datamodule_kwargs)

        def hand_out(name: str, data: Any, shuffle: bool) -> None:
            def loader(dataset: Any) -> DataLoader[Any]:
                return DataLoader(dataset, batch_size, shuffle=shuffle, num_workers=num_workers)

            if data is not None:
                setattr(self, name, lambda: [loader(d) for d in data] if isinstance(data, list | tuple) else loader(data))

        hand_out("train_dataloader", train_dataset, True)
        hand_out("val_dataloader", val_dataset, False)
        hand_out("test_dataloader", test_dataset, False)
        hand_out("predict_dataloader", predict_dataset, False)
        return self

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """A datamodule with the hyperparameters and the state of a checkpoint; ``kwargs`` count more than what was saved."""
        content = storage.read(checkpoint_path, map_location or "cpu", weights_only)
        module = cls.built_from(content, hparams_file, kwargs)
        if cls.__qualname__ in content:
            module.load_state_dict(content[cls.__qualname__])
        return module

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint should hold of it."""
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """The counterpart of :meth:`state_dict`."""

    def on_exception(self, exception: BaseException) -> None:
        """Called where a run ends with an error."""
