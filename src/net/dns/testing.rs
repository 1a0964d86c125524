//! A DNS server for tests, over UDP on loopback.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::dnssec::crypto::EcdsaSigningKey;
use hickory_resolver::proto::dnssec::rdata::{DNSKEY, DNSSECRData, RRSIG};
use hickory_resolver::proto::dnssec::{Algorithm, DnssecSigner, SigningKey, TrustAnchors};
use hickory_resolver::proto::op::{Message, OpCode, ResponseCode};
use hickory_resolver::proto::rr::rdata::{A, AAAA, CNAME, SRV, TLSA};
use hickory_resolver::proto::rr::{DNSClass, Name, RData, Record, RecordSet, RecordType};
use time::OffsetDateTime;
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// A server of one zone, until it is dropped.
pub(crate) struct Zone {
    pub(crate) address: SocketAddr,
    asked: Arc<Asked>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Asked {
    count: AtomicUsize,
    names: Mutex<Vec<String>>,
}

impl Zone {
    /// One record a line: `NAME SRV 10 0 5269 TARGET`, `NAME A 127.0.0.1`, `NAME AAAA ::1`, `NAME CNAME OTHER`. Or a
    /// way to fail: `NAME SILENT`, `NAME FAILS` (SERVFAIL), `NAME LIES` (with the records of everybody else),
    /// `NAME FORGES` (with the id of another question). `*` is all names. What is behind an alias is said with it, but of
    /// `NAME ALONE`.
    pub(crate) async fn serve(lines: &str) -> Self {
        Self::start(lines, None).await
    }

    /// A zone that signs all that there is, and what to validate it by. It has no proofs of what there is not.
    pub(crate) async fn signed(lines: &str) -> (Self, Arc<TrustAnchors>) {
        let signer = signer();
        let mut anchors = TrustAnchors::empty();
        anchors.insert(signer.dnskey().public_key());
        (Self::start(lines, Some(signer)).await, Arc::new(anchors))
    }

    async fn start(lines: &str, signer: Option<DnssecSigner>) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let (mut records, faults) = read(lines);
        if let Some(signer) = &signer {
            let key = RData::DNSSEC(DNSSECRData::DNSKEY(signer.to_dnskey()));
            records.push(Record::from_rdata(Name::root(), 60, key));
        }
        let asked = Arc::new(Asked::default());
        let noted = asked.clone();
        let task = tokio::spawn(async move {
            let mut buffer = [0; 4_096];
            while let Ok((len, from)) = socket.recv_from(&mut buffer).await {
                let Ok(query) = Message::from_vec(&buffer[..len]) else { continue };
                noted.count.fetch_add(1, Ordering::SeqCst);
                let name = lower(&query.queries[0].name);
                noted.names.lock().unwrap().push(name);
                if let Some(mut answer) = answer(&query, &records, &faults) {
                    if let Some(signer) = &signer {
                        sign(&mut answer, signer);
                    }
                    let _ = socket.send_to(&answer.to_vec().unwrap(), from).await;
                }
            }
        });
        Self { address, asked, task }
    }

    /// Questions so far.
    pub(crate) fn asked(&self) -> usize {
        self.asked.count.load(Ordering::SeqCst)
    }

    /// The names that were asked for.
    pub(crate) fn names(&self) -> Vec<String> {
        self.asked.names.lock().unwrap().clone()
    }
}

