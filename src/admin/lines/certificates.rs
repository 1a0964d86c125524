//! The same of certificates.

use crate::admin::told::*;

pub(super) fn list(it: &CertList) -> Vec<String> {
    it.certificates.iter().map(line).chain(it.orders.iter().flat_map(orders)).collect()
}

/// `example.org  until 2026-01-31T12:00:00Z (60 days)  by CN=…  for DNS:example.org  FILE`
fn line(it: &CertLine) -> String {
    let CertLine { domain, until, days, own, issuer, names, file } = it;
    let by = if *own { "this server itself" } else { issuer };
    format!("{domain}  until {until} ({days} days)  by {by}  for {}  {file}", names.join(", "))
}

pub(super) fn renewed(it: &CertRenewed) -> String {
    match (&it.until, &it.due) {
        (Some(until), _) => format!("a new certificate is in use, good until {until}"),
        (None, Some(due)) => format!(
            "nothing is to be done: the next one is due about {due}; `--now` orders one in any case"
        ),
        (None, None) => "nothing is to be done".to_owned(),
    }
}

pub(super) fn orders(it: &CertOrders) -> Vec<String> {
    let directory = &it.directory;
    let mut lines = vec![match (&it.until, &it.renewed) {
        (Some(until), renewed) => {
            let renewed = renewed.as_deref().unwrap_or("then");
            format!("certificate by ACME: good until {until}, renewed about {renewed}")
        }
        (None, _) => format!(
            "certificate by ACME: none yet from {directory}; the one that the server made itself is in use"
        ),
    }];
    if !it.refused.is_empty() {
        let refused = it.refused.join(", ");
        lines.push(format!(
            "certificate by ACME: the authority refused {refused}, so it is not for these"
        ));
    }
    if let Some(OrderFailure { at, failures, why, next_try }) = &it.failure {
        lines.push(format!(
            "certificate by ACME: the last order FAILED at {at} ({failures} in a row): {why}; next try at {next_try}"
        ));
    }
    lines
}
