//! What the system says of this process, by the names that Prometheus' own libraries use.

use std::time::SystemTime;

use crate::base::figures::Figures;

/// Adds what is measured of the process. Of a system without `/proc` there is less.
pub(super) fn figures(started: SystemTime, out: &mut Figures) {
    out.gauge("stonechat_build", "Always 1; the label says which release runs.")
        .with([("version", env!("CARGO_PKG_VERSION"))], 1);
    let since = started.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    out.gauge("process_start_time_seconds", "When the server started, in seconds since 1970.")
        .is(since.as_secs());
    if let Some(bytes) = resident() {
        out.gauge("process_resident_memory_bytes", "Memory that the process has.").is(bytes);
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        out.gauge("process_open_fds", "Files and connections that are open.")
            .is(files.count() as u64);
    }
    if let Some(most) = files_max() {
        out.gauge("process_max_fds", "How many may be open.").is(most);
    }
}

/// proc(5): `VmRSS:  12345 kB`
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

/// proc(5): `Max open files  SOFT  HARD  files`; one without a bound says so in words.
fn files_max() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_system_says_what_the_process_has() {
        assert!(resident().is_some_and(|bytes| bytes > 1_000_000));
        let mut out = Figures::default();
        figures(SystemTime::UNIX_EPOCH, &mut out);
        let names: Vec<_> = out.families().iter().map(|family| family.name).collect();
        assert!(names.contains(&"process_open_fds"), "{names:?}");
    }
}
