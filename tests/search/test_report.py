"""The report: what is in it, what cannot get into it, and what is kept of many points."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from report_run import make_run, make_sites

from spikefront.search.report import build_report, front_svg
from spikefront.search.report.clouds import MAX_POINTS, classify
from spikefront.search.report.entries import mean_bits, nearest_misses, time_steps
from spikefront.search.report.evaluation_table import EvaluationTable
from spikefront.search.report.formats import EnergyUnit, format_bytes, format_points
from spikefront.search.report.payload import embed_json
from spikefront.search.report.plot import build_plot
from spikefront.search.report.run_files import RunFiles
from spikefront.search.report.scales import log_bytes, nice_ticks
from spikefront.search.report.thinning import staircase, thin_on_grid
from spikefront.spaces.errors import BadInput, CorruptFile, RunFailed

EVIL = "</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first-light"
    make_run(folder)
    return folder


@pytest.fixture(scope="module")
def page(run: Path) -> str:
    return build_report(run).read_text(encoding="utf-8")


class Page(HTMLParser):
    """Elements of a page, and what its data block says."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.elements[-1:] and self.elements[-1][0] == "script":
            self.scripts[-1] += data

    def data(self) -> dict:
        return json.loads(self.scripts[0])

    def tags(self) -> list[str]:
        return [tag for tag, _ in self.elements]


def plain(html: str) -> str:
    """Text of a page, elements replaced by bars, narrow spaces by ordinary ones."""
    return re.sub(r"<[^>]+>", "|", html).replace("\u202f", " ")


def edit_front(folder: Path, **changes: object) -> None:
    path = folder / "front.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_report_is_one_file_that_loads_nothing(run: Path, page: str) -> None:
    left_behind = {path.name for path in run.iterdir()}
    inputs = {"config.yaml", "evaluations.parquet", "front.json", "members"}
    assert left_behind == inputs | {"report.html"}
    assert set(re.findall(r"https?://[^\s\"'<>]*", page)) == {"http://www.w3.org/2000/svg"}
    elements = Page(page).elements
    assert not [tag for tag, attrs in elements if attrs.keys() & {"src", "href", "srcset"}]
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest|WebSocket", page)
    policy = next(attrs["content"] for _, attrs in elements if "http-equiv" in attrs)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")


def test_sentence_states_the_smallest_member_with_its_paired_interval(page: str) -> None:
    text = plain(page).replace("|", "")
    assert "within 6 points of its parent’s accuracy" in text
    assert "takes 60 kB, 4.8 % of its parent’s 1.24 MB" in text
    assert "On 10,000 test images" in text
    assert "−3.41 points (paired, 95\u00a0% interval −3.83 to −2.99)" in text


def test_page_carries_what_table_and_pictures_need(page: str) -> None:
    data = Page(page).data()
    sizes = [entry["bytes"] for entry in data["entries"]]
    assert sizes == sorted(sizes)
    assert [entry["packed"] for entry in data["entries"]] == [True, True] + [False] * 4
    assert [site[1] for site in data["sites"]] == [site["name"] for site in make_sites()]
    drawn = sum(len(cloud["bytes"]) for cloud in data["clouds"].values())
    assert drawn + len(data["rug"]["bytes"]) == 300 - 6 - 3  # members, and what went wrong


def test_sections_name_counts_audit_energy_and_config(page: str) -> None:
    text = re.sub(r"\|+", "|", plain(page))
    for wanted in (
        "|by subset|",
        "|412,000|",
        "|Precision|94.0 %|",
        "|Recall|81.0 %|",
        "|Rank correlation|−0.87|",
        "|45nm|",
        "the energy of one (4.6 pJ)",
        "against bytes 1,240,000, accuracy 0.1",
        "an integer spike of n counts as n accumulates",
        "model: spikformer-2-128",
        "|Strategy|nsga2|",
    ):
        assert wanted in text


def test_rejections_by_stage_come_from_the_table(run: Path, page: str) -> None:
    table = EvaluationTable.read(run / "evaluations.parquet")
    by_drift = int(np.sum((table.state == "rejected") & (table.rejected_by == "drift")))
    assert by_drift > 0
    assert f"by drift</th><td>{by_drift}</td>" in page


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    front = make_run(folder, name=EVIL, architecture=EVIL, energy_preset=EVIL)
    front["parent"]["sites"][0] |= {"name": EVIL, "block": EVIL, "stage": EVIL}
    edit_front(folder, parent=front["parent"], gate_audit=None, **{EVIL: EVIL})
    (folder / "config.yaml").write_text(f"model: '{EVIL}'\n")
    html = build_report(folder).read_text(encoding="utf-8")
    parsed = Page(html)
    assert "img" not in parsed.tags()
    assert parsed.tags().count("script") == 2
    assert html.count("</script>") == 2
    assert parsed.data()["sites"][0][1] == EVIL
    assert "<img" not in front_svg(folder)


def test_embedded_json_cannot_close_its_element() -> None:
    data = {EVIL: ["<!--", "]]>", "&amp;"]}
    assert not set("<>&") & set(embed_json(data))
    assert json.loads(embed_json(data)) == data


