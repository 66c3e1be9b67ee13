"""Pure losses on aligned logits. None of them reduces over the batch: a `Side` does, by global counts.

Shapes everywhere: `logits` (B, K, V), where logits[:, k] predict labels[:, k]; `labels` (B, K), -100 = not
scored. What stands at an unscored position is 0 and has no gradient. Half precision is widened to float32.
"""

import torch
import torch.nn.functional as F

from mllmu_tasks.models.encode import IGNORED


def _wide(logits: torch.Tensor) -> torch.Tensor:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def token_logprobs(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log p(label) of each token, (B, K); at most 0, and 0 where unscored."""
    nll = F.cross_entropy(_wide(logits).flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none")
    return -nll.view(labels.shape)


def sequence_logprobs(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log p(answer) of each sequence, (B,): the SUM over its scored tokens."""
    return token_logprobs(logits, labels).sum(-1)


def mean_nll(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of the scored tokens of one batch by itself, for what is measured, not trained."""
    return -token_logprobs(logits, labels).sum() / (labels != IGNORED).sum()


def kl(reference: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor | None = None) -> torch.Tensor:
    """KL(reference || theta) of each position over the vocabulary, (B, K); at least 0.

    sum_v p_ref (log p_ref - log p_theta). Without `labels` every position counts, as in the official KL-Min.
    """
    divergence = F.kl_div(
        F.log_softmax(_wide(logits), -1),
        F.log_softmax(_wide(reference), -1),
        log_target=True,
        reduction="none",
    ).sum(-1)
    return divergence if labels is None else divergence.masked_fill(labels == IGNORED, 0.0)


def npo(logprobs: torch.Tensor, reference: torch.Tensor, beta: float) -> torch.Tensor:
    """Negative preference optimisation of each sequence, in the shape of its arguments.

    -(2/beta) log sigmoid(-beta (log p - log p_ref)); falls towards 0 as p falls below p_ref, is
    (2/beta) log 2 at p = p_ref. As beta -> 0 its gradient becomes that of gradient ascent.
    Paper: arXiv 2404.05868, eq. 3.
    """
    return -(2 / beta) * F.logsigmoid(-beta * (logprobs - reference))


def simnpo(logprobs: torch.Tensor, lengths: torch.Tensor, beta: float, delta: float) -> torch.Tensor:
    """NPO without a reference, by the mean log-probability of a token, in the shape of `logprobs`.

    -(2/beta) log sigmoid(-beta (log p / length + delta)), written with the mean nll as
    -(2/beta) log sigmoid(beta (nll - delta)); falls as the answer becomes less likely.
    Paper: arXiv 2410.07163, eq. 4.
    """
    return -(2 / beta) * F.logsigmoid(beta * (-logprobs / lengths.clamp(min=1) - delta))


def dpo(gain: torch.Tensor, forget_gain: torch.Tensor, beta: float) -> torch.Tensor:
    """Preference for another answer over the one to forget, in the shape of its arguments.

    -(2/beta) log sigmoid(beta (gain - forget_gain)), where a gain is log p - log p_ref of an answer: falls as the
    preferred answer gains and the forgotten one loses. The factor 2/beta is open-unlearning's, so that NPO is the
    half without a preferred answer; the paper (arXiv 2305.18290, eq. 7) has none.
    """
    return -(2 / beta) * F.logsigmoid(beta * (gain - forget_gain))


def undial(logits: torch.Tensor, reference: torch.Tensor, labels: torch.Tensor, beta: float) -> torch.Tensor:
    """Cross-entropy with the start model's distribution after its true logit was lowered by beta, (B, K).

    -sum_v softmax(z_ref - beta onehot(y))_v log p_v. Paper: arXiv 2402.10052, eq. 3.
    """
    places = labels.clamp(min=0).unsqueeze(-1)
    lowered = _wide(reference).scatter_add(-1, places, torch.full_like(places, -beta, dtype=_wide(reference).dtype))
    return _cross_entropy(lowered.softmax(-1), logits, labels)


def ceu(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy with the model's own distribution over all tokens but the true one, (B, K).

    -sum_v q_v log p_v with q = softmax(z, true logit -> -inf), detached. Paper: arXiv 2503.01224.
    """
    places = labels.clamp(min=0).unsqueeze(-1)
    others = _wide(logits).detach().scatter(-1, places, float("-inf"))
    return _cross_entropy(others.softmax(-1), logits, labels)


def _cross_entropy(target: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    values = -(target * F.log_softmax(_wide(logits), -1)).sum(-1)
    return values.masked_fill(labels == IGNORED, 0.0)


def logit_margin(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """(max_v z - mean_v z)^2 of each position, (B, K); 0 for flat logits. As in open-unlearning's PDU."""
    wide = _wide(logits)
    return (wide.amax(-1) - wide.mean(-1)).square().masked_fill(labels == IGNORED, 0.0)


def distance(hidden: torch.Tensor, target: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean squared difference over the features of each position, (B, K).

    hidden: (B, K, H); target: the same or broadcast, such as a vector (H,).
    """
    values = (hidden.float() - target.float()).square().mean(-1)
    return values.masked_fill(labels == IGNORED, 0.0)
