// What the scripts in JavaScript share: where the server is, how a check is told, and what people do with any
// of the three libraries. A script brings a class of users:
//
//   online()                     logs in, sends presence, and is there
//   roster()                     { "bob@localhost": "both", … }
//   request(jid), allow(jid), forget(jid)
//   say(jid, text, type)         enter(room, nick)   open(room)   quit(room)
//   features(jid), items(jid)    what disco tells
//   slot(service, file)          { put, headers, get }, or an error with a condition
//   cut(), again()               the connection ends without a word; the session goes on with another
//   leave()
//
// and puts what comes into its inbox: { kind: "message" | "presence", from, type, body }.

import { setDefaultResultOrder } from "node:dns";
import { readFileSync } from "node:fs";
import { setDefaultAutoSelectFamily } from "node:net";

// The lab listens on 127.0.0.1; trying both families gives up after a quarter of a second.
setDefaultResultOrder("ipv4first");
setDefaultAutoSelectFamily(false);

export const PASSWORD = "secret";
// PBKDF2 in JavaScript is slow on a machine that has other work.
export const PATIENCE = 30_000;
export const ready = JSON.parse(readFileSync(process.argv[2], "utf8"));
export const domain = ready.domains[0];
export const jid = (name) => `${name}@${domain}`;

export function must(holds, what) {
  if (!holds) throw new Error(what);
}

