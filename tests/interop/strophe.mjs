// strophe.js, which Converse.js stands on, over WebSocket and BOSH (RFC 7395, XEP-0124, XEP-0206).
// node strophe.mjs READY-FILE; NODE_EXTRA_CA_CERTS names the CA.

import xhr2 from "xhr2";
import { $iq, $msg, $pres, Strophe } from "strophe.js";
import { User, PASSWORD, domain, jid, must, ready, run, within } from "./web.mjs";

// What a browser has and Node.js has not.
globalThis.XMLHttpRequest = class extends xhr2 {
  get responseXML() {
    return this.responseText ? new DOMParser().parseFromString(this.responseText, "text/xml") : null;
  }
};
Strophe.setLogLevel(Strophe.LogLevel.FATAL);

const DISCO = "http://jabber.org/protocol/disco";
const MUC = "http://jabber.org/protocol/muc";
const ROSTER = "jabber:iq:roster";
const { CONNECTED, ATTACHED, CONNFAIL, AUTHFAIL, DISCONNECTED } = Strophe.Status;
const tags = (element, name) => [...element.getElementsByTagName(name)];

class StropheUser extends User {
  constructor(name) {
    super(name);
    this.connection = this.connect();
  }

  /** The library's callback: until it is there, or that it will not be. */
  status(begin) {
    return within(
      new Promise((done, fail) => {
        begin((status, why) => {
          if (status === CONNECTED || status === ATTACHED) {
            this.listen();
            done();
          }
          if (status === CONNFAIL || status === AUTHFAIL) fail(new Error(`no login of ${this.jid}: ${why}`));
          if (status === DISCONNECTED) this.gone?.();
        });
      }),
      `the login of ${this.jid}`,
    );
  }

  login() {
    return this.status((told) => this.connection.connect(this.jid, PASSWORD, told));
  }

  listen() {
    for (const kind of ["message", "presence"]) {
      this.connection.addHandler((element) => {
        const type = element.getAttribute("type") ?? (kind === "presence" ? "available" : "normal");
        const body = tags(element, "body")[0]?.textContent;
        this.inbox.put({ kind, from: element.getAttribute("from"), type, body });
        return true;
      }, null, kind);
    }
  }

  async online() {
    await this.login();
    this.connection.send($pres());
    await this.inbox.presence(this.connection.jid);
  }

  iq(stanza) {
    return within(
      new Promise((done, fail) =>
        this.connection.sendIQ(stanza, done, (element) => {
          const error = element && tags(element, "error")[0];
          fail(error ? { condition: error.firstElementChild.tagName } : new Error("no answer"));
        }),
      ),
      `an answer to ${stanza}`,
    );
  }

  async roster() {
    const answer = await this.iq($iq({ type: "get" }).c("query", { xmlns: ROSTER }));
    const items = tags(answer, "item").map((item) => ["jid", "subscription"].map((name) => item.getAttribute(name)));
    return Object.fromEntries(items);
  }

  request(jid) {
    this.connection.send($pres({ to: jid, type: "subscribe" }));
  }

  allow(jid) {
    this.connection.send($pres({ to: jid, type: "subscribed" }));
  }

  forget(jid) {
    const item = { jid, subscription: "remove" };
    return this.iq($iq({ type: "set" }).c("query", { xmlns: ROSTER }).c("item", item));
  }

  say(to, text, type = "chat") {
    this.connection.send($msg({ to, type }).c("body").t(text));
  }

  async enter(room, nick) {
    this.connection.send($pres({ to: `${room}/${nick}` }).c("x", { xmlns: MUC }));
    await this.inbox.presence(`${room}/${nick}`);
  }

  /** As it is (XEP-0045 §10.1.2). */
  open(to) {
    const form = { xmlns: "jabber:x:data", type: "submit" };
    return this.iq($iq({ type: "set", to }).c("query", { xmlns: `${MUC}#owner` }).c("x", form));
  }

  async quit(room) {
    this.connection.send($pres({ to: `${room}/x`, type: "unavailable" }));
    await this.inbox.presence(room, "unavailable");
  }

  async features(to) {
    const answer = await this.iq($iq({ type: "get", to }).c("query", { xmlns: `${DISCO}#info` }));
    return tags(answer, "feature").map((feature) => feature.getAttribute("var"));
  }

  async items(to) {
    const answer = await this.iq($iq({ type: "get", to }).c("query", { xmlns: `${DISCO}#items` }));
    return tags(answer, "item").map((item) => item.getAttribute("jid"));
  }

  async slot(to, { name, size, type }) {
    const request = { xmlns: "urn:xmpp:http:upload:0", filename: name, size, "content-type": type };
    const answer = await this.iq($iq({ type: "get", to }).c("request", request));
    const headers = tags(answer, "header").map((header) => [header.getAttribute("name"), header.textContent]);
    const [put, get] = ["put", "get"].map((name) => tags(answer, name)[0].getAttribute("url"));
    return { put, headers: Object.fromEntries(headers), get };
  }

  leave() {
    this.over();
    const gone = new Promise((done) => (this.gone = done));
    this.connection.disconnect();
    return within(gone, `the end of ${this.jid}`);
  }

  drop() {
    this.connection.disconnect();
  }
}

/** Its stream management is for WebSocket alone. */
class OverWebSocket extends StropheUser {
  connect() {
    return new Strophe.Connection(ready.ws, { enableStreamManagement: true });
  }

  async cut() {
    const gone = new Promise((done) => (this.gone = done));
    this.connection._proto.socket.terminate();
    await within(gone, "the end of the connection");
  }

  async again() {
    await this.login();
    must(this.connection.hasResumed(), "a new session instead of the old one");
  }
}

/** A session goes on when a page is loaded anew: another object, the next request (XEP-0206 calls it attaching). */
class OverBosh extends StropheUser {
  connect() {
    const connection = new Strophe.Connection(ready.bosh);
    return connection;
  }

  cut() {
    const { jid, _proto } = this.connection;
    this.kept = { jid, sid: _proto.sid, rid: _proto.rid };
    this.connection.pause();
    // What a browser does to the requests of a page that it leaves.
    for (const request of _proto._requests) {
      request.xhr.onreadystatechange = null;
      request.xhr.abort();
    }
    _proto._requests = [];
    this.connection._idleTimeout = clearTimeout(this.connection._idleTimeout);
    this.connection.connected = false;
  }

  async again() {
    this.connection = this.connect();
    const { jid, sid, rid } = this.kept;
    await this.status((told) => this.connection.attach(jid, sid, rid, told));
    this.connection.send($iq({ type: "get", to: domain }).c("ping", { xmlns: "urn:xmpp:ping" }));
  }
}

await run("strophe.js", { websocket: OverWebSocket, bosh: OverBosh });
