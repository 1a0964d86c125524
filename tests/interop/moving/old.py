"""The servers that people move away from: real Prosody and ejabberd of Debian, with the modules that have data.

As in the bed of federation, nothing of theirs is in /etc or /var; they speak with nobody but the checks' clients."""

import asyncio
import glob
import json
import os
import shutil
import subprocess
import sys
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "federation"))

from servers import Server  # noqa: E402


class Host:
    """A domain of a server, as a client needs it."""

    def __init__(self, server, domain):
        self.server, self.domain = server, domain
        self.direct, self.trusted = server.direct, server.trusted


class Stonechat(Server):
    """Where they move to: the same domains."""

    name = "stonechat"

    def __init__(self, bed, address, folder, domains):
        super().__init__(bed, domains[0], address, folder)
        self.domains = domains

    def hosts(self):
        return [Host(self, domain) for domain in self.domains]

    def configured(self):
        certificate, key = self.bed.chain
        hosts = "".join(f'[[host]]\ndomain = "{domain}"\ncertificate = "{certificate}"\nkey = "{key}"\n'
                        for domain in self.domains)
        return self.write("stonechat.toml", hosts + "[sasl]\niterations = 10000\ndelay_first_ms = 0\n[log]\nlevel = \"info\"\n"
                          f"[c2s]\nlisten_tls = [\"{self.address}:5223\"]\nlisten = []\n"
                          "[s2s]\nlisten = []\nlisten_tls = []\n"
                          "[web]\nlisten = []\n[metrics]\nlisten = []\n[admin]\nlisten = []\n")

    def arguments(self):
        return ["--config", self.configured(), "--data-dir", self.path("data")]

    def command(self):
        return [self.bed.binary, "serve", *self.arguments()], {}

    async def start(self):
        self.launch()
        await self.listens(self.direct)
        return self

    def import_from(self, source, *more):
        """What `stonechat import` said, and its exit code."""
        done = subprocess.run([self.bed.binary, "import", *self.arguments(), "--from", source, *more],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        return done.returncode, done.stdout.decode(errors="replace")


class Old(Server):
    """domains: the first is where people are, the others have accounts that are kept in other ways."""

    domains = ("old.test",)
    rooms_domain = "conference.old.test"
    share = None

    def __init__(self, bed, address, folder):
        super().__init__(bed, self.domains[0], address, folder)
        self.rooms = self.rooms_domain

    def hosts(self):
        return [Host(self, domain) for domain in self.domains]

    async def start(self):
        self.launch()
        await self.listens(self.direct)
        await self.listens((self.address, 5280))
        return self


class Prosody(Old):
    name = "prosody"
    domains = ("old.test", "sha256.old.test", "plain.old.test")
    share = "share.old.test"
    storage = "internal"
    modules = ("vcard_legacy", "vcard4", "bookmarks")
    extra = ""

    def command(self):
        certificate, key = self.bed.chain
        modules = ["roster", "saslauth", "tls", "disco", "ping", "register", "offline", "time", "version", "carbons",
                   "private", "blocklist", "pep", "mam", "presence", "message", "iq", *self.modules]
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
s2s_ports = {{}}
http_ports = {{ 5280 }}
http_interfaces = {{ "{self.address}" }}
https_ports = {{}}
modules_enabled = {{ {", ".join(f'"{name}"' for name in modules)} }}
modules_disabled = {{ "posix", "s2s" }}
allow_registration = true
registration_invite_only = false
registration_throttle_max = 10000
authentication = "internal_hashed"
storage = "{self.storage}"
limits = {{}}
log = {{ info = "{self.path('prosody.log')}" }}
ssl = {{ certificate = "{certificate}"; key = "{key}" }}
c2s_direct_tls_ssl = {{ certificate = "{certificate}"; key = "{key}" }}
{self.extra}
VirtualHost "{self.domains[0]}"
VirtualHost "{self.domains[1]}"
  password_hash = "SHA-256"
VirtualHost "{self.domains[2]}"
  authentication = "internal_plain"
Component "{self.rooms}" "muc"
  modules_enabled = {{ "muc_mam", "vcard_muc" }}
  muc_room_default_persistent = true
Component "{self.share}" "http_file_share"
  http_host = "{self.share}"
"""
        for folder in ("certs", "data"):
            os.makedirs(self.path(folder), exist_ok=True)
        return ["prosody", "--config", self.write("prosody.cfg.lua", text), "-F"], {}


class ProsodySql(Prosody):
    """With SQLite, and the older modules for vCards and bookmarks."""

    name = "prosody-sqlite"
    storage = "sql"
    modules = ("vcard",)
    extra = 'sql = { driver = "SQLite3"; database = "prosody.sqlite" }'


class Ejabberd(Old):
    name = "ejabberd"
    domains = ("old.test", "sha256.old.test")
    share = "upload.old.test"
    database = "mnesia"

    def command(self):
        certificate, key = self.bed.chain
        with open(self.path("both.pem"), "wb") as both:
            for part in (certificate, key):
                with open(part, "rb") as file:
                    both.write(file.read())
        modules = ["mod_adhoc", "mod_blocking", "mod_caps", "mod_carboncopy", "mod_disco", "mod_last", "mod_offline",
                   "mod_ping", "mod_privacy", "mod_private", "mod_version", "mod_admin_extra"]
        sql = ""
        if self.database == "sql":
            sql = f"sql_type: sqlite\nsql_database: \"{self.path('ejabberd.sqlite')}\"\nnew_sql_schema: true\n" \
                  "auth_method: sql\n"
        config = self.write("ejabberd.yml", f"""
hosts: {json.dumps(self.domains)}
loglevel: info
log_rotate_count: 0
certfiles: ["{self.path('both.pem')}"]
acme: {{auto: false}}
default_db: {self.database}
{sql}
listen:
  - {{port: 5223, ip: "{self.address}", module: ejabberd_c2s, tls: true, max_stanza_size: 262144, access: all}}
  - {{port: 5280, ip: "{self.address}", module: ejabberd_http,
     request_handlers: {{"/upload": mod_http_upload, "/api": mod_http_api}}}}
auth_password_format: scram
host_config:
  sha256.old.test: {{auth_password_format: scram, auth_scram_hash: sha256}}
registration_timeout: infinity
access_rules: {{open: {{allow: all}}}}
api_permissions: {{"all": {{from: [mod_http_api], who: all, what: "*"}}}}
modules:
{"".join(f"  {name}: {{}}" + chr(10) for name in modules)}
  mod_register: {{access: open, ip_access: open, welcome_message: {{}}}}
  mod_roster: {{versioning: true}}
  mod_mam: {{default: always, request_activates_archiving: false}}
  mod_muc: {{host: "{self.rooms}", access: open, access_create: open, access_register: open,
     default_room_options: {{mam: true, persistent: true}}}}
  mod_pubsub: {{access_createnode: open, plugins: [flat, pep], last_item_cache: false, max_items_node: 500, force_node_config:
     {{"storage:bookmarks": {{access_model: whitelist}}}}}}
  mod_vcard: {{search: false}}
  mod_http_upload: {{host: "{self.share}", docroot: "{self.path('upload')}",
     put_url: "http://@HOST@:5280/upload", access: open}}
""")
        inetrc = self.write("inetrc", '{lookup, []}.\n{resolv_conf, ""}.\n{hosts_file, ""}.\n')
        libraries = os.path.dirname(sorted(glob.glob("/usr/lib/*/ejabberd-*/ebin"))[-1])
        os.makedirs(self.path("spool"), exist_ok=True)
        environment = {
            "ERL_LIBS": os.path.dirname(libraries), "ERL_INETRC": inetrc, "EJABBERD_CONFIG_PATH": config,
            "EJABBERD_LOG_PATH": self.path("ejabberd.log"), "ERL_CRASH_DUMP": self.path("crash.dump"),
            "EJABBERD_SQL_PATH": "/usr/share/ejabberd/sql", "HOME": self.folder,
        }
        return ["erl", "+K", "true", "+P", "250000", "+sbwt", "none", "-noinput", "-mnesia", "dir",
                f'"{self.path("spool")}"', "-s", "ejabberd"], environment

    async def command_of(self, name, **arguments):
        """As ejabberdctl does, by its HTTP API."""
        request = urllib.request.Request(f"http://{self.address}:5280/api/{name}", json.dumps(arguments).encode(),
                                         {"Content-Type": "application/json"})

        def send():
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.read()

        return await asyncio.to_thread(send)


class EjabberdSql(Ejabberd):
    name = "ejabberd-sqlite"
    database = "sql"


EVERY = (Prosody, ProsodySql, Ejabberd, EjabberdSql)
