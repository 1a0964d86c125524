// xmpp.js over WebSocket (RFC 7395), with the first SASL profile that both have.
// node xmppjsweb.mjs READY-FILE; NODE_EXTRA_CA_CERTS names the CA. (xmppjs.mjs is about tokens and Bind 2 over TCP.)

import { client, xml } from "@xmpp/client";
import ws from "ws";
import { PASSWORD, PATIENCE, User, domain, must, ready, run, within } from "./web.mjs";

// Node.js has one of its own from version 22 on. This one can be cut.
globalThis.WebSocket = ws;

const DISCO = "http://jabber.org/protocol/disco";
const MAM = "urn:xmpp:mam:2";
const MUC = "http://jabber.org/protocol/muc";
const ROSTER = "jabber:iq:roster";

class XmppUser extends User {
  constructor(name) {
    super(name);
    const xmpp = client({ service: ready.ws, domain, username: name, password: PASSWORD });
    this.xmpp = xmpp;
    xmpp.timeout = PATIENCE;
    xmpp.reconnect.delay = 50;
    xmpp.on("error", (error) => (this.error = error));
    xmpp.on("stanza", (element) => {
      const { name: kind, attrs } = element;
      if (kind === "iq") return;
      const type = attrs.type ?? (kind === "presence" ? "available" : "normal");
      this.inbox.put({ kind, from: attrs.from, type, body: element.getChildText("body") ?? undefined });
    });
  }

  async online() {
    await within(this.xmpp.start(), `the login of ${this.jid}`);
    await this.xmpp.send(xml("presence"));
    await this.inbox.presence(this.xmpp.jid.toString());
  }

  iq(type, to, child) {
    const asked = this.xmpp.iqCaller.request(xml("iq", { type, to }, child), PATIENCE);
    return within(asked, `an answer to ${child}`);
  }

  /** A client of Bind 2 is not sent what waits (XEP-0386 §3.2): it reads the archive (XEP-0313). */
  async later(from, body) {
    const found = [];
    const read = (element) => {
      const copy = element.getChild("result", MAM)?.getChild("forwarded", "urn:xmpp:forward:0")?.getChild("message");
      if (copy) found.push(`${copy.attrs.from.split("/")[0]} ${copy.getChildText("body")}`);
    };
    this.xmpp.on("stanza", read);
    await this.iq("set", undefined, xml("query", MAM));
    this.xmpp.off("stanza", read);
    must(found.includes(`${from} ${body}`), `not in the archive: ${found}`);
  }

  async roster() {
    const answer = await this.iq("get", undefined, xml("query", ROSTER));
    const items = answer.getChild("query").getChildren("item").map(({ attrs }) => [attrs.jid, attrs.subscription]);
    return Object.fromEntries(items);
  }

  request(to) {
    return this.xmpp.send(xml("presence", { to, type: "subscribe" }));
  }

  allow(to) {
    return this.xmpp.send(xml("presence", { to, type: "subscribed" }));
  }

  forget(jid) {
    return this.iq("set", undefined, xml("query", ROSTER, xml("item", { jid, subscription: "remove" })));
  }

  say(to, text, type = "chat") {
    return this.xmpp.send(xml("message", { to, type }, xml("body", {}, text)));
  }

  async enter(room, nick) {
    await this.xmpp.send(xml("presence", { to: `${room}/${nick}` }, xml("x", MUC)));
    await this.inbox.presence(`${room}/${nick}`);
  }

  /** As it is (XEP-0045 §10.1.2). */
  open(room) {
    const form = xml("x", { xmlns: "jabber:x:data", type: "submit" });
    return this.iq("set", room, xml("query", `${MUC}#owner`, form));
  }

  async quit(room) {
    await this.xmpp.send(xml("presence", { to: `${room}/x`, type: "unavailable" }));
    await this.inbox.presence(room, "unavailable");
  }

  async features(to) {
    const answer = await this.iq("get", to, xml("query", `${DISCO}#info`));
    return answer.getChild("query").getChildren("feature").map(({ attrs }) => attrs.var);
  }

  async items(to) {
    const answer = await this.iq("get", to, xml("query", `${DISCO}#items`));
    return answer.getChild("query").getChildren("item").map(({ attrs }) => attrs.jid);
  }

  async slot(to, { name, size, type }) {
    const request = xml("request", { xmlns: "urn:xmpp:http:upload:0", filename: name, size, "content-type": type });
    const slot = (await this.iq("get", to, request)).getChild("slot");
    const [put, get] = ["put", "get"].map((name) => slot.getChild(name));
    const headers = put.getChildren("header").map((header) => [header.attrs.name, header.text()]);
    return { put: put.attrs.url, headers: Object.fromEntries(headers), get: get.attrs.url };
  }

  /** Gone without a word; it comes back by itself. */
  cut() {
    const { streamManagement: sm, socket } = this.xmpp;
    must(sm.enabled, "no stream management");
    this.resumed = new Promise((done, fail) => {
      sm.on("resumed", done);
      this.xmpp.on("online", () => fail(new Error("a new session instead of the old one")));
    });
    socket.socket.terminate();
  }

  again() {
    return within(this.resumed, "the resumption");
  }

  async leave() {
    this.over();
    await within(this.xmpp.stop(), `the end of ${this.jid}`);
  }

  drop() {
    this.xmpp.stop().catch(() => {});
  }
}

await run("xmpp.js", { websocket: XmppUser });
