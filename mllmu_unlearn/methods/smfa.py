"""SMFA: LoRAs that learn refusals, sculpted where they would undo a LoRA on retain, then added to the weights."""

import copy
from dataclasses import dataclass

import torch
from peft.tuners.lora import LoraLayer

from mllmu_tasks.errors import UserError
from mllmu_unlearn.methods import Layout, Method, hyper, register
from mllmu_unlearn.methods._refusals import refused
from mllmu_unlearn.toolbox import adapter_sites, saliency

ANCHOR = "default"


def sculpted(delta: torch.Tensor, anchor: torch.Tensor, k: float) -> torch.Tensor:
    """The delta with 0 where it has the other sign than the anchor and outweighs it by k times their ratio of norms."""
    ratio = delta.norm() / anchor.norm().clamp(min=1e-12)
    return delta.masked_fill((delta * anchor < 0) & (k * ratio * anchor.abs() < delta.abs()), 0.0)


@register
@dataclass
class SMFA(Method):
    """Each step trains one LoRA: refusals and retain answers of one modality, or the anchor on retain answers; an epoch
    passes over the forget samples of each modality, the anchor sees as many retain samples."""

    title = "Sculpted memory forgetting adapter"
    formula = "theta + mean over modalities of sculpt(delta(refusals, retain), delta(retain), k)"
    paper = "arXiv 2511.20196"
    kind = "full"
    uses_lora = True
    learning_rate = 1e-4

    multi_k: float = hyper(5.0, "How far a delta of image pairs may contradict the anchor.", "Open-MMunlearning")
    text_k: float = hyper(10.0, "How far a delta of text pairs may contradict the anchor.", "Open-MMunlearning")
    refusal_seed: int = hyper(0, "Which refusal goes with which question.", "this package")

    def layout(self, sides):
        made, phases = {"anchor": sides["retain"]}, []
        for modality in ("image", "text"):
            forget, retain = ([s for s in sides[side] if s.modality == modality] for side in ("forget", "retain"))
            if forget and not retain:
                raise UserError(f"smfa forgets {modality} pairs but has none to keep; change --modalities.")
            if forget:
                made |= {f"idk_{modality}": refused(forget, self.refusal_seed), f"keep_{modality}": retain}
                phases.append((f"idk_{modality}", f"keep_{modality}"))
        return Layout(made, (*phases, ("anchor",)), lengths={"anchor": len(sides["forget"])})

    def trainable(self, context):
        return super().trainable(context) * (len(context.modalities) + 1)

    def wrap(self, context):
        saliency.refuse_spread()
        model = adapter_sites.add_lora(context.model, context.lora, context.revision)
        ks = {"image": self.multi_k, "text": self.text_k}
        self.adapters = {f"forgets_{m}": k for m, k in ks.items() if f"idk_{m}" in context.sides}
        for name in self.adapters:
            model.add_adapter(name, copy.deepcopy(model.peft_config[ANCHOR]))
        self.before_forward(model, ("anchor",))
        return model

    def before_forward(self, model, sides):
        model.set_adapter(ANCHOR if "anchor" in sides else f"forgets_{sides[0].partition('_')[2]}")
        for name, parameter in model.named_parameters():  # all of them belong to the optimiser
            parameter.requires_grad_("lora_" in name)

    def terms(self, sides):
        return {name: side.nll() for name, side in sides.items()}

    def finish(self, context):
        with torch.no_grad():
            for layer in (m for m in context.model.modules() if isinstance(m, LoraLayer)):
                anchor = layer.get_delta_weight(ANCHOR).float()
                deltas = [sculpted(layer.get_delta_weight(n).float(), anchor, k) for n, k in self.adapters.items()]
                layer.get_base_layer().weight += (sum(deltas) / len(deltas)).to(layer.get_base_layer().weight.dtype)
        return context.model.unload()
