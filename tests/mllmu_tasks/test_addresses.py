import pytest

from mllmu_tasks.addresses import check_port
from mllmu_tasks.errors import UserError
from mllmu_tasks.scorers.judge.client import checked_url


@pytest.mark.parametrize("port", ["", ":1", ":8000", ":65535"])
def test_a_port_that_can_be(port):
    check_port(f"http://localhost{port}/v1", "--base_url")
    assert checked_url(f"http://localhost{port}/v1") == f"http://localhost{port}/v1"


@pytest.mark.parametrize("port", ["99999", "65536", "0", "-1", "x", "9" * 5000])
def test_a_port_that_cannot_be_is_one_sentence(port):
    with pytest.raises(UserError, match=r"--base_url .* from 1 to 65535") as refusal:
        check_port(f"http://localhost:{port}/v1", "--base_url")
    assert len(str(refusal.value)) < 400
    with pytest.raises(UserError, match="--base_url"):
        checked_url(f"http://localhost:{port}/v1")
