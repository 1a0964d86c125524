"""Gajim and Dino as people see them: real windows on screens of Xvfb, beside a lab on the usual ports."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from pathlib import Path

HERE = Path(__file__).parent
CAS = "/etc/ssl/certs/ca-certificates.crt"
PATIENCE = 30
# Gajim does not start for root.
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def until(what, look, wanted, patience=PATIENCE):
    """Looks until it is as wanted, but not for ever: a program with windows gives no other sign."""
    end = time.monotonic() + patience
    while True:
        got = look()
        if wanted(got):
            return got
        assert time.monotonic() < end, f"timed out: {what}: {got}"
        time.sleep(0.1)


class Lab:
    """Dino takes no port, so the lab has the usual ones: of a network namespace of the test's own."""

    def __init__(self, binary, work):
        self.binary, self.data, self.log = binary, work / "data", work / "lab.log"
        names = [part for name in ("alice", "bob", "carol") for part in ("--user", f"{name}@localhost:secret")]
        ready = self.start(names)
        # The system's list, with the lab's authority: what the README says, for this mount namespace alone.
        (work / "cas.crt").write_text(Path(CAS).read_text() + Path(ready["ca"]).read_text())
        subprocess.run(["mount", "--bind", work / "cas.crt", CAS], check=True)

    def start(self, users=()):
        ports = ["--set", "c2s.listen=127.0.0.1:5222", "--set", "web.listen=127.0.0.1:5443"]
        self.process = subprocess.Popen(
            [self.binary, "lab", "--domain", "localhost", *users, "--data-dir", self.data, *ports],
            stdout=subprocess.PIPE, stderr=open(self.log, "a"), text=True)
        return json.loads(self.process.stdout.readline())

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def resumed(self):
        return self.log.read_text().count("session resumed")


class Screen:
    def __init__(self, number, shots):
        self.display, self.shots = f":{number}", shots
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        size = ["-screen", "0", "1280x900x24", "-nolisten", "tcp"]
        self.processes = [subprocess.Popen(["Xvfb", self.display, *size], **quiet)]
        until("Xvfb", lambda: os.path.exists(f"/tmp/.X11-unix/X{number}"), bool)
        self.processes.append(subprocess.Popen(["openbox"], env={**os.environ, "DISPLAY": self.display}, **quiet))

    def shot(self, name):
        subprocess.run(["import", "-display", self.display, "-window", "root", self.shots / f"{name}.png"], check=True)

    def xdo(self, *arguments):
        done = subprocess.run(
            ["xdotool", *arguments], env={**os.environ, "DISPLAY": self.display}, capture_output=True, text=True)
        return done.stdout

    def stop(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait()


class Program:
    """With a home, a bus and a screen of its own."""

    def __init__(self, kind, name, screen, work):
        self.name, self.screen, self.home = name, screen, work / f"{kind}-{name}"
        (self.home / "run").mkdir(parents=True)
        (self.home / "run").chmod(0o700)
        self.env = {
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.home), "DISPLAY": screen.display,
            "XDG_CONFIG_HOME": f"{self.home}/config", "XDG_DATA_HOME": f"{self.home}/share",
            "XDG_CACHE_HOME": f"{self.home}/cache", "XDG_RUNTIME_DIR": f"{self.home}/run", "GDK_BACKEND": "x11",
            "GSK_RENDERER": "cairo", "GSETTINGS_BACKEND": "memory", "NO_AT_BRIDGE": "1",
            "GAJIM_DRIVER": f"{self.home}/driver",
        }
        subprocess.run(["chown", "-R", "65534", self.home], check=True)

    def run(self, *command):
        log = open(self.home / "log", "a")
        # The bus's address is kept for those who want to speak to it.
        begin = ["dbus-run-session", "--", "sh", "-c", f'echo "$DBUS_SESSION_BUS_ADDRESS" > {self.home}/bus; exec "$@"']
        self.process = subprocess.Popen(
            [*NOBODY, *begin, "sh", *command], env=self.env, stdout=log, stderr=log, start_new_session=True)

    def stop(self):
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)


