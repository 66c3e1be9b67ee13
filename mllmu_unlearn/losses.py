"""Pure losses on aligned logits. None of them reduces over the batch: a `Side` does, by global counts.

Shapes everywhere: `logits` (B, K, V), where logits[:, k] predict labels[:, k]; `labels` (B, K), -100 = not
scored. What stands at an unscored position is 0 and has no gradient. Half precision is widened to float32.
"""

import torch
import torch.nn.functional as F

IGNORED = -100


def _wide(logits: torch.Tensor) -> torch.Tensor:
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits


def token_logprobs(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log p(label) of each token, (B, K); at most 0, and 0 where unscored."""
    nll = F.cross_entropy(_wide(logits).flatten(0, 1), labels.flatten(), ignore_index=IGNORED, reduction="none")
    return -nll.view(labels.shape)


def sequence_logprobs(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """log p(answer) of each sequence, (B,): the SUM over its scored tokens."""
    return token_logprobs(logits, labels).sum(-1)


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
