"""What decides an answer, told to lmms-eval's response cache (`--use_cache`).

Its key knows a model by the words of the command line. An adapter trained again in the same folder would be
served the answers of the old one, and unlearning would seem to have failed, or to have worked.
"""

import functools
from typing import Any

_CONTENT: dict[str, str] = {}
_MARK = "_mllmu_adds_content"


def identify(model: str, content: str) -> None:
    """From now on, answers of the registered `model` are kept apart by `content`, a hash of weights and adapter.

    Called when one of our models is made, never on registration: runs of other models see an untouched cache.
    """
    from lmms_eval.caching.response_cache import ResponseCache

    _CONTENT[model] = content
    original = ResponseCache.create
    if getattr(original, _MARK, False):
        return

    @functools.wraps(original)
    def create(*args: Any, model: Any = "", model_args: Any = "", **kwargs: Any) -> Any:
        known = _CONTENT.get(model) if isinstance(model, str) else None
        if known and isinstance(model_args, dict):
            model_args = {**model_args, "content": known}
        elif known:
            model_args = f"{model_args},content={known}"
        return original(*args, model=model, model_args=model_args, **kwargs)

    setattr(create, _MARK, True)
    ResponseCache.create = create