class Gajim(Program):
    def __init__(self, name, screen, work):
        super().__init__("gajim", name, screen, work)
        make = ["/usr/bin/python3", "-W", "ignore", HERE / "account.py", self.home / "conf", name]
        subprocess.run([*NOBODY, *make], env=self.env, check=True, stdout=subprocess.DEVNULL)
        self.start()

    def start(self):
        self.run("gajim", "-c", f"{self.home}/conf")
        self.until("client.state.is_available")
        self.do("app.window.maximize()")

    def do(self, code):
        with socket.socket(socket.AF_UNIX) as driver:
            driver.settimeout(PATIENCE)
            driver.connect(self.env["GAJIM_DRIVER"])
            driver.sendall((json.dumps(code) + "\n").encode())
            answer = json.loads(driver.makefile().readline())
        assert "ok" in answer, answer["error"]
        return answer["ok"]

    def until(self, code, wanted="True", patience=PATIENCE):
        def look():
            try:
                return self.do(code)
            except (OSError, AssertionError, ValueError) as error:  # not there yet, or what is asked for
                return str(error)

        return until(f"{self.name}: {code}", look, lambda got: got == wanted, patience)

    def contact(self, jid):
        return f"client.get_module('Contacts').get_contact({jid!r}, groupchat={'conference' in jid})"

    def show(self, jid):
        kind = ("add_group_chat", "") if "conference" in jid else ("add_chat", "'contact', ")
        self.do(f"app.window.{kind[0]}(me, JID.from_string({jid!r}), {kind[1]}select=True)")

    def say(self, jid, text, secret=False):
        kind = "groupchat" if "conference" in jid else "chat"
        self.do(
            f"c = {self.contact(jid)}\nc.settings.set('encryption', {'OMEMO' if secret else ''!r})\n"
            f"client.send_message(OutgoingMessage(account=me, contact=c, message={text!r}, type_={kind!r}))")

    def kept(self, column, text):
        """What Gajim wrote down about a message."""
        sql = f"select {column} from logs where message = ?"
        return f"[row[0] for row in app.storage.archive._con.execute({sql!r}, ({text!r},)).fetchall()]"

    def hears(self, text, patience=PATIENCE):
        self.until(f"{self.kept('message', text)} != []", patience=patience)

    def has_keys(self, jid):
        """Fetches them at the first look."""
        of = f"client.get_module('OMEMO').backend.get_muc_members({jid!r})" if "conference" in jid else repr([jid])
        self.until(f"(lambda omemo: [j for j in {of} if omemo.are_keys_missing(j)])(client.get_module('OMEMO'))", "[]")

    def in_room(self, room, wanted=True, patience=PATIENCE):
        self.until(f"{self.contact(room)}.is_joined", repr(wanted), patience)


class Dino(Program):
    def __init__(self, name, screen, work):
        super().__init__("dino", name, screen, work)
        self.database = self.home / "share/dino/dino.db"
        # It makes its database itself; the account goes into it.
        self.start()
        until("Dino's database", lambda: self.rows("select 1 from account"), lambda rows: rows is not None)
        self.stop()
        with sqlite3.connect(self.database) as database:
            database.execute(
                "insert into account (bare_jid, resourcepart, password, alias, enabled) values (?, 'dino', 'secret', ?, 1)",
                (f"{name}@localhost", name))
        self.start()

    def start(self):
        self.run("dino-im")

    def rows(self, sql, *values):
        try:
            with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as database:
                return database.execute(sql, values).fetchall()
        except sqlite3.Error:
            return None

    def until(self, sql, *values, patience=PATIENCE):
        return until(f"Dino: {sql} {values}", lambda: self.rows(sql, *values), bool, patience)

    def hears(self, text, patience=PATIENCE):
        self.until("select 1 from message where body = ?", text, patience=patience)

    def open(self, uri):
        """In the Dino that runs."""
        bus = (self.home / "bus").read_text().strip()
        subprocess.run([*NOBODY, "dino-im", uri], env={**self.env, "DBUS_SESSION_BUS_ADDRESS": bus}, timeout=PATIENCE)


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    folder.chmod(0o755)
    return folder
