"""With wrong groups, training and test sets share sources, and accuracy measures the recognition of sources."""

from pathlib import Path

import numpy as np
import pytest

from utils.base.errors import UserError
from utils.data.groups import groups_or_reason, keys_of_more, read_groups


def clips_of(folder: Path) -> np.ndarray:
    return np.array(sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.avi")))


@pytest.mark.parametrize(
    ("paths", "pattern", "keys", "numbers"),
    [
        (
            # this folder of UCF101 is spelled differently from its files
            [
                "HandstandPushups/v_HandStandPushups_g01_c01.avi",
                "Biking/v_Biking_g01_c02.avi",
                "Biking/v_Biking_g01_c03.avi",
            ],
            "UCF v_<class>_gNN_cNN",
            ["HandstandPushups/1", "Biking/1", "Biking/1"],
            [1, 1, 1],
        ),
        (
            ["basketball/v_shooting_06/v_shooting_06_01.avi", "walking/v_walk_dog_06/v_walk_dog_06_02.avi"] * 2,
            "UCF11 v_<class>_NN_NN",
            ["basketball/6", "walking/6"] * 2,
            [6, 6, 6, 6],
        ),
        (
            [
                "boxing/person10_boxing_d1_uncomp.avi",
                "boxing/person02_boxing_d4_uncomp.avi",
                "running/person02_running_d1.avi",
            ],
            "KTH personNN_<class>_dN",
            ["person10", "person2", "person2"],
            [2, 1, 1],
        ),
        (
            ["walk/lena_walk1.avi", "walk/lena_walk2.avi", "wave2/lena_wave2.avi", "wave2/Ido_wave2.avi"],
            "Weizmann <subject>_<class>",
            ["lena", "lena", "lena", "ido"],
            [2, 2, 2, 1],
        ),
        (
            [
                "kick/The_Matrix_5_kick_f_cm_np1_fr_bad_16.avi",
                "fall_floor/THE_MATRIX_(Part_2)_fall_floor_l_nm_np1_le_med_0.avi",
                "kick/kick__Best_fight_scene_of_all_time_kick_f_cm_np1_fr_bad_14.avi",
                "kick/21_kick_f_cm_np1_fr_bad_14.avi",
            ],
            "HMDB51 <film>_<class>_...",
            ["the_matrix", "the_matrix", "kick_best_fight_scene_of_all_time", "21"],
            [3, 3, 2, 1],
        ),
    ],
)
def test_known_names(paths, pattern, keys, numbers):
    """Otherwise a public data set would be split at random by default, or by the wrong part of its names."""
    groups = read_groups(np.array(paths))
    assert groups.pattern == pattern
    assert groups.keys.tolist() == keys
    assert groups.numbers.tolist() == numbers
    assert groups.numbers.dtype == np.int64


def test_expression_reads_global_groups():
    """Otherwise a person who acts in several classes could be in the training and the test set."""
    paths = np.array(["SitDown/v_SitDown_g03_c02.avi", "Wave/v_Wave_g03_c01.avi", "Wave/v_Wave_g10_c01.avi"])
    assert read_groups(paths, r"_g\d+_").keys.tolist() == ["_g03_", "_g03_", "_g10_"]
    assert read_groups(paths, r"_g(\d+)_").keys.tolist() == ["03", "03", "10"]
    assert read_groups(paths, r"_g(\d+)_").numbers.tolist() == [1, 1, 2]
    assert read_groups(paths, r"^(\w+)/.*_(g\d+)").keys.tolist() == ["SitDown/g03", "Wave/g03", "Wave/g10"]


def test_keys_are_ranked_in_natural_order():
    """Otherwise logo:2 would leave out person 10."""
    paths = np.array([f"walk/p{number}_x{clip}.avi" for number in (1, 2, 10) for clip in (1, 2)])
    assert read_groups(paths, r"p\d+").numbers.tolist() == [1, 1, 2, 2, 3, 3]


@pytest.mark.parametrize(
    ("paths", "reason"),
    [
        (["run/a.avi", "run/b.avi", "walk/c.avi"], "no known pattern matches, for example, run/a.avi"),
        (
            ["run/v_run_g01_c01.avi", "run/v_run_g01_c02.avi", "run/clip.avi"],
            "2 of 3 match the pattern UCF v_<class>_gNN_cNN, but run/clip.avi does not",
        ),
        (["run/v_run_g01_c01.avi", "run/v_run_g01_c02.avi"], "the pattern UCF v_<class>_gNN_cNN gives one group"),
        (
            ["run/v_run_1_1.avi", "run/v_run_2_1.avi"],
            "the pattern UCF11 v_<class>_NN_NN gives as many groups as clips",
        ),
        (["v_run_g01_c01.avi", "v_run_g01_c02.avi", "v_run_g02_c01.avi"], "no known pattern matches"),
        (["run/001_run.avi", "walk/001_walk.avi", "run/002_run.avi"], "no known pattern matches"),
    ],
)
def test_accidental_matches_are_not_groups(paths, reason):
    """Otherwise names that happen to contain numbers would be grouped by a meaningless pattern."""
    with pytest.raises(UserError) as error:
        read_groups(np.array(paths))
    assert reason in str(error.value)
    assert "--group_pattern REGEX" in str(error.value)


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("g(\\d", "--group_pattern must be a regular expression, got g(\\d "),
        ("g01", "--group_pattern must match every path, but g01 does not match run/v_run_g02_c01.avi"),
        ("run", "--group_pattern must give more than one group, got 'run' for all 2 clips"),
    ],
)
def test_expression_errors(expression, message):
    """Otherwise a mistyped expression would cause a traceback or put all clips into one group."""
    with pytest.raises(UserError) as error:
        read_groups(np.array(["run/v_run_g01_c01.avi", "run/v_run_g02_c01.avi"]), expression)
    assert str(error.value).startswith(message)


