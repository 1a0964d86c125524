// xmpp.js against a server: SASL2, Bind 2 with inline stream management, FAST, inline resumption
// (XEP-0388, 0386, 0484, 0198). node xmppjs.mjs READY-FILE; NODE_EXTRA_CA_CERTS names the CA.

import { setDefaultResultOrder } from "node:dns";
import { readFileSync } from "node:fs";
import { setDefaultAutoSelectFamily } from "node:net";
import { client, xml } from "@xmpp/client";

// The lab listens on 127.0.0.1; trying both families gives up after a quarter of a second.
setDefaultResultOrder("ipv4first");
setDefaultAutoSelectFamily(false);

const PASSWORD = "secret";
// PBKDF2 in JavaScript is slow on a machine that has other work.
const PATIENCE = 60_000;
const ready = JSON.parse(readFileSync(process.argv[2], "utf8"));
const domain = ready.domains[0];
const port = ready.c2s_tls.slice(ready.c2s_tls.lastIndexOf(":") + 1);

function within(promise, what) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`timed out: ${what}`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What a client says and hears, and the tokens it keeps: a device. */
class Device {
  constructor(name) {
    this.name = name;
    this.agent = xml("user-agent", { id: crypto.randomUUID() }, xml("software", {}, "interop"));
    this.token = null;
    this.used = [];
  }

  async start() {
    const device = this;
    this.sent = [];
    this.came = [];
    this.xmpp = client({
      service: `xmpps://localhost:${port}`,
      domain,
      username: this.name,
      userAgent: this.agent,
      async credentials(authenticate, mechanisms, fast) {
        const given = fast && (await fast.fetch());
        const mechanism = mechanisms.find((m) => m.startsWith("SCRAM"));
        device.used.push(given ? given.mechanism : mechanism);
        await authenticate({ username: device.name, password: PASSWORD, token: given }, mechanism, device.agent);
      },
    });
    // It listens for an answer only once its write is done, and misses one that is there before.
    const write = this.xmpp.write.bind(this.xmpp);
    this.xmpp.write = async (text) => void write(text).catch(() => {});
    // Its PBKDF2 is JavaScript: a second of a busy machine, of the two that it gives itself.
    this.xmpp.timeout = PATIENCE;
    if (this.xmpp.fast) {
      this.xmpp.fast.fetchToken = async () => this.token;
      this.xmpp.fast.saveToken = async (token) => void (this.token = token);
      this.xmpp.fast.deleteToken = async () => void (this.token = null);
    }
    this.xmpp.on("error", (error) => this.came.push(error));
    this.xmpp.on("send", (element) => this.sent.push(element));
    this.xmpp.on("element", (element) => this.came.push(element));
    await within(this.xmpp.start(), `the login of ${this.name}`);
    await this.xmpp.send(xml("presence"));
    return this;
  }

  /** An answer of this name and namespace came, anywhere in what the server said. */
  heard(name, ns) {
    const is = (element) =>
      element.is?.(name, ns) || (element.getChildElements?.() ?? []).some(is);
    return this.came.some(is);
  }

  message(text) {
    const is = (element) => element.is?.("message") && element.getChildText("body") === text;
    return within(
      new Promise((done) => {
        if (this.came.some(is)) return done();
        this.xmpp.on("element", (element) => is(element) && done());
      }),
      `the message ${text}`,
    );
  }

  say(to, text) {
    return this.xmpp.send(xml("message", { to: `${to}@${domain}`, type: "chat" }, xml("body", {}, text)));
  }

  stop() {
    return within(this.xmpp.stop(), `the end of ${this.name}`);
  }
}

function must(holds, what) {
  if (!holds) throw new Error(what);
}

async function scramAndBindInOneStep() {
  const alice = await new Device("alice").start();
  must(alice.heard("bound", "urn:xmpp:bind:0"), "no <bound/>");
  must(alice.heard("enabled", "urn:xmpp:sm:3"), "stream management was not enabled inline");
  must(!alice.sent.some((element) => element.is("iq")), "it asked for a resource by an IQ");
  must(alice.xmpp.streamManagement.enabled && alice.xmpp.streamManagement.id, "no SM-ID");
  await alice.stop();
}

async function aTokenInsteadOfThePassword() {
  const alice = await new Device("alice").start();
  must(alice.token?.token && alice.token.mechanism === "HT-SHA-256-NONE", "no token came");
  await alice.stop();
  await alice.start();
  must(alice.used.join() === "SCRAM-SHA-1,HT-SHA-256-NONE", `used ${alice.used}`);
  must(alice.heard("bound", "urn:xmpp:bind:0"), "no <bound/>");
  must(!alice.heard("challenge", "urn:xmpp:sasl:2"), "it took a password all the same");
  const bob = await new Device("bob").start();
  await bob.say("alice", "by token");
  await alice.message("by token");
  await alice.stop();
  await bob.stop();
}

async function aWrongTokenFallsBackToThePassword() {
  const alice = await new Device("alice").start();
  await alice.stop();
  alice.token = { ...alice.token, token: "not-the-token" };
  await alice.start();
  must(alice.heard("failure", "urn:xmpp:sasl:2"), "the wrong token was taken");
  must(alice.heard("challenge", "urn:xmpp:sasl:2"), "no password was asked for");
  must(alice.token.token !== "not-the-token", "no new token came");
  await alice.stop();
}

async function aCutIsResumedInline() {
  const alice = await new Device("alice").start();
  const bob = await new Device("bob").start();
  const resumed = new Promise((done) => alice.xmpp.streamManagement.on("resumed", done));
  // Gone without a word; xmpp.js comes back by itself.
  alice.xmpp.socket.destroy?.() ?? alice.xmpp.socket.socket.destroy();
  await bob.say("alice", "while away");
  await within(resumed, "the resumption");
  const inline = (element) =>
    element.is?.("success", "urn:xmpp:sasl:2") && element.getChild("resumed", "urn:xmpp:sm:3");
  must(alice.came.some(inline), "not resumed inline");
  await alice.message("while away");
  await alice.stop();
  await bob.stop();
}

let failed = 0;
for (const scenario of [
  scramAndBindInOneStep,
  aTokenInsteadOfThePassword,
  aWrongTokenFallsBackToThePassword,
  aCutIsResumedInline,
]) {
  const started = performance.now();
  try {
    await scenario();
    console.log(`ok     xmpp.js direct ${scenario.name} (${((performance.now() - started) / 1000).toFixed(2)} s)`);
  } catch (error) {
    failed += 1;
    console.log(`FAILED xmpp.js direct ${scenario.name}: ${error.message || error}`);
  }
}
process.exit(failed ? 1 : 0);
