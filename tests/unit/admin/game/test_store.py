"""What the game keeps, and a file that is damaged."""

import dataclasses
import sqlite3
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.admin.game.database import Database
from services.admin.game.share import Share
from services.admin.game.store import Stock, Store
from services.common.errors import Busy, Corrupt, FailedPrecondition
from tests.unit.admin.game.conftest import excerpts


def test_excerpts_come_back_as_they_were_put_and_once(store, version):
    real = excerpts(5, side="real")
    for _ in range(2):
        store.put(version, real, real=True)
    store.put(version, excerpts(3, side="made"), real=False, num_asked=8)
    store.put(version, [], real=False, num_asked=4)
    assert store.excerpts(version, real=True) == real
    assert store.stock(version) == Stock(num_real=5, num_generated=3, num_real_posts=3, num_asked=8)


def test_a_closed_version_tells_what_the_classifier_made_of_it(store, stocked, version):
    assert store.all_told_right() == {}
    store.close(version, Share(11, 16))
    assert store.stock(version).is_complete
    assert store.stock(version).told_right == Share(11, 16)
    assert store.all_told_right() == {version: Share(11, 16)}
    store.close(version, None)
    assert store.stock(version).is_complete and store.stock(version).told_right is None


def test_a_version_of_the_same_name_from_elsewhere_takes_the_place(store, rounds, stocked):
    rounds.answer(rounds.open(stocked, "ann").id, "ann", "left")
    other = dataclasses.replace(stocked, origin="another volume")
    assert store.stock(other) == Stock()
    store.put(other, excerpts(2, side="new"), real=True)
    assert store.stock(stocked) == Stock()
    assert store.versions() == [other]
    assert rounds.all_wrong() == {}


def test_the_file_is_made_when_it_is_used_and_is_its_owners_alone(database, store, version):
    assert not database.path.exists()
    store.stock(version)
    assert database.path.stat().st_mode & 0o777 == 0o600


def test_many_threads_may_be_the_first(database, version):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: Store(Database(database.path)).stock(version), range(16)))
    assert found == [Stock()] * 16


def test_a_damaged_file_is_named_and_moving_it_away_mends_it(database, store, stocked):
    whole = database.path.read_bytes()
    database.path.write_bytes(b"not a database at all" + whole[21:])
    with pytest.raises(Corrupt, match=r"game\.db is damaged .* move it away"):
        store.stock(stocked)
    database.path.rename(database.path.with_suffix(".old"))
    assert store.stock(stocked) == Stock()


def test_a_file_of_a_later_version_is_refused(database, store, stocked):
    with sqlite3.connect(database.path) as connection:
        connection.execute("PRAGMA user_version = 99")
    with pytest.raises(Corrupt, match="has version 99"):
        store.stock(stocked)


def test_a_folder_without_room_for_sqlite_is_full(database, store, stocked, monkeypatch):
    class Starved(sqlite3.Connection):
        def execute(self, *arguments):
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorname = "SQLITE_IOERR_SHMSIZE"
            raise error

    connect = sqlite3.connect
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **named: connect(*given, factory=Starved, **named))
    monkeypatch.setattr("services.common.volume._has_no_room", lambda folder: True)
    with pytest.raises(Busy, match=r"game\.db is full; make room"):
        store.stock(stocked)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, version):
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPrecondition, match=r"game\.db cannot be written"):
        Store(Database(tmp_path / "file" / "game.db")).stock(version)
