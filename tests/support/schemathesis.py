"""schemathesis, which asks an API what its document allows and what it does not, and looks at each answer.

Its versions are in schemathesis.txt.
"""

import os
import pathlib
import subprocess
import sys

from support.pypi import packages

HERE = pathlib.Path(__file__).parent
SETTINGS = HERE / "schemathesis.toml"


def run(document, cwd, *arguments, timeout=900):
    """What it says about the API of that document; (status, text)."""
    place = packages("schemathesis")
    env = {**os.environ, "PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONUTF8": "1"}
    command = [sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()",
               "--config-file", str(SETTINGS), "run", document, "--no-color", "--warnings", "off", *arguments]
    done = subprocess.run(command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=timeout, check=False)
    return done.returncode, done.stdout.decode(errors="replace")