def test_a_run_without_a_feasible_candidate_lists_nearest_misses(tmp_path: Path) -> None:
    make_run(tmp_path, feasible=False)
    html = build_report(tmp_path).read_text(encoding="utf-8")
    assert "No candidate met the constraints" in html
    assert "Nearest misses</h2>" in html
    entries = Page(html).data()["entries"]
    table = EvaluationTable.read(tmp_path / "evaluations.parquet")
    missed = table.violation[np.isin(table.state, ["infeasible", "rejected"])]
    assert [entry["violation"] for entry in entries] == sorted(missed[missed > 0])[:10]
    assert Page(html).data()["first"] is None
    assert entries[0]["candidate"]
    assert "No candidate of spikformer-2-128 met the constraints" in front_svg(tmp_path)


def test_a_run_without_any_evaluation_still_gives_a_report(tmp_path: Path) -> None:
    make_run(tmp_path, feasible=False)
    path = tmp_path / "evaluations.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    assert Page(build_report(tmp_path).read_text(encoding="utf-8")).data()["entries"] == []
    assert "<polygon" in front_svg(tmp_path)


def test_unknown_figures_are_said_to_be_unknown(tmp_path: Path) -> None:
    front = make_run(tmp_path, energy_mj=None, synops=None)
    for member in front["members"]:
        member |= {"accuracy_test": None, "test_interval": None, "n_test": None}
        member |= {"energy_mj": None, "synops": None}
    edit_front(tmp_path, members=front["members"], limits={}, gate_audit=None)
    text = plain(build_report(tmp_path).read_text(encoding="utf-8"))
    assert "has not been measured" in text
    assert "The smallest network on the front takes" in text
    assert "No audit is recorded (30 candidates were audited)" in text


@pytest.mark.parametrize("name", ["front.json", "evaluations.parquet", "config.yaml"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    make_run(tmp_path, count=20)
    (tmp_path / name).unlink()
    with pytest.raises(BadInput, match=re.escape(name)):
        build_report(tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="nowhere"):
        front_svg(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("front.json", b'{"schema": 1'),
        ("front.json", b'{"schema": 2}'),
        ("evaluations.parquet", b"no parquet"),
        ("config.yaml", b"a: [1"),
        ("config.yaml", b"just a text"),
        ("config.yaml", b"\xff\xfe"),
        ("members/0000000000000000/manifest.json", b"{"),
    ],
)
def test_a_corrupt_file_is_named(tmp_path: Path, name: str, content: bytes) -> None:
    make_run(tmp_path, count=20)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptFile, match=re.escape(name)):
        build_report(tmp_path)


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    make_run(tmp_path, count=20)
    path = tmp_path / "evaluations.parquet"
    pq.write_table(pq.read_table(path).drop_columns(["rejected_by"]), path)
    with pytest.raises(CorruptFile, match=r"evaluations\.parquet: column rejected_by"):
        build_report(tmp_path)


@pytest.mark.parametrize("key", ["../../secret", "", "a/b"])
def test_a_key_that_could_leave_the_folder_is_refused(tmp_path: Path, key: str) -> None:
    front = make_run(tmp_path, count=20)
    front["members"][0]["key"] = key
    edit_front(tmp_path, members=front["members"])
    with pytest.raises(CorruptFile, match=r"members\.0\.key"):
        build_report(tmp_path)


def test_an_interval_of_the_wrong_sign_is_refused(tmp_path: Path) -> None:
    front = make_run(tmp_path, count=20)
    low, high = front["members"][0]["test_interval"]
    front["members"][0]["test_interval"] = [-high, -low]
    edit_front(tmp_path, members=front["members"])
    with pytest.raises(CorruptFile, match="member minus parent"):
        build_report(tmp_path)


def test_an_old_report_survives_a_build_that_fails(tmp_path: Path) -> None:
    make_run(tmp_path, count=20)
    before = build_report(tmp_path).read_bytes()
    (tmp_path / "front.json").write_text("{")
    with pytest.raises(CorruptFile):
        build_report(tmp_path)
    assert (tmp_path / "report.html").read_bytes() == before


def test_fifty_thousand_evaluations_keep_the_front(tmp_path: Path) -> None:
    front = make_run(tmp_path, count=50_000, members=30)
    path = build_report(tmp_path)
    html = path.read_text(encoding="utf-8")
    data = Page(html).data()
    assert {e["key"] for e in data["entries"]} == {m["key"] for m in front["members"]}
    drawn = sum(len(cloud["bytes"]) for cloud in data["clouds"].values())
    shown = drawn + len(data["rug"]["bytes"])
    assert MAX_POINTS / 2 < shown <= MAX_POINTS
    assert f"{shown:,} of 49,967 candidates off the front are drawn" in html
    assert path.stat().st_size < 1_000_000
    assert build_report(tmp_path).read_text(encoding="utf-8") == html
    svg = front_svg(tmp_path)
    assert svg.count("<circle") == 30
    assert len(svg) < 200_000


