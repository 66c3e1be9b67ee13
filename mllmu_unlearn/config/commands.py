"""One dataclass a command; its fields are the flags and the YAML keys, beside all of `TrainingArguments`."""

import copy
from dataclasses import FrozenInstanceError, dataclass, field, fields
from typing import Any

from transformers import TrainingArguments
from transformers.integrations import INTEGRATION_TO_CALLBACK

from mllmu_tasks.benchmarks.mini import model_path
from mllmu_tasks.benchmarks.mllmu.settings import Settings
from mllmu_tasks.benchmarks.mllmu.spec import RATIOS
from mllmu_tasks.data.request import id_list
from mllmu_tasks.errors import UserError, did_you_mean, quoted
from mllmu_tasks.harness.model_args import model_args
from mllmu_unlearn import methods
from mllmu_unlearn.config import optimizer, training_flags
from mllmu_unlearn.config.check_numbers import check_numbers, checked_hyper_parameters
from mllmu_unlearn.config.options import Options, option
from mllmu_unlearn.config.parse import json_object, parse
from mllmu_unlearn.methods import Method
from mllmu_unlearn.methods._supervised import WEIGHTS, Supervised
from mllmu_unlearn.toolbox.adapter_sites import Lora

__all__ = ["Config", "FinetuneConfig", "UnlearnConfig", "parse"]

MODALITIES = ("image", "text")
DTYPES = ("auto", "float32", "bfloat16", "float16")
PROTOCOLS = ("paper", "official")


