"""Gajim, Dino and Profanity with each other: people, secrets, files, a room and a restart; with screenshots to look at.

unshare -mn python3 run.py BINARY FOLDER, as root: they need the usual ports and the lab's authority among the system's,
in namespaces of their own. Needs gajim, gajim-omemo, dino-im, profanity, tmux, xvfb, openbox, xdotool, imagemagick,
dbus-x11 and python3-slixmpp of Debian. It is no part of CI: it is run by hand before a release, and looked at.
"""

import base64
import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

from desk import Dino, Gajim, Lab, Screen, fresh, until

sys.path.insert(0, str(Path(__file__).parent.parent))
from terminal import Terminal  # noqa: E402

os.environ.pop("TMUX", None)
binary, folder = os.path.abspath(sys.argv[1]), Path(sys.argv[2]).absolute()
ROOM, HALL = "den@conference.localhost", "hall@conference.localhost"
ALICE, BOB, CAROL = (f"{name}@localhost" for name in ("alice", "bob", "carol"))


def drawn(path, *what):
    subprocess.run(["convert", *what, path], check=True)
    path.chmod(0o644)
    return path.read_bytes()


class Play:
    """The steps, in order; each needs those before it."""

    def __init__(self):
        self.work = fresh(folder)
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        self.lab = Lab(binary, self.work)
        self.screens = [Screen(number, self.work) for number in (77, 78, 79)]
        self.running = []

    def started(self, program):
        self.running.append(program)
        return program

    def shots(self, name):
        for screen, who in zip(self.screens, ("alice", "bob", "carol"), strict=True):
            screen.shot(f"{name}-{who}")

    # Two Gajims.

    def login(self):
        self.alice = self.started(Gajim("alice", self.screens[0], self.work))
        self.bob = self.started(Gajim("bob", self.screens[1], self.work))

    def contacts(self):
        for one, other in ((self.alice, self.bob), (self.bob, self.alice)):
            one.do(f"client.get_module('Presence').subscribe('{other.name}@localhost', name='{other.name.title()}')")
            other.until("'subscribe-presence-received' in events")
            other.do(f"client.get_module('Presence').subscribed('{one.name}@localhost')")
        for one, jid in ((self.alice, BOB), (self.bob, ALICE)):
            one.until(f"(lambda c: (c.is_available, c.subscription))({one.contact(jid)})", "(True, 'both')")
            one.show(jid)

    def avatar(self):
        ball = ["-size", "96x96", "xc:orange", "-fill", "blue", "-draw", "circle 48,48 48,10"]
        image = drawn(self.work / "ball.png", *ball)
        data = base64.b64encode(image).decode()
        self.alice.do(
            "from base64 import b64decode\nfrom nbxmpp.modules.user_avatar import Avatar\navatar = Avatar()\n"
            f"avatar.add_image_source(b64decode({data!r}), 'image/png', 96, 96)\n"
            "client.get_module('UserAvatar').set_avatar(avatar, public=True)")
        self.ball = hashlib.sha1(image).hexdigest()
        self.bob.until(f"{self.bob.contact(ALICE)}.avatar_sha", repr(self.ball))

    def chat(self):
        self.alice.say(BOB, "Hello from Gajim")
        self.bob.hears("Hello from Gajim")
        self.bob.say(ALICE, "Hello from the other Gajim")
        self.alice.hears("Hello from the other Gajim")

    def secrets(self):
        for one, jid in ((self.alice, BOB), (self.bob, ALICE)):
            one.has_keys(jid)
        self.alice.say(BOB, "A secret of Gajim", secret=True)
        self.bob.hears("A secret of Gajim")
        self.bob.say(ALICE, "Another secret", secret=True)
        self.alice.hears("Another secret")

    def file(self):
        drawn(self.work / "picture.png", "-size", "200x120", "plasma:red-blue")
        self.alice.do(
            f"from pathlib import Path\nc = {self.alice.contact(BOB)}\nc.settings.set('encryption', '')\n"
            f"client.get_module('HTTPUpload').send_file(c, Path({str(self.work / 'picture.png')!r}))")
        like = "select count(*) as files from logs where message like '%/upload/%picture.png'"
        self.bob.until(f"app.storage.archive._con.execute({like!r}).fetchone().files", "1")
        self.shots("1-chat")

    def room(self):
        self.alice.do(f"client.get_module('MUC').create('{ROOM}', {{'muc#roomconfig_roomname': 'The Den'}})")
        self.alice.in_room(ROOM)
        self.alice.show(ROOM)
        self.alice.do(f"client.get_module('MUC').invite(JID.from_string('{ROOM}'), JID.from_string('{BOB}'), 'come in')")
        self.bob.until("'muc-invitation' in events")
        self.bob.do(f"app.window.show_add_join_groupchat(me, '{ROOM}')")
        self.bob.in_room(ROOM)
        self.alice.say(ROOM, "Welcome to the den")
        self.bob.hears("Welcome to the den")
        self.bob.say(ROOM, "A fine den")
        self.alice.hears("A fine den")
        self.alice.do(f"client.get_module('MUC').set_subject(JID.from_string('{ROOM}'), 'On dens')")
        self.bob.until(f"{self.bob.contact(ROOM)}.subject.text", "'On dens'")

    def moderated(self, room=ROOM):
        self.alice.hears("Something rude")
        (stanza_id,) = eval(self.alice.do(self.alice.kept("stanza_id", "Something rude")))
        muc = "client.get_module('MUC')"
        self.alice.do(f"{muc}.retract_message(JID.from_string('{room}'), '{stanza_id}', 'rude')")
        self.alice.until(f"'retracted' in str({self.alice.kept('additional_data', 'Something rude')})")

    def moderation(self):
        self.bob.say(ROOM, "Something rude")
        self.moderated()
        self.bob.until(f"'retracted' in str({self.bob.kept('additional_data', 'Something rude')})")
        self.shots("2-room")

    def affiliate(self, room, jid, affiliation):
        change = f"{{JID.from_string('{jid}'): {{'affiliation': '{affiliation}', 'reason': 'enough'}}}}"
        self.alice.do(f"client.get_module('MUC').set_affiliation(JID.from_string('{room}'), {change})")
        # By its answer to the next request: what a room is told it does in order.
        listed = f"got.extend(map(str, task.finish().users)) or got.append('listed')"
        self.alice.do(
            f"got = []\ndef listed(task):\n    {listed}\n"
            f"client.get_module('MUC').get_affiliation(JID.from_string('{room}'), '{affiliation}', callback=listed)")
        self.alice.until(f"'listed' in got and '{jid}' in got")

    def kicked_and_banned(self):
        self.alice.do(f"client.get_module('MUC').set_role(JID.from_string('{ROOM}'), 'bob', 'none', 'enough')")
        self.bob.in_room(ROOM, False)
        self.bob.do(f"client.get_module('MUC').join('{ROOM}')")
        self.bob.in_room(ROOM)
        self.affiliate(ROOM, BOB, "outcast")
        self.bob.in_room(ROOM, False)
        self.bob.do(f"client.get_module('MUC').join('{ROOM}')")
        self.bob.until(f"client.get_module('MUC')._mucs['{ROOM}'].state.is_not_joined")
        self.affiliate(ROOM, BOB, "member")
        self.bob.do(f"client.get_module('MUC').join('{ROOM}')")
        self.bob.in_room(ROOM)

    def secrets_of_a_room(self):
        for one in (self.alice, self.bob):
            one.has_keys(ROOM)
        self.alice.say(ROOM, "A secret of the den", secret=True)
        for one in (self.alice, self.bob):
            one.hears("A secret of the den")
        self.bob.say(ROOM, "We all keep it", secret=True)
        self.alice.hears("We all keep it")

    def caught_up(self):
        self.bob.stop()
        away = ["While Bob was away, in secret", "While Bob was away"]
        self.alice.say(ROOM, away[0], secret=True)
        self.alice.say(ROOM, away[1])
        self.alice.say(BOB, "For later, to you alone")
        self.alice.hears(away[1])
        self.bob.start()
        self.bob.in_room(ROOM)  # by its bookmark
        for text in [*away, "For later, to you alone"]:
            self.bob.hears(text)
        self.bob.show(ROOM)
        self.shots("3-caught-up")

    def restarted(self):
        before = self.lab.resumed()
        self.lab.stop()
        self.lab.start()
        until("both resumed", self.lab.resumed, lambda resumed: resumed == before + 2, 90)
        self.alice.say(ROOM, "After the restart")
        self.bob.hears("After the restart")

    # Gajim and Dino.

    def dino(self):
        made = subprocess.run(
            ["/usr/bin/python3", "-W", "ignore", Path(__file__).parent / "carol.py", str(self.lab.data), ROOM],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, timeout=60)
        assert made.returncode == 0, made.stdout
        self.alice.do(f"client.get_module('Presence').subscribed('{CAROL}')")
        self.alice.do(f"client.get_module('Presence').subscribe('{CAROL}', name='Carol')")
        self.affiliate(ROOM, CAROL, "member")
        self.carol = self.started(Dino("carol", self.screens[2], self.work))
        self.carol.until("select 1 from roster where jid = ? and subscription = 'both'", ALICE)
        self.carol.until("select 1 from contact_avatar where hash = ?", self.ball)
        self.alice.until(f"'carol' in {self.alice.contact(ROOM)}.get_user_nicknames()")

    def dino_hears(self):
        for to, text in ((CAROL, "Hello Dino"), (ROOM, "Hello Dino in the den")):
            self.alice.say(to, text)
            self.carol.hears(text)
        self.alice.do(f"client.get_module('OMEMO').request_devicelist('{CAROL}')")
        for to, text in ((CAROL, "A secret for Dino"), (ROOM, "A secret of the den for Dino")):
            self.alice.has_keys(to)
            self.alice.say(to, text, secret=True)
            self.carol.hears(text)

    def dino_speaks(self):
        self.carol.open(f"xmpp:{ALICE}?message")
        find = ["search", "--sync", "--onlyvisible", "--class", "dino"]
        window = self.screens[2].xdo(*find).split()[-1]
        self.screens[2].xdo("windowactivate", "--sync", window, "type", "--delay", "30", "Hello from a real Dino")
        self.screens[2].xdo("key", "Return")
        self.alice.hears("Hello from a real Dino")
        self.shots("4-dino")

    def dino_comes_back(self):
        self.lab.stop()
        self.lab.start()
        self.alice.until("client.state.is_available", patience=90)
        for to in (CAROL, ROOM):
            self.alice.say(to, f"After the restart, {to}")
            self.carol.hears(f"After the restart, {to}", 90)
        self.carol.stop()
        for to in (CAROL, ROOM):
            self.alice.say(to, f"While Dino slept, {to}")
        self.carol.start()
        for to in (CAROL, ROOM):
            self.carol.hears(f"While Dino slept, {to}", 60)
        self.shots("5-dino-back")

    # Gajim and Profanity.

    def profanity(self):
        self.bob.stop()
        ca = self.lab.data / "tls/ca.pem"
        lab = SimpleNamespace(domain="localhost", ca=ca, starttls=("127.0.0.1", 5222), jid="{}@localhost".format)
        self.terminal = terminal = Terminal(lab, "bob", self.work / "profanity")
        terminal.sees("logged in successfully")
        self.alice.do(f"client.get_module('MUC').create('{HALL}', {{'muc#roomconfig_roomname': 'The Hall'}})")
        self.alice.in_room(HALL)
        self.alice.show(HALL)
        terminal.type(f"/join {HALL} nick bob")
        terminal.sees("Error joining room")
        self.alice.do(f"client.get_module('MUC').invite(JID.from_string('{HALL}'), JID.from_string('{BOB}'), 'come in')")
        terminal.sees("Chat room invite received")
        self.enter()
        terminal.type("hello from the terminal")
        self.alice.hears("hello from the terminal")
        self.alice.say(HALL, "hello from Gajim")
        terminal.sees("alice: hello from Gajim")

    def enter(self):
        self.terminal.type(f"/join {HALL} nick bob")
        self.terminal.sees("You have joined the room as bob")

    def profanity_is_kept_in_order(self):
        self.alice.do(f"client.get_module('MUC').set_role(JID.from_string('{HALL}'), 'bob', 'none', 'enough')")
        self.terminal.sees(f"Kicked from {HALL}")
        self.enter()
        self.terminal.sees("hello from Gajim")  # what was said before
        self.affiliate(HALL, BOB, "outcast")
        self.terminal.sees(f"Banned from {HALL}")
        self.terminal.type(f"/join {HALL} nick bob")
        self.terminal.sees("Error joining room")
        self.affiliate(HALL, BOB, "member")
        self.enter()

    def profanity_comes_back(self):
        before = self.lab.resumed()
        self.lab.stop()
        self.lab.start()
        self.terminal.type("/connect bob")
        until("resumed", self.lab.resumed, lambda resumed: resumed >= before + 2, 90)
        self.alice.say(HALL, "after the restart")
        self.terminal.sees("after the restart")
        self.shots("6-profanity")
        (self.work / "6-profanity.txt").write_text(self.terminal.tmux("capture-pane", "-p"))

    def end(self):
        if hasattr(self, "terminal"):
            self.terminal.close()
        for one in [*self.running, *self.screens, self.lab]:
            one.stop()


STEPS = [
    Play.login, Play.contacts, Play.avatar, Play.chat, Play.secrets, Play.file, Play.room, Play.moderation,
    Play.kicked_and_banned, Play.secrets_of_a_room, Play.caught_up, Play.restarted, Play.dino, Play.dino_hears,
    Play.dino_speaks, Play.dino_comes_back, Play.profanity, Play.profanity_is_kept_in_order, Play.profanity_comes_back,
]


def main():
    play = Play()
    try:
        for step in STEPS:
            started = time.monotonic()
            step(play)
            print(f"ok     desktop {step.__name__} ({time.monotonic() - started:.2f} s)", flush=True)
    except AssertionError as error:
        play.shots("failed")
        sys.exit(f"FAILED desktop {step.__name__}: {error}")
    finally:
        play.end()
    print(f"Look at the pictures: {play.work}/*.png")


main()
