"""What a results file says of who answered is what was opened, not what it was called."""

import pytest
import yaml
from adapters import make_adapter, make_prompt_folder
from asking import MIXED, ask

from mllmu_tasks.artifacts.adapter_folder import read_adapter
from mllmu_tasks.artifacts.identity import short_hash, weights_fingerprint
from mllmu_tasks.harness import answerer
from mllmu_tasks.harness.hf import MllmuHf
from mllmu_tasks.harness.peft_backend import MllmuPeft
from mllmu_tasks.harness.replay import MllmuReplay


def noted_of(folder, **arguments):
    MllmuHf(**{"pretrained": str(folder), "device": "cpu", **arguments})
    return answerer.noted()


def record(base, **more):
    made_from = {"name_or_path": str(base), "revision": None, "fingerprint": weights_fingerprint(str(base))}
    return {"format": 1, "base_model": made_from, **more}


def test_weights_adapter_base_and_people_by_its_record(folders, tmp_path):
    base = folders("llava")
    forget = {"ratio": 5, "ids": ["009", "004"]}
    peft = make_adapter(base, tmp_path / "a", "lora", record=record(base, kind="lora", forget=forget))
    plain, with_adapter = noted_of(base), noted_of(base, peft=str(peft))
    fingerprint = weights_fingerprint(str(base))
    assert (plain["weights"], plain["adapter"], plain["forgot"], plain["made_from"]) == (fingerprint, "", None, "")
    assert with_adapter["weights"] == with_adapter["made_from"] == fingerprint
    assert with_adapter["adapter"] == read_adapter(peft).content_hash
    assert with_adapter["forgot"] == ("009", "004")
    assert plain["architecture"] == with_adapter["architecture"]
    assert plain["architecture"].startswith("LlavaForConditionalGeneration, ")
    assert plain["dtype"] == with_adapter["dtype"] == "torch.float32"


def test_an_adapter_of_others_says_nothing_of_people(folders, tmp_path):
    peft = make_adapter(folders("llava"), tmp_path / "a", "lora", record={})
    noted = noted_of(folders("llava"), peft=str(peft))
    assert noted["forgot"] is None
    assert noted["adapter"]


def test_a_checkpoint_is_known_by_the_record_beside_its_weights(folders, tmp_path):
    import shutil

    whole = tmp_path / "whole"
    shutil.copytree(folders("llava"), whole)
    trained = {"whom": "retain", "people": 9, "forget_set": ["001"]}
    known = record(folders("qwen2_5_vl"), kind="full", method="finetune", forget={"ids": []}, trained=trained)
    (whole / "unlearning.yaml").write_text(yaml.safe_dump(known))
    noted = noted_of(whole)
    assert noted["made_from"] == weights_fingerprint(str(folders("qwen2_5_vl")))
    assert noted["forgot"] == ("001",)


@pytest.mark.parametrize("damaged", [{"forget": 3}, {"forget": {"ids": "x"}}, {"trained": [1]}, {"base_model": {}}])
def test_a_record_of_another_shape_says_nothing(damaged):
    assert answerer.origin(None, damaged) == {"made_from": "", "forgot": None}


def test_where_a_system_text_is_from(folders, tmp_path):
    base = folders("llava")
    prompt = make_prompt_folder(base, tmp_path / "p", "You know nobody.")
    by_adapter, by_hand = noted_of(base, peft=str(prompt)), noted_of(base, system_prompt="You know nobody.")
    assert by_adapter["system"] == by_hand["system"] == short_hash("You know nobody.")
    assert (by_adapter["system_of"], by_hand["system_of"]) == ("adapter", "command line")
    assert noted_of(base)["system"] == ""
    assert noted_of(base)["forms"] != noted_of(base, prompt_style="official")["forms"]


def test_kept_answers_are_counted_with_the_hash_of_their_run(folders, own_cache):
    base = folders("llava")
    ask(MllmuHf(pretrained=str(base), device="cpu", batch_size=4), MIXED)
    assert answerer.noted()["kept"] == {}
    (file,) = (own_cache / "answers").glob("*.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:5]))
    ask(MllmuHf(pretrained=str(base), device="cpu", batch_size=4), MIXED)
    assert answerer.noted()["kept"] == {"journal": {"answers": 5, "run": file.stem}}


def test_a_backend_with_an_adapter(folders, adapters):
    base, peft = folders("qwen2_5_vl"), adapters("qwen2_5_vl")
    arguments = f"backend=qwen2_5_vl,pretrained={base},peft={peft},device_map=cpu,min_pixels=784,max_pixels=3136"
    MllmuPeft.create_from_arg_string(arguments, {"batch_size": 1, "device": "cpu", "max_batch_size": None})
    noted = answerer.noted()
    assert (noted["model"], noted["weights"]) == ("mllmu_peft", weights_fingerprint(str(base)))
    assert noted["adapter"] == read_adapter(peft).content_hash


def test_replay_says_that_it_replays(folders):
    noted_of(folders("llava"))
    MllmuReplay(answers="gold")
    assert answerer.noted()["model"] == "mllmu_replay"
    assert answerer.noted()["weights"] == ""
