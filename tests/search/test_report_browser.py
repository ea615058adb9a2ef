"""The report in a real browser: its script draws, selects and sorts without an error."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from report_run import make_run

from spikefront.search.report import build_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=3000",
)
DRIVER = """
const report = {};
setTimeout(() => {
  const mark = document.querySelector('circle[data-key="0000000000000003"]');
  mark.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  report.clicked = document.querySelector("tr.chosen").dataset.key;
  document.querySelector("tr.chosen button").dispatchEvent(
    new KeyboardEvent("keydown", { key: "ArrowDown", bubbles: true }));
  report.arrow = document.querySelector("#layers b").textContent;
  const size = document.querySelectorAll(".entries thead button")[4];
  size.click();
  size.click();
  report.sorted = [...document.querySelectorAll("#entry-rows tr")].map((row) => row.dataset.key);
  report.sort = size.parentElement.getAttribute("aria-sort");
  const star = document.querySelector("#scatter .parent-mark").getBoundingClientRect();
  document.querySelector("#scatter svg").dispatchEvent(new PointerEvent("pointermove",
    { clientX: star.x + star.width / 2, clientY: star.y + star.height / 2 }));
  report.tip = document.querySelector(".tip").textContent;
  const stairs = () => document.querySelector("path.stairs").getAttribute("d");
  const [, linear, , all] = document.querySelectorAll("#controls button");
  const before = stairs();
  linear.click();
  report.moved = stairs() !== before;
  report.below = document.querySelector("#hidden-below").textContent;
  all.click();
  report.belowAll = document.querySelector("#hidden-below").textContent;
  document.title = JSON.stringify(report);
}, 200);
"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium binary on the PATH")


def dump_dom(page: Path, profile: Path) -> str:
    """Open a page and return the document that its script made of it; errors fail the test."""
    assert CHROMIUM is not None
    result = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=os.environ | {"HOME": str(profile), "XDG_RUNTIME_DIR": str(profile)},
    )
    assert "<html" in result.stdout, result.stderr[-2000:]
    error = re.search(r'<html[^>]*data-error="([^"]*)"', result.stdout)
    assert error is None, error
    return result.stdout


def entry_rows(dom: str) -> int:
    return dom[dom.index('id="entry-rows"') : dom.index("</tbody>")].count("<tr")


def test_table_scatter_and_layers_are_drawn(tmp_path: Path) -> None:
    front = make_run(tmp_path / "run")
    dom = dump_dom(build_report(tmp_path / "run"), tmp_path)
    assert entry_rows(dom) == 6
    assert dom.count('class="chosen"') == 1
    assert len(re.findall(r'<circle class="member', dom)) == 6
    assert dom.count('class="stairs"') == 1
    assert dom.count('data-block="block.1"') == 1
    assert len(re.findall(r'class="bits[ "]', dom)) == 15
    kept = front["members"][0]["candidate"]["channel"]["block.0.mlp.hidden"]
    assert re.search(rf">mlp\.hidden</span>.{{0,200}}<b>{kept}</b> / 512", dom)


def test_kinds_that_are_searched_when_asked_for_are_drawn(tmp_path: Path) -> None:
    front = make_run(tmp_path / "run")
    plain = dump_dom(build_report(tmp_path / "run"), tmp_path)
    assert ">Bits per membrane<" not in plain and ">not recovered<" not in plain
    where = {"block": "block.0", "stage": "encoder"}
    front["parent"]["sites"] += [
        {"kind": "residual", "name": "patch_embed.out", "size": 64, **where},
        {"kind": "state", "name": "block.0.attn.q_lif", "size": 32, **where},
        {"kind": "density", "name": "block.0.attn.q", "size": 100, **where},
        {"kind": "recovery", "name": "network", "size": 1, **where},
    ]
    front["members"][0]["candidate"] |= {
        "residual": {"patch_embed.out": 48},
        "state": {"block.0.attn.q_lif": 6},
        "density": {"block.0.attn.q": 20},
        "recovery": {"network": 0},
    }
    (tmp_path / "run" / "front.json").write_text(json.dumps(front))
    dom = dump_dom(build_report(tmp_path / "run"), tmp_path)
    assert ">Bits per membrane<" in dom and ">not recovered<" in dom
    assert re.search(r">patch_embed\.out</span>.{0,200}<b>48</b> / 64", dom)
    assert re.search(r">6</b><span class=\"label\">attn\.q_lif<", dom)
    assert ">20 % of attn.q<" in dom


def test_marks_rows_keys_headers_and_switches_work(tmp_path: Path) -> None:
    make_run(tmp_path / "run")
    page = build_report(tmp_path / "run").read_text(encoding="utf-8")
    # The policy allows no script but the report's own, so the driven copy goes without it.
    driven = re.sub(r"<meta http-equiv[^>]*>", "", page)
    copy = tmp_path / "driven.html"
    copy.write_text(driven.replace("</body>", f"<script>{DRIVER}</script></body>"))
    title = re.search(r"<title>({.*?})</title>", dump_dom(copy, tmp_path))
    assert title is not None
    report = json.loads(title.group(1))
    assert report["clicked"] == "0000000000000003"
    assert report["arrow"] == "0000000000000004"
    assert report["sort"] == "descending"
    assert report["sorted"] == [f"{index:016x}" for index in reversed(range(6))]
    assert report["tip"].startswith("Parent: spikformer-2-128")
    assert report["moved"]
    assert "below this view" in report["below"]
    assert report["belowAll"] == ""


def test_the_policy_stops_foreign_scripts(tmp_path: Path) -> None:
    make_run(tmp_path / "run", count=20)
    page = build_report(tmp_path / "run").read_text(encoding="utf-8")
    copy = tmp_path / "tampered.html"
    copy.write_text(page.replace("</body>", "<script>document.title = 'run'</script></body>"))
    with pytest.raises(AssertionError, match="policy: script-src"):
        dump_dom(copy, tmp_path)


def test_nearest_misses_are_drawn_where_nothing_is_feasible(tmp_path: Path) -> None:
    make_run(tmp_path / "run", feasible=False)
    dom = dump_dom(build_report(tmp_path / "run"), tmp_path)
    assert entry_rows(dom) == 10
    assert (
        len(re.findall(r'<circle class="miss(?: chosen)?" cx="[^"]*" cy="[^"]*" r="[68]"', dom))
        == 10
    )
    assert dom.count('data-block="block.0"') == 1
