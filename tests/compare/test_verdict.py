"""Verdicts, remarks, pictures and the quick comparison; nothing is trained."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from afpn_yolo.compare import run as comparing
from afpn_yolo.compare.notes import remarks, sentences
from afpn_yolo.compare.page import page
from afpn_yolo.compare.pareto import front, pareto, read_table
from afpn_yolo.compare.plan import Candidate, Conditions, Run
from afpn_yolo.compare.progress import Progress
from afpn_yolo.compare.quick import schedule
from afpn_yolo.compare.results import Results
from afpn_yolo.compare.store import Records
from afpn_yolo.compare.table import rows, worst_span
from afpn_yolo.compare.verdict import NOTE, UNSEEN, difference, verdict
from tests.compare.test_plan import record
from tests.processes import ROOT, afpn

CONDITIONS = Conditions("my.yaml", epochs=3, imgsz=64, batch=4)


def finished(**scores: tuple[float, ...]) -> tuple[list[Candidate], dict[str, Any]]:
    """Candidates by label, with an AP in points for each seed."""
    necks = [Candidate(label, f"{label}.yaml", "n") for label in scores]
    runs = {}
    for neck in necks:
        for seed, ap in enumerate(scores[neck.label]):
            name = Run(neck, seed).name
            made = record(ap / 100, [ap / 200, ap / 100])
            runs[name] = {"run": name, **vars(neck), "seed": seed, **made}
    return necks, runs


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


def test_one_more_seed_is_one_seed() -> None:
    said = str(verdict(table(none=(69.4, 69.25), PAFPN=(71.2, 72.2))))
    assert "About 1 more seed of each would show a difference of this size." in said


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


CONTROL_LACKS = r"a model without a neck beside the others \(--control, or none=MODEL\)"
SEEDS_LACK = r"at least two seeds of each neck \(--seeds 0 1 2\)"


@pytest.mark.parametrize(
    ("scores", "says"),
    [
        ({"PAFPN": (20.0, 21.0), "AFPN": (17.0, 18.0)}, f"it takes {CONTROL_LACKS}"),
        ({"PAFPN": (20.0,), "none": (17.0, 18.0)}, f"it takes {SEEDS_LACK}"),
        ({"PAFPN": (20.0,), "AFPN": (17.0,)}, f"it takes {CONTROL_LACKS} and {SEEDS_LACK}"),
        ({"none": (20.0, 21.0)}, "it takes a neck beside the model without one"),
        ({"PAFPN": (0.8, 0.8), "none": (0.0, 0.0)}, r"nothing has been learnt \(AP 0\.8 at most\)"),
        (
            {"PAFPN": (0.0,)},
            r"nothing has been learnt .*train longer \(--epochs\), or .*--backbone",
        ),
    ],
)
def test_where_there_is_no_verdict_one_sentence_says_why(
    scores: dict[str, tuple[float, ...]], says: str
) -> None:
    shown = Results.of(*finished(**scores), vars(CONDITIONS))
    (one,) = shown.verdict["scales"] if shown.verdict else []
    assert (one["necks_matter"], one["best"], len(one["text"])) == (None, None, 1)
    assert re.match(rf"No verdict yet: {says}", one["text"][0])
    text = shown.markdown()
    assert text.startswith(f"Verdict:\n\n- {one['text'][0]}\n\n| neck")
    assert "interval" not in text


def test_curves_of_models_that_have_learnt_nothing_are_not_compared() -> None:
    nothing = Results.of(*finished(PAFPN=(0.0, 0.0), none=(0.0, 0.0)), vars(CONDITIONS))
    something = Results.of(*finished(PAFPN=(2.0, 2.0), none=(2.0, 2.0)), vars(CONDITIONS))
    assert "never behind" in something.markdown()
    assert "behind" not in nothing.markdown()


def test_no_highest_among_equals_and_no_seeds_for_no_difference() -> None:
    level = verdict(table(PAFPN=(20.0, 21.0), none=(20.02, 21.02)))["scales"][0]
    assert level["against_control"]["seeds_more"] is None
    said = " ".join(level["text"])
    assert "none-n, PAFPN-n share the highest AP. Of these, " in said
    assert "would" not in said
    others = {"PAFPN": (20.0, 21.0), "AFPN": (19.9, 20.9), "none": (20.02, 21.02)}
    said = " ".join(verdict(table(**others))["scales"][0]["text"])
    assert "none-n, PAFPN-n share the highest AP; AFPN-n can't be told from none-n. Of" in said


def test_a_verdict_is_a_list_with_an_item_a_sentence_at_each_scale() -> None:
    necks, runs = finished(PAFPN=(20.0, 20.4), AFPN=(17.0, 17.2), none=(14.0, 14.1))
    text = Results.of(necks, runs, vars(CONDITIONS)).markdown()
    before = text.split("\n\n| neck")[0].splitlines()
    assert before[:2] == ["Verdict:", ""]
    assert [line[:8] for line in before[2:5]] == ["- Necks ", "- AFPN-n", "- PAFPN-"]
    assert before[5:] == ["", NOTE]
    small = [Candidate(neck.label, neck.model, "s") for neck in necks]
    for neck in small:
        for seed in (0, 1):
            run = runs[f"{neck.label}-n-seed{seed}"]
            runs[Run(neck, seed).name] = {**run, "run": Run(neck, seed).name, "scale": "s"}
    text = Results.of([*necks, *small], runs, vars(CONDITIONS)).markdown()
    assert "Verdict, scale n:\n\n- Necks" in text
    assert "Verdict, scale s:\n\n- Necks" in text


def test_the_worst_ten_epochs() -> None:
    necks, runs = finished(PAFPN=(50.0,), AFPN=(50.0,))
    curve = [0.5] * 30
    runs["PAFPN-n-seed0"]["curve"]["AP"] = curve
    runs["AFPN-n-seed0"]["curve"]["AP"] = [*curve[:11], *[0.48] * 10, *curve[21:]]
    pafpn, afpn = rows(necks, runs)
    span = worst_span(afpn, pafpn)
    assert span
    assert span[0] == pytest.approx(-2.0)
    assert span[1] == 12


def test_versions_and_data_are_marked() -> None:
    _, runs = finished(PAFPN=(20.0, 21.0))
    one, other = runs.values()
    one |= {"versions": {"ultralytics": "8.4.190", "torch": "2.14.1"}, "area": "the box's area"}
    other |= {"versions": {"ultralytics": "8.4.0", "torch": "2.14.1"}, "data_digest": "ab"}
    found = remarks(runs.values())
    assert found["mixed"] == ["ultralytics"]
    assert found["data_unknown"] == ["PAFPN-n-seed0"]
    told = " ".join(sentences(found))
    assert "Different versions of ultralytics: 8.4.190 (PAFPN-n-seed0), 8.4.0" in told
    other["area"] = one["area"]
    assert "Small, medium and large go by the box's area." in sentences(remarks(runs.values()))
    other |= {"versions": one["versions"], "trained_with": [{"ultralytics": "8.4.50"}]}
    assert "ultralytics" in remarks(runs.values())["mixed"]


def test_results_of_before_the_digest_are_read_and_marked(tmp_path: Path) -> None:
    path = shutil.copy(ROOT / "results" / "bccd-scratch.json", tmp_path / "old.json")
    old = json.loads(Path(path).read_text())
    conditions = Conditions(**old["conditions"], data_digest="ab" * 32)
    records = Records(Path(path), conditions)
    records.add(Run(Candidate("AFPN", "yolov5-afpn.yaml", "n"), 9), record(0.5, [0.5]))
    unknown = remarks(records.finished().values())["data_unknown"]
    assert len(unknown) == len(old["runs"])
    assert "AFPN-n-seed9" not in unknown


@pytest.mark.parametrize(
    ("images", "epochs", "fraction"),
    [(1, 100, 1), (292, 69, 1), (448, 45, 1), (2000, 10, 1), (4000, 10, 1), (118287, 10, 0.0338)],
)
def test_schedule(images: int, epochs: int, fraction: float) -> None:
    assert schedule(images) == (epochs, fraction)


class Page(HTMLParser):
    """What an HTML file refers to."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        links = ("src", "href", "xlink:href")
        self.links += [value or "" for name, value in attrs if name in links]


