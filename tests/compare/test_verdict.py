"""Verdicts, notes, the page and the quick comparison; nothing is trained."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from numpy.random import Generator, default_rng
from scipy import stats

from afpn_yolo.compare.pareto import over_cost, read_table
from afpn_yolo.compare.plan import Candidate, Run
from afpn_yolo.compare.results import Results, notes, shared
from afpn_yolo.compare.significance import Difference, error_rate, pairwise_differences
from afpn_yolo.compare.table import rows
from afpn_yolo.compare.verdict import NOTE, UNSEEN, judge
from afpn_yolo.compare.yolo import YoloRuns
from afpn_yolo.evaluation.records import Record, Result
from tests.compare.test_plan import record, records, result
from tests.processes import ROOT, afpn


def finished(**scores: tuple[float, ...]) -> tuple[list[Candidate], dict[str, Record]]:
    """Candidates by label, with an AP in points for each seed."""
    necks = [Candidate(label, f"{label}.yaml", "n") for label in scores]
    runs = (
        record(neck, seed, ap / 100, [ap / 200, ap / 100])
        for neck in necks
        for seed, ap in enumerate(scores[neck.label])
    )
    return necks, records(*runs)


def table(**scores: tuple[float, ...]) -> list[Any]:
    return rows(*finished(**scores))


def pair(number: int = 1, **scores: tuple[float, ...]) -> Difference:
    """The first row against the second."""
    necks = table(**scores)
    return pairwise_differences(necks, number)[necks[0].name, necks[1].name]


def test_the_interval_of_rows_that_scatter_alike() -> None:
    """Two rows of one variance: a t interval with three degrees of freedom each."""
    ours, theirs = (20.0, 21.0, 22.0), (14.0, 15.0, 16.0)
    gap = pair(a=ours, b=theirs)
    margin = stats.t.ppf(1 - error_rate(1) / 2, 6) * (2 / 3) ** 0.5
    assert (gap.low, gap.high) == pytest.approx((6 - margin, 6 + margin))
    assert gap.seen
    assert gap.seeds == 0


def test_a_row_that_scatters_more_has_a_wider_interval() -> None:
    rows = {"a": (20.0, 20.5, 21.0), "b": (19.0, 19.5, 20.0), "c": (10.0, 14.0, 18.0)}
    gaps = pairwise_differences(table(**rows))
    widths = [gaps[one].high - gaps[one].low for one in (("a-n", "b-n"), ("a-n", "c-n"))]
    assert widths[0] < widths[1]


def test_intervals_widen_with_pairs_and_verdicts() -> None:
    level = (19.0, 20.0, 21.0)
    alone = pair(a=level, b=level)
    of_three = pair(a=level, b=level, c=level)
    second = pair(2, a=level, b=level)
    assert alone.high < min(of_three.high, second.high)
    # Holm: the pairs of a row that is far away don't count where the others are judged.
    far = pair(a=level, b=level, c=(0.0, 1.0, 2.0))
    assert far.high == pytest.approx(alone.high)
    assert sum(map(error_rate, range(1, 50))) == pytest.approx(0.05)


def test_seeds_that_would_show_a_difference() -> None:
    near = pair(a=(20.0, 21.0, 22.0), b=(19.0, 20.0, 21.0))
    assert not near.seen
    # 25 a group for a difference of one standard deviation, 80 %, at the 1 % of a second verdict.
    assert near.seeds == pytest.approx(25, abs=1)
    assert pair(a=(20.0, 22.0), b=(20.01, 22.01)).seeds is None


def test_equal_scores_are_no_proof() -> None:
    assert not pair(a=(20.0, 20.0), b=(20.2, 20.2)).seen
    assert pair(a=(20.0, 20.0), b=(30.0, 30.0)).seen


def mistakes(rng: Generator, seeds: Sequence[int], number: int = 1) -> Iterator[bool]:
    """Whether a comparison of equal necks shows a difference, again and again."""
    while True:
        scores = {f"n{i}": (*rng.normal(20, 0.7, n),) for i, n in enumerate(seeds)}
        yield any(gap.seen for gap in pairwise_differences(table(**scores), number).values())


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [(3, 3, 3, 3), (2, 8), (2, 3, 3, 8)])
def test_equal_necks_are_told_apart_in_5_of_100_comparisons_at_most(seeds: Sequence[int]) -> None:
    rate = sum(islice(mistakes(default_rng(0), seeds), 500)) / 500
    assert rate < 0.05


@pytest.mark.slow
def test_equal_necks_are_told_apart_in_5_of_100_where_seeds_are_added_as_advised() -> None:
    rng, seen = default_rng(0), 0
    for _ in range(300):
        scores = [[*rng.normal(20, 0.7, 3)] for _ in range(4)]
        for number in (1, 2, 3):
            necks = table(**{f"n{i}": (*row,) for i, row in enumerate(scores)})
            gaps = [*pairwise_differences(necks, number).values()]
            if any(gap.seen for gap in gaps):
                seen += 1
                break
            advised = min((gap.seeds for gap in gaps if gap.seeds), default=0)
            for row in scores:
                row += rng.normal(20, 0.7, max(0, advised - len(row))).tolist()
    assert seen < 15


@pytest.mark.parametrize(
    ("scores", "matter", "says"),
    [
        (((14.0, 14.2), (20.0, 20.3), (17.1, 17.3)), True, "Necks matter on these data"),
        (((54.0, 54.3), (54.1, 54.2), (50.0, 50.2)), None, f"These runs don't show .* {UNSEEN}"),
        (((54.0, 54.1), (50.0, 50.1), (50.0, 50.1)), False, "a neck does harm"),
    ],
)
def test_verdict(scores: tuple[Any, ...], matter: bool | None, says: str) -> None:
    none, pafpn, afpn = scores
    found = judge(table(PAFPN=pafpn, AFPN=afpn, none=none))
    (one,) = found["scales"]
    assert one["necks_matter"] is matter
    assert re.search(says, one["text"][0])
    json.dumps(found, allow_nan=False)


def test_which_neck_the_verdict_names() -> None:
    scores = {
        "PAFPN": (20.0, 20.4, 20.2),
        "AFPN": (17.0, 17.2, 17.1),
        "lite": (20.1, 20.5, 20.3),
        "none": (14, 14.1, 14.2),
    }
    found = judge(table(**scores))
    (one,) = found["scales"]
    assert "AFPN-n is worse than PAFPN-n: -3.1 AP (inter" in " ".join(one["text"])
    assert f"lite-n and PAFPN-n: {UNSEEN}" in " ".join(one["text"])
    assert (one["best"], one["level_with_best"]) == ("lite-n", ["PAFPN-n"])


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ({"PAFPN": (20.0, 21.0), "AFPN": (17.0, 18.0)}, "--control"),
        ({"PAFPN": (20.0,), "none": (17.0, 18.0)}, "--seeds"),
        ({"PAFPN": (20.0,), "AFPN": (17.0,)}, "--control.*--seeds"),
        ({"none": (20.0, 21.0)}, "a neck beside"),
        ({"PAFPN": (0.8, 0.8), "none": (0.0, 0.0)}, "AP 0.8 at most"),
    ],
)
def test_where_there_is_no_verdict_one_sentence_says_why(
    scores: dict[str, tuple[float, ...]], says: str
) -> None:
    shown = Results.of(*finished(**scores))
    (one,) = shown.verdict["scales"] if shown.verdict else []
    assert (one["necks_matter"], len(one["text"])) == (None, 1)
    assert re.match(rf"No verdict yet: .*{says}", one["text"][0])
    text = shown.markdown()
    assert text.startswith(f"Verdict:\n\n- {one['text'][0]}\n\n| neck")
    assert "interval" not in text


def test_curves_of_models_that_have_learnt_nothing_are_not_compared() -> None:
    nothing = Results.of(*finished(PAFPN=(0.0, 0.0), none=(0.0, 0.0)))
    something = Results.of(*finished(PAFPN=(2.0, 2.0), none=(2.0, 2.0)))
    assert "never behind" in something.markdown()
    assert "behind" not in nothing.markdown()


def test_no_highest_among_equals_and_no_seeds_for_no_difference() -> None:
    scores = {"PAFPN": (20.0, 21.0), "AFPN": (19.9, 20.9), "none": (20.02, 21.02)}
    (level,) = judge(table(**scores))["scales"]
    assert level["against_control"]["seeds"] is None
    text = " ".join(level["text"])
    assert "none-n, PAFPN-n share the highest AP; AFPN-n can't be told from none-n. Of" in text
    assert "--seeds" not in level["text"][0]


def test_a_verdict_is_a_list_with_an_item_a_sentence_at_each_scale() -> None:
    necks, runs = finished(PAFPN=(20.0, 20.1), AFPN=(17.0, 17.1), none=(14.0, 14.1))
    text = Results.of(necks, runs).markdown()
    before = text.split("\n\n| neck")[0].splitlines()
    assert before[:2] == ["Verdict:", ""]
    assert [line[:8] for line in before[2:5]] == ["- Necks ", "- AFPN-n", "- PAFPN-"]
    assert before[5:] == ["", NOTE]
    small = [Candidate(neck.label, neck.model, "s") for neck in necks]
    runs |= records(*(record(neck, seed, 0.2, [0.2]) for neck in small for seed in (0, 1)))
    text = Results.of([*necks, *small], runs).markdown()
    assert "Verdict, scale n:\n\n- Necks" in text
    assert "Verdict, scale s:\n\n- These" in text


def test_different_versions_are_marked() -> None:
    _, runs = finished(PAFPN=(20.0, 21.0))
    one, other = runs.values()
    one |= {"versions": {"ultralytics": "8.4.190", "torch": "2.14.1"}, "area": "the box's area"}
    other |= {"versions": {"ultralytics": "8.4.0", "torch": "2.14.1"}, "area": "another"}
    assert notes([one, other]) == [
        "**Different versions of ultralytics: 8.4.190 (PAFPN-n-seed0), 8.4.0 (PAFPN-n-seed1).**",
        "Made with torch 2.14.1.",
    ]
    other |= {"versions": one["versions"], "trained_with": [{"ultralytics": "8.4.50"}]}
    assert "8.4.50 (PAFPN-n-seed1)" in notes([one, other])[0]
    assert notes([one]) == [
        "Small, medium and large go by the box's area.",
        "Made with ultralytics 8.4.190, torch 2.14.1.",
    ]


def test_conditions_are_shown_that_all_runs_share() -> None:
    neck, digest = Candidate("a", "a.yaml"), "ab" * 32
    runs = [
        record(neck, 0, 0.5, [0.5], lr0=0.1, fraction=0.5, backbone={"n": digest}),
        record(neck, 1, 0.5, [0.5], lr0=0.2, fraction=0.5, backbone={"n": digest}),
    ]
    conditions = shared(runs)
    assert conditions.keys() == {*("data", "epochs", "imgsz", "batch", "fraction", "backbone")}
    assert "evenly" in conditions["fraction"]
    assert conditions["backbone"] == f"weights n {digest[:12]}"


def test_quick(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole command, but for the training."""
    begun: list[Run] = []
    ap = {"none": 0.14, "PAFPN": 0.20, "AFPN": 0.17, "lite": 0.199}

    def train(self: YoloRuns, run: Run, folder: Path, after_epoch: Any) -> Result:
        if begun:
            page = (tmp_path / "results" / "small-quick.md").read_text()
            assert f"No verdict yet: {len(begun)} of 12 runs are finished." in page
        begun.append(run)
        for _ in range(run.epochs):
            after_epoch()
        value = ap[run.neck.label] + run.seed / 1000
        return result(value, [value] * run.epochs)

    monkeypatch.setattr(YoloRuns, "__call__", train)
    words = ("compare", "--data", small_data, "--quick", "--backbone", "none", "--device", "cpu")
    output = afpn(*words, "--json", "out.json", cwd=tmp_path).stdout
    assert len(begun) == 12
    assert {run.neck.label for run in begun} == {*ap}
    assert (begun[0].conditions["epochs"], begun[0].conditions["imgsz"]) == (100, 320)
    assert len({run.conditions["model"] for run in begun}) == 4
    assert "Necks matter on these data. PAFPN-n against no neck: +6.0 AP (inter" in output
    assert f"lite-n and PAFPN-n: {UNSEEN}" in output
    content = json.loads((tmp_path / "results" / "small-quick.json").read_text())
    assert content == json.loads((tmp_path / "out.json").read_text())
    assert content["verdict"]["scales"][0]["necks_matter"] is True
    page = (tmp_path / "results" / "small-quick.html").read_text("utf-8")
    assert page.count("<figure>") == 3
    assert "<script" not in page
    assert {*re.findall(r'(?:src|href)="(.)', page)} == {"#"}
    begun.clear()
    afpn(*words, "--json", "out.json", cwd=tmp_path)
    assert not begun, "the same command has nothing left to do"
    assert json.loads((tmp_path / "out.json").read_text())["verdicts"] == [12]


