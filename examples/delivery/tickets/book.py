"""The tickets and the reports that are still to be sent, in one SQLite file: a close and its report are one commit."""

import sqlite3
import threading
import uuid
from pathlib import Path

TABLES = """
CREATE TABLE IF NOT EXISTS tickets (
  number INTEGER PRIMARY KEY, key TEXT UNIQUE, kind TEXT NOT NULL, title TEXT NOT NULL, text TEXT NOT NULL, resolution TEXT
);
CREATE TABLE IF NOT EXISTS reports (id TEXT PRIMARY KEY, number INTEGER NOT NULL);
"""


class Book:
    def __init__(self, path: Path):
        self._db = sqlite3.connect(path, check_same_thread=False)
        self._db.row_factory = sqlite3.Row
        self._db.executescript(TABLES)
        self._lock = threading.Lock()

    def open(self, key: str | None, kind: str, title: str, text: str) -> tuple[bool, dict]:
        """The ticket of this key, and whether it is new."""
        with self._lock, self._db:
            insert = "INSERT INTO tickets (key, kind, title, text) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO NOTHING"
            done = self._db.execute(insert, (key, kind, title, text))
            if done.rowcount == 1:
                return True, self._one("number = ?", done.lastrowid)
            return False, self._one("key = ?", key)

    def close(self, number: str, resolution: str) -> dict | None:
        """Closes it, once, and notes that this is to be reported."""
        with self._lock, self._db:
            update = "UPDATE tickets SET resolution = ? WHERE number = ? AND resolution IS NULL"
            if self._db.execute(update, (resolution, number)).rowcount == 1:
                self._db.execute("INSERT INTO reports VALUES (?, ?)", (f"msg_{uuid.uuid4().hex}", number))
            return self._one("number = ?", number)

    def get(self, number: str) -> dict | None:
        with self._lock:
            return self._one("number = ?", number)

    def all(self) -> list[dict]:
        with self._lock:
            return [shown(row) for row in self._db.execute("SELECT * FROM tickets ORDER BY number")]

    def unreported(self) -> list[tuple[str, dict]]:
        """Reports by their ids."""
        with self._lock:
            rows = self._db.execute("SELECT id, tickets.* FROM reports JOIN tickets USING (number)").fetchall()
            return [(row["id"], shown(row)) for row in rows]

    def reported(self, report: str) -> None:
        with self._lock, self._db:
            self._db.execute("DELETE FROM reports WHERE id = ?", (report,))

    def _one(self, where: str, value) -> dict | None:
        row = self._db.execute(f"SELECT * FROM tickets WHERE {where}", (value,)).fetchone()
        return shown(row) if row else None


def shown(row: sqlite3.Row) -> dict:
    return {name: row[name] for name in ("number", "kind", "title", "text", "resolution")}
