"""Joints of JHMDB and BADJA, and points of any clip: folders and tables, right and wrong."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from liir.errors import InputError
from liir.evaluation import joints
from liir.video import VideoWriter


def clips(root: Path) -> Path:
    """Images and masks of two clips of four frames."""
    for name in ("cat", "ant"):
        for kind, ending in (("JPEGImages", "jpg"), ("Annotations", "png")):
            folder = root / kind / "480p" / name
            folder.mkdir(parents=True)
            for index in range(4):
                Image.fromarray(np.eye(2, 3, dtype=np.uint8)).save(folder / f"{index:05}.{ending}")
    return root


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


# --- JHMDB


def test_jhmdb_takes_the_clips_for_testing(jhmdb: Path) -> None:
    (clip,) = joints.jhmdb(jhmdb)
    assert clip.name == "wave/one"
    assert clip.stems == ("00001", "00002", "00003", "00004")
    assert clip.counted == (1, 2, 3)
    # MATLAB's pixel 1 is the first: (10, 10) is the middle of the tenth, 9.5 from the edge.
    assert clip.annotations[0].points["neck"] == (9.5, 9.5)
    assert clip.joints[2]["neck"] == (15.5, 9.5)
    assert len(clip.annotations[0].points) == 14
    assert "left-ankle" not in clip.annotations[0].points  # outside of the first frame
    assert [each.name for each in joints.jhmdb(jhmdb, "2")] == ["wave/two"]


def test_a_wrong_jhmdb_is_explained(jhmdb: Path) -> None:
    with pytest.raises(InputError, match=r"expected splits/ACTION_test_split9.txt, .*; found"):
        joints.jhmdb(jhmdb, "9")
    (jhmdb / "Rename_Images/wave/one/00004.png").unlink()
    with pytest.raises(InputError, match=r"one: 1 of 4 frames missing"):
        joints.jhmdb(jhmdb)
    path = jhmdb / "joint_positions/wave/one/joint_positions.mat"
    savemat(path, {"pos_img": np.zeros((2, 14, 3))})
    with pytest.raises(InputError, match=r"expected pos_img, 2 x 15 joints x frames"):
        joints.jhmdb(jhmdb)
    savemat(path, {"pos_img": np.full((2, 15, 3), -1.0)})
    with pytest.raises(InputError, match=r"no joint lies in the first frame"):
        joints.jhmdb(jhmdb)
    path.write_text("no matlab")
    with pytest.raises(InputError, match=r"joint_positions.mat: expected pos_img"):
        joints.jhmdb(jhmdb)
    path.unlink()
    with pytest.raises(InputError, match=r"joints: 1 of 1 missing, first joint_positions.mat"):
        joints.jhmdb(jhmdb)
    write(jhmdb / "splits/wave_test_split1.txt", "one.avi 1")
    with pytest.raises(InputError, match=r"no list names a clip for testing"):
        joints.jhmdb(jhmdb)


# --- BADJA


def test_badja_reads_the_official_json(badja: Path) -> None:
    (bear,) = joints.badja(badja)
    assert bear.name == "bear"
    assert bear.start == 0
    assert dict(bear.annotations[0].points) == {"8": (12, 12), "33": (28, 24)}  # 0: nobody clicked
    assert bear.counted == (2, 4)
    assert dict(bear.joints[4]) == {"8": (18, 12), "36": (16, 28)}
    assert np.count_nonzero(bear.truth(2)) == 400


def test_a_wrong_official_badja_is_explained(badja: Path) -> None:
    folder = badja / "DAVIS/JPEGImages/Full-Resolution/bear"
    (badja / "DAVIS/Annotations/Full-Resolution/bear/00004.png").unlink()
    with pytest.raises(InputError, match=r"bear: segments, .* 1 of 2 missing, first 00004.png"):
        joints.badja(badja)
    (folder / "00002.jpg").unlink()
    with pytest.raises(InputError, match=r"bear: 1 of 3 frames missing, first 00002"):
        joints.badja(badja)
    folder.rename(folder.with_name("bird"))
    with pytest.raises(InputError, match=r"names frames in .*bear, which is not there"):
        joints.badja(badja)
    table = badja / "joint_annotations/bear.json"
    records = json.loads(table.read_text())
    for record in records:
        record["visibility"] = record["visibility"][:5]
    table.write_text(json.dumps(records))
    with pytest.raises(InputError, match=r"bear.json: expected records of image_path"):
        joints.badja(badja)
    table.unlink()
    with pytest.raises(InputError, match=r"expected ANIMAL.json; found nothing"):
        joints.badja(badja)


TABLE = """sequence,frame,joint,x,y,visible
cat,1,0,0.5,1.5,1
cat,1,1,0,0,0
cat,3,0,2.5,0.5,1
cat,3,1,1.5,1.5,1
"""


def test_badja_tracks_what_is_visible_in_the_first_annotated_frame(tmp_path: Path) -> None:
    root = clips(tmp_path)
    (cat,) = joints.badja(root, write(root / "badja.csv", TABLE))
    assert cat.start == 1
    assert dict(cat.annotations[1].points) == {"0": (0.5, 1.5)}
    assert cat.counted == (3,)
    assert cat.joints[3] == {"0": (2.5, 0.5), "1": (1.5, 1.5)}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (TABLE + "cat,9,0,1,1,1\n", r"cat has joints in frame 9, but .* holds 4 frames"),
        (TABLE + "dog,0,0,1,1,1\n", r"no folder for sequence dog; found ant, cat"),
        (TABLE + "cat,2,0,30,1,1\n", r"outside of the frame"),
        ("frame,joint\n1,2\n", r"expected columns sequence"),
        ("", r"expected columns sequence"),
    ],
)
def test_a_wrong_table_of_joints_is_explained(tmp_path: Path, text: str, message: str) -> None:
    root = clips(tmp_path)
    with pytest.raises(InputError, match=message):
        joints.badja(root, write(root / "badja.csv", text))


def test_a_missing_table_of_joints_is_explained(tmp_path: Path) -> None:
    root = clips(tmp_path)
    with pytest.raises(InputError, match=r"badja.csv: cannot be read"):
        joints.badja(root, root / "badja.csv")


def test_badja_needs_the_segments_whose_area_is_the_scale(tmp_path: Path) -> None:
    root = clips(tmp_path)
    (root / "Annotations/480p/cat/00003.png").unlink()
    with pytest.raises(InputError, match=r"cat: segments, .* 1 of 1 missing, first 00003.png"):
        joints.badja(root, write(root / "badja.csv", TABLE))


# --- Any clip


def test_points_of_folders_and_of_videos(tmp_path: Path) -> None:
    root = clips(tmp_path)
    with VideoWriter(root / "film.mp4", rate=10) as writer:
        for index in range(3):
            writer.write(np.full((16, 32, 3), 40 * index, np.uint8))
    write(
        root / "points.csv",
        "sequence,frame,name,x,y\ncat,0,nose,1,1\ncat,2,nose,2,1\nfilm,1,tip,30,3\nfilm,2,tip,4,5\n",
    )
    cat, film = joints.points(root)
    assert cat.counted == (2,)
    assert cat.joints[2] == {"nose": (2.0, 1.0)}
    assert film.folder == root / "film.mp4"
    assert film.stems == ("00000", "00001", "00002")
    assert (film.start, film.counted) == (1, (2,))


def test_a_table_of_points_that_does_not_fit_is_explained(tmp_path: Path) -> None:
    root = clips(tmp_path)
    table = write(tmp_path / "t.csv", "sequence,frame,name,x,y\ndog,0,nose,1,1\n")
    with pytest.raises(InputError, match=r"no clip for sequence dog: expected a folder or a video"):
        joints.points(root, table)
    write(table, "sequence,frame,name,x,y\ncat,7,nose,1,1\n")
    with pytest.raises(InputError, match=r"cat has joints in frame 7, but .* holds 4 frames"):
        joints.points(root, table)
