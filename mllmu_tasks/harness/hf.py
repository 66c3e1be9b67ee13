"""`mllmu_hf`: any image-text-to-text model of Transformers in lmms-eval, batched, with verified adapters."""

import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from lmms_eval.api.model import lmms
from lmms_eval.models.model_utils.gen_metrics import log_metrics
from loguru import logger
from tqdm import tqdm

from mllmu_tasks import streams
from mllmu_tasks.artifacts.adapter_folder import attach, read_adapter
from mllmu_tasks.artifacts.identity import digest
from mllmu_tasks.artifacts.made_from import require_this
from mllmu_tasks.benchmarks import registry
from mllmu_tasks.errors import UserError, ends_the_run, reason_of, stop
from mllmu_tasks.harness import answerer
from mllmu_tasks.harness.answer_store import PROCESS, code, open_journal, request_keys
from mllmu_tasks.harness.arguments import check_arguments, gib, truth
from mllmu_tasks.harness.rendering import Renderer
from mllmu_tasks.harness.response_cache import identify
from mllmu_tasks.harness.unanswered import failures_end_the_run
from mllmu_tasks.models.base_model import open_base
from mllmu_tasks.models.chat_template import require_template
from mllmu_tasks.models.engine.engine import Engine
from mllmu_tasks.models.engine.scheduling import AUTO, answers, budget_for
from mllmu_tasks.models.loading import manners
from mllmu_tasks.models.memory import peak_memory
from mllmu_tasks.models.prompt import Prompt
from mllmu_tasks.user_folders import cache_folder, require_home