impl Drop for Zone {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lower(name: &Name) -> String {
    name.to_ascii().to_ascii_lowercase().trim_end_matches('.').to_owned()
}

fn name(text: &str) -> Name {
    Name::from_ascii(format!("{}.", text.trim_end_matches('.'))).unwrap()
}

/// A key of the root, which signs for everybody.
fn signer() -> DnssecSigner {
    let algorithm = Algorithm::ECDSAP256SHA256;
    let secret = EcdsaSigningKey::generate_pkcs8(algorithm).unwrap();
    let key = EcdsaSigningKey::from_pkcs8(&secret, algorithm).unwrap();
    let public = DNSKEY::from_key(&key.to_public_key().unwrap());
    DnssecSigner::new(public, Box::new(key), Name::root(), Duration::from_secs(86_400))
}

fn sign(answer: &mut Message, signer: &DnssecSigner) {
    let mut sets: Vec<RecordSet> = Vec::new();
    for record in &answer.answers {
        let (name, ty) = (&record.name, record.data.record_type());
        let at = sets.iter().position(|set| set.name() == name && set.record_type() == ty);
        let at = at.unwrap_or_else(|| {
            sets.push(RecordSet::with_ttl(name.clone(), ty, 60));
            sets.len() - 1
        });
        sets[at].insert(record.clone(), 0);
    }
    let since = OffsetDateTime::now_utc() - Duration::from_secs(3_600);
    for set in sets {
        let signature = RRSIG::from_rrset(&set, DNSClass::IN, since, signer).unwrap();
        let data = RData::DNSSEC(DNSSECRData::RRSIG(signature));
        answer.add_answer(Record::from_rdata(set.name().clone(), 60, data));
    }
}

fn read(lines: &str) -> (Vec<Record>, HashMap<String, String>) {
    let (mut records, mut faults) = (Vec::new(), HashMap::new());
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |at: usize| words[at].parse().unwrap();
        let data = match words[1] {
            "SRV" => RData::SRV(SRV::new(number(2), number(3), number(4), name(words[5]))),
            "A" => RData::A(A(words[2].parse().unwrap())),
            "AAAA" => RData::AAAA(AAAA(words[2].parse().unwrap())),
            "TLSA" => {
                let digits = |at: usize| u8::from_str_radix(&words[5][at..at + 2], 16).unwrap();
                let data = (0..words[5].len()).step_by(2).map(digits).collect();
                let of = |at: usize| words[at].parse::<u8>().unwrap();
                RData::TLSA(TLSA::new(of(2).into(), of(3).into(), of(4).into(), data))
            }
            "CNAME" => RData::CNAME(CNAME(name(words[2]))),
            fault => {
                faults.insert(words[0].to_owned(), fault.to_owned());
                continue;
            }
        };
        records.push(Record::from_rdata(name(words[0]), 60, data));
    }
    (records, faults)
}

fn answer(
    query: &Message,
    records: &[Record],
    faults: &HashMap<String, String>,
) -> Option<Message> {
    let question = &query.queries[0];
    let asked = lower(&question.name);
    let mut answer = Message::response(query.metadata.id, OpCode::Query);
    answer.add_query(question.clone());
    let fault = faults.get(&asked).or_else(|| faults.get("*")).map(String::as_str);
    match fault {
        Some("SILENT") => return None,
        Some("FAILS") => answer.metadata.response_code = ResponseCode::ServFail,
        Some("LIES") => {
            answer.add_answers(records.iter().cloned());
        }
        _ => {
            let own = |name: &str| {
                records.iter().filter(|one| lower(&one.name) == name).collect::<Vec<_>>()
            };
            let mut own_of = own(&asked);
            if own_of.is_empty() {
                answer.metadata.response_code = ResponseCode::NXDomain;
            }
            // As a recursive server does: with the whole way to the end, or to where it was before.
            for _ in 0..9 {
                let fits = |one: &&&Record| {
                    let ty = one.data.record_type();
                    ty == question.query_type || ty == RecordType::CNAME
                };
                answer.add_answers(own_of.iter().filter(fits).map(|one| (*one).clone()));
                let alias = own_of.iter().find_map(|one| match &one.data {
                    RData::CNAME(alias) => Some(lower(&alias.0)),
                    _ => None,
                });
                match alias.filter(|_| fault.is_none() && question.query_type != RecordType::CNAME)
                {
                    Some(alias) => own_of = own(&alias),
                    None => break,
                }
            }
        }
    }
    if fault == Some("FORGES") {
        answer.metadata.id = answer.metadata.id.wrapping_add(1);
    }
    Some(answer)
}
