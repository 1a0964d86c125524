"""A plug-in of Gajim that does what is written to its socket, so that a test has the whole client in its hand.

One line of JSON a connection: an expression, or statements that leave `result`. The answer is {"ok": repr} or
{"error": traceback}."""

import json
import os
import traceback

from gajim.common import app, ged
from gajim.common.structs import OutgoingMessage
from gajim.plugins import GajimPlugin
from gi.repository import Gio
from nbxmpp.protocol import JID

HEARD = ("signed-in", "muc-invitation", "subscribe-presence-received")


class DriverPlugin(GajimPlugin):
    def init(self):
        self.config_dialog = None
        self.events = []
        for name in HEARD:
            self.events_handlers[name] = (ged.POSTGUI, lambda event: self.events.append(event.name))

    def activate(self):
        path = os.environ["GAJIM_DRIVER"]
        if os.path.exists(path):
            os.unlink(path)
        self.names = {"app": app, "JID": JID, "OutgoingMessage": OutgoingMessage, "events": self.events}
        (me,) = app.settings.get_active_accounts()
        self.names |= {"me": me, "client": app.get_client(me)}
        self.service = Gio.SocketService.new()
        address = Gio.UnixSocketAddress.new(path)
        self.service.add_address(address, Gio.SocketType.STREAM, Gio.SocketProtocol.DEFAULT, None)
        self.service.connect("incoming", self.incoming)
        self.service.start()

    def deactivate(self):
        self.service.stop()

    def incoming(self, _service, connection, _source):
        stream = Gio.DataInputStream.new(connection.get_input_stream())
        self.open = (connection, stream)  # nothing else keeps them

        def read(stream, result):
            line, _ = stream.read_line_finish_utf8(result)
            if line:
                answer = json.dumps(self.done(json.loads(line))) + "\n"
                connection.get_output_stream().write_all(answer.encode(), None)
            connection.close(None)

        stream.read_line_async(0, None, read)
        return True

    def done(self, code):
        try:
            try:
                return {"ok": repr(eval(code, self.names))}
            except SyntaxError:
                self.names["result"] = None
                exec(code, self.names)
                return {"ok": repr(self.names["result"])}
        except Exception:
            return {"error": traceback.format_exc()}
