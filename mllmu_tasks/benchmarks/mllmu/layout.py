"""How MLLMU-Bench is stored on the hub: ten configs, each with one split named `train`."""

from mllmu_tasks.benchmarks.mini import data_folder
from mllmu_tasks.benchmarks.mllmu.rows import QUESTION_COLUMNS, TEXT_COLUMNS, parse_person
from mllmu_tasks.benchmarks.mllmu.settings import DEFAULT_DATA
from mllmu_tasks.benchmarks.mllmu.spec import CONFIGS, FULL_CONFIG, TRAIN_CONFIG
from mllmu_tasks.benchmarks.mllmu.training_rows import training_row
from mllmu_tasks.data.layout import Layout, TrainingLayout

LAYOUT = Layout(
    variable="MLLMU_DATA",
    default=DEFAULT_DATA,
    configs=tuple(config for config in CONFIGS if config != TRAIN_CONFIG),
    parse=parse_person,
    needed=("ID", *QUESTION_COLUMNS),
    optional=TEXT_COLUMNS,
    embedded=(("mini", data_folder),),
    training=TrainingLayout(
        column="metadata",
        optional=("ID",),
        everyone=FULL_CONFIG,
        parse=training_row,
        remedy="train on ft_Data, or on a copy of MLLMMU/baseline_train_split",
    ),
)
