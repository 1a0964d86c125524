"""profanity, in a terminal of tmux: two people log in, write to each other and go.

Skipped, with a word, where profanity or tmux is not installed.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import PASSWORD, PATIENCE, Lab


class Terminal:
    """One profanity, logged in over STARTTLS with the lab's CA as the only one trusted."""

    def __init__(self, lab, name, folder):
        self.name = name
        home = Path(folder) / name
        (home / "conf/profanity").mkdir(parents=True)
        (home / "data/profanity").mkdir(parents=True)
        (home / "conf/profanity/profrc").write_text("[ui]\nsplash=false\n[notifications]\nmessage=off\n")
        host, port = lab.starttls
        (home / "data/profanity/accounts").write_text(
            f"[{name}]\nenabled=true\njid={lab.jid(name)}\nserver={host}\nport={port}\n"
            f"resource=terminal\npassword={PASSWORD}\ntls.policy=force\n"
        )
        variables = {
            "XDG_CONFIG_HOME": home / "conf",
            "XDG_DATA_HOME": home / "data",
            "SSL_CERT_FILE": lab.ca,
            "LANG": "C.UTF-8",
        }
        told = [f"{key}={value}" for key, value in variables.items()]
        self.socket = str(home / "tmux")
        self.tmux("new-session", "-d", "-x", "100", "-y", "30", "env", *told, "profanity", "-a", name)

    def tmux(self, *arguments):
        done = subprocess.run(
            ["tmux", "-S", self.socket, *arguments], capture_output=True, text=True, check=True
        )
        return done.stdout

    def type(self, text):
        self.tmux("send-keys", "-l", text)
        self.tmux("send-keys", "Enter")

    def sees(self, text):
        """Waits for the text on the screen: a terminal program gives no other sign."""
        end = time.monotonic() + PATIENCE
        screen = ""
        while time.monotonic() < end:
            screen = self.tmux("capture-pane", "-p")
            if text in screen:
                return
            time.sleep(0.1)
        raise AssertionError(f"{self.name} does not see {text!r} on:\n{screen}")

    def close(self):
        """Leaves properly: a session cut off would be kept for resumption and take messages."""
        try:
            self.type("/quit")
            end = time.monotonic() + 3
            while time.monotonic() < end:
                self.tmux("has-session")
                time.sleep(0.05)
        except subprocess.CalledProcessError:
            return  # gone, and tmux with it
        subprocess.run(["tmux", "-S", self.socket, "kill-server"], capture_output=True, check=False)


def converse(lab, folder):
    alice = Terminal(lab, "alice", folder)
    bob = Terminal(lab, "bob", folder)
    try:
        alice.sees("logged in successfully")
        bob.sees("logged in successfully")
        alice.type(f"/msg {lab.jid('bob')} hello from a terminal")
        bob.sees(f"{lab.jid('alice')}")
        bob.type(f"/msg {lab.jid('alice')} hello yourself")
        bob.sees("hello from a terminal")
        alice.sees("hello yourself")
    finally:
        alice.close()
        bob.close()


def main():
    lab = Lab(sys.argv[1])
    missing = [tool for tool in ("profanity", "tmux") if not shutil.which(tool)]
    if missing:
        print(f"skipped profanity: {' and '.join(missing)} not installed")
        return
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        try:
            converse(lab, folder)
        except AssertionError as error:
            print(f"FAILED profanity: {error}")
            sys.exit(1)
    print(f"ok     profanity starttls conversation ({time.monotonic() - started:.2f} s)")


if __name__ == "__main__":
    os.environ.pop("TMUX", None)
    main()
