"""What answering a command line loads; the drop-in executable has to start at once."""

import subprocess
import sys


def test_parsing_imports_nothing_of_the_pooler_but_itself() -> None:
    code = (
        "import sys; from pooler.service.options import parse; parse(['p', '-q', 'a.ini']);"
        "print(sorted(m for m in sys.modules if m.startswith(('pooler.', 'asyncio', 'importlib.metadata'))))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert found.strip() == "['pooler.service', 'pooler.service.options']"
