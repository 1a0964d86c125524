// Converse.js in Chromium: two people log in with nothing but their addresses, become contacts, chat, meet in a
// room, send a picture, and go on after a restart of the server.
//
// node converse.mjs BINARY CONVERSE-DIST [FOLDER-FOR-SCREENSHOTS]: starts the server itself, for it must end it.
// Needs Chromium and certutil. The browser trusts the server's authority and nothing is ignored; the pages are of
// another origin, and only the names of the domain lead to the lab.

import { spawn, spawnSync } from "node:child_process";
import { createReadStream, existsSync, mkdirSync, mkdtempSync, openSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { createServer as listen } from "node:net";
import { tmpdir } from "node:os";
import { extname, join, normalize } from "node:path";
import { createInterface } from "node:readline";
import { deflateSync } from "node:zlib";
import { chromium } from "playwright-core";

const [binary, dist, shots] = process.argv.slice(2);
const DOMAIN = "chat.example";
const PATIENCE = 60_000;
const folder = mkdtempSync(join(tmpdir(), "stonechat-converse-"));
if (shots) mkdirSync(shots, { recursive: true });

/** Below the ephemeral ones, so that no client's own socket takes it while the server is away. */
async function freePort() {
  for (let port = 20_000 + (process.pid % 10_000); port < 32_000; port += 1) {
    const probe = listen();
    const free = await new Promise((done) => {
      probe.once("error", () => done(false));
      probe.listen(port, "127.0.0.1", () => done(true));
    });
    if (free) {
      await new Promise((done) => probe.close(done));
      return port;
    }
  }
  throw new Error("no free port");
}

/** A lab at one port over one folder. */
class Server {
  constructor(port) {
    this.port = port;
  }

  async start() {
    const made = existsSync(join(folder, "data"));
    const users = made ? [] : ["alice", "bob"].flatMap((name) => ["--user", `${name}@${DOMAIN}:secret`]);
    const where = ["--data-dir", join(folder, "data"), "--set", `web.listen=127.0.0.1:${this.port}`];
    const log = openSync(join(folder, "log"), "a");
    const stdio = ["ignore", "pipe", log];
    this.process = spawn(binary, ["lab", "--domain", DOMAIN, "--set", "modules.muc.preset=public", ...users, ...where], { stdio });
    this.ended = new Promise((done) => this.process.once("exit", done));
    const [line] = await Promise.race([
      new Promise((done) => createInterface(this.process.stdout).once("line", (line) => done([line]))),
      this.ended.then(() => Promise.reject(new Error("the lab did not start"))),
    ]);
    return JSON.parse(line);
  }

  async stop() {
    this.process.kill("SIGTERM");
    await this.ended;
  }
}

/** The page that has Converse.js, from another origin than the server's. */
function pages() {
  const types = { ".js": "text/javascript", ".css": "text/css", ".json": "application/json", ".svg": "image/svg+xml" };
  const page = `<!doctype html><meta charset="utf-8"><title>Converse.js</title>
    <link rel="stylesheet" href="/dist/converse.min.css">
    <body class="converse-fullscreen"><div id="conversejs-bg"></div><script type="module">
      import converse from "/dist/converse.min.js";
      converse.initialize({ view_mode: "fullscreen", assets_path: "/dist/", authentication: "login", theme: "classic",
        loglevel: "info", auto_away: 0, muc_domain: undefined, allow_url_history_change: false, play_sounds: false,
        show_desktop_notifications: false, i18n: "en" });
    </script>`;
  const server = createServer((request, response) => {
    const path = normalize(new URL(request.url, "http://page").pathname);
    if (path === "/") return response.writeHead(200, { "Content-Type": "text/html" }).end(page);
    const file = path.startsWith("/dist/") && join(dist, path.slice(6));
    if (!file || !existsSync(file)) return response.writeHead(404).end();
    response.writeHead(200, { "Content-Type": types[extname(file)] ?? "application/octet-stream" });
    createReadStream(file).pipe(response);
  });
  return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

/** A PNG in two colours, so that whoever looks at the screenshot sees it. */
function picture(width, height) {
  const crc = (bytes) => {
    let sum = ~0;
    for (const byte of bytes) {
      sum ^= byte;
      for (let bit = 0; bit < 8; bit += 1) sum = (sum >>> 1) ^ (sum & 1 ? 0xedb88320 : 0);
    }
    return ~sum >>> 0;
  };
  const chunk = (name, data) => {
    const body = Buffer.concat([Buffer.from(name), data]);
    const out = Buffer.alloc(8 + body.length);
    out.writeUInt32BE(data.length);
    body.copy(out, 4);
    out.writeUInt32BE(crc(body), 4 + body.length);
    return out;
  };
  const head = Buffer.alloc(13);
  head.writeUInt32BE(width, 0);
  head.writeUInt32BE(height, 4);
  head.set([8, 2, 0, 0, 0], 8);
  const rows = Buffer.alloc(height * (1 + 3 * width));
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      rows.set((x >> 4) + (y >> 4) & 1 ? [220, 90, 40] : [30, 60, 120], y * (1 + 3 * width) + 1 + 3 * x);
    }
  }
  const magic = Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
  return Buffer.concat([magic, chunk("IHDR", head), chunk("IDAT", deflateSync(rows)), chunk("IEND", Buffer.alloc(0))]);
}

