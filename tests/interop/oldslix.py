"""Old clients log in, on a server with its defaults: every slixmpp that people have today, five times in a row.

oldslix.py BINARY PYTHON...: starts the server; each PYTHON has a slixmpp of its own.
Until 1.14 slixmpp tries each -PLUS mechanism, cannot bind the channel (it knows tls-unique alone), and ends
at another one: before 1.8.5 at PLAIN, after four failures. None of that is a guess at a password."""

import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time

LOGINS = 5
PATIENCE = 40


def log_in(jid, password, host, port, ca):
    """One login, as the version at hand does it; the seconds until the session is there."""
    import inspect

    import slixmpp

    client = slixmpp.ClientXMPP(jid, password)
    client.ca_certs = ca
    client.enable_direct_tls = False
    client.enable_starttls = True
    # Before 1.9 the one argument is a pair.
    pair = "address" in inspect.signature(client.connect).parameters
    loop = asyncio.get_event_loop()
    ended = loop.create_future()

    def end(outcome):
        if not ended.done():
            ended.set_result(outcome)

    client.add_event_handler("session_start", lambda _: end(None))
    for event in ("failed_all_auth", "stream_error", "connection_failed", "disconnected"):
        client.add_event_handler(event, lambda why, event=event: end(f"{event}: {why}"))
    started = time.monotonic()
    client.connect((host, port)) if pair else client.connect(host, port)
    problem = loop.run_until_complete(asyncio.wait_for(ended, PATIENCE))
    took = time.monotonic() - started
    if problem:
        raise ConnectionError(problem)
    with contextlib.suppress(Exception):
        loop.run_until_complete(asyncio.wait_for(client.disconnect(), 5))
    return took


def client(jid, password, host, port, ca):
    import logging

    import slixmpp

    logging.disable()
    print(slixmpp.__version__, flush=True)
    for _ in range(LOGINS):
        print(log_in(jid, password, host, int(port), ca), flush=True)


@contextlib.contextmanager
def server(binary):
    """A server with its defaults, but for where it listens and keeps its data."""
    with tempfile.TemporaryDirectory(prefix="stonechat-old-") as folder:
        with contextlib.closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        data = os.path.join(folder, "data")
        options = ["--data-dir", data, "--set", f"c2s.listen=127.0.0.1:{port}", "--set", "c2s.listen_tls=[]",
                   "--set", "web.listen=[]", "--set", "metrics.listen=[]", "--set", "s2s.listen=[]", "--set", "admin.listen=[]"]
        with open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
            process = subprocess.Popen([binary, "serve", *options], stdout=log, stderr=log)
            try:
                until = time.monotonic() + PATIENCE
                while True:
                    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                        break
                    assert process.poll() is None and time.monotonic() < until, "the server did not start"
                    time.sleep(0.05)
                # The account must be on the server's own database: the admin socket is in the data folder.
                subprocess.run([binary, "user", "add", "--password-stdin", *options, "alice@localhost"], input="secret\n",
                               text=True, check=True, stdout=subprocess.DEVNULL)
                yield port, os.path.join(data, "tls", "ca.pem")
            except Exception:
                log.seek(0)
                sys.stderr.write("".join(log.readlines()[-40:]))
                raise
            finally:
                process.terminate()
                process.wait(20)


def main(binary, pythons):
    failed = 0
    with server(os.path.abspath(binary)) as (port, ca):
        for python in pythons:
            command = [python, "-W", "ignore", __file__, "--client", "alice@localhost", "secret", "127.0.0.1", str(port), ca]
            ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            version, *times = ran.stdout.split() or ["of unknown version"]
            times = [float(took) for took in times]
            told = ", ".join(f"{took:.2f}" for took in times)
            # A delay of the server's grows with each try (1, 8, 30 s); one slow turn is the machine's.
            fast = len(times) == LOGINS and statistics.median(times) < 1 and max(times) < 5
            failed |= not fast
            print(f"{'ok    ' if fast else 'FAILED'} slixmpp {version} logs in: {told} s", flush=True)
            if not fast:
                print(ran.stderr[-2000:], file=sys.stderr)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    if sys.argv[1] == "--client":
        client(*sys.argv[2:])
    else:
        main(sys.argv[1], sys.argv[2:])
