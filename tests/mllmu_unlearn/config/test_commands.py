"""Flags and YAML reach one dataclass; whatever cannot work ends in one sentence before a model is loaded."""

import json
import re
from dataclasses import FrozenInstanceError, fields

import pytest

from mllmu_tasks.errors import UserError
from mllmu_unlearn import methods
from mllmu_unlearn.config.check_numbers import checked_hyper_parameters
from mllmu_unlearn.config.commands import FinetuneConfig, UnlearnConfig, parse

BASE = ["--model_name_or_path", "m", "--output_dir", "o"]
NPO = [*BASE, "--method", "npo", "--forget_ratio", "5"]


def unlearn(*flags: str, base=NPO) -> UnlearnConfig:
    return parse(UnlearnConfig, [*base, *flags])


def test_defaults_come_from_the_method(monkeypatch):
    monkeypatch.setenv("MLLMU_DATA", "mini")
    config = unlearn()
    assert (config.learning_rate, config.num_train_epochs) == (5e-5, 5.0)
    assert config.hyper_parameters == {"beta": 0.1, "gamma": 1.0, "alpha": 1.0}
    assert config.modality_set == ("image", "text")
    assert config.data == "mini"
    assert config.kind == "lora"
    assert (config.max_grad_norm, config.save_total_limit, config.report_to) == (1.0, 1, [])


def test_official_defaults():
    config = unlearn("--protocol", "official")
    assert config.hyper_parameters == {"beta": 0.4, "gamma": 1.0, "alpha": 0.0}
    assert (config.learning_rate, config.num_train_epochs, config.max_grad_norm) == (2e-5, 1.0, 0.0)
    assert config.modality_set == ("image",)
    assert config.lora.targets == ("official",)
    assert config.lora.init == "gaussian"
    assert unlearn("--protocol", "official", "--beta", "0.9").hyper_parameters["beta"] == 0.9


def test_hyphens_and_equal_signs():
    config = unlearn("--learning-rate=1e-3", "--beta=0.5", "--lora-target", "language,projector")
    assert config.learning_rate == 1e-3
    assert config.chosen.beta == 0.5
    assert config.lora.targets == ("language", "projector")


@pytest.mark.parametrize(("words", "expected"), [((), True), (("true",), True), (("False",), False)])
def test_booleans(words, expected):
    assert unlearn("--dry_run", *words).dry_run is expected
    assert unlearn("--gradient_checkpointing", *words, "--beta", "1").activation_checkpointing is expected


def test_every_boolean_flag_understands_false():
    """`type=bool` of argparse would take the word for true."""
    refused = {"average_tokens_across_devices", "eval_do_concat_batches", "dataloader_in_order"}  # true by default
    booleans = [f.name for f in fields(UnlearnConfig) if f.type in (bool, bool | None) and f.name not in refused]
    assert {"push_to_hub", "bf16", "load_in_4bit", "dry_run"} <= set(booleans)
    config = unlearn(*(word for name in booleans for word in (f"--{name}", "False")))
    on = {name: value for name in booleans if (value := getattr(config, name)) not in (False, None)}
    assert on == {"include_num_input_tokens_seen": "no"}


def test_resume_alone_means_the_newest():
    assert unlearn("--resume_from_checkpoint").resume_from_checkpoint is True
    assert unlearn("--resume_from_checkpoint", "x/checkpoint-3").resume_from_checkpoint == "x/checkpoint-3"
    assert unlearn().resume_from_checkpoint is None


def write(tmp_path, text: str) -> str:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    return str(file)


def test_yaml_first_then_flags(tmp_path):
    file = write(
        tmp_path,
        """
        method: npo
        forget-ids: ["009", "032"]
        learning_rate: 1e-3
        beta: 0.7
        bf16: false
        lora_r: 4
        report_to: [none]
        lr_scheduler_type: cosine
        lr_scheduler_kwargs: {num_cycles: 2}
        revision: null
        """,
    )
    config = parse(UnlearnConfig, ["--lora_r", "8", "--config", file, *BASE])
    assert config.people_ids == ("009", "032")
    assert config.learning_rate == 1e-3
    assert (config.chosen.beta, config.lora_r, config.bf16) == (0.7, 8, False)
    assert config.lr_scheduler_kwargs == {"num_cycles": 2}


def test_lists_in_yaml_are_values_with_commas(tmp_path):
    file = write(tmp_path, "modalities: [image, text]\nlora_target: [language, projector]\nreport_to: [tensorboard]")
    config = unlearn("--config", file)
    assert config.modality_set == ("image", "text")
    assert config.lora.targets == ("language", "projector")
    assert config.report_to == ["tensorboard"]


@pytest.mark.parametrize("flag", ["--config", "--forget_ids"])
def test_files_that_are_no_text(tmp_path, flag):
    file = tmp_path / "file"
    file.write_bytes(b"method: npo # \xfcber")
    with pytest.raises(UserError, match=r"UTF-8 \(byte 14\)"):
        parse(UnlearnConfig, [*BASE, "--method", "npo", "--forget_ids", "009", flag, str(file)])


