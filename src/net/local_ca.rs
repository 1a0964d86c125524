//! The server's own certificate authority, for a first run and for labs: devices trust its `ca.pem`
//! once, and the server makes and renews certificates for the domains with it (RFC 5280).

use super::tls::error::{TlsError, TlsProblem};
use super::tls::facts::{Facts, ascii, bare_ip};
use super::tls::pair::{self, Pair};
use crate::base::time::{is_plausible, plausible, stamp};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, SanType,
};
use rustls::crypto::CryptoProvider;
use sha2::{Digest, Sha256};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// The open authority in `data_dir/tls`.
pub struct LocalCa {
    folder: PathBuf,
    ca_file: PathBuf,
    subject: String,
    issuer: Issuer<'static, KeyPair>,
    provider: Arc<CryptoProvider>,
    minted: bool,
    renewed: Option<String>,
}

impl LocalCa {
    /// Opens the authority of this data folder, or makes one if there is none yet. An authority that is
    /// not valid now, or soon will not be, gets another certificate for the same key. A device that
    /// trusts the old certificate, and whose clock is within its dates, accepts what the new one signs,
    /// so nothing is lost if it is this server's clock that is wrong.
    pub fn open(
        data_dir: &Path,
        now: SystemTime,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let folder = folder(data_dir);
        make_private(&folder).map_err(|error| TlsProblem::Unwritable(error).at(&folder))?;
        let (ca_file, key_file) = (folder.join("ca.pem"), folder.join("ca.key"));
        let minted =
            !ca_file.try_exists().map_err(|error| TlsProblem::Unreadable(error).at(&ca_file))?;
        if minted {
            mint_ca(&ca_file, &key_file, now)?;
        }
        let read = || pair::load(&ca_file, &key_file, &provider).map_err(|error| broken(&error));
        let mut facts = read()?.facts;
        let renewed = out_of_time(&facts, now).filter(|_| !minted);
        if let Some(why) = &renewed {
            mint_ca(&ca_file, &key_file, now)?;
            facts = read()?.facts;
            let file = ca_file.display();
            tracing::warn!(
                "the server's own authority {why}, so its certificate was made anew, with the same key: \
                 give {file} to all clients, those that trust the old one need it when that is over"
            );
        }
        let issuer = issuer(&ca_file, &key_file)?;
        Ok(Self { folder, ca_file, subject: facts.subject, issuer, provider, minted, renewed })
    }

    /// Why [`Self::open`] renewed the authority's certificate, if it did.
    pub fn renewed(&self) -> Option<&str> {
        self.renewed.as_deref()
    }

    /// The certificate that devices have to trust.
    pub fn ca_file(&self) -> &Path {
        &self.ca_file
    }

    /// Whether [`Self::open`] made the authority.
    pub fn minted(&self) -> bool {
        self.minted
    }

    /// Chain and key file for a domain: those in the folder while they are valid for 30 more days,
    /// otherwise new ones.
    pub fn certificate(
        &self,
        domain: &str,
        now: SystemTime,
    ) -> Result<(PathBuf, PathBuf), TlsError> {
        let (chain_file, key_file) = leaf_files(&self.folder, domain)
            .ok_or_else(|| TlsProblem::BadDomain(domain.to_owned()).at(&self.folder))?;
        if !self.still_good(&chain_file, &key_file, domain, now) {
            self.mint_leaf(&chain_file, &key_file, domain, now)?;
        }
        Ok((chain_file, key_file))
    }

    fn still_good(&self, chain: &Path, key: &Path, domain: &str, now: SystemTime) -> bool {
        pair::load(chain, key, &self.provider).is_ok_and(|Pair { facts, .. }| {
            let named = facts.covers(domain)
                && (!has_services(domain) || facts.covers(&format!("service.{domain}")));
            facts.issuer == self.subject && named && !is_due(&facts, now)
        })
    }

