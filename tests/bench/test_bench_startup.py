"""bench: what starting costs is measured beside a bare Python; the figure itself is no test's business."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
import startup


def test_each_command_starts_and_is_compared_with_a_bare_python(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["startup.py", "--times", "1"])
    startup.main()
    rows = [line.split("|")[1].strip() for line in capsys.readouterr().out.splitlines()[2:]]
    assert rows == [f"`{name}`" for name in startup.COMMANDS]