def test_a_whole_number_is_a_float_and_a_float_no_whole_number():
    made = checked_hyper_parameters(methods.get("npo"), {"beta": 1})
    assert repr(made["beta"]) == "1.0"


def test_a_hyper_parameter_without_default_has_a_type_too():
    pdu = methods.get("pdu")
    assert checked_hyper_parameters(pdu, {"epsilon": 1}) == {"epsilon": 1.0}
    assert checked_hyper_parameters(pdu, {"epsilon": None}) == {"epsilon": None}
    for wrong in ("x", float("nan")):
        with pytest.raises(UserError, match=r"epsilon of method 'pdu' is .*; it must be of type float"):
            checked_hyper_parameters(pdu, {"epsilon": wrong})


def test_hyper_parameters_as_json():
    assert unlearn("--hyper_parameters", json.dumps({"beta": 2.0}), "--gamma", "3").hyper_parameters == {
        "beta": 2.0,
        "gamma": 3.0,
        "alpha": 1.0,
    }


def test_ids_from_a_file(tmp_path):
    file = tmp_path / "ids.txt"
    file.write_text("009, 032\n073\n009\n")
    config = parse(UnlearnConfig, [*BASE, "--method", "npo", "--forget_ids", str(file)])
    assert config.people_ids == ("009", "032", "073")


def test_people_on_the_command_line_take_the_place_of_those_of_a_recipe(tmp_path):
    recipe = write(tmp_path, "method: npo\nforget_ratio: 15\n")
    config = parse(UnlearnConfig, [*BASE, "--config", recipe, "--forget-ids", "009"])
    assert (config.people_ids, config.forget_ratio) == (("009",), None)
    assert parse(UnlearnConfig, [*BASE, "--config", recipe]).forget_ratio == 15
    recipe = write(tmp_path, "method: npo\nforget_ids: ['009']\n")
    config = parse(UnlearnConfig, [*BASE, "--config", recipe, "--forget_ratio=5"])
    assert (config.people_ids, config.forget_ratio) == ((), 5)
    with pytest.raises(UserError, match="not both"):
        parse(UnlearnConfig, [*BASE, "--method", "npo", "--forget_ids", "009", "--forget_ratio", "5"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("forget_ids: [009, 032, 073]", "the number 26 .* quote the ids"),
        ("forget_ids: 32", "quote the ids"),
        ("lerning_rate: 1", "'lerning_rate' .*Did you mean 'learning_rate'"),
        ("[1, 2", "is no valid YAML"),
        ("method: npo\nmethod: kl_min", "'method' is there twice"),
        ("lora_target: [1, 2]", "unknown lora_target '1'"),
        ("lora_target: {language: 1}", "'lora_target' .* holds a dict; it takes one value"),
        ("forget_ids: [[a]]", "holds the number|quote the ids|takes one value"),
        ("learning_rate: {a: 1}", "'learning_rate' .* takes one value"),
        ("seed: [1, 2]", "seed"),
        ("beta: [1, 2]\nmethod: npo", "beta"),
        ("save_strategy: [epoch, no]", "epoch,"),
        ("just text", "no `key: value`"),
        ("dry_run: perhaps", "dry_run"),
    ],
)
def test_bad_yaml(tmp_path, text, message):
    with pytest.raises(UserError, match=message):
        unlearn("--config", write(tmp_path, text))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--lerning_rate", "1"], "Did you mean 'learning_rate'"),
        (["--learning_rate", "fast"], "learning_rate"),
        (["--forget_ids", "009"], "not both"),
        (["--config", "absent.yaml"], "there is no file and no recipe 'absent.yaml'"),
        (["--config"], "needs a value"),
        (["--modalities", "image,sound"], "modalities 'sound'"),
        (["--dtype", "fp16"], "dtype 'fp16'"),
        (["--forget_ratio", "7"], "forget_ratio '7'"),
        (["--protocol", "offical"], "Did you mean 'official'"),
        (["--lora_target", "langauge"], "Did you mean 'language'"),
        (["--benchmark_shots", "2"], "needs --benchmark_questions"),
        (["--hyper_parameters", "beta"], "no JSON object"),
        (["--hyper_parameters", '{"bata": 1}'], "Did you mean 'beta'"),
        (["--system_prompt", "x"], "prompting"),
        (["--hyper_parameters", '{"beta": "x"}'], "beta of method 'npo' is 'x'; it must be of type float"),
        (["--hyper_parameters", '{"beta": true}'], "beta of method 'npo' is True"),
        (["--hyper_parameters", '{"beta": NaN}'], "beta of method 'npo' is nan"),
        (["--learning_rate", "-1"], "learning_rate is -1.0; it must be a number, 0 or more"),
        (["--learning_rate", "nan"], "learning_rate is nan"),
        (["--learning_rate", "inf"], "learning_rate is inf"),
        (["--num_train_epochs", "0"], "num_train_epochs is 0.0; it must be a number, above 0"),
        (["--per_device_train_batch_size", "0"], "per_device_train_batch_size is 0"),
        (["--gradient_accumulation_steps", "0"], "gradient_accumulation_steps is 0"),
        (["--weight_decay", "-0.1"], "weight_decay is -0.1"),
        (["--cache_gb", "-1"], "cache_gb is -1.0"),
        (["--num_processes", "0", "--accelerate_config", "ddp"], "num_processes is 0; it must be a number, 1 or more"),
        (["--seed", "-1"], "seed is -1; it must be a number, 0 to 4294967295"),
        (["--data_seed", "-1"], "data_seed is -1"),
        (["--report_to", "tensorbord"], "Did you mean 'tensorboard'"),
        (["--push_to_hub"], "push_to_hub"),
        (["stray"], "'stray'"),
        (["--output_dir", "adapters/a,b"], "peft 'adapters/a,b' holds a comma"),
        (["--model_name_or_path", "models/a,b"], "pretrained 'models/a,b' holds a comma"),
        (["--save_strategy", "never"], "never"),
    ],
)
def test_bad_flags(flags, message):
    with pytest.raises(UserError, match=message):
        unlearn(*flags)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--output_dir", "o", "--method", "npo", "--forget_ratio", "5"], "--model_name_or_path"),
        (["--model_name_or_path", "m", "--method", "npo", "--forget_ratio", "5"], "--output_dir"),
        ([*BASE, "--forget_ratio", "5"], "which method"),
        ([*BASE, "--method", "npo"], "whom to forget"),
        ([*BASE, "--method", "npoo", "--forget_ratio", "5"], "Did you mean 'npo'"),
        ([*BASE, "--method", "prompting", "--protocol", "official", "--forget_ratio", "5"], "official code"),
        ([*BASE, "--method", "grad_diff", "--forget_ratio", "5", "--beta", "1"], "no beta; .*npo.* have"),
        ([*BASE, "--method", "npo", "--forget_ratio", "5", "--beta", "0"], "--beta is 0; it must be above 0"),
        ([*BASE, "--method", "simnpo", "--forget_ratio", "5", "--beta", "-1"], "--beta is -1; it must be above 0"),
        ([*BASE, "--method", "dpo", "--forget_ratio", "5", "--beta", "0"], "--beta is 0; it must be above 0"),
        ([*BASE, "--method", "manu", "--forget_ratio", "5", "--at_most", "-1"], "--at_most is -1; .* 0 or more"),
        ([*BASE, "--method", "salun", "--forget_ratio", "5", "--at_most", "-1"], "--at_most is -1; .* 0 or more"),
        ([*BASE, "--method", "altpo", "--forget_ratio", "5", "--refusal_seed", "1"], "no refusal_seed; dpo, idk"),
    ],
)
def test_incomplete_or_mismatched(flags, message):
    with pytest.raises(UserError, match=message):
        parse(UnlearnConfig, flags)


