"""account.py FOLDER NAME: the configuration of a Gajim that knows its account, and the plug-in. Run with Gajim's Python."""

import json
import shutil
import sys
from pathlib import Path

from gajim.common import app, configpaths
from gajim.common.settings import Settings

folder, name = sys.argv[1:]
configpaths.set_config_root(folder)
configpaths.init()
configpaths.create_paths()
app.settings = settings = Settings()
settings.init()
for key, value in (("use_keyring", False), ("remote_control", False), ("sounds_on", False)):
    settings.set_app_setting(key, value)
settings.add_account(name)
for key, value in {
    "name": name, "hostname": "localhost", "password": "secret", "savepass": True, "resource": "gajim",
    "account_label": name, "active": True, "autoconnect": True, "restore_last_status": False,
    "use_custom_host": True, "custom_host": "localhost", "custom_port": 5222, "custom_type": "START TLS",
}.items():
    settings.set_account_setting(name, key, value)
for plugin in ("driver", "omemo"):
    settings.set_plugin_setting(plugin, "active", True)
settings._commit()
settings.close()
plugin = Path(configpaths.get("PLUGINS_USER")) / "driver"
plugin.mkdir(parents=True)
shutil.copy(Path(__file__).parent / "plugin.py", plugin / "plugin.py")
(plugin / "__init__.py").write_text("from .plugin import DriverPlugin\n")
manifest = {
    "authors": ["interop"], "description": "driver", "homepage": "none", "config_dialog": False, "name": "Driver",
    "platforms": ["others", "linux"], "requirements": ["gajim>=1.5.0"], "short_name": "driver", "version": "1.0.0",
}
(plugin / "plugin-manifest.json").write_text(json.dumps(manifest))
