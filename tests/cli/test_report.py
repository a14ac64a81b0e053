import json
import re
from decimal import Decimal
from operator import attrgetter
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from chains import ChainMaker
from mined import MinedRound
from places import place, refunded_round
from shell import fedcoin

from fedcoin_cli.application.books.books import Books
from fedcoin_cli.application.reasons.overview import Overview, overview
from fedcoin_cli.application.workspace.address_names import Names
from fedcoin_cli.cli.page.report_page import page
from fedcoin_cli.cli.page.report_style import STYLE
from fedcoin_cli.cli.page.svg import Scale
from fedcoin_cli.cli.views.certainty_lines import both_errors
from fedcoin_cli.contract.settlement import settle

HTML, SVG = "{http://www.w3.org/1999/xhtml}", "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MinedRound:
    """A settled round whose tables are kept, and a refunded one."""
    made = MinedRound(tmp_path_factory.mktemp("mined"), clients=5, rankings=30)
    refunded_round(made.maker)
    for miner in made.workspace.miners:
        made.maker.write(miner.path)
    return made


@pytest.fixture(scope="module")
def view(made: MinedRound) -> Overview:
    """What is drawn of it."""
    with Books.open(made.workspace) as books:
        return overview(books, made.workspace, (), 5)


def tree(text: str) -> ET.Element:
    """The page as XML."""
    return ET.fromstring(text.removeprefix("<!DOCTYPE html>\n"))  # noqa: S314 - our own page


def marks(root: ET.Element, name: str, kind: str) -> list[ET.Element]:
    """The SVG marks of a class, in the order of the page."""
    return [one for one in root.iter(f"{SVG}{name}") if one.get("class") == kind]


def test_the_command(made: MinedRound) -> None:
    """The command writes one page, says what is in it, and writes the same bytes again."""
    root = made.workspace.root
    said = [fedcoin("report", "-o", name, "--json", folder=root) for name in ("a.html", "b.html")]
    assert [one.code for one in said] == [0, 0]
    assert (root / "a.html").read_bytes() == (root / "b.html").read_bytes()
    assert (said[0].json["audit_ok"], said[0].json["height"]) == (True, 5)
    assert said[0].json["tasks"][1] == made.task.id
    one = fedcoin("report", "-o", "c.html", "--task", made.task.id[:8], "--json", folder=root).json
    assert one["tasks"] == [made.task.id]


def test_the_page_stands_alone(view: Overview) -> None:
    """The page is well-formed, runs no script, and names no other file or host than itself."""
    text = page(view, Names({}))
    root = tree(text)
    assert not {one.tag for one in root.iter()} & {
        f"{HTML}script",
        f"{HTML}link",
        f"{HTML}img",
        f"{HTML}iframe",
    }
    links = [value for one in root.iter() for name, value in one.items() if name in {"href", "src"}]
    anchors = {f"#{one.get('id')}" for one in root.iter() if one.get("id")}
    assert links
    assert set(links) <= anchors
    assert not any(name.startswith("on") for one in root.iter() for name, _ in one.items())
    assert not re.search(r"url\(|@import|https?:(?!//www\.w3\.org/(1999/xhtml|2000/svg)\")", text)
    style = "".join(one.text or "" for one in root.iter(f"{HTML}style"))
    assert "prefers-color-scheme: dark" in style
    assert "@media print" in style
    colours = re.findall(r"#[0-9a-f]{3,6}\b", text.replace(style, ""))
    assert not colours


def test_bars_say_what_the_ledger_says(view: Overview, made: MinedRound) -> None:
    """Bars are as long as values and payments are large, and whiskers two standard errors to each side."""
    root, pay = tree(page(view, Names({}))), made.result.outcome.pay
    picture = next(one for one in view.pictures if one.report.task_id == made.task.id)
    paid = [float(one.get("width", "")) for one in marks(root, "rect", "paid")]
    assert len(paid) == 5
    widest = max(range(5), key=paid.__getitem__)
    for width, micro in zip(paid, pay.clients, strict=True):
        assert width == pytest.approx(paid[widest] * micro / pay.clients[widest], abs=0.02)
    values = {line.client: Decimal(line.shapley or 0) for line in picture.report.clients}
    drawn = [one for one in root.iter(f"{SVG}rect") if one.get("class") in {"value", "loss"}]
    widths = [float(one.get("width", "")) for one in drawn]
    longest = max(map(abs, values.values()))
    scale = max(widths) / float(longest)
    for one, width, value in zip(drawn, widths, values.values(), strict=True):
        assert width == pytest.approx(scale * float(abs(value)), abs=0.02)
        assert (one.get("class") == "loss") == (value < 0)
    assert picture.certainty is not None
    assert picture.certainty.mining
    errors = [float(error) for error in both_errors(picture.report, picture.certainty)]
    whiskers = [re.match(r"M(\S+) \S+?H(\S+?)M", one.get("d", "")) for one in marks(root, "path", "whisker")]
    assert len(whiskers) == 5
    for whisker, error in zip(whiskers, errors, strict=True):
        assert whisker is not None
        assert float(whisker[2]) - float(whisker[1]) == pytest.approx(4 * error * scale, abs=0.05)


