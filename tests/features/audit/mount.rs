//! A small file system of a run's own, which can be made larger.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Gone with the run.
pub struct Mount(PathBuf);

impl Mount {
    /// None where only root may mount, and we are not root.
    pub fn new(at: &Path, megabytes: u32) -> Option<Mount> {
        let size = format!("size={megabytes}m");
        run("mount", &["-t", "tmpfs", "-o", &size, "tmpfs"], at).then(|| Mount(at.to_owned()))
    }

    pub fn resize(&self, megabytes: u32) {
        let options = format!("remount,size={megabytes}m");
        assert!(run("mount", &["-o", &options], &self.0), "{options}");
    }
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
