"""The `securestream` command.

app.py          the commands' table, and what an error looks like
keys.py         keygen, pubkey
echo.py         echo
serving.py      what servers share: options, the log, serving until a signal
places.py       where they listen
connect.py      connect
tunnel.py       tunnel: the group; tunnel_client.py and tunnel_server.py are its two ends
targets.py      what a tunnel leads to; command_stream.py is a command as a stream
dialing.py      what clients share: connection strings, and errors in connecting
demo.py         demo: the command, the second process, the four parts
demo_parts.py   what a client does in each part, and what has to come of it
demo_screen.py  how it looks
demo_server.py  the second process
decode.py       decode
bench.py        bench
lab.py          lab: the group; each of its commands is a lab_*.py, and lab_screen.py is how they look
lazy.py         groups that import a command when it is asked for
common.py       what they share: arguments, errors, signals
stdio.py        standard input and output, as bytes
"""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec


def main() -> None:
    """Runs the command line of this process."""
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        sys.exit(f"securestream: {' and '.join(missing)} not installed: pip install 'securestream[cli]'")
    _fill_standard_descriptors()
    from .app import run

    sys.exit(run(sys.argv[1:]))


def _fill_standard_descriptors() -> None:
    """Descriptors 0 to 2 that whoever started this closed lead nowhere. Left free, the next socket would get
    one, and what is printed would go to a peer."""
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
