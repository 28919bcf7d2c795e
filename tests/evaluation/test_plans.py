"""Plans share what is trained alike; grids multiply; each published figure stands at its arm."""

import pytest

from liir.errors import InputError
from liir.evaluation.plans import DAVIS, PLANS, VIP, arms_of, grid


@pytest.mark.parametrize("name", PLANS)
def test_arms_come_after_what_they_need(name: str) -> None:
    names: list[str] = []
    for arm in arms_of(name):
        assert arm.name not in names
        assert {arm.start, arm.weights} - {None} <= {*names}
        names.append(arm.name)


def test_plans_train_an_arm_of_one_name_alike() -> None:
    seen: dict[str, tuple[object, ...]] = {}
    for name in PLANS:
        for arm in arms_of(name):
            told = (arm.preset, arm.settings, arm.start, arm.weights, arm.tracking)
            assert seen.setdefault(arm.name, told) == told


def test_table1_is_every_pair() -> None:
    arms = {arm.name: arm for arm in arms_of("table1") if arm.scored}
    assert len(arms) == 16
    assert arms["train-2-track-1"].weights == "compact"
    assert arms["train-2-track-1"].tracking == ("gaussians=1",)
    assert arms["train-3-track-3"].published == {DAVIS: 71.6, VIP: 40.8}
    assert arms["train-1-track-1"].published == {}  # the design names no such figure


def test_table2_leaves_the_annotated_frame_out() -> None:
    arms = {arm.name: arm for arm in arms_of("table2") if arm.scored}
    assert {name: arm.published[DAVIS] for name, arm in arms.items()} == {
        "liir-long": 72.1,
        "liir-short": 67.4,
        "mast-long": 65.5,
        "mast-short": 58.7,
    }
    assert arms["mast-short"].tracking == ("annotated=0", "first=", "recent=5,3,1")


def test_table3_is_the_bank() -> None:
    arms = {arm.name: arm for arm in arms_of("table3") if arm.scored}
    assert arms["bank-480x12"].settings[1:] == ("bank_frames=480", "bank_points=12")
    assert arms["bank-1440x4"].weights == "compact"


def test_axes_multiply() -> None:
    arms = grid(["bank_frames=4,8", "tracking.gaussians=0,2"], "inter")
    assert [(arm.name, arm.weights, arm.scored) for arm in arms] == [
        ("bank_frames=4", None, False),
        ("bank_frames=4+tracking.gaussians=0", "bank_frames=4", True),
        ("bank_frames=4+tracking.gaussians=2", "bank_frames=4", True),
        ("bank_frames=8", None, False),
        ("bank_frames=8+tracking.gaussians=0", "bank_frames=8", True),
        ("bank_frames=8+tracking.gaussians=2", "bank_frames=8", True),
    ]


def test_a_grid_of_tracking_trains_once() -> None:
    arms = grid(["topk=5,10,none", "recent=5,3,1;1"], "small")
    assert [arm.name for arm in arms if arm.weights is None] == ["small"]
    assert [arm.tracking for arm in arms[1:3]] == [
        ("topk=5", "recent=5,3,1"),
        ("topk=5", "recent=1"),
    ]


def test_each_value_by_itself() -> None:
    arms = grid(["gap=3,12", "temperature=0.1", "tracking.topk=10"], "small", each=True)
    assert [(arm.name, arm.settings, arm.weights, arm.tracking) for arm in arms] == [
        ("small", (), None, ()),
        ("tracking.topk=10", (), "small", ("tracking.topk=10",)),
        ("gap=3", ("gap=3",), None, ()),
        ("gap=12", ("gap=12",), None, ()),
        ("temperature=0.1", ("temperature=0.1",), None, ()),
    ]
    assert all(arm.scored for arm in arms)
    with pytest.raises(InputError, match="--each is for liir ablate grid"):
        arms_of("ladder", each=True)


def test_a_grid_of_training_scores_what_it_trains() -> None:
    arms = grid(["position=none,learnable"], "small")
    assert [(arm.name, arm.scored) for arm in arms] == [
        ("position=none", True),
        ("position=learnable", True),
    ]


@pytest.mark.parametrize(
    ("axes", "told"),
    [
        ([], "give --grid FIELD=A,B,C"),
        (["topk"], "two values or more"),
        (["topk=5"], "two values or more"),
        (["topkk=5,6"], "no field 'topkk'; did you mean topk"),
        (["topk=5,many"], "topk is"),
        (["topk=5,6", "tracking.topk=7,8"], "is an axis already"),
        (["seed=0,1"], "--seeds"),
        (["nowhere.topk=0,1"], "setting"),
    ],
)
def test_bad_axes_are_explained(axes: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        grid(axes, "small")


def test_bad_plans_are_explained() -> None:
    with pytest.raises(InputError, match=r"unknown plan 'tabel1'; did you mean table1\?"):
        arms_of("tabel1")
    with pytest.raises(InputError, match="--grid is for liir ablate grid"):
        arms_of("table1", ["topk=5,6"])
    with pytest.raises(InputError, match="--preset is for"):
        arms_of("ladder", preset="small")
    with pytest.raises(InputError, match="unknown preset 'smal'"):
        arms_of("grid", ["topk=5,6"], "smal")
