// stanza.js over WebSocket and BOSH (RFC 7395, XEP-0124, XEP-0206).
// node stanza.mjs READY-FILE; NODE_EXTRA_CA_CERTS names the CA.

import { createClient } from "stanza";
import { PASSWORD, User, domain, must, ready, run, within } from "./web.mjs";

class StanzaUser extends User {
  constructor(name) {
    super(name);
    this.client = this.connect();
    this.listen();
  }

  make(transports) {
    return createClient({
      jid: this.jid,
      credentials: { username: this.name, password: PASSWORD },
      server: domain,
      transports,
      autoReconnect: false,
    });
  }

  listen() {
    const kinds = { message: "normal", presence: "available" };
    for (const [kind, usual] of Object.entries(kinds)) {
      this.client.on(kind, ({ from, type, body }) => this.inbox.put({ kind, from, type: type ?? usual, body }));
    }
  }

  event(name, ...others) {
    return within(
      new Promise((done, fail) => {
        this.client.once(name, done);
        for (const other of others) this.client.once(other, () => fail(new Error(`${other} instead of ${name}`)));
      }),
      `${name} of ${this.jid}`,
    );
  }

  async online() {
    const there = this.event("session:started", "auth:failed", "disconnected");
    this.client.connect();
    await there;
    this.client.sendPresence();
    await this.inbox.presence(this.client.jid);
  }

  async roster() {
    const { items } = await within(this.client.getRoster(), "the roster");
    return Object.fromEntries(items.map(({ jid, subscription }) => [jid, subscription]));
  }

  request(jid) {
    this.client.subscribe(jid);
  }

  allow(jid) {
    this.client.acceptSubscription(jid);
  }

  forget(jid) {
    return within(this.client.removeRosterItem(jid), "removed");
  }

  say(to, body, type = "chat") {
    this.client.sendMessage({ to, body, type });
  }

  async enter(room, nick) {
    const own = await within(this.client.joinRoom(room, nick), `${this.jid} enters`);
    must(own.muc.statusCodes.includes("110"), JSON.stringify(own));
  }

  /** As it is (XEP-0045 §10.1.2). */
  open(room) {
    return within(this.client.configureRoom(room, {}), "the room opened");
  }

  quit(room) {
    return within(this.client.leaveRoom(room), `${this.jid} leaves the room`);
  }

  async features(jid) {
    return (await within(this.client.getDiscoInfo(jid), `disco of ${jid}`)).features;
  }

  async items(jid) {
    return (await within(this.client.getDiscoItems(jid), `items of ${jid}`)).items.map((item) => item.jid);
  }

  async slot(service, { name, size, type }) {
    const found = await within(this.client.getUploadService(domain), "the service");
    must(found.jid === service && found.maxSize > 0, JSON.stringify(found));
    const request = { name, size, mediaType: type };
    const asked = this.client.getUploadSlot(service, request).catch((answer) => Promise.reject(answer.error));
    const { upload, download } = await within(asked, "a slot");
    const headers = Object.fromEntries((upload.headers ?? []).map(({ name, value }) => [name, value]));
    return { put: upload.url, headers, get: download };
  }

  async again() {
    const resumed = this.event("stream:management:resumed", "session:started", "stream:management:failed");
    this.client.connect();
    await resumed;
  }

  async leave() {
    this.over();
    const gone = this.event("disconnected");
    this.client.disconnect();
    await gone;
  }

  drop() {
    this.client.disconnect();
  }
}

class OverWebSocket extends StanzaUser {
  connect() {
    return this.make({ websocket: ready.ws, bosh: false });
  }

  async cut() {
    const gone = this.event("disconnected");
    this.client.transport.socket.terminate();
    await gone;
  }
}

class OverBosh extends StanzaUser {
  connect() {
    return this.make({ websocket: false, bosh: ready.bosh });
  }

  /**
   * What the answer to the last request brings (XEP-0124 §13 allows it) is not looked at: stanza.js 12 reads it into a
   * stream that it has ended itself, and dies of it.
   */
  async leave() {
    const { transport } = this.client;
    transport.on("error", () => this.client.emit("disconnected"));
    await super.leave();
  }

  /** What answers the requests that are open is lost on the way. */
  async cut() {
    const gone = this.event("disconnected");
    const { transport } = this.client;
    transport.isEnded = true;
    transport.process = () => {};
    transport.disconnect(false);
    await gone;
  }
}

await run("stanza.js", { websocket: OverWebSocket, bosh: OverBosh });
