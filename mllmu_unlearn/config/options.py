"""Flags of both training commands that are not about what is learnt: 4-bit weights, early stop, several GPUs."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from netrc import NetrcParseError, netrc
from typing import Any
from urllib.parse import urlsplit

import torch
from transformers.integrations import get_available_reporting_integrations
from transformers.utils import is_torch_bf16_gpu_available, is_torch_tf32_available

from mllmu_tasks.errors import UserError, did_you_mean
from mllmu_unlearn.config import launch

FOUR_BIT_TYPES = ("nf4", "fp4")
WANDB = "https://api.wandb.ai"
OF_THE_MACHINE = ("bf16", "tf32")
OF_MANY = ("ddp_backend",)
WITHOUT = ("tf32", "ddp_backend")
"""Flags whose absence is None."""


def option(default: Any, help: str) -> Any:
    """A field of a config, with the text of its flag."""
    return field(default=default, metadata={"help": help})


def wandb_is_ready() -> bool:
    """Whether Weights & Biases will not ask for a key, which it does after the model is loaded."""
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return True
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or WANDB).hostname or ""
    try:
        return netrc(os.environ.get("NETRC")).authenticators(host) is not None
    except (OSError, NetrcParseError):
        return False


@dataclass
class Options:
    """Mixed into the configs; needs `method`, `chosen`, `kind`, `dry_run` and the Trainer's arguments of theirs."""

    load_in_4bit: bool = option(False, "QLoRA: the base model in 4 bits (pip install 'mllmu[quantized]').")
    bnb_4bit_quant_type: str = option("nf4", "4-bit type: nf4 or fp4.")
    use_bnb_nested_quant: bool = option(False, "Quantise the 4-bit scales, too.")
    stop_forget_loss_above: float | None = option(
        None, "Stop once the mean loss of the forget answers (nats a token, since the last log) is above this."
    )
    stop_retain_loss_above: float | None = option(None, "The same for the retain answers.")
    accelerate_config: str | None = option(
        None, f"Run on all GPUs with this launch file: {', '.join(launch.names())}, or a path."
    )
    num_processes: int | None = option(None, "With --accelerate_config: how many GPUs. Default: all.")

    @property
    def bounds(self) -> dict[str, float]:
        """Side -> the answer loss above which training stops."""
        given = {"forget": self.stop_forget_loss_above, "retain": self.stop_retain_loss_above}
        return {side: bound for side, bound in given.items() if bound is not None}

    @property
    def processes(self) -> int:
        """How many train: those that run, or on a dry run those that the launch file would start."""
        if self.plans_a_launch:
            return launch.planned(self.accelerate_config, self.num_processes)
        return self.world_size

    @property
    def not_here(self) -> list[str]:
        """What a dry run takes for granted and this machine lacks."""
        lacks = [] if is_torch_bf16_gpu_available() or self.use_cpu or not self.bf16 else ["bf16"]
        lacks += [] if self.device.type != "cpu" or not self.fp16 else ["GPU for fp16"]
        lacks += [] if is_torch_tf32_available() or not self.tf32 else ["tf32"]
        if self.plans_a_launch:
            count = self.processes
            lacks += [] if torch.cuda.device_count() >= count else [f"{count} GPUs"]
            lacks += (
                [] if launch.has_deepspeed() or not launch.needs_deepspeed(self.accelerate_config) else ["DeepSpeed"]
            )
        return lacks

    @property
    def plans_a_launch(self) -> bool:
        """Whether this is the dry run of a command that would start one process a GPU."""
        return self.dry_run and self.accelerate_config is not None and launch.LAUNCHED not in os.environ

    @contextmanager
    def for_any_machine(self) -> Iterator[None]:
        """Flags inside that Transformers would refuse here: on a dry run those of the machine that will train, and how
        processes talk to each other in the one that only starts them.
        """
        names = OF_THE_MACHINE if self.dry_run else ()
        names += OF_MANY if self.accelerate_config and launch.LAUNCHED not in os.environ else ()
        aside = {name: getattr(self, name) for name in names}
        for name in aside:
            setattr(self, name, None if name in WITHOUT else False)
        yield
        for name, value in aside.items():
            setattr(self, name, value)

    def check_trackers(self) -> None:
        """Raises UserError for a tracker of --report_to that is not installed here."""
        for name in self.report_to:
            if name != "flyte" and name not in get_available_reporting_integrations():  # it has no check for flyte
                raise UserError(f"--report_to {name} needs its package, which is not installed here.")
        if "wandb" in self.report_to and not wandb_is_ready():
            raise UserError(
                "--report_to wandb needs a key: set WANDB_API_KEY, or WANDB_MODE=offline, or `wandb login`."
            )

    def check_options(self) -> None:
        """Raises UserError for what cannot work."""
        self._check_four_bits()
        if self.bf16 and self.fp16:
            raise UserError("give --bf16 or --fp16, not both.")
        if self.ddp_backend and not self.accelerate_config and launch.LAUNCHED not in os.environ:
            raise UserError("--ddp_backend is for several processes; add --accelerate_config ddp, or leave it out.")
        for side in self.bounds:
            if side not in self.chosen.sides:
                raise UserError(
                    f"{self.method} has no {side} answers in its batches; leave out --stop_{side}_loss_above."
                )

    def _check_four_bits(self) -> None:
        kind = self.bnb_4bit_quant_type
        if kind not in FOUR_BIT_TYPES:
            raise UserError(f"bnb_4bit_quant_type '{kind}' is unknown.{did_you_mean(kind, FOUR_BIT_TYPES)}")
        if not self.load_in_4bit:
            return
        if self.kind != "lora":
            raise UserError(f"--load_in_4bit trains LoRA only, and the result here is of kind '{self.kind}'.")
        if find_spec("bitsandbytes") is None:
            raise UserError("--load_in_4bit needs bitsandbytes: pip install 'mllmu[quantized]'.")