UCF = ["Run/v_Run_g01_c01.avi", "Run/v_Run_g01_c02.avi", "Walk/v_Walk_g01_c01.avi"]
FILMS = [f"kick/{film}_kick_f_cm_np1_fr_bad_{number}.avi" for number, film in enumerate(("Up", "up", "Alone"))]


@pytest.mark.parametrize(
    ("paths", "group_pattern", "more", "keys"),
    [
        (UCF, None, ["Run/v_Run_g01_c07.avi", "Hop/v_Hop_g02_c01.avi"], ["Run/1", "Hop/2"]),
        (UCF, None, ["Run/clip.avi", "clip.avi"], ["no group/0/Run/clip.avi", "no group/1/clip.avi"]),
        (UCF, r"_g(\d+)_c01|c02", ["a_g01_c01", "a", "a"], ["01", "no group/1/a", "no group/2/a"]),
        (FILMS, None, ["hop/UP_hop_f_cm_np1_fr_bad_3.avi"], ["up"]),
    ],
)
def test_keys_of_unlabelled_clips(paths, group_pattern, more, keys):
    """Unlabelled clips from the video of a test clip would not be reported, or names of another form be an error."""
    assert keys_of_more(read_groups(np.array(paths), group_pattern), np.array(more), group_pattern).tolist() == keys


def test_ucf11_clips(shared_data):
    """Otherwise the original folder layout of UCF11 would not be supported."""
    paths = clips_of(shared_data / "ucf11")
    groups = read_groups(paths)
    assert groups.pattern.startswith("UCF11")
    assert len(set(groups.keys.tolist())) == 45
    basketball = np.char.startswith(paths, "basketball/")
    assert sorted(set(groups.numbers[basketball].tolist())) == [1, 2, 3, 4, 6]
    assert sorted(set(groups.numbers[~basketball].tolist())) == [1, 2, 3, 4, 5]


def test_weizmann_clips(shared_data):
    """Otherwise a person of Weizmann could be in the training and the test set."""
    groups = read_groups(clips_of(shared_data / "weizmann"))
    assert groups.pattern.startswith("Weizmann")
    people = ["daria", "denis", "eli", "ido", "ira", "lena", "lyova", "moshe", "shahar"]
    assert sorted(set(groups.keys.tolist())) == people
    assert {people[number - 1] for number in groups.numbers} == set(people)
    assert np.bincount(groups.numbers).tolist() == [0] + [10] * 9


def test_hmdb51_films(shared_data):
    """Otherwise clips of one film, which may be in several classes or parts, would be in training and test sets."""
    files = sorted((shared_data / "splits" / "hmdb51").glob("*_test_split1.txt"))
    clips = [(file.name.removesuffix("_test_split1.txt"), line.split()[0]) for file in files for line in file.open()]
    paths = np.array([f"{action}/{name}" for action, name in clips])
    actions = np.array([action for action, _ in clips])
    names = [name.rpartition(f"_{action}_")[0] for action, name in clips]
    groups = read_groups(paths)
    assert groups.pattern.startswith("HMDB51")
    for keys, films, films_in_several_classes in ((np.array(names), 1407, 271), (groups.keys, 1279, 210)):
        pairs = np.unique(np.char.add(np.char.add(keys, "\n"), actions))
        _, classes_of_film = np.unique([pair.partition("\n")[0] for pair in pairs.tolist()], return_counts=True)
        assert (len(classes_of_film), np.count_nonzero(classes_of_film > 1)) == (films, films_in_several_classes)
    # clips with the same film name are always in one group
    assert len(set(zip(names, groups.keys.tolist()))) == 1407


def test_groups_or_reason():
    """Otherwise an evaluation without groups would fail, or a wrong pattern would be ignored."""
    paths = np.array([f"Class{c}/v_Class{c}_g0{g}_c01.avi" for c in range(3) for g in (1, 1, 2)])
    groups, reason = groups_or_reason(paths)
    assert (len(set(groups.keys)), reason) == (6, "")
    for unknown in (None, np.array(["Class0/clip0.avi", "Class1/clip1.avi"])):
        groups, reason = groups_or_reason(unknown)
        assert groups is None
        assert "--paths" in reason
    with pytest.raises(UserError, match="--group_pattern must be a regular expression"):
        groups_or_reason(paths, "(")