function must(holds, what) {
  if (!holds) throw new Error(what);
}

/** One person in a browser of their own. */
class Person {
  constructor(name) {
    this.name = name;
    this.jid = `${name}@${DOMAIN}`;
    this.frames = [];
    this.said = [];
    this.waiting = [];
  }

  async begin(browser, url) {
    this.context = await browser.newContext({ viewport: { width: 1200, height: 800 } });
    this.page = await this.context.newPage();
    this.page.setDefaultTimeout(PATIENCE);
    this.page.on("console", (line) => this.said.push(`${line.type()}: ${line.text()}`));
    this.page.on("pageerror", (error) => this.said.push(`error: ${error.stack}`));
    this.page.on("websocket", (socket) => {
      this.where = socket.url();
      socket.on("framereceived", ({ payload }) => {
        this.frames.push(`< ${payload}`);
        for (const look of this.waiting) look();
      });
      socket.on("framesent", ({ payload }) => this.frames.push(`> ${payload}`));
    });
    await this.page.goto(url);
  }

  async shot(what) {
    if (shots) await this.page.screenshot({ path: join(shots, `${what}-${this.name}.png`) });
  }

  heard(text) {
    return this.frames.filter((frame) => frame.startsWith("<") && frame.includes(text)).length;
  }

  /** Until the server has said it more often than that. */
  hears(text, before) {
    return new Promise((done, fail) => {
      const late = setTimeout(() => fail(new Error(`${this.name} did not hear ${text}`)), PATIENCE);
      const look = () => {
        if (this.heard(text) <= before) return;
        clearTimeout(late);
        done();
      };
      this.waiting.push(look);
      look();
    });
  }

  async login() {
    const { page } = this;
    await page.fill("input[name=jid]", this.jid);
    await page.fill("input[name=password]", "secret");
    await page.click("#converse-login button[type=submit]");
    await page.locator("converse-user-profile, .userinfo").first().waitFor();
    await page.locator("converse-rosterview, converse-roster, #converse-roster").first().waitFor();
  }

  async addContact(jid) {
    const { page } = this;
    await page.locator("#converse-roster converse-dropdown button").first().click();
    await page.locator("a.add-contact").first().click();
    await page.fill("converse-add-contact-modal input[name=jid]", jid);
    await page.click("converse-add-contact-modal button[type=submit]");
  }

  async accept(jid) {
    const { page } = this;
    await page.locator(`a.open-chat[data-jid="${jid}"]`).waitFor();
    await page.locator("#converse-roster .contact-actions button").first().click();
    await page.locator("a.accept-xmpp-request").first().click();
    await page.click("converse-accept-contact-request-modal button[type=submit]");
  }

  async chatWith(jid) {
    await this.page.locator(`a.open-chat[data-jid="${jid}"]`).first().click();
    this.chat = this.page.locator(`converse-chat[jid="${jid}"]`);
    await this.chat.locator("textarea.chat-textarea").waitFor();
  }

  async say(text) {
    const box = this.chat.locator("textarea.chat-textarea");
    await box.fill(text);
    await box.press("Enter");
    await this.sees(text);
  }

  sees(text) {
    return this.chat.locator(".chat-msg__text", { hasText: text }).first().waitFor();
  }

  async enter(room, nick) {
    const { page } = this;
    await page.locator("#chatrooms converse-dropdown button").first().click();
    await page.locator("a.show-add-muc-modal").first().click();
    await page.fill("converse-add-muc-modal input[name=chatroom]", room);
    await page.fill("converse-add-muc-modal input[name=nickname]", nick);
    await page.click("converse-add-muc-modal input[type=submit]");
    this.chat = page.locator(`converse-muc[jid="${room}"]`);
    await this.chat.locator("textarea.chat-textarea").waitFor();
  }

  async upload(name, bytes) {
    await this.chat.locator("input.fileupload").setInputFiles({ name, mimeType: "image/png", buffer: bytes });
  }

