"""Arguments of mllmu_hf, and how a run ends that cannot go on: one line, exit code 2, no empty answers."""

import json
import shutil

import pytest
import torch
from adapters import make_adapter
from asking import MIXED, SETTINGS, SPLIT, TASK, ask, document, picture, requests, to_text

from mllmu_tasks.harness.hf import MllmuHf
from mllmu_tasks.models.encode import encode

CONTEXT = 4096


def refusal(capsys, action) -> str:
    with pytest.raises(SystemExit) as left:
        action()
    assert left.value.code == 2
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line.startswith("mllmu: error: ")
    return line


def made(folder, **arguments):
    return MllmuHf(**{"pretrained": str(folder), "device": "cpu", **arguments})


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pretraind": "x"}, "no argument 'pretraind'. Did you mean 'pretrained'?"),
        ({}, "needs pretrained="),
        ({"pretrained": "x", "dtype": "bf16"}, "dtype=bf16 is not known. Did you mean 'bfloat16'?"),
        ({"pretrained": "x", "prompt_style": "offical"}, "Did you mean 'official'?"),
        ({"pretrained": "x", "batch_size": "many"}, "--batch_size many"),
        ({"pretrained": "x", "batch_size": 0}, "--batch_size 0"),
        ({"pretrained": "x", "device": "gpu"}, "--device gpu"),
        ({"pretrained": "x", "peft": "nowhere"}, "'nowhere' is no folder here"),
        ({"pretrained": "x", "device": "cuda:99"}, "--device cuda:99"),
        ({"pretrained": "x", "trust_remote_code": "yes"}, "trust_remote_code=yes"),
        ({"pretrained": "nobody/nothing-of-this-name"}, "nobody/nothing-of-this-name"),
    ],
)
def test_arguments_that_cannot_be(capsys, arguments, words):
    assert words in refusal(capsys, lambda: MllmuHf(**arguments))


def test_an_adapter_as_pretrained(capsys, folders, tmp_path):
    folder = make_adapter(folders(), tmp_path / "lora", "lora")
    assert f"pass it as peft={folder}" in refusal(capsys, lambda: made(folder))


def test_an_adapter_of_another_base(capsys, folders, tmp_path):
    other = shutil.copytree(folders("llava"), tmp_path / "other")
    record = {"kind": "lora", "base_model": {"name_or_path": "the/other", "fingerprint": "0" * 32}}
    folder = make_adapter(other, tmp_path / "lora", "lora", record=record)
    line = refusal(capsys, lambda: made(folders(), peft=str(folder)))
    assert "'the/other'" in line
    assert str(folders()) in line


def test_weights_that_are_not_all_there(capsys, folders, tmp_path):
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(folders(), tmp_path / "part")
    tensors = load_file(folder / "model.safetensors")
    lost = next(name for name in sorted(tensors) if "layers.0" in name)
    del tensors[lost]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    assert "would be random" in refusal(capsys, lambda: made(folder))


def test_weights_alone_take_the_processor_of_another_folder(capsys, folders, tmp_path):
    folder = tmp_path / "weights"
    folder.mkdir()
    for name in ("config.json", "generation_config.json", "model.safetensors"):
        shutil.copy(folders() / name, folder)
    assert "with processor=" in refusal(capsys, lambda: made(folder))
    assert "no processor for processor=nowhere" in refusal(capsys, lambda: made(folder, processor="nowhere"))
    whole, apart = made(folders()), made(folder, processor=str(folders()))
    assert ask(apart, MIXED[:2]) == ask(whole, MIXED[:2])
    assert apart.identity != whole.identity


@pytest.mark.parametrize("edit", ["images", "generation"])
def test_a_processor_or_default_changed_in_place_is_another_model(folders, tmp_path, edit):
    """Kept answers of the one must not be served as the other's."""
    folder = shutil.copytree(folders(), tmp_path / "same")
    before = made(folder).identity
    assert made(folder).identity == before
    name = {"images": "processor_config.json", "generation": "generation_config.json"}[edit]
    settings = json.loads((folder / name).read_text())
    if edit == "images":
        settings["image_processor"]["image_mean"] = [0.5, 0.5, 0.5]
    else:
        settings["repetition_penalty"] = 1.3
    (folder / name).write_text(json.dumps(settings))
    assert made(folder).identity != before


def test_no_chat_template(capsys, folders, tmp_path):
    folder = shutil.copytree(folders(), tmp_path / "bare")
    (folder / "chat_template.jinja").unlink()
    assert "use prompt_style=official" in refusal(capsys, lambda: made(folder))


def test_a_template_that_refuses_a_system_turn(capsys, folders):
    model = made(folders(), system_prompt="You know nobody.")
    model.processor.chat_template = (
        "{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}x"
    )
    line = refusal(capsys, lambda: ask(model, MIXED))
    assert "System role not supported" in line
    assert f"{TASK}, person 001, question 1" in line