def test_quick_where_nothing_can_be_downloaded(small_data: Path, tmp_path: Path) -> None:
    message = afpn("compare", "--data", small_data, "--quick", cwd=tmp_path, fails=True).stderr
    assert "--backbone none" in message


def test_a_page_escapes_what_users_name(tmp_path: Path) -> None:
    neck = Candidate("PAFPN", "x.yaml")
    runs = records(record(neck, 0, 0.2, [0.2], data="<script>alert(1)</script>"))
    Results.of([neck], runs).write(tmp_path, "x")
    assert "<script" not in (tmp_path / "x.html").read_text("utf-8")


def test_a_comparison_that_has_learnt_nothing_draws_no_bubbles(tmp_path: Path) -> None:
    for ap, files in ((20.0, "bubbles curves"), (0.5, "curves")):  # older bubbles go
        Results.of(*finished(PAFPN=(ap,), none=(0.0,))).write(tmp_path, "x")
        assert {path.stem for path in tmp_path.glob("*.png")} == {f"x-{n}" for n in files.split()}


def test_pareto(tmp_path: Path) -> None:
    results, bench = ROOT / "results", ROOT / "results" / "benchmark.json"
    names = ("deeppcb-quick", "aquarium-s")
    words = [str(results / f"{name}.json") for name in names]
    output = afpn("compare", *words, "--pareto", bench, "--name", "p", cwd=tmp_path)
    assert (tmp_path / output.stdout.strip()).read_bytes().startswith(b"\x89PNG")
    assert "none-n, lite-n" in output.stderr
    figure, missing = over_cost([results / "deeppcb-quick.json"], bench, "neck", "ncnn")
    assert sorted(missing) == ["lite-n", "none-n"]
    assert [text.get_text() for text in figure.axes[0].texts] == ["n", "n"]
    legend = figure.axes[1].get_legend()
    assert legend is not None
    shown = {text.get_text() for text in legend.get_texts()}
    assert shown == {"deeppcb-quick", "PAFPN", "AFPN", "lite", "none"}
    with pytest.raises(ValueError, match="has no model, tensorrt fp32 of any neck"):
        over_cost([results / "deeppcb-quick.json"], bench, runtime="tensorrt")
    with pytest.raises(ValueError, match=r"benchmark\.json is no result of a comparison"):
        read_table(bench)
    assert afpn("compare", "--pareto", bench, cwd=tmp_path, fails=True).returncode == 2
