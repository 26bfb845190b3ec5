"""`npseg explore` writes one whole file that needs nothing else, with or without a browser."""

import re
import webbrowser
import zipfile
from pathlib import Path

import pytest

from npseg import cli
from npseg.teaching import explorer


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    """The addresses that a browser was asked to open; none opens."""
    addresses = []
    monkeypatch.setattr(webbrowser, "open", lambda address: addresses.append(address) or True)
    return addresses


def test_the_file_is_written_and_opened(tmp_path, capsys, opened):
    path = tmp_path / "my explorer.html"
    assert cli.main(["explore", "--output", str(path)]) == 0
    assert capsys.readouterr().out == f"Explorer: {path}\n"
    assert path.read_text(encoding="utf-8") == explorer.page()
    assert opened == [path.as_uri()]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_it_is_written_into_the_current_folder(tmp_path, capsys, monkeypatch, opened):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["explore", "--no-open"]) == 0
    assert capsys.readouterr().out == "Explorer: explorer.html\n"
    assert Path("explorer.html").stat().st_size > 10_000
    assert opened == []


@pytest.mark.parametrize("failure", ["returns False", "raises"])
def test_a_missing_browser_is_no_error(tmp_path, capsys, monkeypatch, failure):
    def no_browser(address):
        if failure == "raises":
            raise webbrowser.Error("could not locate runnable browser")
        return False

    monkeypatch.setattr(webbrowser, "open", no_browser)
    path = tmp_path / "explorer.html"
    assert cli.main(["explore", "--output", str(path)]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [f"Explorer: {path}", "No browser was found here: open the file in one."]
    assert err == ""


def test_what_cannot_be_written_is_one_line_and_status_1(tmp_path, capsys, opened):
    assert cli.main(["explore", "--output", str(tmp_path / "none" / "explorer.html")]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("npseg explore: ")
    assert "No such file or directory" in err
    assert err.count("\n") == 1
    assert opened == []


def test_an_older_file_survives_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "explorer.html"
    path.write_text("older")

    def interrupted(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(explorer, "_source", interrupted)
    assert cli.main(["explore", "--output", str(path)]) == cli.INTERRUPTED
    assert path.read_text() == "older"
    assert list(tmp_path.iterdir()) == [path]


def test_the_page_needs_nothing_else():
    page = explorer.page()
    assert len(page.encode()) < 2_000_000
    assert re.findall(r"https?:|//\w+\.|\bsrc=|@import|url\(|\bimport\b[ (]|fetch\(|XMLHttpRequest", page) == []
    assert re.findall(r"<link[^>]*>", page) == ['<link rel="icon" href="data:,">']
    assert page.count("<script>") == page.count("</script>") == len(explorer.SCRIPTS)
    assert "STYLE" not in page
    assert "SCRIPTS" not in page


def test_every_source_is_in_the_page():
    folder = Path(explorer.__file__).parent
    assert {path.name for path in folder.glob("*.js")} == set(explorer.SCRIPTS)
    page = explorer.page()
    for path in [*folder.glob("*.js"), folder / "style.css"]:
        assert path.read_text(encoding="utf-8") in page


def test_it_can_be_read_from_an_archive(tmp_path, monkeypatch):
    """As a package may be imported from a zip file."""
    archive = tmp_path / "sources.zip"
    with zipfile.ZipFile(archive, "w") as packed:
        for path in Path(explorer.__file__).parent.iterdir():
            if path.is_file():
                packed.write(path, path.name)
    monkeypatch.setattr(explorer, "files", lambda name: zipfile.Path(archive))
    assert "<title>npseg explorer</title>" in explorer.page()
