//! What `stonechat check` says of certificates by ACME.

use super::Report;
use crate::base::time::{from_micros, stamp};
use crate::net::acme::Memory;
use crate::server::config::{Loaded, Problem};

/// How ordering stands, as the last server left it.
pub(super) fn look(loaded: &Loaded, report: &mut Report) {
    let config = &loaded.config;
    let Some(settings) = config.acme_settings() else { return };
    let names = settings.names.all().join(", ");
    let (directory, how) = (&settings.directory, settings.challenge.as_str());
    report
        .good
        .push(format!("acme: one certificate for {names} is ordered from {directory} by {how}"));
    let memory = Memory::read(&settings.folder);
    if !memory.left_out.is_empty() {
        report.warnings.push(format!(
            "acme: the authority refused {}, so the certificate is not for these, and other servers cannot reach \
             them; the log says why",
            memory.left_out.join(", ")
        ));
    }
    let at =
        |secs: u64| stamp(from_micros(i64::try_from(secs).unwrap_or(0).saturating_mul(1_000_000)));
    match (&memory.failure, memory.failed) {
        (Some(failure), Some(failed)) => {
            let what = format!("acme: the last order failed at {}: {failure}", at(failed));
            let fix = "do as the first line says, then `stonechat cert renew`";
            report.faults.push(Problem::told(&what, loaded.origins.of("acme.agree"), fix));
        }
        _ if !config.acme_file().exists() => report.notes.push(
            "acme: there is no certificate yet; a server orders it when it starts, and uses its own until then"
                .to_owned(),
        ),
        _ => {}
    }
}
