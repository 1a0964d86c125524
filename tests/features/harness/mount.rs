//! Small and read-only file systems.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A file system of a test's own, gone with it.
pub struct Mount(PathBuf);

impl Mount {
    /// An empty one in memory, on a new folder; `None` where only root may mount, and we are not root: the
    /// test is skipped, and that is said.
    pub fn small(at: &Path, megabytes: u32) -> Option<Mount> {
        std::fs::create_dir(at).unwrap();
        let made = mount(&["-t", "tmpfs", "-o", &format!("size={megabytes}m"), "tmpfs"], at);
        if made.is_none() {
            println!("skipped: a small file system can only be mounted by root");
        }
        made
    }

    /// What is there already, without writing.
    pub fn read_only(at: &Path) -> Option<Mount> {
        let shown = at.display().to_string();
        let mount = mount(&["--bind", &shown], at)?;
        mount.remount("ro,bind").then_some(mount)
    }

    pub fn resize(&self, megabytes: u32) {
        assert!(self.remount(&format!("size={megabytes}m")), "{megabytes} MB");
    }

    fn remount(&self, options: &str) -> bool {
        run("mount", &["-o", &format!("remount,{options}")], &self.0)
    }
}

fn mount(args: &[&str], at: &Path) -> Option<Mount> {
    run("mount", args, at).then(|| Mount(at.to_owned()))
}

fn run(program: &str, args: &[&str], last: &Path) -> bool {
    let output = Command::new(program).args(args).arg(last).output();
    output.is_ok_and(|output| output.status.success())
}

impl Drop for Mount {
    fn drop(&mut self) {
        run("umount", &["-l"], &self.0);
    }
}