class MllmuHf(lmms):
    """A chat model of lmms-eval.

    pretrained: folder or hub id; processor: the same, if the processor is not there (the official code takes that
    of the published model). peft: adapter folder; base: `this` if pretrained is its base model, whatever the adapter
    notes; system_prompt: text, or a file of it. device_map spreads
    one process over several devices; several processes (`accelerate launch`) share the questions instead.
    whole_answers: false ends a classification answer at its letter. feature_cache: GiB for image features.
    Whatever the user can mend prints one line and ends the run with exit code 2.
    """

    is_simple = False

    @ends_the_run
    def __init__(
        self,
        pretrained: str = "",
        processor: str | None = None,
        peft: str | None = None,
        base: str | None = None,
        revision: str | None = None,
        dtype: str = "auto",
        device: str | None = None,
        device_map: str | None = None,
        attn_implementation: str | None = None,
        prompt_style: str = "chat",
        system_prompt: str | None = None,
        trust_remote_code: bool | str = False,
        whole_answers: bool | str = False,
        feature_cache: float | str = 4,
        batch_size: int | str = 1,
        max_batch_size: int | str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()
        streams.ready()
        require_home()
        try:
            pretrained, processor = registry.model_path(pretrained), processor and registry.model_path(processor)
            check_arguments(pretrained, dtype, prompt_style, batch_size, unknown)
            trust = truth("trust_remote_code", trust_remote_code)
            self.accelerator = Accelerator()
            self._rank, self._world_size = self.accelerator.process_index, self.accelerator.num_processes
            self.device = self._place(device, device_map)
            self.batch_size = batch_size if batch_size == AUTO else int(batch_size)
            self.prompt_style, self.whole_answers = prompt_style, truth("whole_answers", whole_answers)
            declared = require_this(base, peft)
            self.adapter = read_adapter(peft) if peft else None
            self.system_prompt = self._choose_system_prompt(system_prompt)
            revision = None if revision is None else str(revision)
            self.base = open_base(
                *(pretrained, processor, revision, trust),
                dtype=dtype,
                device_map=device_map or (None if self.device.type == "cpu" else {"": self.device}),
                attn_implementation=attn_implementation,
            )
            self.processor, self._model = self.base.processor, self.base.model
            if prompt_style == "chat":
                require_template(self.processor)
            if device_map:
                self.device = self._model.get_input_embeddings().weight.device
            features = self.base.features_for(self.adapter, gib("feature_cache", feature_cache))
            # Adapter layers sit inside the model: `generate` is called on it, not on PEFT's wrapper.
            self.engine = Engine(self._model, self.base, self.device, features)
            if self.adapter:
                self._model = attach(self._model, self.adapter, pretrained, revision, declared)
            weights = [self.base.weights, self.adapter.content_hash if self.adapter else ""]
            known = answerer.opened(pretrained, revision, self.base, self.adapter)
        except UserError as error:
            stop(error)
        self.name = " + ".join(Path(str(part)).name for part in (pretrained, peft) if part)
        self.identity = [pretrained, *weights, *manners(self.processor, self._model), str(attn_implementation)]
        failures_end_the_run("mllmu_hf")
        how = answerer.asked_how(prompt_style, self.processor.chat_template, self.system_prompt, bool(system_prompt))
        base_by = "declared" if declared else ""
        answerer.note(replace(known, dtype=str(self.engine.dtype), base_by=base_by, **how))
        identify("mllmu_hf", *self.identity, self.system_prompt, str(self.processor.chat_template))

    def _place(self, device: str | None, device_map: str | None) -> torch.device:
        if self._world_size > 1:
            if device_map:
                raise UserError(
                    f"device_map={device_map} cannot be shared by {self._world_size} processes; leave it out."
                )
            return self.accelerator.device
        try:
            place = torch.device(device) if device else self.accelerator.device
            torch.empty(1, device=place)
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"--device {device} is not to be had here ({reason_of(error, 120)}); try cpu.") from error
        return place

    def _choose_system_prompt(self, given: str | None) -> str:
        of_adapter = self.adapter.system_prompt if self.adapter else ""
        if given and of_adapter:
            raise UserError(f"'{self.adapter.path}' brings a system prompt of its own; leave out system_prompt=.")
        return of_adapter or self._resolve_system_prompt(given or "")

    @property
    def model(self) -> torch.nn.Module:
        return self._model

    @ends_the_run
    def clean(self) -> None:
        """Called by lmms-eval when all is answered: free the memory, or leave a shared base model as it was."""
        if self.adapter:
            self.base.take_out(self._model, self.adapter)
        del self.engine, self.base
        super().clean()

    @property
    def chat_template(self) -> str:
        """lmms-eval asks for it with --apply_chat_template, to put raw prompts into chat form."""
        stop("mllmu_hf renders prompts itself (prompt_style=chat is the default); leave out --apply_chat_template.")

    def loglikelihood(self, requests: Sequence[Any]) -> list:
        stop("mllmu_hf answers by generation; tasks that need log-likelihoods want another --model.")

    def generate_until_multi_round(self, requests: Sequence[Any]) -> list:
        stop("mllmu_hf has no multi-round generation; such tasks want another --model.")

    @ends_the_run
    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Answers in the order of the requests, cut at their stop texts."""
        try:
            return self._answer(self._read(requests))
        except KeyboardInterrupt:
            print("\nmllmu_hf: interrupted; the answers so far are kept, the same command goes on.", file=sys.stderr)
            raise SystemExit(130) from None

    def _read(self, requests: Sequence[Any]) -> list[tuple[str, int, Prompt]]:
        """(key, tokens, prompt) of each request. Raises UserError if a prompt exceeds the model's context."""
        style = (self.prompt_style, self.system_prompt, self.whole_answers)
        asked = (style, tuple((id(self.task_dict[r.args[4]]), r.args[0], repr(r.args[2]), r.args[3]) for r in requests))
        if asked not in self.base.readings:
            self.base.readings[asked] = self._render(requests)
        return self.base.readings[asked]

    def _render(self, requests: Sequence[Any]) -> list[tuple[str, int, Prompt]]:
        prompts, contents, lengths = [], [], []
        renderer = Renderer(self.processor, self.prompt_style, self.system_prompt, self.whole_answers)
        for request in tqdm(requests, desc="mllmu_hf: reading questions", disable=self._rank != 0, leave=False):
            prompt, images = renderer.render(request, self.task_dict)
            if self.prompt_style == "official":
                official = registry.official_settings(prompt.leaf, self._model.config.model_type)
                prompt = replace(prompt, settings={**prompt.settings, **official})
            settings = {**prompt.settings, "until": prompt.reading.until, "letter": prompt.reading.short}
            prompts.append(prompt)
            contents.append((prompt.text, prompt.images, settings))
            lengths.append(self.engine.preparer.length(prompt, images))
        self._check_context(prompts, lengths)
        return list(zip(request_keys(contents), lengths, prompts, strict=True))

    def _check_context(self, prompts: Sequence[Prompt], lengths: Sequence[int]) -> None:
        limit = self.engine.context
        whole = [length + p.settings["max_new_tokens"] for p, length in zip(prompts, lengths, strict=True)]
        long = [n for n, length in enumerate(whole) if limit is not None and length > limit]
        if long:
            worst = max(long, key=whole.__getitem__)
            raise UserError(
                f"{len(long)} of {len(prompts)} questions do not fit the model's context of {limit} tokens (the "
                f"longest has {lengths[worst]} and room for {whole[worst] - lengths[worst]} to answer: "
                f"{prompts[worst].where}); show fewer examples with MLLMU_SHOTS "
                "(0 = zero-shot) or MLLMU_SHOT_QUESTIONS."
            )

    def _answer(self, prompts: Sequence[tuple[str, int, Prompt]]) -> list[str]:
        keys = [key for key, _, _ in prompts]
        run = digest([*self.identity, self.device.type, code(), *keys])[:24]
        how = {"batch_size": self.batch_size}
        sampled = any(prompt.settings.get("do_sample") for _, _, prompt in prompts)
        journal = open_journal(cache_folder() / "answers", run, how, sampled)
        distinct = {key: (length, prompt) for key, length, prompt in prompts}
        known = len(distinct.keys() & journal.answers.keys())
        answerer.note_kept("journal", known, run)
        if journal.spoilt:
            tqdm.write(
                f"mllmu_hf: {journal.spoilt} answers in {journal.file} are not as they were written; asking again",
                file=sys.stderr,
            )
        if known:
            what = "an earlier run like this one left" if known == len(distinct) else "continuing:"
            said = f"mllmu_hf: {what} {known} of {len(distinct)} answers in {journal.file} (remove it to ask again)"
            tqdm.write(said, file=sys.stderr)
        began = time.perf_counter()
        title = f"mllmu_hf: {self.name}"
        with tqdm(total=len(distinct), initial=known, desc=title, unit="q", disable=self._rank != 0) as bar:
            missing = {key: distinct[key] for key in distinct if key not in journal.answers}
            budget = budget_for(self.batch_size, self.engine.model, self.device)
            for batch, texts in answers(self.engine, missing, budget):
                journal.write(batch, texts)
                bar.update(len(batch))
                bar.set_postfix_str(f"{self.engine.counts.tokens_decoded} tokens", refresh=False)
        journal.finish(how | {"process": PROCESS})
        self._report(time.perf_counter() - began)
        return [journal.answers[key] for key in keys]

    def _report(self, seconds: float) -> None:
        """One log line, which lmms-eval puts into the results as `throughput` too."""
        counts = self.engine.counts
        peak = peak_memory(self.engine.device)
        log_metrics(
            total_elapsed_time=seconds,
            total_gen_tokens=counts.tokens_decoded,
            avg_speed=counts.tokens_decoded / max(seconds, 1e-9),
            additional_metrics=counts.as_dict() | ({} if peak is None else {"peak_memory_mib": peak}),
        )
        if counts.unanswered:
            logger.warning(f"mllmu_hf: {counts.unanswered} of {counts.questions} questions got an empty answer.")
