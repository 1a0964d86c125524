//! Certificates: the TLS part of the configuration, and what `stonechat check` reports about it.

use super::{AS_SAID, Report, acme, services};
use crate::net::local_ca;
use crate::net::tls::{
    HostCertificate, HostInfo, MinVersion, Source, Tls, TlsSettings, needs_authority,
};
use crate::server::config::{Config, Host, Loaded, Origins, Problem, TlsVersion, is_public};
use std::path::Path;
use std::time::SystemTime;
use std::{fs, io};

/// Makes the settings of TLS from the configuration.
pub fn settings(config: &Config) -> TlsSettings {
    TlsSettings {
        hosts: config.host.iter().map(|host| certificate(config, host)).collect(),
        data_dir: config.data_dir.clone(),
        min_version: match config.tls.min_version {
            TlsVersion::V1_2 => MinVersion::Tls12,
            TlsVersion::V1_3 => MinVersion::Tls13,
        },
    }
}

fn certificate(config: &Config, host: &Host) -> HostCertificate {
    let source = match (&host.certificate, &host.key) {
        (Some(chain), Some(key)) => Source::Files { chain: chain.clone(), key: key.clone() },
        _ if config.is_ordered(&host.domain, false) => Source::Kept { file: config.acme_file() },
        _ => Source::Local,
    };
    HostCertificate { domain: host.domain.clone(), source }
}

/// Reads every certificate by itself, so that each fault is reported.
pub fn look(loaded: &Loaded, report: &mut Report) {
    acme::look(loaded, report);
    let config = &loaded.config;
    for (index, host) in settings(config).hosts.into_iter().enumerate() {
        let domain = host.domain.clone();
        let place = place(&loaded.origins, index, &host);
        let one = TlsSettings { hosts: vec![host], ..settings(config) };
        match read(one) {
            Ok(Some(tls)) => found(&tls, &domain, &place, report),
            Ok(None) => {
                let line = "will be made at the first start, by the server's own authority";
                report.good.push(format!("certificate: {domain}: {line}"));
            }
            Err(told) => report.problems.push(unusable(&domain, place, &told)),
        }
    }
    let all = read(settings(config)).ok().flatten();
    if config.s2s.enabled
        && let Some(tls) = &all
    {
        let public = config.host.iter().filter(|host| is_public(&host.domain));
        report.warnings.extend(public.filter_map(|host| for_others(config, host, tls)));
    }
    if let Some(why) = all.as_ref().and_then(Tls::ca_renewed) {
        let file = local_ca::folder(&config.data_dir).join("ca.pem");
        report.warnings.push(format!(
            "the server's own authority ({}) {why}: the server makes its certificate anew, with the same \
             key; give the new file to all clients",
            file.display()
        ));
    }
}

/// What other servers will not like about a host's certificate.
fn for_others(config: &Config, host: &Host, tls: &Tls) -> Option<String> {
    let domain = &host.domain;
    let is_own = |one: &HostInfo| one.domain == *domain && one.is_own;
    if config.is_ordered(domain, host.certificate.is_some())
        && tls.certificate_info().iter().any(is_own)
    {
        return None;
    }
    if !config.is_ordered(domain, host.certificate.is_some()) && host.certificate.is_none() {
        return Some(format!(
            "the certificate of {domain} is of this server's own authority: other servers refuse it, unless they \
             trust that or make do with dialback; have one of a public authority (acme.agree, or host.certificate and host.key)"
        ));
    }
    let beside =
        services::of(&config.module_config(), domain).into_iter().map(|(domain, _)| domain);
    let without: Vec<_> = beside.filter(|service| !tls.has_name(service)).collect();
    (!without.is_empty()).then(|| {
        let names: Vec<_> = without.iter().map(|name| format!("DNS:{name}")).collect();
        format!(
            "the certificate of {domain} is not for {}: other servers that want to reach these refuse it; order one \
             with {}, or with DNS:*.{domain}",
            without.join(", "),
            names.join(", ")
        )
    })
}