    fn mint_leaf(
        &self,
        chain_file: &Path,
        key_file: &Path,
        domain: &str,
        now: SystemTime,
    ) -> Result<(), TlsError> {
        let setup = |error: rcgen::Error| TlsProblem::Setup(error.to_string()).at(chain_file);
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(setup)?;
        let certificate = leaf_params(domain, &key, now)
            .and_then(|params| params.signed_by(&key, &self.issuer))
            .map_err(setup)?;
        // The key first: an interruption between the two leaves a pair that does not match, which the
        // next run notices and replaces.
        write_atomic(key_file, key.serialize_pem().as_bytes(), PRIVATE)?;
        write_atomic(chain_file, certificate.pem().as_bytes(), PUBLIC)
    }
}

/// The folder of the authority and its certificates.
pub fn folder(data_dir: &Path) -> PathBuf {
    data_dir.join("tls")
}

/// Gives a data folder the authority of another folder, which is made there if it has none. Of those who come at
/// once, one makes it.
pub fn share(shared: &Path, data_dir: &Path) -> io::Result<()> {
    make_private(shared)?;
    let lock = File::create(shared.join("lock"))?;
    lock.lock()?;
    let (theirs, ours) = (folder(shared), folder(data_dir));
    if !theirs.join("ca.pem").try_exists()? {
        make_private(&theirs)?;
        #[allow(clippy::disallowed_methods)] // the wall clock, at the floor that has one
        let now = SystemTime::now();
        mint_ca(&theirs.join("ca.pem"), &theirs.join("ca.key"), now).map_err(io::Error::other)?;
    }
    make_private(&ours)?;
    for name in ["ca.key", "ca.pem"] {
        fs::copy(theirs.join(name), ours.join(name))?;
    }
    Ok(())
}

/// The period in which a certificate of the local authority is used; outside of it, it is replaced.
pub(crate) fn good(facts: &Facts) -> (SystemTime, SystemTime) {
    (facts.not_before, before(facts.not_after, RENEW_DAYS))
}

/// Whether a certificate is to be replaced. Never if the clock cannot be right.
pub(crate) fn is_due(facts: &Facts, now: SystemTime) -> bool {
    let (from, until) = good(facts);
    is_plausible(now) && (now < from || until <= now)
}

/// What is wrong with an authority's dates, if anything.
fn out_of_time(facts: &Facts, now: SystemTime) -> Option<String> {
    let soon = before(facts.not_after, CA_RENEW_DAYS);
    match is_plausible(now) {
        true if now < facts.not_before => {
            Some(format!("is valid only from {}", stamp(facts.not_before)))
        }
        true if soon <= now => Some(format!("is valid only until {}", stamp(facts.not_after))),
        _ => None,
    }
}

fn before(at: SystemTime, days: u64) -> SystemTime {
    at.checked_sub(self::days(days)).unwrap_or(at)
}

/// The files of one domain, if its name can be a file name and part of a certificate.
fn leaf_files(folder: &Path, domain: &str) -> Option<(PathBuf, PathBuf)> {
    let name = ascii(domain);
    let fits = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    if name.is_empty() || name.starts_with('.') || name.len() > 250 || !name.chars().all(fits) {
        return None;
    }
    // The domain `ca` must not overwrite the authority; no domain begins with `_`.
    let name = if name == "ca" { "_ca".to_owned() } else { name };
    Some((folder.join(format!("{name}.pem")), folder.join(format!("{name}.key"))))
}

fn issuer(ca_file: &Path, key_file: &Path) -> Result<Issuer<'static, KeyPair>, TlsError> {
    let text = |file: &Path| {
        let bytes = pair::read(file)?;
        String::from_utf8(bytes).map_err(|_| TlsProblem::NotPem("no text".to_owned()).at(file))
    };
    let broken = |error: rcgen::Error| TlsProblem::BrokenCa(error.to_string()).at(ca_file);
    let key = KeyPair::from_pem(&text(key_file)?).map_err(broken)?;
    Issuer::from_ca_cert_pem(&text(ca_file)?, key).map_err(broken)
}

/// A damaged authority is never replaced silently: devices trust it.
fn broken(error: &TlsError) -> TlsError {
    match &error.problem {
        TlsProblem::Missing => TlsProblem::BrokenCa("the file is missing".to_owned()),
        problem => TlsProblem::BrokenCa(problem.to_string()),
    }
    .at(&error.file)
}

