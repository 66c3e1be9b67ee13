"""What we write behind --model_args, lmms-eval reads as we meant it; what it would not is refused."""

import pytest
from lmms_eval.utils import simple_parse_args_string

from mllmu_tasks.errors import UserError
from mllmu_tasks.harness.model_args import as_mapping, model_args


def test_lmms_eval_reads_what_was_meant():
    line = model_args("dtype=float32,prompt_style=official", pretrained="a b/c=d[1]", revision=None, peft="")
    assert line == "pretrained=a b/c=d[1],dtype=float32,prompt_style=official"
    meant = {"pretrained": "a b/c=d[1]", "dtype": "float32", "prompt_style": "official"}
    assert simple_parse_args_string(line) == meant == as_mapping(line)
    assert model_args(pretrained="m", peft="x") == "pretrained=m,peft=x"


@pytest.mark.parametrize("path", ["a,b", "o'neil", 'a"b', "a[b", "a}", "end "])
def test_a_path_that_would_be_cut_is_refused(path):
    with pytest.raises(UserError, match=r"peft '.*' holds a comma, .* lmms-eval cuts --model_args"):
        model_args(pretrained="m", peft=path)
    try:
        read = simple_parse_args_string(f"pretrained=m,peft={path},dtype=float32")
    except ValueError:
        return  # the trace that the sentence stands for
    assert read != {"pretrained": "m", "peft": path, "dtype": "float32"}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("processor=/data/a,b", "model_args holds 'b', which is no name=value"),
        ("dtype", "holds 'dtype'"),
        ("pretrained=other", "holds pretrained=, which is set already"),
        ("dtype=float32, peft=x", "holds peft="),
    ],
)
def test_arguments_of_the_users_own(more, message):
    with pytest.raises(UserError, match=message):
        model_args(more, pretrained="m", peft="x")
    assert model_args('kwargs={"a": 1, "b": 2}', pretrained="m").endswith("}")