/// Finds what is wrong with the configured certificates, before a start makes any files.
pub fn prove(config: &Config, origins: &Origins) -> Result<(), Problem> {
    for (index, host) in settings(config).hosts.into_iter().enumerate() {
        if !matches!(host.source, Source::Files { .. }) {
            continue;
        }
        let (domain, place) = (host.domain.clone(), place(origins, index, &host));
        let one = TlsSettings { hosts: vec![host], ..settings(config) };
        Tls::load(one).map_err(|error| unusable(&domain, place, &error))?;
    }
    Ok(())
}

fn place(origins: &Origins, index: usize, host: &HostCertificate) -> String {
    let key = match host.source {
        Source::Files { .. } => "certificate",
        Source::Local | Source::Kept { .. } => "domain",
    };
    origins.of(&format!("host.{index}.{key}"))
}

fn unusable(domain: &str, place: String, error: &dyn std::fmt::Display) -> Problem {
    let what = format!("the certificate of {domain} cannot be used: {error}");
    Problem::told(&what, place, AS_SAID)
}

/// Reports on a certificate that can be read: it is usable if clients accept it.
#[allow(clippy::disallowed_methods)] // the wall clock, at the floor that has one
fn found(tls: &Tls, domain: &str, place: &str, report: &mut Report) {
    let (refused, rest): (Vec<_>, Vec<_>) =
        tls.warnings(SystemTime::now()).into_iter().partition(|warning| warning.refused);
    if refused.is_empty() {
        report.good.push(format!("certificate: {domain} has a usable one"));
    }
    let fault = |warning| Problem::told(&warning, place.to_owned(), AS_SAID);
    report.faults.extend(refused.into_iter().map(fault));
    report.warnings.extend(rest.into_iter().map(|warning| warning.text));
}