def test_lines_end_where_the_ledger_does(view: Overview, made: MinedRound) -> None:
    """Every account's last balance is the state's; every walk ends at the distance that the ledger tells."""
    held = {one.account: one.steps[-1][1] for one in view.balances}
    assert {account: micro for account, micro in held.items() if micro} == {
        account: micro for account, micro in made.maker.tip.state.balances.items() if micro
    }
    picture = next(one for one in view.pictures if one.report.task_id == made.task.id)
    assert set(picture.walks) == set(made.maker.genesis.roster)
    for line in picture.report.miners:
        rankings, distance = picture.walks[line.miner][-1]
        assert rankings == line.rankings
        assert distance == pytest.approx(float(line.distance or -1), abs=2e-6)


def test_without_tables(tmp_path: Path) -> None:
    """Without tables there is no convergence, the ledger's own error is drawn, and the page says which it is."""
    made = MinedRound(tmp_path)
    for reveal in made.result.reveals:
        made.store.remove(reveal.table)
    with Books.open(made.workspace) as books:
        view = overview(books, made.workspace, (), 5)
    text = page(view, Names.of(made.workspace))
    assert view.pictures[0].walks == {}
    assert "by how far apart the miners are" in text
    assert 'class="winner-line"' not in text


def test_a_damaged_ledger_is_said_to_be_one(made: MinedRound, view: Overview, tmp_path: Path) -> None:
    """What the audit finds stands in the page, in place of a clean bill."""
    from dataclasses import replace

    from ledger_store.audit.audit import audit

    path = tmp_path / "chain.jsonl"
    path.write_bytes(
        made.workspace.miner(1).chain.read_bytes().replace(b'"price_micro":', b'"price_micrO":', 1)
    )
    text = page(replace(view, audit=audit(path, 3)), Names({}))
    assert "Audit failed." in text
    assert "Audit passed." not in text
    tree(text)


def test_findings_are_exit_code_5(tmp_path: Path) -> None:
    """The page is written and says so, and a script that only looks at the exit code knows, too."""
    maker = ChainMaker(2)
    maker.add_round()
    workspace = place(tmp_path / "workspace", maker)
    said = fedcoin("report", "-o", "page.html", "--json", folder=workspace.root)
    assert (said.code, said.json["audit_ok"]) == (5, False)
    assert "E413" in said.err
    assert "Audit failed." in (workspace.root / "page.html").read_text()


def test_values_that_no_score_can_be(tmp_path: Path) -> None:
    """Sums of 300 digits that a corrupt quorum certified follow from its reveals: the page is written all the same."""
    maker = ChainMaker(4)
    task = maker.task(difficulty_micro=2**53 - 1)
    maker.add(task)
    far = tuple((-1) ** client * 10**320 for client in range(task.clients))
    reveals = sorted(
        (maker.reveal(task, 1, miner, sums=far) for miner in maker.miners), key=attrgetter("miner")
    )
    maker.add(maker.close(task, reveals))
    record = maker.records[task.id]
    maker.add(maker.result(task, reveals, settle(record, maker.genesis, reveals, ())))
    workspace = place(tmp_path / "workspace", maker)
    said = fedcoin("report", "-o", "page.html", folder=workspace.root)
    assert said.code == 0, said.err
    tree((workspace.root / "page.html").read_text())


def test_names_are_words(view: Overview, made: MinedRound) -> None:
    """Whatever an account is called, it is text on the page, never a part of it."""
    name = '<script>alert("&")</script>'
    text = page(view, Names({name: made.task.updates[0].client}))
    assert "<script" not in text
    assert name in "".join(tree(text).itertext())


