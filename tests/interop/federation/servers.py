"""The real servers of the bed: how each is configured, started, killed and started again.

Nothing of theirs is in /etc or /var: configuration, data and logs are in the bed's folder. Prosody is pointed at the
bed's DNS by `unbound`, ejabberd by the file in ERL_INETRC (and see nameserver.py on addresses). ejabberd is started by
`erl` itself: no ejabberdctl (which becomes the system's user), no node name and so no epmd."""

import asyncio
import glob
import json
import os
import shutil
import signal
import subprocess
import time

START = 60  # seconds; ejabberd needs about five of CPU


class Server:
    """One process of the bed. `domain` is where its accounts are, `rooms` its service of rooms."""

    name = "server"
    keeps = False  # whether messages for a peer that is away must be kept, and be delivered later in their order

    def __init__(self, bed, domain, address, log, lean=False):
        self.lean = lean  # no archive, carbons nor logs: for figures (pairs.py)
        self.bed, self.domain, self.address = bed, domain, address
        self.folder = os.path.join(bed.folder, log)
        os.makedirs(self.folder, exist_ok=True)
        self.direct = (address, 5223)
        self.ca = self.trusted = bed.ca.certificate  # the latter is for the clients of the checks
        self.rooms = f"conference.{domain}"
        self.process = None

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as file:
            file.write(text)
        return self.path(name)

    def command(self):
        raise NotImplementedError

    def launch(self):
        command, environment = self.command()
        log = open(self.path("out.log"), "ab")
        self.process = subprocess.Popen(
            command, cwd=self.folder, env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
            stdout=log, stderr=log, start_new_session=True)
        log.close()

    async def start(self):
        self.launch()
        await self.listens(self.direct)
        await self.listens((self.address, 5269))
        return self

    async def listens(self, where):
        until = time.monotonic() + START
        while True:
            try:
                _, writer = await asyncio.open_connection(*where)
                writer.close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{self.name} did not start on {where}:\n{self.last()}") from None
                await asyncio.sleep(0.05)  # there is no event for a port that opens

    def last(self, lines=30):
        text = ""
        for path in sorted(glob.glob(self.path("*.log"))):
            with open(path, encoding="utf-8", errors="replace") as file:
                text += f"-- {path}\n" + "".join(file.readlines()[-lines:])
        return text

    def tell(self, number):
        """To the process and all that it started."""
        os.killpg(self.process.pid, number)

    async def stop(self, number=signal.SIGTERM):
        """Until it is gone; what does not end in ten seconds is killed."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.tell(number)
            try:
                await asyncio.wait_for(asyncio.to_thread(self.process.wait), 10)
            except asyncio.TimeoutError:
                self.tell(signal.SIGKILL)
                self.process.wait()
        self.process = None


class Prosody(Server):
    """hosts: domain → (certificate, key) for domains besides; options: lines of the global section."""

    name = "prosody"

    def __init__(self, bed, domain, address, log="prosody", hosts=(), options="", modules=("smacks", "s2s_bidi"),
                 lean=False):
        super().__init__(bed, domain, address, log, lean)
        self.hosts = {domain: bed.certificate(domain), **dict(hosts)}
        self.options, self.modules = options, modules

    def command(self):
        host, port = self.bed.dns.where
        modules = ["roster", "saslauth", "tls", "disco", "ping", "register", "offline", "time", "version", "carbons",
                   "private", "vcard_legacy", "vcard4", "blocklist", "pep", "mam", "dialback", "s2s", "lastactivity",
                   *self.modules]
        if self.lean:
            modules = ["roster", "saslauth", "tls", "disco", "register", "dialback", "s2s", *self.modules]
        level = "error" if self.lean else os.environ.get("FEDERATION_PROSODY_LOG", "info")
        first = self.hosts[self.domain]
        text = f"""
run_as_root = true
daemonize = false
pidfile = "{self.path('prosody.pid')}"
data_path = "{self.path('data')}"
certificates = "{self.path('certs')}"
interfaces = {{ "{self.address}" }}
use_ipv6 = false
c2s_ports = {{}}
c2s_direct_tls_ports = {{ 5223 }}
s2s_ports = {{ 5269, 5299 }}
s2s_direct_tls_ports = {{ 5270 }}
http_ports = {{}}
https_ports = {{}}
unbound = {{ resolvconf = false; hoststxt = false; forward = "{host}@{port}"; options = {{
  ["do-not-query-localhost:"] = "no"; ["cache-max-ttl:"] = "1"; ["cache-max-negative-ttl:"] = "0";
  ["infra-host-ttl:"] = "1"; ["local-zone:"] = "test. transparent" }} }}