/// Reads the certificate; `None` for one that is still to be made.
fn read(settings: TlsSettings) -> Result<Option<Tls>, String> {
    let local = settings.hosts.iter().any(needs_authority);
    if !local {
        return Tls::load(settings).map(Some).map_err(|error| error.to_string());
    }
    let folder = local_ca::folder(&settings.data_dir);
    if !folder.exists() {
        return Ok(None);
    }
    // Reading may renew certificates, and the server could not read what another user (often root) writes
    // there: so this reads a copy.
    let scratch = tempfile::tempdir().map_err(|error| error.to_string())?;
    let failed = |error: io::Error| format!("{}: cannot be read ({error})", folder.display());
    copy(&folder, &local_ca::folder(scratch.path())).map_err(failed)?;
    let shown = scratch.path().display().to_string();
    let copied = TlsSettings { data_dir: scratch.path().to_owned(), ..settings.clone() };
    let named = |told: String| told.replace(&shown, &settings.data_dir.display().to_string());
    Tls::load(copied).map(Some).map_err(|error| named(error.to_string()))
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir(to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        if file.file_type()?.is_file() {
            fs::copy(file.path(), to.join(file.file_name()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::config::{Inputs, load};
    use tempfile::TempDir;

    fn looked_at(folder: &TempDir, sets: &[(&str, &str)]) -> Report {
        let data = folder.path().display().to_string();
        let all = [("data_dir", data.as_str())];
        let all = all.iter().chain(sets).map(|(k, v)| ((*k).to_owned(), (*v).to_owned()));
        let loaded = load(&Inputs { sets: all.collect(), ..Inputs::default() }).unwrap();
        let mut report = Report::default();
        look(&loaded, &mut report);
        report
    }

    #[test]
    fn a_made_certificate_is_looked_at_and_not_touched() {
        let folder = tempfile::tempdir().unwrap();
        let report = looked_at(&folder, &[]);
        assert!(report.good[0].contains("will be made"), "{report:?}");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
        let config = Config { data_dir: folder.path().to_owned(), ..Config::default() };
        Tls::load(settings(&config)).unwrap();
        let report = looked_at(&folder, &[("host.1.domain", "b.example")]);
        assert_eq!(report.good.len(), 2, "{report:?}");
        let made = local_ca::folder(folder.path());
        assert!(!made.join("b.example.pem").exists());
        fs::write(made.join("ca.pem"), "-----BEGIN").unwrap();
        let problems = looked_at(&folder, &[("host.1.domain", "b.example")]).problems;
        let told = problems[0].to_string();
        assert!(told.contains(&folder.path().display().to_string()), "{told}");
    }

    /// A certificate that clients refuse is a fault, although a server starts with it.
    #[test]
    fn a_certificate_for_another_domain_is_no_good_one() {
        use crate::net::tls::testing::Authority;
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let look = |domain: &str| {
            let (chain, key) = authority.issue(&["other.org"]);
            let (at, secret) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
            fs::write(&at, chain).unwrap();
            fs::write(&secret, key).unwrap();
            let (at, secret) = (at.display().to_string(), secret.display().to_string());
            let sets =
                [("host.0.domain", domain), ("host.0.certificate", &at), ("host.0.key", &secret)];
            looked_at(&folder, &sets)
        };
        let report = look("other.org");
        assert!(report.faults.is_empty() && report.good.len() == 1, "{report:?}");
        let report = look("example.org");
        assert!(report.good.is_empty() && report.problems.is_empty(), "{report:?}");
        let [fault] = report.faults.as_slice() else { panic!("{report:?}") };
        let told = fault.to_string();
        for part in ["valid for DNS:other.org", "host.0.certificate", "order one with DNS:example"]
        {
            assert!(told.contains(part), "no {part} in {told}");
        }
        assert!(report.to_string().contains("not serve as it should: 1 problem."), "{report}");
    }

    #[test]
    fn services_without_a_name_in_the_certificate_are_named() {
        use crate::net::tls::testing::Authority;
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::new();
        let warnings = |names: &[&str], enabled: &str| {
            let (chain, key) = authority.issue(names);
            let (at, secret) = (folder.path().join("c.pem"), folder.path().join("k.pem"));
            fs::write(&at, chain).unwrap();
            fs::write(&secret, key).unwrap();
            let (at, secret) = (at.display().to_string(), secret.display().to_string());
            let sets = [
                ("host.0.domain", "example.org"),
                ("host.0.certificate", &at),
                ("host.0.key", &secret),
                ("s2s.enabled", enabled),
            ];
            looked_at(&folder, &sets).warnings.join("\n")
        };
        let told = warnings(&["example.org"], "true");
        for part in ["not for", "conference.example.org", "DNS:*.example.org"] {
            assert!(told.contains(part), "no {part} in {told}");
        }
        assert!(!warnings(&["example.org", "*.example.org"], "true").contains("not for"));
        assert!(!warnings(&["example.org"], "false").contains("not for"));
    }

    #[test]
    fn an_authority_out_of_its_time_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let ahead =
            std::time::SystemTime::now() + std::time::Duration::from_secs(14 * 365 * 86_400);
        let provider = std::sync::Arc::new(crate::net::tls::pair::provider());
        local_ca::LocalCa::open(folder.path(), ahead, provider).unwrap();
        let before = fs::read(local_ca::folder(folder.path()).join("ca.pem")).unwrap();
        let report = looked_at(&folder, &[]);
        let told = report.to_string();
        assert!(told.contains("own authority") && told.contains("give the new file"), "{told}");
        assert_eq!(fs::read(local_ca::folder(folder.path()).join("ca.pem")).unwrap(), before);
    }

    #[test]
    fn each_missing_file_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let sets = [
            ("host.0.certificate", "/nonexistent/a.pem"),
            ("host.0.key", "/nonexistent/a.key"),
            ("host.1.domain", "b.example"),
            ("host.1.certificate", "/nonexistent/b.pem"),
            ("host.1.key", "/nonexistent/b.key"),
        ];
        let problems = looked_at(&folder, &sets).problems;
        assert_eq!(problems.len(), 2);
        for (index, problem) in problems.iter().enumerate() {
            assert!(problem.place.contains(&format!("host.{index}.certificate")), "{problem}");
            assert!(problem.what.contains("no such file"), "{problem}");
            assert!(problem.fix.contains("correct the path"), "{problem}");
        }
    }
}