def test_finetune():
    config = parse(FinetuneConfig, [*BASE, "--people", "retain", "--forget_ratio", "15", "--use_peft"])
    assert (config.kind, config.people, config.method) == ("lora", "retain", "finetune")
    assert parse(FinetuneConfig, BASE).kind == "full"
    with pytest.raises(UserError, match="--people forget needs"):
        parse(FinetuneConfig, [*BASE, "--people", "forget"])
    with pytest.raises(UserError, match="--method"):
        parse(FinetuneConfig, [*BASE, "--method", "npo"])


def test_help_lists_the_methods_flags(capsys):
    with pytest.raises(SystemExit) as end:
        unlearn("--help")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    assert shown.startswith("usage: mllmu unlearn ")
    ours, theirs = shown.split("flags of transformers.TrainingArguments:")
    assert all(flag in ours for flag in ("--forget_ids", "--method ", "--beta", "--learning_rate"))
    assert "--adam_beta2" in theirs
    assert "--eval_strategy" not in shown  # is refused
    flags = re.findall(r"^  (--\w+)", ours, re.MULTILINE)
    assert flags[:5] == ["--method", "--model_name_or_path", "--forget_ratio", "--forget_ids", "--output_dir"]


def test_nothing_changes_in_a_configuration_but_in_the_copy_for_the_trainer():
    config = unlearn("--seed", "3")
    for name in ("seed", "output_dir", "lora", "chosen", "new"):
        with pytest.raises(FrozenInstanceError, match=name):
            setattr(config, name, 1)
    arguments = config.for_trainer("elsewhere")
    arguments.seed = 4
    assert (arguments.output_dir, arguments.seed, config.seed) == ("elsewhere", 4, 3)
    assert config.output_dir != "elsewhere"


def test_a_method_decides_on_its_lora_when_flags_are_read():
    config = unlearn("--method", "mmunlearner", "--carrier", "lora", "--modules", "vision", "--lora_r", "3")
    assert (config.lora.targets, config.lora.r) == (("vision",), 3)


def test_no_hyper_parameter_shadows_a_flag():
    from mllmu_unlearn import methods

    flags = {f.name for f in fields(UnlearnConfig)}
    for name in methods.names():
        assert not flags & set(methods.get(name).hyper_parameters())