modules_enabled = {{ {", ".join(f'"{name}"' for name in modules)} }}
modules_disabled = {{ "posix" }}
allow_registration = true
registration_invite_only = false
c2s_require_encryption = true
s2s_require_encryption = true
s2s_timeout = 10
authentication = "internal_plain"
storage = "internal"
storage_mam = "memory"
smacks_max_queue_size = 5000
limits = {{}}
log = {{ {level} = "{self.path('prosody.log')}" }}
ssl = {{ cafile = "{self.ca}"; certificate = "{first[0]}"; key = "{first[1]}" }}
c2s_direct_tls_ssl = {{ certificate = "{first[0]}"; key = "{first[1]}" }}
s2s_direct_tls_ssl = {{ certificate = "{first[0]}"; key = "{first[1]}" }}
{self.options}
"""
        os.makedirs(self.path("certs"), exist_ok=True)
        for name, (certificate, key) in self.hosts.items():
            shutil.copy(certificate, self.path(f"certs/{name}.crt"))
            shutil.copy(key, self.path(f"certs/{name}.key"))
            text += f'VirtualHost "{name}"\n  ssl = {{ certificate = "{certificate}"; key = "{key}" }}\n'
        text += f'Component "{self.rooms}" "muc"\n  ssl = {{ certificate = "{first[0]}"; key = "{first[1]}" }}\n'
        config = self.write("prosody.cfg.lua", text)
        return ["prosody", "--config", config, "-F"], {}


class Ejabberd(Server):
    """strict: no dialback, so that nobody comes in without a certificate that proves the name."""

    name = "ejabberd"

    def __init__(self, bed, domain, address, log="ejabberd", strict=True, extra="", lean=False):
        super().__init__(bed, domain, address, log, lean)
        self.strict, self.extra = strict, extra

    def command(self):
        certificate, key = self.bed.certificate(self.domain)
        with open(self.path("both.pem"), "wb") as both:
            for part in (certificate, key):
                with open(part, "rb") as file:
                    both.write(file.read())
        modules = ["mod_adhoc", "mod_blocking", "mod_caps", "mod_carboncopy", "mod_client_state", "mod_disco",
                   "mod_last", "mod_mam", "mod_offline", "mod_ping", "mod_privacy", "mod_private", "mod_roster",
                   "mod_stream_mgmt", "mod_version"]
        more = f"""
  mod_muc: {{host: "{self.rooms}", access: open, access_create: open, default_room_options: {{mam: true}}}}
  mod_pubsub: {{access_createnode: open, plugins: [flat, pep], last_item_cache: false}}
  mod_vcard: {{search: false}}
"""
        if self.lean:
            modules, more = ["mod_disco", "mod_roster"], ""
        level = "error" if self.lean else os.environ.get("FEDERATION_EJABBERD_LOG", "info")
        if not self.strict:
            modules.append("mod_s2s_dialback")
        config = self.write("ejabberd.yml", f"""
hosts: ["{self.domain}"]
loglevel: {level}
log_rotate_count: 0
certfiles: ["{self.path('both.pem')}"]
ca_file: "{self.ca}"
acme: {{auto: false}}
default_db: mnesia
listen:
  - {{port: 5223, ip: "{self.address}", module: ejabberd_c2s, tls: true, max_stanza_size: 262144, access: all}}
  - {{port: 5269, ip: "{self.address}", module: ejabberd_s2s_in, max_stanza_size: 524288}}
s2s_use_starttls: required
s2s_cafile: "{self.ca}"
s2s_max_retry_delay: 1 second
s2s_timeout: 10 minutes
s2s_dns_timeout: 2 seconds
s2s_dns_retries: 1
outgoing_s2s_timeout: 5 seconds
outgoing_s2s_families: [ipv4]
auth_password_format: plain
registration_timeout: infinity
access_rules: {{open: {{allow: all}}}}
modules:
{"".join(f"  {name}: {{}}" + chr(10) for name in modules)}
  mod_register: {{access: open, ip_access: open, welcome_message: {{}}}}
{more}
{self.extra}
""")
        host, port = self.bed.numeric.where
        inetrc = self.write("inetrc", f"""
{{lookup, [dns]}}.
{{resolv_conf, ""}}.
{{hosts_file, ""}}.
{{nameserver, {{{host.replace('.', ',')}}}, {port}}}.
{{timeout, 2000}}.
{{retry, 1}}.
""")
        libraries = os.path.dirname(sorted(glob.glob("/usr/lib/*/ejabberd-*/ebin"))[-1])
        os.makedirs(self.path("spool"), exist_ok=True)
        environment = {
            "ERL_LIBS": os.path.dirname(libraries), "ERL_INETRC": inetrc, "EJABBERD_CONFIG_PATH": config,
            "EJABBERD_LOG_PATH": self.path("ejabberd.log"), "ERL_CRASH_DUMP": self.path("crash.dump"),
            "HOME": self.folder,
        }
        return ["erl", "+K", "true", "+P", "250000", "+sbwt", "none", "-noinput", "-mnesia", "dir",
                f'"{self.path("spool")}"', "-s", "ejabberd"], environment


class Stonechat(Server):
    """A lab with the certificates of the bed; its data stays over restarts. s2s: what else stands in [s2s]."""

    name = "stonechat"
    keeps = True

    def __init__(self, bed, domain, address, log="stonechat", s2s=None, certificate=None, lean=False):
        super().__init__(bed, domain, address, log, lean)
        self.s2s, self.chain = dict(s2s or {}), certificate or bed.certificate(domain)

    def command(self):
        host, port = self.bed.dns.where
        s2s = {
            "listen": [f"{self.address}:5269"], "listen_tls": [f"{self.address}:5270"], "trust": [self.ca],
            "trust_system": False, "resolver": [f"{host}:{port}"], "private_addresses": True, "connect_secs": 3,
            "iq_secs": 10, **self.s2s,
        }
        config = self.write("stonechat.toml", f"""
[[host]]
domain = "{self.domain}"
certificate = "{self.chain[0]}"
key = "{self.chain[1]}"
archive = {json.dumps(not self.lean)}
[sasl]
iterations = 4096
[modules.muc]
preset = "public"
[modules.register]
mode = "open"
per_ip_per_hour = 0
[log]
level = "{'error' if self.lean else os.environ.get('FEDERATION_STONECHAT_LOG', 'debug')}"
[s2s]
""" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in s2s.items()))
        return [self.bed.binary, "lab", "--config", config, "--data-dir", self.path("data"),
                "--set", f"c2s.listen_tls={self.address}:5223",
                "--set", f"s2s.listen={self.address}:5269", "--set", f"s2s.listen_tls={self.address}:5270"], {}
