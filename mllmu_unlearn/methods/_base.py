"""What a method is.

A method is one file `methods/<name>.py` with one registered dataclass: its fields are the hyper-parameters
(flags and YAML keys come from them), its functions give the loss of each side. The file names the method.
`_registry.py` finds them: this package's, those of other packages, those of the user's own files.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar

from mllmu_tasks.errors import UserError

if TYPE_CHECKING:
    import torch

    from mllmu_unlearn.toolbox.adapter_sites import Lora
    from mllmu_unlearn.toolbox.context import Context
    from mllmu_unlearn.toolbox.side import Side


@dataclass(frozen=True)
class Official:
    """How the benchmark's own code runs a method (`--protocol official`).

    phases: the sides that are trained together; each phase is one pass within every epoch.
    lr_per_epoch: the scheduler steps once an epoch though it counts batches, so the rate hardly falls.
    """

    phases: tuple[tuple[str, ...], ...]
    hyper_parameters: Mapping[str, Any] = field(default_factory=dict)
    lr_per_epoch: bool = False
    learning_rate: float = 2e-5
    epochs: float = 1.0


@dataclass(frozen=True)
class Layout:
    """What an epoch is made of. sides: the samples. phases, interleaved, lengths: as in `Schedule`."""

    sides: Mapping[str, list]
    phases: tuple[tuple[str, ...], ...]
    interleaved: bool = False
    lengths: Mapping[str, int] = field(default_factory=dict)


def hyper(default: Any, help: str, source: str) -> Any:
    """A hyper-parameter: its default, what it does, and where the default comes from."""
    return field(default=default, metadata={"help": f"{help} (default from {source})"})


@dataclass
class Method:
    """Base of all methods. Subclasses are dataclasses; only what differs is overridden.

    A run: extra_sides, layout, wrap, prepare, then terms at every step, finish, and the result is saved.

    sides: what a batch holds: `forget`, `retain` and the names that `extra_sides` returns; `biographies` is the text
    about everyone, forgotten or not.
    kind: what the result is saved as; an instance may have another one, of `carriers`.
    trains: False for closed-form edits (`finish`) and for prompting.
    learning_rate, epochs: defaults of a run of the method as its paper defines it.
    """

    title: ClassVar[str]
    formula: ClassVar[str]
    paper: ClassVar[str]
    sides: ClassVar[tuple[str, ...]] = ("forget", "retain")
    kind: ClassVar[str] = "lora"
    carriers: ClassVar[tuple[str, ...]] = ()
    trains: ClassVar[bool] = True
    learning_rate: ClassVar[float] = 1e-4
    epochs: ClassVar[float] = 5.0
    official: ClassVar[Official | None] = None
    name: ClassVar[str] = ""

    def forget(self, side: "Side") -> "torch.Tensor":
        """Loss of the forget side, weight included; minimised."""
        raise NotImplementedError

    def retain(self, side: "Side") -> "torch.Tensor":
        """Loss of the retain side, weight included; minimised."""
        raise NotImplementedError

    def forget_official(self, side: "Side") -> "torch.Tensor":
        return self.forget(side)

    def retain_official(self, side: "Side") -> "torch.Tensor":
        return self.retain(side)

    def terms(self, sides: Mapping[str, "Side"]) -> dict[str, "torch.Tensor"]:
        """Named terms whose sum is minimised; each is logged as loss_<name>. Override to couple sides."""
        return {name: getattr(self, name)(side) for name, side in sides.items()}

    def official_terms(self, sides: Mapping[str, "Side"]) -> dict[str, "torch.Tensor"]:
        return {name: getattr(self, f"{name}_official")(side) for name, side in sides.items()}

    def watched(self, sides: Mapping[str, "Side"]) -> dict[str, "torch.Tensor"]:
        """Numbers that are logged and averaged like terms, but not minimised."""
        return {}

    def references(self) -> dict[str, str]:
        """side -> `logits`, `logprobs` or `hidden`: what the start model is asked for. Empty: it is never run."""
        return {}

    def official_references(self) -> dict[str, str]:
        return self.references()

    def hidden_layers(self) -> tuple[str, ...]:
        """Regular expressions of the modules whose outputs the loss needs (`Side.hidden`)."""
        return ()

    def extra_sides(self, forget: list) -> dict[str, list]:
        """More sides, each a list of samples aligned with `forget` (such as the same question, refused)."""
        return {}

    def layout(self, sides: Mapping[str, list]) -> Layout:
        """Which samples meet in a step. Override for steps of different kinds (ascent and descent, stages)."""
        return Layout(sides, (tuple(self.sides),))

    @property
    def uses_lora(self) -> bool:
        """Whether LoRA weights train, whatever the result is saved as."""
        return self.kind == "lora"

    def lora(self, lora: "Lora") -> "Lora":
        """The LoRA settings of a run, of those that the flags say. Override where the method itself decides."""
        return lora

    def places(self, context: "Context") -> list[str]:
        """The modules that the result may change, and no others; the model is bare, and may be on the meta device."""
        from mllmu_unlearn.toolbox import adapter_sites

        return adapter_sites.modules(context.model, context.lora.targets)

    def trainable(self, context: "Context") -> int:
        """How many numbers train, from the shapes of the bare model alone."""
        from mllmu_unlearn.toolbox import adapter_sites

        if not self.trains:
            return 0
        if self.uses_lora:
            return adapter_sites.trainable_of_lora(context.model, context.lora)
        return sum(context.model.get_submodule(name).weight.numel() for name in self.places(context))

    def wrap(self, context: "Context") -> "torch.nn.Module":
        """The model with its adapter; `context.model` is the bare one. Override for kinds other than LoRA, or
        where the adapter's shape follows from the data (masks)."""
        from mllmu_unlearn.toolbox import adapter_sites

        if self.kind == "lora":
            return adapter_sites.add_lora(context.model, context.lora, context.revision)
        return adapter_sites.train_only(context.model, {name for name, _ in context.model.named_parameters()})

    def prepare(self, context: "Context") -> None:
        """Once, before the first step: statistics, random directions, masks on gradients."""

    def finish(self, context: "Context") -> "torch.nn.Module | None":
        """Once, after the last step: what makes the result of what was trained, or a whole closed-form edit.

        Returns the model to save, if it is not the one that was trained any more.
        """

    def before_forward(self, model: "torch.nn.Module", sides: Collection[str]) -> None:
        """Before the forward passes of a batch that holds these sides: choose what trains."""

    def before_optimizer_step(self, model: "torch.nn.Module") -> None:
        """After the gradients are complete and clipped: mask them here."""

    def after_optimizer_step(self, means: Callable[[], dict[str, float]]) -> None:
        """For methods with a state of their own; `means()` is the mean of each term of this step."""

    def state_dict(self) -> dict:
        """What a checkpoint must hold for the run to go on bit for bit; {} for stateless methods."""
        return {}

    def load_state_dict(self, state: dict) -> None:
        if state:
            raise ValueError(f"{self.name} has no state, the checkpoint has {sorted(state)}")

    def above_zero(self, *names: str) -> None:
        """Raises UserError if one of these hyper-parameters is 0 or less; for `__post_init__`."""
        for name in names:
            if getattr(self, name) <= 0:
                raise UserError(f"--{name} is {getattr(self, name):g}; it must be above 0.")

    def not_negative(self, *names: str) -> None:
        """Raises UserError if one of these hyper-parameters is below 0; for `__post_init__`."""
        for name in names:
            if getattr(self, name) < 0:
                raise UserError(f"--{name} is {getattr(self, name):g}; it must be 0 or more.")

    @classmethod
    def hyper_parameters(cls) -> tuple[str, ...]:
        return tuple(f.name for f in fields(cls))
