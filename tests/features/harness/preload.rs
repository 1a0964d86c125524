//! Libraries in C that are preloaded into a server under test.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A library, in a folder of its own.
pub struct Library {
    pub path: PathBuf,
    _folder: tempfile::TempDir,
}

impl Library {
    /// Of this source; `None` without a C compiler.
    pub fn of(source: &str) -> Option<Library> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("preloaded.so");
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
        compiler.args(["-shared", "-fPIC", "-O1", "-Wall", "-Werror", "-U_FORTIFY_SOURCE", "-o"]);
        let said = compiler.arg(&path).arg(source).args(["-ldl", "-pthread"]).output();
        let Ok(said) = said else {
            println!("skipped: there is no C compiler");
            return None;
        };
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        Some(Library { path, _folder: folder })
    }
}