fn mint_ca(ca_file: &Path, key_file: &Path, now: SystemTime) -> Result<(), TlsError> {
    let setup = |error: rcgen::Error| TlsProblem::Setup(error.to_string()).at(ca_file);
    // A key without a certificate is left by an interrupted first run or a lost ca.pem. With the same
    // key and name the new certificate replaces the old one.
    let key = match fs::read_to_string(key_file) {
        Ok(text) => KeyPair::from_pem(&text)
            .map_err(|error| TlsProblem::BrokenCa(error.to_string()).at(key_file))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(setup)?;
            write_atomic(key_file, key.serialize_pem().as_bytes(), PRIVATE)?;
            key
        }
        Err(error) => return Err(TlsProblem::Unreadable(error).at(key_file)),
    };
    let certificate = ca_params(&key, now).self_signed(&key).map_err(setup)?;
    write_atomic(ca_file, certificate.pem().as_bytes(), PUBLIC)
}

fn ca_params(key: &KeyPair, now: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    // The name is derived from the key: two authorities on one device must not share a name, or the
    // device may check a signature against the wrong one.
    let id: String =
        Sha256::digest(key.public_key_raw()).iter().take(4).map(|b| format!("{b:02x}")).collect();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("Stonechat local CA {id}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let from = earlier(plausible(now));
    // RFC 5280 §4.1.2.2: no two certificates of one issuer may share a serial number, and the issuer's
    // key may make another certificate.
    params.serial_number = Some(serial(key, from));
    params.not_before = from.into();
    params.not_after = (from + days(CA_DAYS)).into();
    params
}

fn leaf_params(
    domain: &str,
    key: &KeyPair,
    now: SystemTime,
) -> Result<CertificateParams, rcgen::Error> {
    let mut params = CertificateParams::default();
    let name = ascii(domain);
    params.subject_alt_names = alt_names(&name)?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    // X.520 limits a common name to 64 characters; only the alternative names identify the server.
    let label: String = name.chars().take(64).collect();
    params.distinguished_name.push(DnType::CommonName, label);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    // ClientAuth too: in connections to other servers this server is the TLS client (RFC 6120
    // §13.7.1.2).
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let from = earlier(plausible(now));
    params.serial_number = Some(serial(key, from));
    params.not_before = from.into();
    params.not_after = (from + days(LEAF_DAYS)).into();
    Ok(params)
}

fn alt_names(name: &str) -> Result<Vec<SanType>, rcgen::Error> {
    if let Some(ip) = bare_ip(name) {
        return Ok(vec![SanType::IpAddress(ip)]);
    }
    let mut names = vec![SanType::DnsName(name.try_into()?)];
    if has_services(name) {
        names.push(SanType::DnsName(format!("*.{name}").try_into()?));
    }
    if name == "localhost" {
        names.push(SanType::IpAddress(IpAddr::V4(Ipv4Addr::LOCALHOST)));
        names.push(SanType::IpAddress(IpAddr::V6(Ipv6Addr::LOCALHOST)));
    }
    Ok(names)
}

/// Whether other servers may meet services below a domain, whose names the certificate has to have, too. A wildcard
/// is none directly below the root.
fn has_services(domain: &str) -> bool {
    bare_ip(domain).is_none() && domain.trim_end_matches('.').contains('.')
}

/// RFC 5280 §4.1.2.2: positive, at most 20 octets, unique for the issuer. No two certificates share
/// both the key and the start date, so the hash of the two is as good as a random number.
fn serial(key: &KeyPair, from: SystemTime) -> rcgen::SerialNumber {
    let hash = Sha256::new().chain_update(key.public_key_raw()).chain_update(stamp(from));
    let mut bytes: Vec<u8> = hash.finalize().iter().copied().take(16).collect();
    if let Some(first) = bytes.first_mut() {
        // Clears the sign bit and makes sure that the number does not begin with a zero octet.
        *first = (*first & 0x7f) | 0x40;
    }
    rcgen::SerialNumber::from(bytes)
}

/// Devices whose clock is a little slow must see a valid certificate already.
fn earlier(now: SystemTime) -> SystemTime {
    now.checked_sub(Duration::from_secs(3600)).unwrap_or(now)
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

/// Makes a folder that nobody else can look into.
pub(super) fn make_private(folder: &Path) -> std::io::Result<()> {
    let new = !folder.exists();
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    fs::set_permissions(folder, Permissions::from_mode(0o700))?;
    // Otherwise a power cut may lose the folder, and with it the authority that clients already trust.
    match folder.parent().filter(|_| new) {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

/// Writes a file that nobody else can read, all or nothing.
pub(super) fn write_private(file: &Path, bytes: &[u8]) -> Result<(), TlsError> {
    write_atomic(file, bytes, PRIVATE)
}

/// Writes all or nothing, even if the power fails: a new file in the same folder, synced, then renamed.
fn write_atomic(file: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    let write = || -> std::io::Result<()> {
        let folder = file.parent().unwrap_or(Path::new("."));
        let mut temp = tempfile::NamedTempFile::new_in(folder)?;
        temp.write_all(bytes)?;
        temp.as_file().set_permissions(Permissions::from_mode(mode))?;
        temp.as_file().sync_all()?;
        temp.persist(file).map_err(|error| error.error)?;
        File::open(folder)?.sync_all()
    };
    write().map_err(|error| TlsProblem::Unwritable(error).at(file))
}

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;
const CA_DAYS: u64 = 20 * 365;
/// Apple's systems refuse TLS certificates that are valid for more than 825 days, whoever issued them.
const LEAF_DAYS: u64 = 820;
const RENEW_DAYS: u64 = 30;
/// No certificate outlives its authority, and there is a year in which to install the new one on all
/// devices.
const CA_RENEW_DAYS: u64 = LEAF_DAYS + 365;

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::crypto::aws_lc_rs;
    use tempfile::TempDir;
    use x509_parser::prelude::{FromDer, X509Certificate};

    fn open(folder: &TempDir, now: SystemTime) -> LocalCa {
        try_open(folder, now).unwrap()
    }

    fn try_open(folder: &TempDir, now: SystemTime) -> Result<LocalCa, TlsError> {
        LocalCa::open(folder.path(), now, Arc::new(aws_lc_rs::default_provider()))
    }

    fn mode(file: &Path) -> u32 {
        fs::metadata(file).unwrap().permissions().mode() & 0o777
    }

    fn der(file: &Path) -> Vec<u8> {
        x509_parser::pem::parse_x509_pem(&fs::read(file).unwrap()).unwrap().1.contents
    }

    #[test]
    fn secrets_are_private_and_nothing_else_is_left_behind() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let tls = super::folder(folder.path());
        fs::create_dir(&tls).unwrap();
        fs::set_permissions(&tls, Permissions::from_mode(0o755)).unwrap();
        let ca = open(&folder, now);
        assert!(ca.minted());
        let (chain, key) = ca.certificate("a.example", now).unwrap();
        assert_eq!(mode(&tls), 0o700);
        assert_eq!((mode(&key), mode(&tls.join("ca.key"))), (0o600, 0o600));
        assert_eq!((mode(&chain), mode(ca.ca_file())), (0o644, 0o644));
        let mut names: Vec<_> = fs::read_dir(&tls)
            .unwrap()
            .map(|f| f.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["a.example.key", "a.example.pem", "ca.key", "ca.pem"]);
    }

    /// RFC 5280 §4.1.2.2, §4.2.1.3, §4.2.1.9, §4.2.1.12.
    #[test]
    fn the_certificates_say_what_they_are_for() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ca = open(&folder, now);
        let der_ca = der(ca.ca_file());
        let (_, root) = X509Certificate::from_der(&der_ca).unwrap();
        let basic = root.basic_constraints().unwrap().unwrap();
        assert!(basic.critical && basic.value.ca && basic.value.path_len_constraint == Some(0));
        let usage = root.key_usage().unwrap().unwrap();
        assert!(usage.critical && usage.value.key_cert_sign() && !usage.value.digital_signature());

        let (chain, _) = ca.certificate("a.example", now).unwrap();
        let der_leaf = der(&chain);
        let (_, leaf) = X509Certificate::from_der(&der_leaf).unwrap();
        assert_eq!(leaf.issuer(), root.subject());
        assert!(!leaf.is_ca());
        let usage = leaf.key_usage().unwrap().unwrap();
        assert!(usage.value.digital_signature() && !usage.value.key_cert_sign());
        assert!(leaf.extended_key_usage().unwrap().unwrap().value.server_auth);
        let serial = leaf.raw_serial();
        assert!(serial.len() <= 20 && serial[0] & 0x80 == 0 && serial != root.raw_serial());
        let validity = leaf.validity();
        let life = validity.not_after.timestamp() - validity.not_before.timestamp();
        assert!(life <= 825 * 86_400, "{life}");
    }

    #[test]
    fn a_certificate_is_used_again_until_30_days_before_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ca = open(&folder, now);
        let at = |days: u64| now + self::days(days);
        let read = |ca: &LocalCa, when| {
            let (chain, key) = ca.certificate("a.example", when).unwrap();
            (fs::read(chain).unwrap(), fs::read(key).unwrap())
        };
        let first = read(&ca, now);
        assert_eq!(read(&ca, at(789)), first);
        let again = open(&folder, at(789));
        assert!(!again.minted());
        assert_eq!(read(&again, at(789)), first);
        let second = read(&again, at(791));
        assert_ne!(second.0, first.0);
        assert_ne!(second.1, first.1);
        assert_eq!(read(&again, at(800)), second);
    }

    #[test]
    fn a_damaged_certificate_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ca = open(&folder, now);
        let (chain, key) = ca.certificate("a.example", now).unwrap();
        let (other, _) = ca.certificate("b.example", now).unwrap();
        let other = fs::read(other).unwrap();
        for (file, bytes) in [(&chain, &b""[..]), (&chain, &other), (&key, b"x")] {
            fs::write(file, bytes).unwrap();
            ca.certificate("a.example", now).unwrap();
            let pair = pair::load(&chain, &key, &ca.provider).unwrap();
            assert!(pair.facts.covers("a.example"));
        }
    }

    #[test]
    fn a_damaged_authority_is_refused_and_left_alone() {
        for (file, bytes) in [("ca.key", None), ("ca.key", Some("")), ("ca.pem", Some("x"))] {
            let folder = tempfile::tempdir().unwrap();
            let now = SystemTime::now();
            open(&folder, now);
            let file = super::folder(folder.path()).join(file);
            match bytes {
                Some(bytes) => fs::write(&file, bytes).unwrap(),
                None => fs::remove_file(&file).unwrap(),
            }
            let error = try_open(&folder, now).err().unwrap();
            assert!(matches!(error.problem, TlsProblem::BrokenCa(_)), "{error}");
            assert_eq!(error.file, file);
            assert_eq!(fs::read_to_string(&file).ok().as_deref(), bytes);
        }
    }

    #[test]
    fn a_first_run_that_was_interrupted_goes_on_with_its_key() {
        let folder = tempfile::tempdir().unwrap();
        let now = SystemTime::now();
        let ca = open(&folder, now);
        let (chain, _) = ca.certificate("a.example", now).unwrap();
        let leaf = fs::read(&chain).unwrap();
        fs::remove_file(ca.ca_file()).unwrap();
        let again = open(&folder, now);
        assert!(again.minted());
        assert_eq!(again.subject, ca.subject);
        again.certificate("a.example", now).unwrap();
        assert_eq!(fs::read(&chain).unwrap(), leaf);
    }

    /// Whether a device that trusts this authority accepts this certificate, at this time.
    fn takes(trusted: &[u8], leaf: &[u8], at: SystemTime) -> bool {
        use rustls::client::WebPkiServerVerifier;
        use rustls::client::danger::ServerCertVerifier;
        use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from(trusted.to_vec())).unwrap();
        let provider = Arc::new(aws_lc_rs::default_provider());
        let built = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        let name = ServerName::try_from("a.example").unwrap();
        let at = UnixTime::since_unix_epoch(at.duration_since(SystemTime::UNIX_EPOCH).unwrap());
        let leaf = CertificateDer::from(leaf.to_vec());
        built.build().unwrap().verify_server_cert(&leaf, &[], &name, &[], at).is_ok()
    }

    /// One start of the server: the authority to trust, and the certificate that the server presents.
    fn start(folder: &TempDir, at: SystemTime) -> (Vec<u8>, Vec<u8>, bool) {
        let ca = open(folder, at);
        let (chain, _) = ca.certificate("a.example", at).unwrap();
        (der(ca.ca_file()), der(&chain), ca.renewed().is_some())
    }

    /// A wrong clock at the first start must not lock clients out for ever, and a wrong clock now must
    /// not destroy their trust.
    #[test]
    fn an_authority_out_of_its_time_is_dated_anew() {
        let now = plausible(SystemTime::now());
        let year = |n: u64| now + self::days(n * 365);
        let epoch = SystemTime::UNIX_EPOCH + self::days(1);
        for (first, right, anew) in [
            // Without a battery the clock is not believed, so a certificate made then is good.
            (epoch, now, false),
            (year(14), now, true),
            (now, year(17), true),
            (now, year(30), true),
            (now, year(16), false),
        ] {
            let folder = tempfile::tempdir().unwrap();
            start(&folder, first);
            let (ca, leaf, renewed) = start(&folder, right);
            assert!(takes(&ca, &leaf, right), "{first:?} {right:?}");
            assert_eq!(renewed, anew, "{first:?} {right:?}");
            assert_eq!(start(&folder, right), (ca, leaf, false));
        }
    }

    #[test]
    fn a_wrong_clock_costs_a_good_authority_nothing() {
        let now = plausible(SystemTime::now());
        let year = |n: u64| now + self::days(n * 365);
        for wrong in [SystemTime::UNIX_EPOCH, year(0), year(25)] {
            let folder = tempfile::tempdir().unwrap();
            let made = year(2);
            let (trusted, ..) = start(&folder, made);
            let (new, leaf, _) = start(&folder, wrong);
            let same = wrong == SystemTime::UNIX_EPOCH;
            assert_eq!(new == trusted, same, "by a clock that cannot be right nothing is made");
            // Certificates with the same key have different serial numbers.
            let number =
                |der: &[u8]| X509Certificate::from_der(der).unwrap().1.raw_serial().to_vec();
            assert_eq!(number(&new) == number(&trusted), same);
            if wrong < made {
                assert!(takes(&trusted, &leaf, made + self::days(1)), "{wrong:?}");
            }
            let (_, leaf, _) = start(&folder, year(3));
            assert!(takes(&trusted, &leaf, year(3)), "{wrong:?}: the old file goes on");
            let (new, leaf, _) = start(&folder, year(3));
            assert!(takes(&new, &leaf, year(3)), "{wrong:?}");
        }
    }

    #[test]
    fn two_authorities_have_two_names() {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let now = SystemTime::now();
        assert_ne!(open(&one, now).subject, open(&two, now).subject);
    }

    #[test]
    fn a_domain_becomes_a_file_name_only_if_it_is_safe() {
        let cases = [
            ("a.example", Some("a.example.pem")),
            ("A.example.", Some("a.example.pem")),
            ("bücher.example", Some("xn--bcher-kva.example.pem")),
            ("ca", Some("_ca.pem")),
            ("[::1]", Some("[::1].pem")),
            ("127.0.0.1", Some("127.0.0.1.pem")),
            ("../ca", None),
            ("a/b", None),
            ("..", None),
            ("", None),
        ];
        for (domain, expected) in cases {
            let files = leaf_files(Path::new("/f"), domain);
            let name = files.map(|(chain, _)| chain.strip_prefix("/f").unwrap().to_owned());
            assert_eq!(name.as_deref(), expected.map(Path::new), "{domain}");
        }
    }
}