@dataclass
class _TrainConfig(Options, TrainingArguments):
    """What both commands share. Raises UserError on construction for every value that cannot work.

    Nothing changes once it is made. chosen: the method. lora, people_ids, modality_set: what their flags come to.
    """

    model_name_or_path: str | None = option(None, "Model to start from: a folder, a hub id, or mini:vanilla.")
    revision: str | None = option(None, "Branch, tag or commit of a hub model.")
    dtype: str = option("auto", "Type of the model's weights: auto (as stored), float32, bfloat16, float16.")
    attn_implementation: str | None = option(None, "Attention of the model, such as sdpa or flash_attention_2.")
    trust_remote_code: bool = option(False, "Allow code from the model's repository.")
    data: str | None = option(None, "Hub id, folder in the hub layout, or mini. Default: MLLMU_DATA.")
    train_data: str | None = option(
        None, "Folder in the layout of MLLMMU/baseline_train_split, for the image pairs. Default: ft_Data."
    )
    forget_ratio: int | None = option(None, "Forget the people of forget_5, forget_10 or forget_15.")
    forget_ids: str | None = option(None, "Forget these people: ids with commas between, or a file of ids.")
    modalities: str | None = option(None, "Training pairs: image,text, or one of them.")
    benchmark_questions: bool = option(
        False, "Also train on the benchmark's own questions of Full_Set, which is recorded on the card."
    )
    benchmark_shots: int = option(
        0, "Each of those questions so many times more behind few-shot turns, as the benchmark asks them."
    )
    lora_r: int = option(16, "Rank of the LoRA matrices.")
    lora_alpha: int = option(16, "LoRA scale: the update is multiplied by alpha / r.")
    lora_dropout: float = option(0.05, "Dropout before the LoRA matrices.")
    lora_target: str | None = option(
        None,
        "Parts with LoRA: language, projector, vision with commas between; official = as the official code.",
    )
    cache_gb: float = option(1.0, "Memory for processed samples, which are then prepared only once.")
    feature_gb: float = option(1.0, "Memory on the device for image features of a frozen vision tower; 0 = none kept.")
    overwrite_output_dir: bool = option(
        False, "Replace a finished result of other people or another method in --output_dir."
    )
    keep_checkpoints: bool = option(False, "Keep the checkpoints of a finished run.")
    dry_run: bool = option(False, "Check everything, print what would run and what it needs, and stop.")

    learning_rate: float | None = option(None, "Default: the method's own.")
    num_train_epochs: float | None = option(None, "Passes over the forget samples. Default: the method's own.")
    per_device_train_batch_size: int = option(4, "Samples of each side in a batch on one device.")
    max_grad_norm: float | None = option(None, "Clip gradients to this norm; 0 = never. Default 1, official 0.")
    logging_steps: float = option(10, "Log every so many steps.")
    logging_nan_inf_filter: bool = option(False, "Hide losses that are not finite; ours stop the run instead.")
    save_strategy: str = option("epoch", "Checkpoints: epoch, steps or no.")
    save_total_limit: int | None = option(1, "Checkpoints to keep.")
    train_sampling_strategy: str | None = option(
        None, "group_by_length: batches of like length; random. Default: the first, official random."
    )
    length_step: int = option(16, "Characters that make no difference between lengths, for group_by_length.")
    remove_unused_columns: bool = option(False, "Has no meaning here.")

    def __post_init__(self) -> None:
        if not self.model_name_or_path:
            raise UserError("which model? Give --model_name_or_path.")
        if not self.output_dir:
            raise UserError("where to? Give --output_dir.")
        self.model_name_or_path = model_path(self.model_name_or_path)
        model_args(pretrained=self.model_name_or_path, peft=self.output_dir)  # as the result is evaluated
        self.data = self.data or Settings.from_environment().data
        self.people_ids = id_list(self.forget_ids)
        self._one_of("dtype", self.dtype, DTYPES)
        if self.forget_ids is not None and self.forget_ratio is not None:
            raise UserError("give --forget_ids or --forget_ratio, not both.")
        if self.forget_ratio is not None:
            self._one_of("forget_ratio", self.forget_ratio, RATIOS)
        official = self.protocol == "official"
        named = self.modalities or ("image" if official else "image,text")
        self.modality_set = tuple(m.strip() for m in named.split(",") if m.strip())
        for modality in self.modality_set:
            self._one_of("modalities", modality, MODALITIES)
        if self.benchmark_shots and not self.benchmark_questions:
            raise UserError("--benchmark_shots needs --benchmark_questions.")
        targets = (self.lora_target or ("official" if official else "language")).split(",")
        named = tuple(target.strip() for target in targets)
        init = "gaussian" if official else True
        self.lora = self.chosen.lora(Lora(self.lora_r, self.lora_alpha, self.lora_dropout, named, init))
        if self.max_grad_norm is None:
            self.max_grad_norm = 0.0 if official else 1.0
        training_flags.check(self)
        self._rename_checkpointing()
        if self.train_sampling_strategy is None:
            self.train_sampling_strategy = "random" if official else "group_by_length"
        check_numbers(self)
        self.check_options()
        self._one_of("train_sampling_strategy", self.train_sampling_strategy, ("random", "group_by_length"))
        self._resume()
        try:
            with self.for_any_machine():
                super().__post_init__()
        except (ValueError, ImportError, RecursionError) as error:
            raise UserError(f"{str(error).strip().splitlines()[0]}") from error
        check_numbers(self)  # once more: what came as JSON is read now
        for tracker in self.report_to:
            self._one_of("report_to", tracker, tuple(INTEGRATION_TO_CALLBACK))
        training_flags.check_together(self)
        optimizer.check(self, own_schedule=self.lr_per_epoch)
        if self.fp16 and self.device.type == "cpu" and not self.dry_run:
            raise UserError("--fp16 does nothing without a GPU; use --bf16 or --dtype.")
        self._frozen = True

    def __setattr__(self, name: str, value: Any) -> None:
        if self.__dict__.get("_frozen"):
            raise FrozenInstanceError(f"the configuration is read, so {name} stays what it is")
        super().__setattr__(name, value)

    def for_trainer(self, output_dir: str) -> TrainingArguments:
        """A copy for the Trainer, which writes into its arguments and pickles them.

        Without the method: one of the user's own need not pickle.
        """
        arguments = copy.copy(self)
        del arguments.__dict__["_frozen"], arguments.__dict__["chosen"]
        arguments.output_dir = output_dir
        return arguments

    def _rename_checkpointing(self) -> None:
        """Transformers 5.24 calls gradient checkpointing by another name and warns of the old one."""
        for old in ("gradient_checkpointing", "gradient_checkpointing_kwargs"):
            new = old.replace("gradient", "activation")
            if getattr(self, old) is not None and new in self.__dataclass_fields__:
                setattr(self, new, getattr(self, old))
                setattr(self, old, None)

    def _resume(self) -> None:
        """`--resume_from_checkpoint` alone, true and false are words; else it is a folder."""
        if isinstance(self.resume_from_checkpoint, str) and self.resume_from_checkpoint.lower() in (
            "true",
            "false",
        ):
            self.resume_from_checkpoint = self.resume_from_checkpoint.lower() == "true"

    @property
    def kind(self) -> str:
        """What the result is saved as."""
        return self.chosen.kind

    @property
    def uses_lora(self) -> bool:
        """Whether LoRA weights train."""
        return self.chosen.uses_lora

    @property
    def lr_per_epoch(self) -> bool:
        """Whether the learning rate falls by the epoch, as in the official code of this method."""
        official = self.chosen.official if self.protocol == "official" else None
        return official is not None and official.lr_per_epoch

    def _one_of(self, name: str, value: Any, known: tuple) -> None:
        if value not in known:
            raise UserError(f"{name} {quoted(value)} is unknown.{did_you_mean(str(value), known)}")


