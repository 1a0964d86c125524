"""Prometheus, as Debian has it: scrapes the lab, and its HTTP API says what it found.

Skipped, with a word, where it is not installed.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

PATIENCE = 60  # seconds: it opens its database first

CONFIG = """
global:
  scrape_interval: 1s
rule_files: ["{rules}"]
scrape_configs:
  - job_name: stonechat
    static_configs:
      - targets: ["{target}"]
"""

MONITORING = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "config", "monitoring")

# Queries with what their answer has to be at least.
FIGURES = [
    ('up{job="stonechat"}', 1),
    ("stonechat_build", 1),
    ("stonechat_database_writable", 1),
    ("stonechat_commit_seconds_count", 1),
    ('stonechat_commit_seconds_bucket{le="+Inf"}', 1),
    ("sum(stonechat_logins_total)", 0),
    ('stonechat_messages_total{outcome="delivered"}', 0),
    ("process_resident_memory_bytes", 1_000_000),
]


def free_port():
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def asked(port, path, **query):
    url = f"http://127.0.0.1:{port}{path}?{urllib.parse.urlencode(query)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        return json.load(answer)["data"]


def value(port, query):
    """The value of the first series; none as long as there is none."""
    with contextlib.suppress(urllib.error.URLError, ConnectionError):
        result = asked(port, "/api/v1/query", query=query)["result"]
        if result:
            return float(result[0]["value"][1])
    return None


def dashboard():
    """The queries of the dashboard, with its variables filled in."""
    with open(os.path.join(MONITORING, "grafana.json"), encoding="utf-8") as file:
        panels = json.load(file)["panels"]
    for target in (target for panel in panels for target in panel.get("targets", ())):
        yield target["expr"].replace("$instance", ".*").replace("$__rate_interval", "1m")


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        metrics = json.load(file).get("metrics")
    if not metrics:
        print("skipped prometheus: this server names no address for it")
        return 0
    if not shutil.which("prometheus"):
        print("skipped prometheus: it is not installed")
        return 0
    started, port = time.monotonic(), free_port()
    with tempfile.TemporaryDirectory(prefix="stonechat-prometheus-") as folder:
        config = os.path.join(folder, "prometheus.yml")
        with open(config, "w", encoding="utf-8") as file:
            file.write(CONFIG.format(target=urllib.parse.urlsplit(metrics).netloc,
                                     rules=os.path.realpath(os.path.join(MONITORING, "alerts.yml"))))
        with open(os.path.join(folder, "log"), "w+", encoding="utf-8") as log:
            command = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
                       f"--web.listen-address=127.0.0.1:{port}"]
            with subprocess.Popen(command, stdout=log, stderr=log) as process:
                try:
                    for query, least in FIGURES:
                        found = None
                        while found is None or found < least:
                            if time.monotonic() > started + PATIENCE or process.poll() is not None:
                                told = asked(port, "/api/v1/targets") if process.poll() is None else None
                                raise AssertionError(f"{query} is {found}: {told}")
                            time.sleep(0.2)
                            found = value(port, query)
                    # It takes what has no description, too; ours has one for each name.
                    known = asked(port, "/api/v1/metadata")
                    assert known["stonechat_commit_seconds"][0]["type"] == "histogram", known
                    assert known["stonechat_sessions"][0]["type"] == "gauge", known
                    target, = asked(port, "/api/v1/targets")["activeTargets"]
                    assert target["health"] == "up" and not target["lastError"], target
                    rules, = asked(port, "/api/v1/rules")["groups"]
                    assert all(rule["health"] != "err" for rule in rules["rules"]), rules
                    # Each picture of the dashboard is a query that Prometheus takes.
                    for query in dashboard():
                        asked(port, "/api/v1/query", query=query)
                    print(f"ok     prometheus scrapes the lab ({time.monotonic() - started:.2f} s)", flush=True)
                    return 0
                except (AssertionError, KeyError, ValueError, OSError) as error:
                    print(f"FAILED prometheus: {type(error).__name__}: {error}", flush=True)
                    log.seek(0)
                    print(log.read()[-3000:], file=sys.stderr)
                    return 1
                finally:
                    process.terminate()


if __name__ == "__main__":
    sys.exit(main())