@pytest.mark.parametrize("kind", ["video", "audio"])
def test_other_media(capsys, folders, kind):
    turns = [{"role": "user", "content": [{"type": kind, "url": "a.mp4"}]}]
    line = refusal(capsys, lambda: ask(made(folders()), MIXED[:1], messages=lambda doc: turns))
    assert f"takes text and images, not {kind}" in line


def test_images_by_path(folders, tmp_path, capsys):
    picture(5).save(tmp_path / "face.png")

    def turns(url):
        content = [{"type": "image", "url": url}, {"type": "text", "text": "Who is it?"}]
        return lambda doc: [{"role": "user", "content": content}]

    model = made(folders())
    doc = [document(5, "Who is it?", images=1)]
    assert ask(model, doc, messages=turns(str(tmp_path / "face.png"))) == ask(model, doc, messages=turns(picture(5)))
    line = refusal(capsys, lambda: ask(model, doc, messages=turns("no/such.png")))
    assert "image 'no/such.png' cannot be read" in line
    assert "not PIL" not in line
    assert "takes PIL images and paths" in refusal(capsys, lambda: ask(model, doc, messages=turns(3)))


def test_gray_and_alpha_images_are_rgb(folders):
    model = made(folders())
    seen = []
    original = model.engine.preparer.encode
    model.engine.preparer.encode = lambda prompt, images: (
        seen.extend(i.mode for i in images) or original(prompt, images)
    )
    for mode in ("L", "RGBA", "P"):
        content = [{"type": "image", "url": picture(5).convert(mode)}, {"type": "text", "text": mode}]
        ask(model, [document(5, mode, images=1)], messages=lambda doc, c=content: [{"role": "user", "content": c}])
    assert set(seen) == {"RGB"}


@pytest.mark.parametrize("batch_size", [1, 4])
def test_a_failure_while_generating_names_the_question(capsys, folders, own_cache, batch_size):
    model = made(folders(), batch_size=batch_size)
    generate = model.engine.model.generate

    def fragile(**inputs):
        if (inputs["input_ids"] == mark).any():
            raise RuntimeError("cannot\nhappen")
        return generate(**inputs)

    model.engine.model.generate = fragile
    mark = model.processor.tokenizer("§", add_special_tokens=False)["input_ids"][-1]
    docs = [document(n, "Who is §?" if n == 3 else f"Question {n}") for n in range(1, 6)]
    line = refusal(capsys, lambda: ask(model, docs))
    assert f"could not answer {TASK}, person 003, question 3: RuntimeError: cannot happen" in line


def test_a_task_that_breaks_ends_the_run(capsys, folders):
    def broken(doc):
        raise KeyError("no such column")

    line = refusal(capsys, lambda: ask(made(folders()), MIXED, messages=broken))
    assert "error: KeyError: 'no such column'. This was not foreseen; the trace is in '" in line


def test_out_of_memory_says_what_to_do(capsys, folders):
    model = made(folders(), batch_size=8)

    def hungry(**inputs):
        raise torch.OutOfMemoryError("too much")

    model.engine.model.generate = hungry
    line = refusal(capsys, lambda: ask(model, MIXED))
    assert "even alone" in line
    assert model.engine.counts.batches_split == 2  # the five with an image: 5, 2


def test_a_processor_that_fails_names_the_question(capsys, folders):
    model = made(folders())
    model.processor.patch_size = "fourteen"
    docs = [document(9, "Who is it?", images=1)]
    assert f"could not prepare {TASK}, person 009, question 9" in refusal(capsys, lambda: ask(model, docs))


def test_a_prompt_that_does_not_fit_stops_before_anything_is_answered(capsys, folders, own_cache):
    model = made(folders(), batch_size=4)
    docs = [document(n, "Oslo! " * (3000 if n in (4, 6) else 1), images=1) for n in range(8)]
    line = refusal(capsys, lambda: ask(model, docs))
    assert f"2 of 8 questions do not fit the model's context of {CONTEXT} tokens" in line
    assert f"{TASK}, person 00" in line
    assert "MLLMU_SHOTS" in line
    assert "MLLMU_SHOT_QUESTIONS" in line
    assert model.engine.counts.questions == 0


def test_the_answer_needs_room_as_well(capsys, folders, own_cache, monkeypatch):
    model = made(folders(), batch_size=4)
    model.task_dict = {TASK: {SPLIT: MIXED}}
    longest = max(length for _, length, _ in model._read(requests(MIXED)))
    monkeypatch.setattr(type(model.engine), "context", longest + SETTINGS["max_new_tokens"])
    assert all(ask(model, MIXED))
    monkeypatch.setattr(type(model.engine), "context", longest + SETTINGS["max_new_tokens"] - 1)
    line = refusal(capsys, lambda: ask(model, MIXED))
    assert f"(the longest has {longest} and room for {SETTINGS['max_new_tokens']} to answer: {TASK}, person 00" in line