def test_quick(small_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole command, but for the training."""
    begun = []
    ap = {"none": 0.14, "PAFPN": 0.20, "AFPN": 0.17, "lite": 0.199}

    def carry_out(run: Run, conditions: Conditions, *rest: Any) -> dict[str, Any]:
        begun.append((run.name, conditions))
        for _ in range(conditions.epochs):
            rest[-1]()
        value = ap[run.neck.label] + run.seed / 1000
        return record(value, [value] * conditions.epochs)

    monkeypatch.setattr(comparing, "carry_out", carry_out)
    write = Results.write

    def write_at_the_end(results: Results, *place: Any) -> None:  # pictures take their time
        if sum(len(row.seeds) for row in results.table) == 12:
            write(results, *place)

    monkeypatch.setattr(Results, "write", write_at_the_end)
    words = ("compare", "--data", small_data, "--quick", "--backbone", "none", "--device", "cpu")
    output = afpn(*words, "--json", "out.json", cwd=tmp_path).stdout
    assert len(begun) == 12
    assert {name.partition("-")[0] for name, _ in begun} == {*ap}
    conditions = begun[0][1]
    assert (conditions.epochs, conditions.imgsz, conditions.extra) == (100, 320, {})
    assert "Necks matter on these data. PAFPN-n against no neck: +6.0 AP (95 %" in output
    assert f"lite-n and PAFPN-n: {UNSEEN}" in output
    kept = json.loads((tmp_path / "results" / "small-quick.json").read_text())
    assert kept == json.loads((tmp_path / "out.json").read_text())
    assert kept["verdict"]["scales"][0]["necks_matter"] is True
    shown = Page((tmp_path / "results" / "small-quick.html").read_text(encoding="utf-8"))
    assert shown.tags.count("figure") == 3
    assert "script" not in shown.tags
    assert all(link.startswith("#") for link in shown.links)
    begun.clear()
    afpn(*words, cwd=tmp_path)
    assert not begun, "the same command has nothing left to do"


def test_quick_names_the_remedy_where_nothing_can_be_downloaded(
    small_data: Path, tmp_path: Path
) -> None:
    words = ("compare", "--data", small_data, "--quick")
    told = afpn(*words, cwd=tmp_path, fails=True).stderr
    assert "yolov5nu.pt can't be downloaded" in told
    assert "--backbone none" in told


def test_a_page_escapes_what_users_name() -> None:
    necks, runs = finished(PAFPN=(20.0,))
    shown = Results.of(necks, runs, {"data": "<script>alert(1)</script>"})
    text = page("<b>", shown.table, shown.conditions, shown.verdict, [])
    assert "script" not in Page(text).tags
    assert "No verdict yet: it takes a model without a neck" in text


def test_pareto(tmp_path: Path) -> None:
    results, bench = ROOT / "results", ROOT / "results" / "benchmark.json"
    files = ("results/bccd-scratch.json", "results/bccd-pretrained.json")
    words = [str(ROOT / file) for file in files]
    drawn = afpn("compare", *words, "--pareto", bench, "--name", "p", cwd=tmp_path).stdout
    assert (tmp_path / drawn.strip()).read_bytes().startswith(b"\x89PNG")
    assert {row.neck.label for row in read_table(results / "bccd-scratch.json")} >= {"AFPN"}
    figure = pareto([results / "bccd-scratch.json"], bench, "neck", "ncnn")
    assert [text.get_text() for text in figure.axes[0].texts] == ["n", "n"]
    legend = figure.axes[1].get_legend()
    assert legend is not None
    shown = {text.get_text() for text in legend.get_texts()}
    assert shown == {"bccd-scratch", "PAFPN", "AFPN"}
    with pytest.raises(ValueError, match="has no model, tensorrt fp32 of any neck"):
        pareto([results / "bccd-scratch.json"], bench, runtime="tensorrt")
    with pytest.raises(ValueError, match=r"benchmark\.json is no result of a comparison"):
        read_table(bench)
    assert afpn("compare", "--pareto", bench, cwd=tmp_path, fails=True).returncode == 2


def test_what_a_benchmark_has_not_timed_is_named_with_the_command_that_measures_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results, bench = ROOT / "results" / "deeppcb-quick.json", ROOT / "results" / "benchmark.json"
    told = afpn("compare", results, "--pareto", bench, cwd=tmp_path).stderr
    assert f"none-n, lite-n: no time in {bench}, so over parameters alone; afpn benchmark" in told
    planned: list[Any] = []

    def measure(wanted: list[Any], args: Any) -> list[Any]:
        planned.extend(wanted)
        raise KeyboardInterrupt

    monkeypatch.setattr("afpn_yolo.cli.benchmark.measure", measure)
    command = shlex.split(told.partition("; afpn ")[2].partition(" measures all")[0])
    afpn(*command, cwd=tmp_path, fails=True)
    assert {(case.part, case.runtime, case.precision) for case in planned} == {
        ("model", "onnxruntime", "fp32")
    }
    there = {row.neck.name for row in read_table(results)}
    assert {neck.name for neck in planned[0].necks} == there
    both = afpn("compare", ROOT / "results" / "bccd-scratch.json", "--pareto", bench, cwd=tmp_path)
    assert "no time" not in both.stderr


def test_the_bar_counts_what_other_processes_did_but_not_as_speed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    with Progress(runs=4, epochs=10, shown=True) as progress:
        progress.disable = False
        progress.run("a", 0)
        for _ in range(10):
            progress.update()
        progress.run("b", 3)
        assert (progress.n, progress.n - progress.initial) == (30, 10)


def test_the_front_has_what_nothing_beats() -> None:
    assert front([(2, 20), (1, 10), (3, 15), (1, 12)]) == [(1, 12), (2, 20)]