@dataclass
class UnlearnConfig(_TrainConfig):
    """Flags of `mllmu unlearn`; the hyper-parameters of the chosen method are flags, too."""

    method: str | None = option(None, "A name of `mllmu methods`, or a method of your own: path.py:Class.")
    protocol: str = option("paper", "paper: as the method's paper; official: as the benchmark's own code.")
    hyper_parameters: dict | str | None = field(
        default=None, metadata={"help": "The method's, as JSON; flags of their own do the same."}
    )
    reference: str = option("auto", "Reference: live (adapter off), cached (once per run), auto.")
    reference_model: str | None = option(
        None,
        "Another reference model, such as one trained on retain only; only for cached log-probabilities.",
    )
    system_prompt: str | None = option(None, "The text of method prompting.")

    def __post_init__(self) -> None:
        if not self.method:
            raise UserError(f"which method? Give --method. Known: {', '.join(methods.names())}.")
        kind = methods.get(self.method)
        self.method = kind.name
        self._one_of("protocol", self.protocol, PROTOCOLS)
        self._one_of("reference", self.reference, ("auto", "live", "cached"))
        if self.forget_ids is None and self.forget_ratio is None:
            raise UserError("whom to forget? Give --forget_ratio 5 or --forget_ids 009,032.")
        self.reference_model = self.reference_model and model_path(self.reference_model)
        if self.protocol == "official" and kind.official is None:
            raise UserError(f"the official code has no '{self.method}'; leave out --protocol official.")
        if self.system_prompt is not None and self.method != "prompting":
            raise UserError("--system_prompt belongs to --method prompting.")
        self.chosen = self._build(kind)
        defaults = kind.official if self.protocol == "official" else kind
        if self.learning_rate is None:
            self.learning_rate = defaults.learning_rate
        if self.num_train_epochs is None:
            self.num_train_epochs = defaults.epochs
        super().__post_init__()

    def _build(self, kind: type[Method]) -> Method:
        given = json_object(self.hyper_parameters)
        known = kind.hyper_parameters()
        for name in given:
            if name not in known:
                raise UserError(f"method '{self.method}' has no '{name}'.{did_you_mean(name, known)}")
        if self.protocol == "official":
            given = {**kind.official.hyper_parameters, **given}
        method = kind(**checked_hyper_parameters(kind, given))
        self.hyper_parameters = {f.name: getattr(method, f.name) for f in fields(method)}
        return method


@dataclass
class FinetuneConfig(_TrainConfig):
    """Flags of `mllmu finetune`: the vanilla model (everyone) or the retain-only one (`--people retain`)."""

    people: str = option("all", "Whom to train on: all; retain or forget with --forget_ratio or --forget_ids.")
    use_peft: bool = option(False, "Train LoRA instead of all weights.")
    loss_weight: str = option(
        "tokens", "tokens: each answer token counts equally; answers: each answer does, however short."
    )
    protocol: str = option("paper", "paper: answer tokens; official: every token, as the benchmark's own code.")

    def __post_init__(self) -> None:
        self._one_of("protocol", self.protocol, PROTOCOLS)
        self._one_of("people", self.people, ("all", "retain", "forget"))
        self._one_of("loss_weight", self.loss_weight, WEIGHTS)
        if self.people != "all" and self.forget_ids is None and self.forget_ratio is None:
            raise UserError(f"--people {self.people} needs --forget_ratio or --forget_ids.")
        self.method = "finetune"
        self.chosen = Supervised(self.loss_weight, self.use_peft)
        self.hyper_parameters = {"loss_weight": self.loss_weight}
        self.reference, self.reference_model, self.system_prompt = "auto", None, None
        if self.learning_rate is None:
            self.learning_rate = 2e-5
        if self.num_train_epochs is None:
            self.num_train_epochs = 5.0
        super().__post_init__()


Config = UnlearnConfig | FinetuneConfig