@pytest.mark.parametrize(
    ("scale", "expected"),
    [
        (Scale(0, 10, 0, 1), [0, 2, 4, 6, 8, 10]),
        (Scale(-12.2, 13, 0, 1), [-10, -5, 0, 5, 10]),
        (Scale(0, 0.07, 0, 1), [0, 0.02, 0.04, 0.06]),
        (Scale(0.02, 300, 0, 1, logarithmic=True), [0.1, 1, 10, 100]),
    ],
)
def test_ticks_are_round(scale: Scale, expected: list[float]) -> None:
    """Axes are labelled at few round values, all of them within the scale."""
    assert scale.ticks() == pytest.approx(expected)


def test_convergence_as_numbers(made: MinedRound, view: Overview) -> None:
    """--convergence writes the very points of the figure, so that anybody can draw them otherwise."""
    root = made.workspace.root
    said = fedcoin("report", "-o", "d.html", "--convergence", "walks.csv", folder=root)
    assert said.code == 0, said.err
    header, *rows = (root / "walks.csv").read_text().splitlines()
    assert header == "task,miner,rankings,distance_pp"
    points = [point for picture in view.pictures for walk in picture.walks.values() for point in walk]
    assert points
    told = [(int(row.split(",")[2]), float(row.split(",")[3])) for row in rows]
    assert [rankings for rankings, _ in told] == [rankings for rankings, _ in points]
    assert [distance for _, distance in told] == pytest.approx([distance for _, distance in points], abs=1e-8)


def test_lines_are_named_and_no_axis_goes_beyond_the_head(view: Overview) -> None:
    """Every balance has its line's name at its end, lines of one kind differ, and no block is drawn that is none."""
    figures = list(tree(page(view, Names({}))).iter(f"{SVG}svg"))[-2:]
    words = [one.text or "" for figure in figures for one in figure.iter(f"{SVG}text")]
    for series in view.balances:
        assert any(series.account[:16] in word for word in words)
    ticks = [int(word) for word in words if word.isdecimal()]
    assert view.height in ticks
    drawn = [one.get("class") or "" for figure in figures for one in figure.iter(f"{SVG}path")]
    dashes = [kind for kind in drawn if kind.startswith("client-line")]
    assert len(set(dashes)) == min(len(dashes), 4) > 1
    assert "equal shares" in page(view, Names({}))


def test_a_report_tells_the_recipe(made: MinedRound, tmp_path: Path) -> None:
    """Where the round that became the task is kept with its recipe, the page says how, as text."""
    updates = [{"digest": update.digest} for update in made.task.updates]
    folder = made.workspace.rounds / "7"
    folder.mkdir(parents=True)
    recipe = {"command": "fedcoin train <b>--seed 3</b>", "versions": {"keras": "3"}}
    (folder / "round.json").write_text(
        json.dumps({"updates": updates, "test": made.task.test, "recipe": recipe})
    )
    assert fedcoin("report", "-o", str(tmp_path / "e.html"), folder=made.workspace.root).code == 0
    assert (
        "fedcoin train &lt;b&gt;--seed 3&lt;/b&gt;</code> with keras 3" in (tmp_path / "e.html").read_text()
    )


def _rules(style: str) -> list[tuple[str, str, str]]:
    """What a style sheet sets, in its order: the medium, a selector, a property."""
    plain = re.sub(r"/\*.*?\*/", "", style, flags=re.DOTALL)
    found, medium = [], ""
    for media, close, selectors, body in re.findall(r"@media ([^{]+)\{|\n(\})|([^{}@]+)\{([^{}]*)\}", plain):
        medium = media.strip() if media else "" if close else medium
        for selector in filter(None, map(str.strip, selectors.split(","))):
            found += [
                (medium, selector, one.partition(":")[0].strip()) for one in body.split(";") if ":" in one
            ]
    return found


def test_what_paper_and_phones_set_is_not_set_again() -> None:
    """Of two rules that are equally particular the later one holds: those for a medium come after those for all."""
    rules = _rules(STYLE)
    seen = {medium for medium, _, _ in rules}
    assert {"print", "(max-width: 40rem)", ""} <= seen
    for at, (medium, *what) in enumerate(rules):
        if medium and what[0] != ":root":
            assert ["", *what] not in [list(rule) for rule in rules[at:]], what
