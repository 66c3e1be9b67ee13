"""Batches are a pure function of seed, epoch and position."""

from collections import Counter

from mllmu_unlearn.training.schedule import Schedule


def batches(schedule: Schedule, epoch: int) -> list:
    schedule.set_epoch(epoch)
    made = list(schedule)
    assert len(made) == len(schedule)
    return made


def column(made: list, side: str) -> list[int]:
    return [dict(key.picks)[side] for batch in made for key in batch if not key.muted]


def joint(**options) -> Schedule:
    return Schedule({"forget": 7, "retain": 5}, (("forget", "retain"),), 2, seed=1, **options)


def test_every_forget_sample_once_an_epoch_and_retain_never_runs_dry():
    schedule = joint()
    epochs = [batches(schedule, e) for e in range(10)]
    for made in epochs:
        assert sorted(column(made, "forget")) == list(range(7))
    assert epochs[0] != epochs[1]
    retain = [i for made in epochs for i in column(made, "retain")]
    assert set(Counter(retain).values()) == {14}  # 70 draws over 5 samples, none preferred


def test_equal_seeds_give_equal_batches_in_any_order_of_epochs():
    one, other = joint(), joint()
    later = batches(one, 3)
    batches(other, 0)
    assert batches(other, 3) == later


def test_phases_follow_each_other_and_never_share_a_batch():
    schedule = Schedule({"forget": 5, "retain": 9}, (("forget",), ("retain",)), 2, seed=0)
    made = batches(schedule, 0)
    sides = [{key.picks[0][0] for key in batch} for batch in made]
    assert sides == [{"forget"}] * 3 + [{"retain"}] * 5
    assert sorted(column(made[3:], "retain")) == list(range(9))


def test_accumulation_windows_never_span_two_phases():
    schedule = Schedule({"forget": 5, "retain": 9}, (("forget",), ("retain",)), 2, seed=0, accumulate=4)
    made = batches(schedule, 0)
    windows = [made[i : i + 4] for i in range(0, len(made), 4)]
    assert [{k.picks[0][0] for b in w for k in b} for w in windows] == [{"forget"}, {"retain"}, {"retain"}]
    assert sum(not key.muted for batch in made for key in batch) == 14


def test_processes_share_each_global_batch():
    whole = Schedule({"forget": 7, "retain": 5}, (("forget", "retain"),), 4, seed=1)
    ranks = [joint(world=2, rank=r) for r in (0, 1)]
    both = list(zip(*(batches(r, 2) for r in ranks), strict=True))
    for one, two in zip(batches(whole, 2), both, strict=True):
        live = [key for batch in two for key in batch if not key.muted]
        assert Counter(one) == Counter(live)


def test_a_process_without_a_sample_gets_a_muted_one():
    last = [batches(Schedule({"retain": 5}, (("retain",),), 2, seed=0, world=2, rank=r), 0)[-1] for r in (0, 1)]
    assert [[key.muted for key in batch] for batch in last] == [[False], [True]]


def test_grouping_by_size_saves_padding_and_loses_nothing():
    sizes = [n % 7 for n in range(45)]
    plain = Schedule({"retain": 45}, (("retain",),), 4, seed=0)
    grouped = Schedule({"retain": 45}, (("retain",),), 4, seed=0, sizes_of={"retain": sizes})

    def padding(made):
        each = [[sizes[i] for i in column([batch], "retain")] for batch in made]
        return sum(max(batch) * len(batch) - sum(batch) for batch in each)

    one, two = batches(grouped, 0), batches(grouped, 1)
    assert sorted(column(one, "retain")) == sorted(column(two, "retain")) == list(range(45))
    assert len(one[-1]) == 1
    assert one != two
    assert padding(one) < padding(batches(plain, 0)) / 3


def test_aligned_sides_take_the_same_index():
    schedule = Schedule(
        {"forget": 7, "retain": 5, "idk": 7},
        (("forget", "retain", "idk"),),
        3,
        seed=0,
        aligned={"idk": "forget"},
    )
    made = batches(schedule, 1)
    assert column(made, "idk") == column(made, "forget")


def test_interleaved_phases_are_spread_evenly_in_whole_windows():
    sizes, phases = {"forget": 4, "retain": 12}, (("forget",), ("retain",))
    schedule = Schedule(sizes, phases, 2, seed=1, interleaved=True)
    assert "".join(batch[0].picks[0][0][0] for batch in schedule) == "frrrfrrr"
    retain = [batch for batch in schedule if batch[0].picks[0][0] == "retain"]
    assert sorted(column(retain, "retain")) == list(range(12))
    windows = Schedule(sizes, phases, 2, seed=1, interleaved=True, accumulate=2)
    assert "".join(batch[0].picks[0][0][0] for batch in windows) == "ffrrrrrr"
    fewer = Schedule({"forget": 8, "retain": 2}, phases, 2, seed=1, interleaved=True)
    assert "".join(batch[0].picks[0][0][0] for batch in fewer) == "frfff"


def test_a_phase_may_draw_fewer_samples_than_there_are():
    schedule = Schedule({"anchor": 10}, (("anchor",),), 2, seed=1, lengths={"anchor": 4})
    drawn = [column(batches(schedule, epoch), "anchor") for epoch in range(5)]
    assert {len(made) for made in drawn} == {4}
    assert set(Counter(i for made in drawn for i in made).values()) == {2}


def test_long_names_with_equal_beginnings_have_orders_of_their_own():
    long = Schedule({"alternate_one": 50, "alternate_two": 50}, (("alternate_one", "alternate_two"),), 50, seed=0)
    (batch,) = list(long)
    picks = [dict(key.picks) for key in batch]
    assert [p["alternate_one"] for p in picks] != [p["alternate_two"] for p in picks]
