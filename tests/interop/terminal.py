"""profanity, in a terminal of tmux: two people log in, write to each other, in secret (OMEMO) and in a room, and go.

Skipped, with a word, where profanity or tmux is not installed.
"""

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from common import PASSWORD, PATIENCE, Lab, within

DEVICES = "eu.siacs.conversations.axolotl.devicelist"


class Terminal:
    """One profanity, logged in over STARTTLS with the lab's CA as the only one trusted."""

    def __init__(self, lab, name, folder):
        self.name, self.domain = name, lab.domain
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

    def sees(self, text, patience=PATIENCE):
        """Waits for the text on the screen: a terminal program gives no other sign."""
        end = time.monotonic() + patience
        screen = ""
        while time.monotonic() < end:
            screen = self.tmux("capture-pane", "-p")
            if text in screen:
                return
            time.sleep(0.1)
        raise AssertionError(f"{self.name} does not see {text!r} on:\n{screen}")

    def whispers(self, other, text):
        """Writes until the other reads it: profanity fetches keys on the side, and says nothing when it has them."""
        for _ in range(5):
            self.type(text)
            with contextlib.suppress(AssertionError):
                return other.sees(f"{self.name}@{self.domain}/terminal: {text}", 3)
        raise AssertionError(f"{other.name} cannot read {text!r} on:\n{other.tmux('capture-pane', '-p')}")

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


async def make_lists(lab):
    """profanity 0.13 adds itself to a list of devices, but does not make the first one."""
    from xml.etree import ElementTree

    from slix import User
    from slixmpp.plugins.xep_0004.stanza import Form

    options = Form()
    options["type"] = "submit"
    options.add_field(var="FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/pubsub#publish-options")
    options.add_field(var="pubsub#access_model", value="open")
    for name in ("alice", "bob"):
        user = await User(lab, name, "starttls", "lists").go_online()
        user.register_plugin("xep_0060")
        payload = ElementTree.fromstring("<list xmlns='eu.siacs.conversations.axolotl'/>")
        publish = user.plugin["xep_0060"].publish
        await within(publish(user.boundjid.bare, DEVICES, id="current", payload=payload, options=options), "a list")
        await user.leave()


def converse_in_secret(lab, folder):
    """Strangers, who find each other's keys (XEP-0384)."""
    asyncio.run(make_lists(lab))
    alice = Terminal(lab, "alice", folder)
    bob = Terminal(lab, "bob", folder)
    try:
        for one, other in ((alice, bob), (bob, alice)):
            one.sees("logged in successfully")
            one.type("/omemo trustmode blind")
            one.type("/omemo gen")
            one.sees("Your Device ID is")
        for one, other in ((alice, bob), (bob, alice)):
            one.type(f"/msg {lab.jid(other.name)}")
            one.type("/omemo start")
            one.sees("[OMEMO]")
        alice.whispers(bob, "a secret")
        bob.whispers(alice, "a secret of mine")
    finally:
        alice.close()
        bob.close()


def converse_in_a_room(lab, folder):
    """Made and configured by one, who asks the other in, throws him out, bans him, forgives him, and ends it."""
    alice = Terminal(lab, "alice", folder)
    bob = Terminal(lab, "bob", folder)
    room = f"terminal-{time.monotonic_ns() % 10**6}@conference.{lab.domain}"
    enter = f"/join {room} nick "
    try:
        alice.sees("logged in successfully")
        bob.sees("logged in successfully")
        alice.type(enter + "alice")
        alice.sees("Room locked, requires configuration.")
        alice.type("/room config")
        alice.sees("Use '/form submit' to save changes.")
        alice.type("/form submit")
        alice.sees("Room configuration successful")
        alice.type(f"/invite send {lab.jid('bob')} come in")
        bob.sees("Message: come in")
        bob.type(enter + "bob")
        bob.sees("You have joined the room as bob")
        bob.type("hello room")
        alice.sees("bob: hello room")
        alice.type("hello yourself")
        bob.sees("alice: hello yourself")
        alice.type('/subject set "The Play"')
        bob.sees("alice has set the room subject: The Play")
        bob.type("/nick robert")
        alice.sees("bob is now known as robert")
        alice.type("/kick robert enough")
        bob.sees(f"Kicked from {room}")
        bob.type(enter + "bob")
        bob.sees("You have joined the room as bob")
        alice.type(f"/ban {lab.jid('bob')} enough")
        bob.sees(f"Banned from {room}")
        alice.type("/affiliation list outcast")
        alice.sees("Affiliation: outcast")
        bob.type(enter + "bob")
        bob.sees(f"Error joining room {room}, reason:")
        alice.type(f"/affiliation set none {lab.jid('bob')}")
        alice.type("/room destroy")
        alice.sees("Room destroyed")
        bob.type(f"/bookmark remove {room}")  # profanity made it when he was asked in and came
        bob.sees("Bookmark removed for")
    finally:
        alice.close()
        bob.close()


def main():
    lab = Lab(sys.argv[1])
    missing = [tool for tool in ("profanity", "tmux") if not shutil.which(tool)]
    if missing:
        print(f"skipped profanity: {' and '.join(missing)} not installed")
        return
    scenarios = [converse, converse_in_a_room]
    about = subprocess.run(["profanity", "--version"], capture_output=True, text=True, check=False).stdout
    if "OMEMO support: Enabled" in about:
        scenarios.append(converse_in_secret)
    else:
        print("skipped converse_in_secret: this profanity has no OMEMO")
    failed = 0
    for scenario in scenarios:
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            try:
                scenario(lab, folder)
                print(f"ok     profanity starttls {scenario.__name__} ({time.monotonic() - started:.2f} s)")
            except AssertionError as error:
                failed = 1
                print(f"FAILED profanity {scenario.__name__}: {error}")
    sys.exit(failed)


if __name__ == "__main__":
    os.environ.pop("TMUX", None)
    main()
