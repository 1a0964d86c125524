#!/usr/bin/env python3
"""slix.py JID PASSWORD ADDRESS CA FRIEND: what somebody with a slixmpp client (1.8 of Debian) does at the old server: a
contact with a group, a message, a vCard, an avatar, a nick, private notes, a bookmark and a block."""

import asyncio
import base64
import sys

import slixmpp
from slixmpp.xmlstream import ET

PNG = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==")


class Person(slixmpp.ClientXMPP):
    def __init__(self, jid, password, friend):
        super().__init__(jid, password)
        self.friend = friend
        for plugin in ("xep_0030", "xep_0048", "xep_0049", "xep_0054", "xep_0060", "xep_0084", "xep_0163", "xep_0172",
                       "xep_0191"):
            self.register_plugin(plugin)
        self.add_event_handler("session_start", self.started)
        self.add_event_handler("failed_auth", lambda _: self.done.set_result("failed_auth"))
        self.done = asyncio.get_event_loop().create_future()

    async def started(self, _):
        try:
            self.send_presence()
            await self.get_roster()
            await self.update_roster(self.friend, name="Friend & co", groups=["By slixmpp"])
            self.send_message(self.friend, "from slixmpp, with 🐍", mtype="chat")
            card = self["xep_0054"].make_vcard()
            card["FN"] = "Slix <the> Snake"
            await self["xep_0054"].publish_vcard(card)
            await self["xep_0084"].publish_avatar(PNG)
            number = self["xep_0084"].generate_id(PNG)
            await self["xep_0084"].publish_avatar_metadata({"id": number, "type": "image/png", "bytes": len(PNG)})
            await self["xep_0172"].publish_nick("Slix")
            notes = ET.fromstring("<notes xmlns='slix:notes'><n>a &amp; b</n></notes>")
            query = self.make_iq_set()
            query.append(ET.fromstring("<query xmlns='jabber:iq:private'/>"))
            query.xml[0].append(notes)
            await query.send()
            await self["xep_0191"].block("pest@bad.example")
            self.done.set_result("done")
        except Exception as why:  # whatever it is, the other side is told
            self.done.set_result(f"{type(why).__name__}: {why}")


async def main(jid, password, address, authority, friend):
    person = Person(jid, password, friend)
    person.ca_certs = authority
    person.connect((address, 5223), use_ssl=True)
    said = await asyncio.wait_for(person.done, 20)
    print(said)
    await person.disconnect(wait=2)
    return 0 if said == "done" else 1


if __name__ == "__main__":
    sys.exit(asyncio.get_event_loop().run_until_complete(main(*sys.argv[1:])))