@pytest.mark.parametrize("family", ["llava", "llava_next", "qwen2_5_vl", "idefics3", "mllama"])
def test_lengths_are_what_the_processor_makes(folders, family):
    model = made(folders(family))
    sizes = {1: (56, 56), 3: (112, 56), 8: (56, 112)}

    def turns(doc):
        content = [{"type": "image", "url": picture(doc["question_index"], size)} for size in sizes.values()]
        content = content if doc["images"] else []
        return [{"role": "user", "content": [*content, {"type": "text", "text": doc["question"]}]}]

    model.task_dict = {TASK: {SPLIT: MIXED}}
    for _, length, prompt in model._read(requests(MIXED, messages=turns)):
        assert length == encode(model.processor, prompt.text, prompt.load_images())["input_ids"].shape[1]


def test_what_other_tasks_and_flags_want_is_refused(capsys, folders):
    model = made(folders())
    assert "log-likelihoods" in refusal(capsys, lambda: model.loglikelihood([]))
    assert "multi-round" in refusal(capsys, lambda: model.generate_until_multi_round([]))
    assert "leave out --apply_chat_template" in refusal(capsys, lambda: model.chat_template)


def test_official_style_is_the_raw_string_with_the_bos_of_the_tokenizer(folders):
    model = made(folders(), prompt_style="official", batch_size=8)
    rows, answer = [], model.engine.answer
    model.engine.answer = lambda batch: rows.extend(batch.rows) or answer(batch)
    assert ask(model, MIXED) == ask(made(folders(), prompt_style="official"), MIXED)
    assert {row.prompt.text for row in rows} == {to_text(doc) for doc in MIXED}
    for row in rows:
        whole = encode(model.processor, row.prompt.text, row.prompt.load_images())
        assert row.row["input_ids"].tolist() == whole["input_ids"].tolist()
        assert whole["input_ids"][0, 0] == model.processor.tokenizer.bos_token_id
        assert len(row.pieces) == len(row.prompt.images)
    assert max(len(row.pieces) for row in rows) == 3  # two shots and the question


def test_chat_style_writes_bos_once(folders):
    model = made(folders())
    model.task_dict = {TASK: {SPLIT: MIXED}}
    for _, _, prompt in model._read(requests(MIXED)):
        ids = encode(model.processor, prompt.text, prompt.load_images())["input_ids"][0].tolist()
        assert ids.count(model.processor.tokenizer.bos_token_id) == 1


def test_official_style_needs_a_placeholder_an_image(capsys, folders):
    model = made(folders(), prompt_style="official")
    turns = [{"role": "user", "content": [{"type": "image", "url": picture(1)}, {"type": "text", "text": "?"}]}]
    line = refusal(capsys, lambda: ask(model, [document(1, "?")], messages=lambda doc: turns))
    assert "0 <image> placeholders for 1 images" in line
    other = made(folders("qwen2_5_vl"), prompt_style="official")
    assert "use prompt_style=chat" in refusal(capsys, lambda: ask(other, MIXED[:1]))


def test_system_prompt_in_both_styles(folders, tmp_path):
    (tmp_path / "prompt.txt").write_text("You know nobody, really.\n")
    for style in ("chat", "official"):
        model = made(folders(), prompt_style=style, system_prompt=str(tmp_path / "prompt.txt"))
        model.task_dict = {TASK: {SPLIT: MIXED}}
        for _, _, prompt in model._read(requests(MIXED)):
            assert prompt.text.removeprefix("<s>").startswith("You know nobody, really.\n")


def test_two_system_prompts(capsys, folders, tmp_path):
    from adapters import make_prompt_folder

    folder = make_prompt_folder(folders(), tmp_path / "prompt", "You know nobody.")
    line = refusal(capsys, lambda: made(folders(), peft=str(folder), system_prompt="Another."))
    assert "leave out system_prompt=" in line


def test_half_precision_and_device_map(folders):
    half = made(folders(), dtype="bfloat16", batch_size=8)
    assert half.engine.dtype == torch.bfloat16
    assert len(ask(half, MIXED)) == len(MIXED)
    mapped = made(folders(), device=None, device_map="cpu", batch_size=8)
    assert mapped.device == torch.device("cpu")
    assert ask(mapped, MIXED) == ask(made(folders(), batch_size=8), MIXED)


def test_counts_are_of_work_done(folders):
    model = made(folders(), batch_size=8)
    ask(model, MIXED, {**SETTINGS, "max_new_tokens": 3, "until": []})
    counts = model.engine.counts
    model.task_dict = {TASK: {SPLIT: MIXED}}
    assert counts.questions == len(MIXED)
    assert counts.tokens_prefilled == sum(length for _, length, _ in model._read(requests(MIXED)))
    assert 0 < counts.tokens_decoded <= 3 * len(MIXED)
    shown = [n for doc in MIXED if doc["images"] for n in (*range(1000, 1000 + doc["shots"]), int(doc["person"]))]
    assert counts.images_encoded == len(set(shown))
    assert counts.images_encoded + counts.images_reused == len(shown)
    assert json.loads(json.dumps(counts.as_dict()))["unanswered"] == counts.unanswered
