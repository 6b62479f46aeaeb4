"""Verdicts, notes, the page and the quick comparison; nothing is trained."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from afpn_yolo.compare.pareto import over_cost, read_table
from afpn_yolo.compare.plan import Candidate, Run
from afpn_yolo.compare.results import Results, notes, shared
from afpn_yolo.compare.table import rows
from afpn_yolo.compare.verdict import NOTE, UNSEEN, difference, verdict
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


def test_the_interval_is_welchs() -> None:
    ours, theirs = (20.0, 21.0, 22.5), (14.0, 14.2, 13.9)
    gap = difference(*table(a=ours, b=theirs))
    expected = stats.ttest_ind(ours, theirs, equal_var=False)
    interval = expected.confidence_interval(0.95)
    assert (gap.low, gap.high) == pytest.approx((interval.low, interval.high))
    assert gap.seen
    assert gap.seeds_more == 0


def test_more_seeds_where_a_difference_is_not_seen() -> None:
    near = difference(*table(a=(20.0, 21.0, 22.0), b=(19.0, 20.0, 21.0)))
    assert not near.seen
    # By G*Power's table: 17 a group for a difference of one standard deviation, 80 %, 5 %.
    assert near.seeds_more == pytest.approx(17 - 3, abs=1)
    assert difference(*table(a=(20.0, 22.0), b=(20.01, 22.01))).seeds_more is None


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
    found = verdict(table(PAFPN=pafpn, AFPN=afpn, none=none))
    (one,) = found["scales"]
    assert one["necks_matter"] is matter
    assert re.search(says, one["text"][0])
    json.dumps(found, allow_nan=False)


def test_which_neck_the_verdict_names() -> None:
    scores = {"PAFPN": (20.0, 20.4), "AFPN": (17.0, 17.2), "lite": (20.1, 20.5), "none": (14, 14.1)}
    found = verdict(table(**scores))
    (one,) = found["scales"]
    assert "AFPN-n is worse than PAFPN-n: -3.1 AP (95 %" in " ".join(one["text"])
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
    (level,) = verdict(table(**scores))["scales"]
    assert level["against_control"]["seeds_more"] is None
    text = " ".join(level["text"])
    assert "none-n, PAFPN-n share the highest AP; AFPN-n can't be told from none-n. Of" in text
    assert "About" not in level["text"][0]


def test_a_verdict_is_a_list_with_an_item_a_sentence_at_each_scale() -> None:
    necks, runs = finished(PAFPN=(20.0, 20.4), AFPN=(17.0, 17.2), none=(14.0, 14.1))
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
    assert "Necks matter on these data. PAFPN-n against no neck: +6.0 AP (95 %" in output
    assert f"lite-n and PAFPN-n: {UNSEEN}" in output
    content = json.loads((tmp_path / "results" / "small-quick.json").read_text())
    assert content == json.loads((tmp_path / "out.json").read_text())
    assert content["verdict"]["scales"][0]["necks_matter"] is True
    page = (tmp_path / "results" / "small-quick.html").read_text("utf-8")
    assert page.count("<figure>") == 3
    assert "<script" not in page
    assert {*re.findall(r'(?:src|href)="(.)', page)} == {"#"}
    begun.clear()
    afpn(*words, cwd=tmp_path)
    assert not begun, "the same command has nothing left to do"


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
