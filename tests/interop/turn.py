"""A real TURN server: coturn relays for whoever has the credentials that the server gives (XEP-0215), and for no other.

turn.py BINARY: starts a lab and coturn itself, both on the loopback."""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET

NS = "{urn:xmpp:extdisco:2}"
SECRET = "north-by-northwest"
BINARY = os.path.abspath(sys.argv[1])
TOOLS = ("turnserver", "turnutils_uclient")


def free_port():
    """Free for UDP and TCP, both of which coturn takes."""
    for port in range(24_000 + os.getpid() % 4_000, 32_000):
        with contextlib.closing(socket.socket()) as tcp, contextlib.closing(
            socket.socket(type=socket.SOCK_DGRAM)
        ) as udp:
            try:
                tcp.bind(("127.0.0.1", port))
                udp.bind(("127.0.0.1", port))
                return port
            except OSError:
                pass
    raise AssertionError("no free port")


@contextlib.contextmanager
def process(command, **options):
    child = subprocess.Popen(command, **options)
    try:
        yield child
    finally:
        child.kill()
        child.wait()


def coturn(folder, port):
    log = os.path.join(folder, "turn.log")
    return [
        "turnserver", "-n", "-L", "127.0.0.1", "-E", "127.0.0.1", "-p", str(port), "--use-auth-secret",
        f"--static-auth-secret={SECRET}", "--realm=localhost", "--no-tls", "--no-dtls", "--no-cli",
        "--allow-loopback-peers", "--simple-log", f"--log-file={log}", f"--pidfile={folder}/turn.pid",
        f"--db={folder}/turn.db",
    ]  # fmt: skip


def allocates(port, username, password):
    """Whether a client gets an allocation, and what it sends through it comes back."""
    command = ["turnutils_uclient", "-y", "-c", "-n", "1", "-m", "1", "-u", username, "-w", password]
    done = subprocess.run([*command, "-p", str(port), "127.0.0.1"], capture_output=True, text=True, timeout=60)
    return done.returncode == 0 and "Total lost packets 0" in done.stdout + done.stderr


async def listening(port):
    """Until coturn takes connections: its UDP socket is there as soon."""
    for _ in range(150):
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        await asyncio.sleep(0.1)
    raise AssertionError("coturn does not listen")


async def asked(user, payload):
    from common import within

    iq = user.make_iq_get(ito=user.boundjid.domain)
    iq.append(ET.fromstring(payload))
    return (await within(iq.send(), "the services")).xml


async def run(lab, port):
    from slix import User

    await listening(port)
    alice = await User(lab, "alice", "starttls", "turn").go_online()
    info = (await alice.plugin["xep_0030"].get_info(lab.domain))["disco_info"]
    assert "urn:xmpp:extdisco:2" in info["features"], info
    answer = await asked(alice, "<services xmlns='urn:xmpp:extdisco:2' type='turn'/>")
    (service,) = answer.iter(f"{NS}service")
    assert (service.get("host"), service.get("port"), service.get("transport")) == ("127.0.0.1", str(port), "udp")
    assert service.get("expires").endswith("Z"), service.attrib
    username, password = service.get("username"), service.get("password")
    assert "alice" not in username, username
    assert allocates(port, username, password), "coturn does not take the credentials"
    # What expires later is signed, too.
    expiry, _, name = username.partition(":")
    assert not allocates(port, f"{int(expiry) + 3600}:{name}", password), "forged credentials"
    ask = f"<credentials xmlns='urn:xmpp:extdisco:2'><service host='127.0.0.1' type='turn' port='{port}'/></credentials>"
    (service,) = (await asked(alice, ask)).iter(f"{NS}service")
    assert allocates(port, service.get("username"), service.get("password")), "credentials for one service"
    await alice.leave()


def main():
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if missing:
        print(f"skipped coturn: needs {' and '.join(missing)}")
        return
    port = free_port()
    services = f'[{{ type = "turn", host = "127.0.0.1", port = {port} }}]'
    sets = {"sasl.iterations": 4096, "modules.external.services": services, "modules.external.secret": SECRET}
    lab = [BINARY, "lab", "--domain", "localhost", "--user", "alice@localhost:secret"]
    lab += [word for key, value in sets.items() for word in ("--set", f"{key}={value}")]
    with tempfile.TemporaryDirectory(prefix="stonechat-turn-") as folder:
        log = open(os.path.join(folder, "lab.log"), "w+", encoding="utf-8")
        with log, process(coturn(folder, port), stdout=subprocess.DEVNULL), process(
            lab, stdout=subprocess.PIPE, stderr=log, text=True
        ) as server:
            ready = os.path.join(folder, "ready.json")
            with open(ready, "w", encoding="utf-8") as file:
                file.write(server.stdout.readline())
            from common import Lab

            asyncio.run(asyncio.wait_for(run(Lab(ready), port), 180))
            log.seek(0)
            assert SECRET not in log.read(), "the secret is in the log"
    print("ok     coturn takes the credentials of XEP-0215")


if __name__ == "__main__":
    try:
        main()
    except Exception as error:
        print(f"FAILED coturn: {type(error).__name__}: {error}")
        sys.exit(1)