/** Waits, but not for ever; says what did not come. */
export function within(promise, what) {
  let timer;
  const late = new Promise((_, fail) => {
    timer = setTimeout(() => fail(new Error(`timed out: ${what}`)), PATIENCE);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** What came to a user, in order, until somebody waits for it. */
export class Inbox {
  #kept = [];
  #waiting = [];

  put(thing) {
    const at = this.#waiting.findIndex(({ wanted }) => wanted(thing));
    if (at < 0) this.#kept.push(thing);
    else this.#waiting.splice(at, 1)[0].done(thing);
  }

  /** The first that is wanted, taken out. */
  take(wanted, what) {
    const at = this.#kept.findIndex(wanted);
    if (at >= 0) return this.#kept.splice(at, 1)[0];
    const came = new Promise((done) => this.#waiting.push({ wanted, done }));
    return within(came, what).catch((error) => {
      const kept = this.#kept.map((thing) => JSON.stringify(thing)).join("\n  ");
      throw new Error(`${error.message}; what came instead:\n  ${kept}`);
    });
  }

  message(from, body) {
    const wanted = (it) => it.kind === "message" && it.from.startsWith(from) && it.body === body;
    return this.take(wanted, `${JSON.stringify(body)} from ${from}`);
  }

  presence(from, type = "available") {
    const wanted = (it) => it.kind === "presence" && it.from.startsWith(from) && it.type === type;
    return this.take(wanted, `presence ${type} from ${from}`);
  }

  /** How many messages with this text are here. */
  count(body) {
    return this.#kept.filter((it) => it.kind === "message" && it.body === body).length;
  }
}

/** Somebody with an inbox. Who is not over when a scenario fails is dropped, so as not to stand in the next one's way. */
export class User {
  static there = new Set();

  static end() {
    for (const user of User.there) user.drop();
    User.there.clear();
  }

  constructor(name) {
    this.name = name;
    this.jid = jid(name);
    this.inbox = new Inbox();
    User.there.add(this);
  }

  /** What was said while nobody was at home. */
  later(from, body) {
    return this.inbox.message(from, body);
  }

  over() {
    User.there.delete(this);
  }
}

async function both(User) {
  const [alice, bob] = [new User("alice"), new User("bob")];
  await Promise.all([alice.online(), bob.online()]);
  return [alice, bob];
}

/** They become contacts, see each other, write, and part. */
async function contacts(User) {
  const [alice, bob] = await both(User);
  must(!(jid("bob") in (await alice.roster())), "alice has contacts already");
  await alice.request(jid("bob"));
  await bob.inbox.presence(jid("alice"), "subscribe");
  await bob.allow(jid("alice"));
  await alice.inbox.presence(`${jid("bob")}/`);
  await bob.request(jid("alice"));
  await alice.inbox.presence(jid("bob"), "subscribe");
  await alice.allow(jid("bob"));
  await bob.inbox.presence(`${jid("alice")}/`);
  must((await alice.roster())[jid("bob")] === "both", "no contact after all");
  await alice.say(jid("bob"), "<hello> & ‘good day’ 🎈");
  await bob.inbox.message(jid("alice"), "<hello> & ‘good day’ 🎈");
  await bob.say(jid("alice"), "hello yourself");
  await alice.inbox.message(jid("bob"), "hello yourself");
  await bob.leave();
  await alice.inbox.presence(jid("bob"), "unavailable");
  await alice.say(jid("bob"), "for later");
  const back = new User("bob");
  await back.online();
  await back.later(jid("alice"), "for later");
  await alice.forget(jid("bob"));
  await back.forget(jid("alice"));
  must(!(jid("bob") in (await alice.roster())), "bob is still there");
  await alice.leave();
  await back.leave();
}

/** Both in a room: each sees the other come, all hear all in one order, one leaves. */
async function room(User) {
  const [alice, bob] = await both(User);
  const place = `web-${process.hrtime.bigint()}@conference.${domain}`;
  await alice.enter(place, "Alice");
  await alice.open(place);
  must((await alice.features(place)).includes("http://jabber.org/protocol/muc"), "no room");
  await bob.enter(place, "Bob");
  await alice.inbox.presence(`${place}/Bob`);
  await alice.say(place, "one", "groupchat");
  await bob.inbox.message(`${place}/Alice`, "one");
  await alice.inbox.message(`${place}/Alice`, "one");
  await bob.say(place, "two", "groupchat");
  for (const user of [alice, bob]) await user.inbox.message(`${place}/Bob`, "two");
  await alice.say(`${place}/Bob`, "between us");
  await bob.inbox.message(`${place}/Alice`, "between us");
  await bob.quit(place);
  await alice.inbox.presence(`${place}/Bob`, "unavailable");
  await alice.leave();
  await bob.leave();
}

/** The service is found, a file goes up and is seen by another; what is too large is refused before. */
async function files(User) {
  const [alice, bob] = await both(User);
  let service;
  for (const item of await alice.items(domain)) {
    if ((await alice.features(item)).includes("urn:xmpp:http:upload:0")) service = item;
  }
  must(service, "no upload service among the items of the domain");
  const bytes = Buffer.from("a picture \u00e4\n".repeat(3000));
  const file = { name: "très drôle.png", size: bytes.length, type: "image/png" };
  const slot = await alice.slot(service, file);
  const origin = { Origin: "https://page.example" };
  const asked = await within(
    fetch(slot.put, { method: "OPTIONS", headers: { ...origin, "Access-Control-Request-Method": "PUT" } }),
    "the preflight",
  );
  must(asked.ok && asked.headers.get("access-control-allow-methods")?.includes("PUT"), `preflight: ${asked.status}`);
  const headers = { ...slot.headers, ...origin, "Content-Type": file.type };
  const put = await within(fetch(slot.put, { method: "PUT", body: bytes, headers }), "the upload");
  must(put.status === 201, `PUT: ${put.status} ${await put.text()}`);
  await alice.say(jid("bob"), slot.get);
  const { body: link } = await bob.inbox.message(jid("alice"), slot.get);
  const got = await within(fetch(link, { headers: origin }), "the download");
  must(got.status === 200, `GET: ${got.status}`);
  must(got.headers.get("access-control-allow-origin") === "*", "no page could read it");
  must(got.headers.get("content-type") === file.type, `it came as ${got.headers.get("content-type")}`);
  must(Buffer.from(await got.arrayBuffer()).equals(bytes), "other bytes came");
  const refused = await alice.slot(service, { ...file, size: 2 ** 40 }).catch((error) => error);
  must(refused.condition === "not-acceptable", `a terabyte: ${refused.message ?? refused.condition}`);
  await alice.leave();
  await bob.leave();
}

/** The session goes on over another connection: what was said meanwhile comes once, both ways. */
async function resumed(User) {
  const [alice, bob] = await both(User);
  await bob.say(jid("alice"), "before");
  await alice.inbox.message(jid("bob"), "before");
  await alice.cut();
  await bob.say(jid("alice"), "meanwhile");
  await alice.again();
  await alice.inbox.message(jid("bob"), "meanwhile");
  await alice.say(jid("bob"), "after");
  await bob.inbox.message(jid("alice"), "after");
  await bob.say(jid("alice"), "last");
  await alice.inbox.message(jid("bob"), "last");
  must(!alice.inbox.count("meanwhile"), "it came twice");
  await alice.leave();
  await bob.leave();
}

/** Runs all of it each way in: { name of the way: class of users }. */
export async function run(library, ways, more = []) {
  let failed = 0;
  for (const [way, User] of Object.entries(ways)) {
    for (const scenario of [contacts, room, files, resumed, ...more]) {
      const title = `${library} ${way} ${scenario.name}`;
      const started = performance.now();
      try {
        await scenario(User);
        console.log(`ok     ${title} (${((performance.now() - started) / 1000).toFixed(2)} s)`);
      } catch (error) {
        failed += 1;
        console.log(`FAILED ${title}: ${error.message || JSON.stringify(error)}`);
        User.end();
      }
    }
  }
  process.exit(failed ? 1 : 0);
}
