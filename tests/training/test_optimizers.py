"""Several optimizers, automatic and manual, on one process and on two; schedulers; against the same training by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.training.toys import CLASSES, Model, ddp_trainer, loader, rank_environment, trainer


class Two(Model):
    """Two networks that train each other, each with an optimizer of its own."""

    frequencies: tuple[int, ...] | None = None

    def __init__(self, lr=0.1):
        super().__init__(lr)
        with torch.random.fork_rng():
            torch.manual_seed(4)
            self.critic = nn.Linear(CLASSES, 1)
        self.steps: list[tuple[int, int]] = []

    def losses(self, batch):
        x, y = batch
        return (
            lambda: nn.functional.cross_entropy(self.layer(x), y) - self.critic(self.layer(x)).tanh().mean(),
            lambda: self.critic(self.layer(x)).tanh().mean(),
        )

    def configure_optimizers(self):
        each = [torch.optim.SGD(part.parameters(), self.lr, momentum=0.5) for part in (self.layer, self.critic)]
        if self.frequencies:
            return [{"optimizer": o, "frequency": f} for o, f in zip(each, self.frequencies, strict=True)]
        return each


class Automatic(Two):
    def training_step(self, batch, batch_idx, optimizer_idx):
        self.steps.append((batch_idx, optimizer_idx))
        loss = self.losses(batch)[optimizer_idx]()
        self.log(f"loss{optimizer_idx}", loss)
        return loss


class Manual(Two):
    def __init__(self, lr=0.1):
        super().__init__(lr)
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        for optimizer, loss in zip(self.optimizers(), self.losses(batch), strict=True):
            with self.toggled_optimizer(optimizer):
                optimizer.zero_grad()
                self.manual_backward(loss())
                optimizer.step()


def weights(module):
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def by_hand(turns=lambda batch_idx: (0, 1), epochs=1, batches=None):
    module = Two()
    optimizers, parts = module.configure_optimizers(), (module.layer, module.critic)
    for _ in range(epochs):
        for batch_idx, batch in enumerate(batches or loader(48, 8)):
            for turn in turns(batch_idx):
                loss = module.losses(batch)[turn]()
                for p, gradient in zip(parts[turn].parameters(), torch.autograd.grad(loss, parts[turn].parameters()), strict=True):
                    p.grad = gradient
                optimizers[turn].step()
    return weights(module)


@pytest.mark.parametrize("kind", [Automatic, Manual])
def test_several_optimizers_are_the_training_by_hand(kind):
    module, run = kind(), trainer(max_epochs=2)
    run.fit(module, loader(48, 8))
    torch.testing.assert_close(weights(module), by_hand(epochs=2))
    assert (run.global_step, run.batches_done) == (24, 12)
    assert all(p.requires_grad for p in module.parameters())


def test_each_batch_trains_all_optimizers_in_turn_and_logs_for_each():
    module, run = Automatic(), trainer()
    run.fit(module, loader(16, 8))
    assert module.steps == [(0, 0), (0, 1), (1, 0), (1, 1)]
    assert {"loss0", "loss1"} <= set(run.callback_metrics)


def test_frequencies_give_each_optimizer_its_batches():
    module, run = Automatic(), trainer()
    module.frequencies = (1, 2)
    run.fit(module, loader(48, 8))
    assert [turn for _, turn in module.steps] == [0, 1, 1, 0, 1, 1]
    torch.testing.assert_close(weights(module), by_hand(lambda batch_idx: (0,) if batch_idx % 3 == 0 else (1,)))
    assert run.global_step == 6


def test_a_frequency_for_some_is_refused():
    module = Automatic()
    optimizers = module.configure_optimizers()
    module.configure_optimizers = lambda: [{"optimizer": optimizers[0], "frequency": 1}, {"optimizer": optimizers[1]}]
    with pytest.raises(ValueError, match="1 of 2 optimizers have a frequency"):
        trainer().fit(module, loader())


class OldHooks(Automatic):
    """The signatures of Lightning 1.x."""

    def __init__(self):
        super().__init__()
        self.calls: list[tuple] = []

    def backward(self, loss, optimizer, optimizer_idx):
        self.calls.append(("backward", optimizer_idx))
        loss.backward()

    def optimizer_zero_grad(self, epoch, batch_idx, optimizer, optimizer_idx):
        self.calls.append(("zero", optimizer_idx))
        optimizer.zero_grad()

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_idx, optimizer_closure, on_tpu, using_native_amp, using_lbfgs):
        self.calls.append(("step", optimizer_idx, on_tpu))
        optimizer.step(closure=optimizer_closure)

    def on_before_optimizer_step(self, optimizer, optimizer_idx):
        self.calls.append(("before", optimizer_idx))

    def training_epoch_end(self, outs):
        self.outs = outs


def test_the_hooks_of_old_are_told_which_optimizer():
    module = OldHooks()
    trainer().fit(module, loader(16, 8))
    for turn in (0, 1):
        assert [call for call in module.calls if call[1] == turn][:4] == [
            ("step", turn, False), ("zero", turn), ("backward", turn), ("before", turn),
        ]  # fmt: skip
    assert [len(out) for out in module.outs] == [2, 2]
    torch.testing.assert_close(weights(module), by_hand(batches=list(loader(16, 8))))


def on_ranks(rank, size, kind, flags):
    with rank_environment(rank, size):
        module = kind()
        ddp_trainer(size, max_epochs=2, **flags).fit(module, loader(48, 8 // size))
        return weights(module)


@pytest.mark.parametrize("kind", [Automatic, Manual])
def test_two_processes_train_as_one(pair, kind):
    first, second = pair.run(on_ranks, kind, {})
    assert torch.equal(first, second)
    torch.testing.assert_close(first, by_hand(epochs=2))


class OwnWay(Manual):
    """A branch that one rank alone takes: its parameters have no gradient elsewhere."""

    def __init__(self):
        super().__init__()
        self.extra = nn.Linear(4, CLASSES)
        self.never = nn.Linear(4, 1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        optimizer.zero_grad()
        out = self.layer(batch[0]) + (self.extra(batch[0]) if self.global_rank else 0)
        self.manual_backward(nn.functional.cross_entropy(out, batch[1]))
        assert self.extra.weight.grad is not None
        assert self.never.weight.grad is None
        optimizer.step()


def test_parameters_that_one_rank_used_stay_the_same_on_all(pair):
    first, second = pair.run(on_ranks, OwnWay, {})
    assert torch.equal(first, second)


def test_manual_optimization_in_another_precision_on_two_processes(pair):
    first, second = pair.run(on_ranks, Manual, {"precision": "bf16-mixed"})
    assert torch.equal(first, second)
    torch.testing.assert_close(first, by_hand(epochs=2), atol=0.1, rtol=0.1)


@pytest.mark.parametrize("flags", [{"gradient_clip_val": 1.0}, {"accumulate_grad_batches": 2}])
def test_flags_of_the_loop_are_refused_where_the_module_steps(flags):
    with pytest.raises(ValueError, match=f"{next(iter(flags))} is .* optimization is manual"):
        trainer(**flags).fit(Manual(), loader())


# --- schedulers --------------------------------------------------------------------------------------------------------------


class Scheduled(Automatic):
    def configure_optimizers(self):
        first, second = super().configure_optimizers()
        halves = torch.optim.lr_scheduler.StepLR(first["optimizer"] if self.frequencies else first, 1, 0.5)
        by_step = torch.optim.lr_scheduler.StepLR(second["optimizer"] if self.frequencies else second, 1, 0.5)
        schedulers = [halves, {"scheduler": by_step, "interval": "step", "frequency": 1 if self.frequencies else 2}]
        if not self.frequencies:
            return [first, second], schedulers
        return [{**form, "lr_scheduler": s} for form, s in zip((first, second), schedulers, strict=True)]


@pytest.mark.parametrize(("frequencies", "rate"), [(None, 2**-4), ((2, 1), 2**-2)])
def test_each_optimizer_has_its_scheduler(frequencies, rate):
    module, run = Scheduled(lr=1.0), trainer(max_epochs=2)
    module.frequencies = frequencies
    run.fit(module, loader(32, 8))
    assert [optimizer.param_groups[0]["lr"] for optimizer in run.optimizers] == [0.25, rate]


def test_a_plateau_of_steps_comes_after_the_validation_that_it_monitors():
    class Plateau(Model):
        rates: tuple[float, ...] = ()

        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), 1.0)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
            config = {"scheduler": scheduler, "interval": "step", "frequency": 2, "monitor": "val"}
            return {"optimizer": optimizer, "lr_scheduler": config}

        def validation_step(self, batch, batch_idx):
            self.log("val", 1.0)

        def on_train_batch_start(self, batch, batch_idx):
            self.rates += (self.optimizers().param_groups[0]["lr"],)

    module = Plateau()
    trainer(val_check_interval=2).fit(module, loader(64, 8), loader(8, 8))
    assert module.rates == (1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25)


@pytest.mark.filterwarnings("ignore:Detected call of")
def test_a_plateau_need_not_be_strict():
    class Plateau(Model):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), 1.0)
            scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer)
            return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "nowhere", "strict": False}}

    with pytest.warns(RuntimeWarning, match="it monitors 'nowhere'"):
        trainer().fit(Plateau(), loader(8, 8))


def test_how_a_scheduler_steps_is_the_modules_own():
    class Steps(Model):
        def configure_optimizers(self):
            optimizer = torch.optim.SGD(self.parameters(), 1.0)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)]

        def lr_scheduler_step(self, scheduler, optimizer_idx, metric):
            assert (optimizer_idx, metric) == (0, None)
            scheduler.step()
            scheduler.step()

    run = trainer()
    run.fit(Steps(), loader(8, 8))
    assert run.optimizers[0].param_groups[0]["lr"] == 0.25
