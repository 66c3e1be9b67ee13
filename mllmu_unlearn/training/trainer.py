"""One `transformers.Trainer` that asks the method for the loss and knows none of the methods."""

import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import DistributedType
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer, TrainerCallback

from mllmu_tasks.artifacts.folders import settle
from mllmu_tasks.errors import UserError
from mllmu_tasks.models.loading import open_model
from mllmu_unlearn.methods import Method
from mllmu_unlearn.toolbox.forward import forward, moved
from mllmu_unlearn.toolbox.side import Counts, Reference, Side
from mllmu_unlearn.training.checkpoints import drop_old, require_finite_weights
from mllmu_unlearn.training.hidden_states import Hidden
from mllmu_unlearn.training.joint_forward import joined
from mllmu_unlearn.training.prefetch import AheadLoader
from mllmu_unlearn.training.reference import ReferenceModel
from mllmu_unlearn.training.samples import Rows
from mllmu_unlearn.training.schedule import Schedule

STATE_FILE = "method_state.pt"
DDP = (DistributedType.MULTI_GPU, DistributedType.MULTI_CPU)


class MethodTrainer(Trainer):
    """Trains with the terms of a method.

    schedule: batches of this process. references: side -> what the start model says of a batch.
    official: the losses and means of the official code instead of the paper's.
    bounded: sides whose mean answer loss is logged as loss_nll_<side>, whatever the method's terms are.
    tokens, padding: how many went through the model in this process, and how many of them were padding.
    Logs loss_<term> for each term beside their sum. Raises UserError when the loss is not finite.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *,
        method: Method,
        rows: Rows,
        schedule: Schedule,
        references: Mapping[str, ReferenceModel],
        official: bool = False,
        lr_per_epoch: bool = False,
        bounded: Collection[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(train_dataset=rows, **kwargs)
        self.method = method
        self.schedule = schedule
        self.references = references
        self.official = official
        self.lr_per_epoch = lr_per_epoch
        self.bounded = bounded
        self.terms = method.official_terms if official else method.terms
        self.hidden = Hidden(self.model, method.hidden_layers())
        self.finite = torch.ones((), dtype=torch.bool, device=self.args.device)
        self.logged: dict[str, torch.Tensor] = {}
        self.logged_steps: dict[str, int] = {}
        self.step_terms: dict[str, torch.Tensor] = {}
        self.tokens = self.padding = 0
        self.add_callback(_Hooks(self))

    def get_train_dataloader(self) -> DataLoader:
        """Not prepared by accelerate: the schedule knows the processes; batches move in `training_step`."""
        args = self.args
        return AheadLoader(
            self.train_dataset,
            batch_sampler=self.schedule,
            collate_fn=self.data_collator,
            num_workers=args.dataloader_num_workers,
            pin_memory=args.dataloader_pin_memory and args.device.type == "cuda",
            persistent_workers=args.dataloader_persistent_workers,
            prefetch_factor=args.dataloader_prefetch_factor,
        )

    def _prepare_inputs(self, inputs: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        return {side: moved(batch, self.args.device) for side, batch in inputs.items()}

    def num_examples(self, dataloader: DataLoader) -> int:
        return len(self.schedule) * self.schedule.batch_size * self.schedule.world

    def get_batch_samples(
        self, epoch_iterator: Iterator, num_batches: int, device: torch.device
    ) -> tuple[list, dict[str, Counts]]:
        """A window of micro-batches and its counts over all processes, side by side."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        sides = sorted({side for batch in batches for side in batch})
        table = torch.zeros(len(sides), 3)
        for batch in batches:
            for place, side in enumerate(sides):
                if side in batch:
                    scored = batch[side]["labels"] != -100
                    rows = scored.any(-1).sum()
                    table[place] += torch.stack([scored.sum(), rows, rows > 0])
                    self.tokens += batch[side]["input_ids"].numel()
                    self.padding += batch[side]["padding"]
        table = (table.pin_memory() if device.type == "cuda" else table).to(device, non_blocking=True)
        if self.args.world_size > 1:
            table = self.accelerator.reduce(table, "sum")
        return batches, {side: Counts(*table[place]) for place, side in enumerate(sides)}

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, dict[str, Any]],
        return_outputs: bool = False,
        num_items_in_batch: dict[str, Counts] | None = None,
    ) -> torch.Tensor:
        """This process's part of the window's loss, times the processes (DDP averages gradients)."""
        # The adapter is switched off before the first graph exists, not between two of them.
        self.method.before_forward(self.model, tuple(inputs))
        references = {name: self.references[name](batch) for name, batch in inputs.items() if name in self.references}
        sides = {}
        with joined(self.model) if self.accelerator.distributed_type in DDP else nullcontext():
            for name, batch in inputs.items():
                with self.hidden.catch(batch["keep"]) as hidden:
                    logits = forward(model, batch)
                sides[name] = Side(
                    logits,
                    batch["labels"],
                    num_items_in_batch[name],
                    references.get(name, Reference()),
                    hidden,
                    by_batch=self.official,
                )
        terms = self.terms(sides)
        loss = torch.stack(list(terms.values())).sum()
        answers = {f"nll_{name}": sides[name].nll() for name in self.bounded if name in sides}
        for name, term in (terms | self.method.watched(sides) | answers).items():
            for sums in (self.logged, self.step_terms):
                sums[name] = sums.get(name, 0.0) + term.detach()
        self.finite &= torch.isfinite(loss.detach())
        return loss * self.accelerator.num_processes

    def floating_point_ops(self, inputs: Mapping[str, Mapping[str, torch.Tensor]]) -> int:
        tokens = sum(side["input_ids"].numel() for side in inputs.values())
        return 6 * tokens * self._parameters

    @cached_property
    def _parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        if not self.lr_per_epoch or self.lr_scheduler is not None:
            return super().create_scheduler(num_training_steps, optimizer)
        per_epoch = -(-len(self.schedule) // self.args.gradient_accumulation_steps)
        rate: Callable[[int], float] = lambda step: 1 - (step // per_epoch) / num_training_steps
        self.lr_scheduler = LambdaLR(optimizer or self.optimizer, rate)
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs and self.logged_steps:
            self.require_finite()
            for name, total in self._over_processes(self.logged).items():
                logs[f"loss_{name}"] = total / self.logged_steps[name]  # of the steps that have this term
            self.logged, self.logged_steps = {}, {}
        super().log(logs, start_time)

    def _over_processes(self, sums: Mapping[str, torch.Tensor]) -> dict[str, float]:
        values = torch.stack([sums[name].float() for name in sorted(sums)])
        if self.args.world_size > 1:
            values = self.accelerator.reduce(values, "sum")
        return dict(zip(sorted(sums), values.tolist(), strict=True))

    def require_finite(self) -> None:
        """Raise UserError if any loss so far was NaN or infinite. Waits for the device."""
        if not self.finite.item():
            raise UserError(
                f"the loss is not finite any more (at or before step {self.state.global_step}); lower "
                "--learning_rate or the forget weight, set --max_grad_norm 1, or use --dtype float32."
            )

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        """Into a staging folder first, then renamed: a checkpoint folder is always complete."""
        self.require_finite()
        final, name = Path(self.args.output_dir), f"checkpoint-{self.state.global_step}"
        stage = final / f".staging-{self.state.global_step}"
        self.args.output_dir = str(stage)
        try:
            if self.args.should_save:
                shutil.rmtree(stage, ignore_errors=True)
            self.accelerator.wait_for_everyone()
            super()._save_checkpoint(model, trial)
            if self.args.should_save:
                torch.save(self.method.state_dict(), stage / name / STATE_FILE)
                require_finite_weights(stage / name)
                settle(stage / name)
        except BaseException:
            if self.args.should_save:
                shutil.rmtree(stage, ignore_errors=True)  # on a full disk it is what fills it
            raise
        finally:
            self.args.output_dir = str(final)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            shutil.rmtree(final / name, ignore_errors=True)
            os.replace(stage / name, final / name)
            shutil.rmtree(stage)
            drop_old(final, self.args.save_total_limit)
        self.accelerator.wait_for_everyone()

    def _load_from_checkpoint(self, folder: str, model: torch.nn.Module | None = None) -> None:
        """As saved, and what trains stays what it was."""
        model = model or self.model
        trains = {name: p.requires_grad for name, p in model.named_parameters()}
        if isinstance(model, PreTrainedModel) and not self.is_fsdp_enabled:
            # The file has the names of the hub's format; Trainer's own load_state_dict would find none of them.
            model.load_state_dict(open_model(folder, f"'{folder}'", type(model), dtype=model.dtype).state_dict())
        else:
            super()._load_from_checkpoint(folder, model)
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(trains[name])


class _Hooks(TrainerCallback):
    """Tells the schedule the epoch, and the method when the optimiser steps."""

    def __init__(self, trainer: MethodTrainer) -> None:
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **kwargs) -> None:
        self.trainer.schedule.set_epoch(int(state.epoch))

    def on_step_end(self, args, state, control, **kwargs) -> None:
        control.should_log |= state.global_step >= state.max_steps  # the last losses go on the card

    def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs) -> None:
        self.trainer.method.before_optimizer_step(model)

    def on_optimizer_step(self, args, state, control, **kwargs) -> None:
        trainer, terms = self.trainer, self.trainer.step_terms
        trainer.step_terms = {}
        trainer.logged_steps |= {name: trainer.logged_steps.get(name, 0) + 1 for name in terms}
        trainer.method.after_optimizer_step(lambda: trainer._over_processes(terms))
