"""carol.py DATA ROOM: what carol's account knows before Dino comes: a contact, alice, and a bookmark of a room."""

import asyncio
import sys
from xml.etree import ElementTree

from slixmpp import ClientXMPP

data, room = sys.argv[1:]
carol = ClientXMPP("carol@localhost/before", "secret")
carol.ca_certs = f"{data}/tls/ca.pem"
for plugin in ("xep_0030", "xep_0060"):
    carol.register_plugin(plugin)


async def work(_):
    carol.send_presence()
    await carol.get_roster()
    carol.send_presence(pto="alice@localhost", ptype="subscribe")
    mark = ElementTree.fromstring(
        "<conference xmlns='urn:xmpp:bookmarks:1' name='The Den' autojoin='true'><nick>carol</nick></conference>")
    await carol["xep_0060"].publish("carol@localhost", "urn:xmpp:bookmarks:1", id=room, payload=mark)
    carol.send_presence(pto="alice@localhost", ptype="subscribed")  # before she asks (RFC 6121 §3.4)
    await carol.get_roster()
    carol.disconnect()


carol.auto_authorize = carol.auto_subscribe = False
carol.add_event_handler("session_start", work)
carol.connect(("127.0.0.1", 5222))
asyncio.get_event_loop().run_until_complete(asyncio.wait_for(carol.disconnected, 30))
