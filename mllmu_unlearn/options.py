"""Flags of both training commands that are not about what is learnt: 4-bit weights, early stop, several GPUs."""

from dataclasses import dataclass, field
from typing import Any

from mllmu_tasks.errors import UserError
from mllmu_unlearn import launch, quantized


def option(default: Any, help: str) -> Any:
    """A field of a config, with the text of its flag."""
    return field(default=default, metadata={"help": help})


@dataclass
class Options:
    """Mixed into the configs; `check_options` needs `method`, `chosen` and `kind` of theirs."""

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

    def check_options(self) -> None:
        """Raises UserError for what cannot work."""
        quantized.check(self)
        for side in self.bounds:
            if side not in self.chosen.sides:
                raise UserError(
                    f"{self.method} has no {side} answers in its batches; leave out --stop_{side}_loss_above."
                )
