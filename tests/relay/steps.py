"""The commands of a site's hooks: scripts that write down that they were run, and do what a test says."""

from pathlib import Path

STEP = """#!/bin/sh
# STEP BACKEND: written down, then done as the file STEP.do beside this one says
here=$(dirname "$0")
echo "$*" >> "$here/steps.log"
test ! -e "$here/$1.do" || . "$here/$1.do"
"""


class Steps:
    """The commands of a site's hooks: each run is a line in a file. `does` says what else one of them does."""

    def __init__(self, folder: Path) -> None:
        self.script = folder / "step"
        self.script.write_text(STEP)
        self.script.chmod(0o755)
        self._log = folder / "steps.log"

    def command(self, *arguments: str) -> list[str]:
        return [str(self.script), *arguments]

    def does(self, step: str, shell: str) -> None:
        self.script.with_name(f"{step}.do").write_text(shell)

    @property
    def done(self) -> list[str]:
        """What was run, without what notify was."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line for line in lines if not line.startswith("notify ")]

    @property
    def told(self) -> list[str]:
        """What notify was run with."""
        return [line for line in self._log.read_text().splitlines() if line.startswith("notify ")]
