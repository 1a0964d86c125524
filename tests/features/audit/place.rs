//! The server under audit: a process over a folder, killed or stopped and started again.

use super::settings;
use crate::harness::client::Target;
use crate::harness::process::{Lab, OPEN_ROOMS, PASSWORD, binary};
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Server {
    data: PathBuf,
    settings: Vec<String>,
    wrap: Option<String>,
    lab: Option<Lab>,
    starts: u32,
}

impl Server {
    /// Over this folder, not started. The bounds that keep strangers in check are off: a thousand
    /// messages a second from one address is what this is about.
    pub fn over(data: &Path) -> Server {
        let settings = SETTINGS.iter().map(|set| (*set).to_owned()).collect();
        Server { data: data.to_owned(), settings, wrap: settings::wrap(), lab: None, starts: 0 }
    }

    /// Started through this command.
    pub fn through(self, wrap: String) -> Server {
        Server { wrap: Some(wrap), ..self }
    }

    /// Starts it; these accounts (addresses) are made.
    pub fn start(&mut self, accounts: &[String]) -> Target {
        self.starts += 1;
        let data = self.data.display().to_string();
        let users: Vec<String> = accounts.iter().map(|jid| format!("{jid}:{PASSWORD}")).collect();
        let mut args = vec!["--data-dir", &data];
        args.extend(self.settings.iter().flat_map(|set| ["--set", set]));
        args.extend(users.iter().flat_map(|user| ["--user", user]));
        let start = || Lab::start_through(self.command(), &args);
        // It waits for a line of another process, which is no time for the clients to stand still.
        let lab = tokio::task::block_in_place(start);
        let target = lab.target.clone();
        self.lab = Some(lab);
        target
    }

    /// `STONECHAT_AUDIT_WRAP` and `STONECHAT_AUDIT_PRELOAD`, around the binary.
    fn command(&self) -> Command {
        let mut command = binary();
        if let Some(library) = settings::preload() {
            command.env("LD_PRELOAD", library);
        }
        let Some(words) = &self.wrap else { return command };
        let words = words.replace("{n}", &self.starts.to_string());
        let mut words = words.split_whitespace();
        let mut wrapped = Command::new(words.next().expect("STONECHAT_AUDIT_WRAP is empty"));
        wrapped.args(words).arg(command.get_program());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => wrapped.env(name, value),
                None => wrapped.env_remove(name),
            };
        }
        wrapped
    }

    /// SIGKILL, and the end of the process.
    pub fn kill(&mut self) {
        self.end("KILL");
    }

    /// SIGTERM, and the end of the process; it must say that all went well.
    pub fn stop(&mut self) {
        self.end("TERM");
    }

    fn end(&mut self, signal: &str) {
        let Some(mut lab) = self.lab.take() else { return };
        // The server's own, where it runs under another program.
        let pid = pid(&lab).to_string();
        let sent = Command::new("kill").args([&format!("-{signal}"), &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "kill -{signal} {pid}");
        let status = tokio::task::block_in_place(|| lab.process.exit());
        let log = lab.process.log();
        assert!(signal != "TERM" || status.success(), "{status}: {log}");
        assert!(!log.contains("panicked"), "{log}");
    }

    /// What it has said.
    pub fn log(&self) -> String {
        self.lab.as_ref().map(|lab| lab.process.log()).unwrap_or_default()
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Bytes of the database's files.
    pub fn size(&self) -> u64 {
        let files = std::fs::read_dir(&self.data).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|data| data.len()).sum()
    }
}

/// From the line that says it is ready.
fn pid(lab: &Lab) -> u64 {
    let line = lab.process.prints(|text| text.lines().next().map(str::to_owned));
    let ready: serde_json::Value = serde_json::from_str(&line).unwrap();
    ready["pid"].as_u64().expect("its pid")
}

const SETTINGS: &[&str] = &[
    OPEN_ROOMS,
    "sasl.iterations=4096",
    "limits.bytes_per_second=0",
    "limits.stanzas_per_second=0",
    "limits.connections_per_second=0",
    "limits.streams_per_ip=0",
    "limits.offline_messages_max=10000000",
    "limits.offline_bytes_max=1000000000",
    "modules.upload.files_per_day_max=1000000",
    "modules.upload.bytes_per_day_max=1000000000000",
    "modules.upload.bytes_per_account_max=1000000000000",
    "modules.upload.bytes_max=1000000000000",
];