def test_thinning_keeps_what_lies_just_below_the_front(tmp_path: Path) -> None:
    make_run(tmp_path, count=20_000)
    run = RunFiles.read(tmp_path)
    plot = build_plot(run.front, run.table)
    stairs = np.array(plot.stairs)
    rows = np.flatnonzero(classify(run.front, run.table)["dominated"])
    step = np.searchsorted(stairs[:, 0], run.table.bytes[rows], side="right") - 1
    gap = stairs[step, 1] - run.table.accuracy[rows]
    closest = rows[np.argsort(gap, kind="stable")[:500]]
    assert np.isin(closest, plot.clouds.dominated.rows).all()
    assert len(plot.clouds.dominated.rows) < len(rows)


def test_grid_keeps_the_first_of_each_cell_and_group() -> None:
    x = np.array([0.1, 0.1, 0.9, 0.1, 0.9])
    group = np.array([0, 0, 0, 1, 0])
    rows = np.arange(10, 15)
    assert thin_on_grid(x, x, group, rows, 3).tolist() == [10, 12, 13]
    assert thin_on_grid(x, x, group, rows, 5).tolist() == rows.tolist()
    assert len(thin_on_grid(x, x, group, rows, 1)) == 1


def test_staircase_drops_dominated_and_equal_points() -> None:
    size = np.array([3.0, 1.0, 2.0, 2.0, 4.0])
    accuracy = np.array([0.5, 0.4, 0.6, 0.7, 0.7])
    kept = staircase(size, accuracy)
    assert [kept[0].tolist(), kept[1].tolist()] == [[1.0, 2.0], [0.4, 0.7]]


def test_time_and_bits_of_a_candidate(run: Path) -> None:
    parent = RunFiles.read(run).front.parent
    weights = [site.name for site in parent.sites if site.kind == "weight"]
    assert time_steps({}, parent) == 4
    assert time_steps({"time": {"time": 2}}, parent) == 2
    assert mean_bits({}, parent) == 32
    expected = 32 - 28 / len(weights)
    assert mean_bits({"weight": {weights[0]: 4}}, parent) == pytest.approx(expected)


def test_with_only_a_size_limit_the_most_accurate_member_is_the_answer(tmp_path: Path) -> None:
    front = make_run(tmp_path)
    edit_front(tmp_path, limits={"drop": None, "bytes": 700_000})
    html = build_report(tmp_path).read_text(encoding="utf-8")
    assert "The most accurate network within 700 kB takes" in plain(html)
    assert Page(html).data()["first"] == front["members"][-1]["key"]
    assert "size limit 700" in front_svg(tmp_path)


def test_a_page_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    make_run(tmp_path, count=20)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(RunFailed, match=r"report\.html"):
        build_report(tmp_path)
    assert not list(tmp_path.glob(".report*"))


def test_nearest_misses_rank_known_violations_first(run: Path) -> None:
    table = EvaluationTable.read(run / "evaluations.parquet")
    found = table.violation[nearest_misses(table)]
    assert (found > 0).all()
    assert (np.diff(found) >= 0).all()


def test_numbers_are_written_for_readers() -> None:
    sizes = [plain(format_bytes(size)) for size in (999, 61_440, 999_960, 2e9)]
    assert sizes == ["999 B", "61.4 kB", "1 MB", "2 GB"]
    assert [format_points(d) for d in (0.0123, -0.0042, 0.00001)] == ["+1.23", "−0.42", "0.00"]
    assert plain(EnergyUnit.fitting(0.0042).text(0.0042)) == "4.2 µJ"
    assert EnergyUnit.fitting(0.0).name == "mJ"


def test_scales_hold_their_ticks() -> None:
    scale = log_bytes(30_000, 1_240_000)
    labels = [plain(label) for _, label in scale.ticks]
    assert labels == ["50 kB", "100 kB", "200 kB", "500 kB", "1 MB"]
    places = [scale.position(value) for value, _ in scale.ticks]
    assert places == sorted(places)
    assert 0 < places[0] < places[-1] < 1
    assert nice_ticks(0.676, 0.772, 6) == [0.68, 0.7, 0.72, 0.74, 0.76]


def test_the_static_picture_stands_alone(run: Path) -> None:
    svg = front_svg(run)
    assert svg.startswith('<svg xmlns="http://www.w3.org/2000/svg"')
    assert "<script" not in svg
    assert re.findall(r"https?://[^\s\"'<>]*", svg) == ["http://www.w3.org/2000/svg"]
    assert svg.count("<circle") == 6
    assert svg.count("<polygon") == 1
    assert "accuracy limit 70.2" in svg


def test_what_a_method_came_to_is_told(tmp_path: Path) -> None:
    front = make_run(tmp_path / "run")
    method = {"name": "<i>psvit", "chosen": None, "met": False, "finished": False}
    front["counts"]["probed"] = 12
    (tmp_path / "run" / "front.json").write_text(json.dumps({**front, "method": method}))
    page = build_report(tmp_path / "run").read_text()
    assert "&lt;i&gt;psvit chose no model" in page
    assert "did not come to its end within the budget" in page
    assert "Probed" in page


def test_probes_are_not_mentioned_where_there_are_none(page: str) -> None:
    assert "Probed" not in page
