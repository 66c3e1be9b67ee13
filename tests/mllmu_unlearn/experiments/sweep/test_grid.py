from importlib.resources import files
from pathlib import Path

import pytest

from mllmu_tasks.benchmarks.mini import checkpoint
from mllmu_tasks.errors import UserError
from mllmu_unlearn import methods
from mllmu_unlearn.experiments.sweep.grid import Evaluation, read


@pytest.fixture
def sweep(tmp_path):
    """sweep(text) -> the sweep of a file `trial.yaml`."""

    def make(text: str):
        file = tmp_path / "trial.yaml"
        file.write_text(text)
        return read(file)

    return make


def test_a_grid_is_every_combination_and_a_list_of_grids_their_union(sweep):
    made = sweep(
        """
        base: {model_name_or_path: m, forget_ratio: 5}
        grid:
          - {method: [npo, simnpo], beta: [0.1, 1.0]}
          - {method: grad_diff, alpha: 3}
        """
    )
    assert [cell.name for cell in made.cells] == [
        *("npo-beta-0.1", "npo-beta-1.0", "simnpo-beta-0.1", "simnpo-beta-1.0", "grad_diff-alpha-3")
    ]
    assert made.cells[3].flags == {"model_name_or_path": "m", "forget_ratio": 5, "method": "simnpo", "beta": 1.0}
    assert (made.name, made.references, made.evaluation) == ("trial", {}, None)


def test_the_recipe_gives_way_to_base_and_grid(sweep, tmp_path):
    (tmp_path / "mine_npo.yaml").write_text("method: npo\nbeta: 0.5\nlora_r: 4\nseed: 3\n")
    made = sweep("{base: {recipe: 'mine_{method}.yaml', lora_r: 8}, grid: {method: npo, seed: [1, 2]}}")
    assert [cell.flags for cell in made.cells] == [
        {"method": "npo", "beta": 0.5, "lora_r": 8, "seed": seed} for seed in (1, 2)
    ]


def test_all_is_every_method_with_a_recipe(sweep, tmp_path):
    for name in ("npo", "kl_min"):
        (tmp_path / f"only_{name}.yaml").write_text(f"method: {name}\n")
    made = sweep("{base: {recipe: 'only_{method}.yaml'}, grid: {method: all}}")
    assert {cell.name for cell in made.cells} == {"npo", "kl_min"}
    assert set(made.left_out) == set(methods.names()) - {"npo", "kl_min"}


def test_shipped_recipes_and_models_have_short_names(sweep):
    made = sweep(
        """
        base: {recipe: "mini/{method}", model_name_or_path: "mini:vanilla"}
        grid: {method: npo}
        references: {vanilla: "mini:vanilla", other: some/model}
        evaluate: {tasks: mllmu_15, batch_size: 4}
        """
    )
    assert made.cells[0].flags["model_name_or_path"] == str(checkpoint("vanilla"))
    assert made.cells[0].flags["forget_ratio"] == 15
    assert made.references == {"vanilla": str(checkpoint("vanilla")), "other": "some/model"}
    assert made.evaluation == Evaluation("mllmu_15", 4)


def test_cells_that_would_share_a_name_are_kept_apart(sweep):
    made = sweep("grid: [{method: npo, forget_ids: 'a,b'}, {method: npo, forget_ids: 'a b'}]")
    assert len({cell.name for cell in made.cells}) == 2
    made = sweep("{grid: {method: npo}, references: {npo: m}}")
    assert made.cells[0].name != "npo"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("base: {}", "no `grid:`"),
        ("[1", "is no valid YAML"),
        ("{grid: {method: npo}, grid: {method: dpo}}", "'grid' is there twice"),
        ("{grid: {method: npo}, evaluate: {tasks: {mllmu: 1}}}", "`evaluate.tasks` .* takes one text"),
        ("{grid: {method: npo}, evaluate: {model_args: [a, b]}}", "`evaluate.model_args` .* takes one text"),
        ("{grid: {method: npo}, evalute: {}}", "'evalute' .*Did you mean 'evaluate'"),
        ("{grid: {method: npo}, evaluate: {task: mllmu}}", "'evaluate.task' .*Did you mean 'tasks'"),
        ("grid: {beta: 1}", "has no method"),
        ("grid: {method: npoo}", "Did you mean 'npo'"),
        ("grid: [{method: npo}, {method: npo}]", "'npo' twice"),
        ("{base: {recipe: absent.yaml}, grid: {method: npo}}", "no recipe 'absent.yaml'"),
        ("{base: {recipe: 'absent_{method}.yaml'}, grid: {method: all}}", "no method of it has a recipe"),
        ("grid: {method: npo, model_name_or_path: 'mini:vanila'}", "Did you mean 'vanilla'"),
    ],
)
def test_what_is_wrong_is_said(sweep, text, message):
    with pytest.raises(UserError, match=message):
        sweep(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{grid: {method: npo}, references: {'../../../evil': m}}", "the reference .* cannot name a file"),
        ("{grid: {method: npo}, references: {'': m}}", "the reference .* cannot name a file"),
        ("grid: {method: npo, '../../evil': 1}", "the cell .* cannot name a file"),
        (
            "{grid: {method: npo, seed: [" + ",".join(map(str, range(101))) + "], lora_r: [" + "1," * 100 + "]}}",
            "10,100",
        ),
        ("{base: {recipe: '{method.__class__}{0}'}, grid: {method: npo}}", "there is no recipe"),
        ("grid: {method: npo, seed: " + "9" * 5000 + "}", "digits"),
        ("grid: " + "[" * 20_000, "nesting|nested"),
        ("base: {recipe: deep.yaml}\ngrid: {method: npo}", "the recipe .*nest"),
    ],
)
def test_what_would_write_elsewhere_or_never_end_is_said(sweep, tmp_path, text, message):
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 20_000)
    with pytest.raises(UserError, match=message) as refusal:
        sweep(text)
    assert len(str(refusal.value)) < 2000


def test_a_cell_of_many_axes_has_a_name_that_fits(sweep):
    axes = ", ".join(f"{'x' * 30}{n}: {'y' * 30}" for n in range(10))
    one, other = (sweep(f"grid: {{method: npo, {axes}, last: {n}}}").cells[0].name for n in (1, 2))
    assert len(one) < 150
    assert one != other


def test_tasks_may_be_a_list(sweep):
    made = sweep("{grid: {method: npo}, evaluate: {tasks: [mllmu_forget, mllmu_retain], model: null}}")
    assert made.evaluation == Evaluation("mllmu_forget,mllmu_retain")


def test_a_broken_recipe_is_named(sweep, tmp_path):
    (tmp_path / "mine.yaml").write_text("method: [npo\n")
    with pytest.raises(UserError, match=r"the recipe '.*mine\.yaml' is no valid YAML"):
        sweep("{base: {recipe: mine.yaml}, grid: {seed: 1}}")


def test_the_shipped_sweep_takes_every_method_that_has_a_mini_recipe():
    recipes = files("mllmu_unlearn") / "recipes"
    made = read(Path(str(recipes / "sweeps" / "mini_methods.yaml")))
    wanted = {name for name in methods.names() if (recipes / "mini" / f"{name}.yaml").is_file()}
    assert {cell.name for cell in made.cells} == wanted
    assert {cell.flags["forget_ratio"] for cell in made.cells} == {15}
    assert list(made.references) == ["vanilla", "retain_only"]
