"""`mllmu_hf`: any image-text-to-text model of Transformers in lmms-eval, batched, with verified adapters."""

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from lmms_eval.api.model import lmms
from loguru import logger
from tqdm import tqdm

from mllmu_tasks.errors import UserError, did_you_mean, stop
from mllmu_tasks.models import adapter as adapters
from mllmu_tasks.models.batching import stack
from mllmu_tasks.models.journal import Journal
from mllmu_tasks.models.rendering import STYLES, Prompt, cut, encode, render
from mllmu_tasks.settings import cache_folder

ARGUMENTS = (
    *("pretrained", "peft", "revision", "dtype", "device", "device_map", "attn_implementation"),
    *("prompt_style", "system_prompt", "trust_remote_code", "batch_size"),
)
DTYPES = ("auto", "float32", "bfloat16", "float16")


class MllmuHf(lmms):
    """A chat model of lmms-eval.

    Whatever the user can mend prints one line and ends the run with exit code 2; an answer that could not be
    made never becomes an empty one.
    """

    is_simple = False

    def __init__(
        self,
        pretrained: str = "",
        peft: str | None = None,
        revision: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        device_map: str | None = None,
        attn_implementation: str | None = None,
        prompt_style: str = "chat",
        system_prompt: str | None = None,
        trust_remote_code: bool | str = False,
        batch_size: int | str = 1,
        max_batch_size: int | str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        try:
            self._check(pretrained, dtype, prompt_style, batch_size, unknown)
            self.batch_size = int(batch_size)
            self.prompt_style = prompt_style
            trust = str(trust_remote_code).lower() == "true"
            self.accelerator = Accelerator()
            self._rank = self.accelerator.process_index
            self._world_size = self.accelerator.num_processes
            self.device = torch.device(device) if device and self._world_size == 1 else self.accelerator.device
            self.adapter = adapters.read_adapter(peft) if peft else None
            self.system_prompt = self._system_prompt(system_prompt)
            loading = {"revision": revision, "trust_remote_code": trust}
            self.processor = _load_processor(pretrained, loading)
            self._check_style()
            self._model = _load_model(pretrained, loading, dtype, device_map, attn_implementation)
            if device_map is None:
                self._model.to(self.device)
            self._model.eval()
            if self.adapter:
                self._model = adapters.attach(self._model, self.adapter, pretrained, revision)
            identity = [
                *(pretrained, adapters.weights_fingerprint(pretrained, revision), str(self._model.dtype)),
                *(self.adapter.content_hash if self.adapter else "", prompt_style, self.system_prompt),
                str(self._rank),
            ]
        except UserError as error:
            stop(error)
        self.journal = Journal(cache_folder() / "answers", identity)
        self.counts = {"questions": 0, "prompt tokens": 0, "new tokens": 0, "images": 0}

    @staticmethod
    def _check(pretrained: str, dtype: str, style: str, batch_size: int | str, unknown: dict) -> None:
        for name in unknown:
            raise UserError(f"mllmu_hf has no argument '{name}'.{did_you_mean(name, ARGUMENTS)}")
        if not pretrained:
            raise UserError("mllmu_hf needs pretrained=<folder or hub id> in --model_args.")
        for name, value, known in (("dtype", dtype, DTYPES), ("prompt_style", style, STYLES)):
            if value not in known:
                raise UserError(f"{name}={value} is not known.{did_you_mean(str(value), known)}")
        if not str(batch_size).isdecimal() or int(batch_size) < 1:
            raise UserError(f"--batch_size {batch_size} is not a whole number of 1 or more.")

    def _system_prompt(self, given: str | None) -> str:
        of_adapter = self.adapter.system_prompt if self.adapter and self.adapter.kind == "prompt" else ""
        if given and of_adapter:
            raise UserError(f"'{self.adapter.path}' brings a system prompt of its own; leave out system_prompt=.")
        return of_adapter or given or ""

    def _check_style(self) -> None:
        if self.prompt_style == "chat" and not self.processor.chat_template:
            raise UserError("this model has no chat template; add chat_template.jinja, or use prompt_style=official.")

    @property
    def model(self) -> torch.nn.Module:
        return self._model

    def loglikelihood(self, requests: Sequence[Any]) -> list:
        stop("mllmu_hf answers by generation; tasks that need log-likelihoods want another --model.")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list:
        stop("mllmu_hf has no multi-round generation; such tasks want another --model.")

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Greedy (or sampled) answers in the order of the requests."""
        try:
            prompts = [
                render(r, self.task_dict, self.prompt_style, self.system_prompt, self.processor)
                for r in tqdm(requests, desc="mllmu_hf: prompts", disable=self._rank != 0, leave=False)
            ]
            return self._answer(prompts)
        except UserError as error:
            stop(error)

    def _answer(self, prompts: list[Prompt]) -> list[str]:
        keys = [self.journal.key(p.text, p.images, p.settings | {"until": p.until}) for p in prompts]
        known = sum(key in self.journal.answers for key in keys)
        if known:
            print(f"mllmu_hf: continuing, {known} of {len(keys)} answers found in {self.journal.file}", file=sys.stderr)
        missing = [n for n, key in enumerate(keys) if key not in self.journal.answers]
        with tqdm(total=len(prompts), initial=known, desc="mllmu_hf: answers", disable=self._rank != 0) as bar:
            for batch in self._batches(prompts, missing):
                answers = self._generate([prompts[n] for n in batch])
                self.journal.write([keys[n] for n in batch], answers)
                bar.update(len(batch))
        done = [self.journal.answers[key] for key in keys]
        self.journal.close()
        silent = sum(not answer.strip() for answer in done)
        counted = ", ".join(f"{value} {name}" for name, value in self.counts.items())
        logger.info(f"mllmu_hf: {counted}, {silent} empty answers")
        return done

    def _batches(self, prompts: list[Prompt], missing: list[int]) -> Iterable[list[int]]:
        """Longest first, so that what does not fit shows at once; equal settings together."""
        groups: dict[str, list[int]] = {}
        for n in missing:
            groups.setdefault(repr(prompts[n].settings), []).append(n)
        for group in groups.values():
            group.sort(key=lambda n: (len(prompts[n].images), len(prompts[n].text)), reverse=True)
            for start in range(0, len(group), self.batch_size):
                yield group[start : start + self.batch_size]

    @torch.inference_mode()
    def _generate(self, prompts: list[Prompt]) -> list[str]:
        tokenizer = self.processor.tokenizer
        pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
        where = prompts[0].where if len(prompts) == 1 else f"{prompts[0].where} (and {len(prompts) - 1} others)"
        try:
            rows = [encode(self.processor, prompt) for prompt in prompts]
            inputs = stack(rows, {"input_ids": pad}, "left")
            length = inputs["input_ids"].shape[1]
            settings = prompts[0].settings
            self._check_context(prompts, rows, settings["max_new_tokens"])
            floats = self._model.dtype
            inputs = {
                key: value.to(self.device, floats) if value.is_floating_point() else value.to(self.device)
                for key, value in inputs.items()
            }
            made = self._model.generate(**inputs, **settings, pad_token_id=pad)[:, length:]
        except torch.cuda.OutOfMemoryError as error:
            raise UserError(
                f"out of GPU memory at {where} with batch size {len(prompts)}; lower --batch_size. The answers so far "
                "are kept: the same command goes on from there."
            ) from error
        except UserError:
            raise
        except Exception as error:  # must not become an empty answer, which would look like forgetting
            reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            raise UserError(f"could not answer {where}: {reason}") from error
        self.counts["questions"] += len(prompts)
        self.counts["prompt tokens"] += int(inputs["attention_mask"].sum())
        self.counts["new tokens"] += int((made != pad).sum())
        self.counts["images"] += sum(len(prompt.images) for prompt in prompts)
        texts = tokenizer.batch_decode(made, skip_special_tokens=True)
        return [cut(text, prompt.until) for text, prompt in zip(texts, prompts, strict=True)]

    def _check_context(self, prompts: list[Prompt], rows: list[dict], new: int) -> None:
        limit = self._model.config.get_text_config().max_position_embeddings
        lengths = [row["input_ids"].shape[1] for row in rows]
        longest = max(range(len(rows)), key=lengths.__getitem__)
        if lengths[longest] + new > limit:
            raise UserError(
                f"{prompts[longest].where}: {lengths[longest]} tokens and {new} new ones do not fit the model's "
                f"context of {limit}; show less with MLLMU_SHOTS (0 = zero-shot) or MLLMU_SHOT_QUESTIONS."
            )


def _load_processor(pretrained: str, loading: dict) -> Any:
    from transformers import AutoProcessor

    try:
        return AutoProcessor.from_pretrained(pretrained, **loading)
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise UserError(f"no processor for '{pretrained}': {_first_line(error)}") from error


def _load_model(pretrained: str, loading: dict, dtype: str, device_map: str | None, attention: str | None) -> Any:
    from transformers import AutoModelForImageTextToText

    try:
        return AutoModelForImageTextToText.from_pretrained(
            pretrained,
            dtype=dtype if dtype == "auto" else getattr(torch, dtype),
            device_map=device_map,
            attn_implementation=attention,
            use_safetensors=True,
            **loading,
        )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise UserError(f"model '{pretrained}' does not load: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    return " ".join(str(error).strip().split("\n")[0].split())[:300] or type(error).__name__
