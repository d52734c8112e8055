"""Every package that the system runs with has a licence that was looked at."""

import pytest

from local_stack import licences


def test_every_package_declares_a_known_licence(capsys: pytest.CaptureFixture[str]) -> None:
    assert licences.main() == 0, capsys.readouterr().err
    listed = capsys.readouterr().out
    assert "pyspark" in listed
    assert "psycopg " in listed


def test_an_unknown_licence_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(licences.FOUND_BY_HAND, "skops", "AGPL-3.0")
    assert licences.main() == 1
    assert "licences of: skops;" in capsys.readouterr().err


@pytest.mark.parametrize("licence", ["GPL-3.0-only", "AGPL-3.0", "Proprietary, limited", ""])
def test_what_forbids_to_pass_the_system_on_is_unknown(licence: str) -> None:
    assert not licences.is_known(licence)


@pytest.mark.parametrize("licence", ["MIT License", "Apache-2.0", "3-Clause BSD", "LGPL-3.0-only"])
def test_the_usual_ones_are_known(licence: str) -> None:
    assert licences.is_known(licence)