  /** The picture is there, whole, as the browser shows it. */
  async seesPicture(width) {
    const image = this.chat.locator("img.chat-image, .chat-msg__media img").last();
    await image.waitFor();
    await this.page.waitForFunction(
      ([image, width]) => image.complete && image.naturalWidth === width,
      [await image.elementHandle(), width],
    );
    await image.scrollIntoViewIfNeeded();
  }
}

async function main() {
  const server = new Server(await freePort());
  const ready = await server.start();
  const site = await pages();
  // Trusted as a person would: the authority is imported; nothing is ignored.
  const nss = join(folder, ".pki/nssdb");
  mkdirSync(nss, { recursive: true });
  const certutil = (...args) => must(spawnSync("certutil", ["-d", `sql:${nss}`, ...args]).status === 0, "certutil");
  certutil("-N", "--empty-password");
  certutil("-A", "-t", "C,,", "-n", "stonechat", "-i", ready.ca);
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    // The domain is the lab, whatever port a link names.
    args: ["--no-sandbox", `--host-resolver-rules=MAP ${DOMAIN} 127.0.0.1:${server.port}`],
    env: { ...process.env, HOME: folder },
  });
  const [alice, bob] = [new Person("alice"), new Person("bob")];
  const url = `http://127.0.0.1:${site.address().port}/`;
  const room = `play-${process.pid}@conference.${DOMAIN}`;
  const steps = {
    async login() {
      for (const person of [alice, bob]) {
        await person.begin(browser, url);
        await person.login();
        must(person.where.startsWith(`wss://${DOMAIN}`), `it connected to ${person.where}`);
      }
      await alice.shot("1-login");
    },
    async roster() {
      await alice.addContact(bob.jid);
      await bob.accept(alice.jid);
      for (const [one, other] of [[alice, bob], [bob, alice]]) {
        await one.page.locator(`a.open-chat[data-jid="${other.jid}"]`).first().waitFor();
      }
      await alice.shot("2-roster");
    },
    async chat() {
      await alice.chatWith(bob.jid);
      await alice.say("Hello Bob, <this> is & was Alice 🎈");
      await bob.chatWith(alice.jid);
      await bob.sees("Hello Bob, <this> is & was Alice 🎈");
      await bob.say("Hello yourself");
      await alice.sees("Hello yourself");
      await alice.shot("3-chat");
      await bob.shot("3-chat");
    },
    async upload() {
      await alice.upload("squares.png", picture(160, 96));
      await alice.seesPicture(160);
      await bob.seesPicture(160);
      await bob.shot("4-upload");
      // And seen again, by a page that is loaded anew.
      const before = bob.heard("<resumed");
      await bob.page.reload();
      await bob.hears("<resumed", before);
      await bob.chatWith(alice.jid);
      await bob.seesPicture(160);
      await bob.shot("4-upload-again");
      must(!bob.heard("<stream:error"), "the stream ended with an error");
    },
    async room() {
      await alice.enter(room, "Alice");
      await alice.say("Is anybody here?");
      await bob.enter(room, "Bob");
      await bob.sees("Is anybody here?");
      await bob.say("I am");
      await alice.sees("I am");
      await alice.shot("5-room");
      await bob.shot("5-room");
    },
    async restart() {
      // Converse.js forgets a session that it has resumed once (bob's page was loaded anew) at its first try in vain.
      const back = [[alice, "<resumed"], [bob, "<jid>"]].map(([person, sign]) => [person, sign, person.heard(sign)]);
      await server.stop();
      await server.start();
      await Promise.all(back.map(([person, sign, before]) => person.hears(sign, before)));
      await alice.say("After the restart");
      await bob.sees("After the restart");
      await bob.say("We are all here still");
      await alice.sees("We are all here still");
      await alice.shot("6-restart");
      await bob.shot("6-restart");
    },
  };
  let failed = 0;
  for (const [name, step] of Object.entries(steps)) {
    const started = performance.now();
    try {
      await step();
      console.log(`ok     Converse.js ${name} (${((performance.now() - started) / 1000).toFixed(2)} s)`);
    } catch (error) {
      failed += 1;
      console.log(`FAILED Converse.js ${name}: ${error.message}`);
      for (const person of [alice, bob]) {
        await person.shot?.(`failed-${name}`).catch(() => {});
        if (process.env.INTEROP_LOG) console.log([...person.said.slice(-30), ...person.frames.slice(-30)].join("\n"));
      }
      break;
    }
  }
  await browser.close();
  site.close();
  await server.stop();
  if (failed) console.error(readFileSync(join(folder, "log"), "utf8").split("\n").slice(-30).join("\n"));
  rmSync(folder, { recursive: true });
  process.exit(failed ? 1 : 0);
}

await main();
