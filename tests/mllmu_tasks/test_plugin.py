import subprocess
import sys

from mllmu_tasks import plugin


def test_importing_the_entry_point_is_cheap_and_brings_no_torch():
    code = (
        "import time, sys; t = time.process_time(); import mllmu_tasks.plugin; s = time.process_time() - t\n"
        "assert 'torch' not in sys.modules and 'datasets' not in sys.modules; print(s)"
    )
    seconds = min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(3))
    assert seconds < 0.05


def test_tasks_are_added_once_and_built_in_tasks_stay(monkeypatch):
    seen = []

    class TaskManager:
        def initialize_tasks(self, include_path=None, include_defaults=True):
            seen.append((include_path, include_defaults))

    import lmms_eval.tasks

    monkeypatch.setattr(lmms_eval.tasks, "TaskManager", TaskManager)
    names = [manifest.model_id for manifest in (*plugin.register(), *plugin.register())]
    assert names == ["mllmu_hf", "mllmu_peft", "mllmu_replay"] * 2
    ours = str(plugin.task_folder())
    TaskManager().initialize_tasks()
    TaskManager().initialize_tasks("mine")
    TaskManager().initialize_tasks(["mine", ours])
    TaskManager().initialize_tasks("mine", include_defaults=False)
    assert seen == [([ours], True), (["mine", ours], True), (["mine", ours], True), (["mine"], False)]


def test_a_harness_that_changed_is_a_warning_and_never_an_exception(monkeypatch, recwarn):
    import lmms_eval.tasks

    monkeypatch.delattr(lmms_eval.tasks, "TaskManager")
    assert plugin.register() == []
    assert "--include_path" in str(recwarn.pop().message)
