//! Files by HTTP (XEP-0363): one big file up and down, and what a thousand at once do to those who chat. A target of
//! the name `nginx` takes files by WebDAV, to compare with.

use super::chat::Plan;
use super::crowd::{WIDTH, each, named};
use super::fault::{Fault, Res, fault};
use super::framer::attr;
use super::process::{Meter, memory, settle};
use super::results::Row;
use super::target::{Security, Target, request};
use memchr::memmem;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// Where a file is put and got: paths, and the header that lets one in.
struct Place {
    put: String,
    get: String,
    header: String,
}

/// So many bytes up and down: megabytes a second, seconds of the processor for a gigabyte, and the most memory above
/// the server at rest.
pub async fn one(target: &Arc<Target>, size: usize, times: usize) -> Res<Row> {
    settle(target.pid).await?;
    let before = memory(target.pid)?.rss;
    let peak = Arc::new(AtomicU64::new(before));
    let watching = {
        let (peak, pid) = (Arc::clone(&peak), target.pid);
        tokio::spawn(async move {
            loop {
                peak.fetch_max(memory(pid).map_or(0, |memory| memory.rss), Relaxed);
                tokio::time::sleep(SAMPLE).await;
            }
        })
    };
    let (mut up, mut down) = (Vec::new(), Vec::new());
    let meter = Meter::start(target.pid)?;
    for _ in 0..times {
        let place = places(target, "u0", &[size]).await?.pop();
        let place = place.ok_or_else(|| Fault("no slot".to_owned()))?;
        up.push(rate(size, put(target, &place, size).await?));
        down.push(rate(size, get(target, &place, size).await?));
    }
    let cpu = meter.settled_cpu_secs().await?;
    watching.abort();
    up.sort_by(f64::total_cmp);
    down.sort_by(f64::total_cmp);
    let middle = |all: &[f64]| all.get(all.len() / 2).copied().unwrap_or_default();
    #[allow(clippy::cast_precision_loss)]
    let (rise, all) =
        (peak.load(Relaxed).saturating_sub(before) as f64, (2 * times * size) as f64 / 1e9);
    let row = Row::new().with("up", middle(&up)).with("down", middle(&down));
    Ok(row.with("cpu", cpu / all).with("rise", rise))
}

#[allow(clippy::cast_precision_loss)]
fn rate(size: usize, took: Duration) -> f64 {
    size as f64 / 1e6 / took.as_secs_f64()
}

/// The 95th percentile of a chat's delays, quiet and while so many files are put at once, again and again.
pub async fn many(target: &Arc<Target>, plan: &Plan, count: usize) -> Res<Row> {
    named(target, "f", UPLOADERS).await?;
    let quiet = super::fair::p95(target, plan).await?;
    let all = places_of_all(target, count).await?;
    let done = Arc::new(AtomicU64::new(0));
    let puts = {
        let (target, done) = (Arc::clone(target), Arc::clone(&done));
        std::thread::Builder::new().spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async move {
                let all = Arc::new(all);
                let one = move |index: usize| {
                    let (target, all, done) =
                        (Arc::clone(&target), Arc::clone(&all), Arc::clone(&done));
                    async move {
                        if let Some(place) = all.get(index) {
                            put(&target, place, SMALL_BYTES).await?;
                            done.fetch_add(1, Relaxed);
                        }
                        Ok(())
                    }
                };
                each(count, count, one).await.map(drop)
            })
        })?
    };
    let until = Instant::now() + PATIENCE;
    while done.load(Relaxed) == 0 && !puts.is_finished() {
        if Instant::now() > until {
            return fault("no file is taken");
        }
        tokio::time::sleep(SAMPLE).await;
    }
    let disturbed = super::fair::p95(target, plan).await?;
    #[allow(clippy::cast_precision_loss)]
    let meanwhile = done.load(Relaxed) as f64;
    puts.join().unwrap_or_else(|_| fault("the uploads broke off"))?;
    let row = Row::new().with("quiet", quiet).with("disturbed", disturbed);
    Ok(row.with("factor", disturbed / quiet).with("count", meanwhile))
}

async fn places_of_all(target: &Arc<Target>, count: usize) -> Res<Vec<Place>> {
    let owned = Arc::clone(target);
    let of = move |index: usize| {
        let target = Arc::clone(&owned);
        async move {
            places(&target, &format!("f{index}"), &vec![SMALL_BYTES; count.div_ceil(UPLOADERS)])
                .await
        }
    };
    Ok(each(UPLOADERS, WIDTH, of).await?.into_iter().flatten().collect())
}

async fn places(target: &Target, user: &str, sizes: &[usize]) -> Res<Vec<Place>> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    if target.name == "nginx" {
        let made = sizes.iter().map(|_| {
            let path = format!("/dav/{}", NEXT.fetch_add(1, Relaxed));
            Place { put: path.clone(), get: path, header: String::new() }
        });
        return Ok(made.collect());
    }
    let mut client = target.session(Security::Tls, user).await?;
    let mut all = Vec::new();
    for size in sizes {
        let ask =
            format!("<request xmlns='urn:xmpp:http:upload:0' filename='b.bin' size='{size}'/>");
        let service = format!("upload.{}", target.domain);
        let slot = request(&mut client.conn, "get", &service, &ask).await?;
        let path = |name: &str| {
            let from = memmem::find(&slot, format!("<{name}").as_bytes())?;
            let url = attr(slot.get(from..)?, "url")?;
            let url = String::from_utf8_lossy(url).replace("&amp;", "&");
            let at = url.find("://")? + 3;
            Some(url.get(at + url.get(at..)?.find('/')?..)?.to_owned())
        };
        let (Some(put), Some(get)) = (path("put"), path("get")) else {
            return fault(format!("no slot: {}", String::from_utf8_lossy(&slot)));
        };
        let header = super::framer::text(&slot, "header").map(String::from_utf8_lossy);
        let header = header.map(|value| format!("Authorization: {value}\r\n")).unwrap_or_default();
        all.push(Place { put, get, header });
    }
    client.conn.close().await?;
    Ok(all)
}

async fn put(target: &Target, place: &Place, size: usize) -> Res<Duration> {
    let mut tls = target.https().await?;
    let begun = Instant::now();
    let Place { put, header, .. } = place;
    let head = format!(
        "PUT {put} HTTP/1.1\r\nHost: {}\r\n{header}Content-Type: application/octet-stream\r\n\
         Content-Length: {size}\r\nConnection: close\r\n\r\n",
        target.domain
    );
    tls.write_all(head.as_bytes()).await?;
    let chunk = vec![0xA5; CHUNK_BYTES];
    let mut left = size;
    while left > 0 {
        let some = left.min(CHUNK_BYTES);
        tls.write_all(chunk.get(..some).unwrap_or_default()).await?;
        left -= some;
    }
    tls.flush().await?;
    let (status, _, _) = head_of(&mut tls).await?;
    if status != 201 { fault(format!("PUT: {status}")) } else { Ok(begun.elapsed()) }
}

async fn get(target: &Target, place: &Place, size: usize) -> Res<Duration> {
    let mut tls = target.https().await?;
    let begun = Instant::now();
    let head = format!(
        "GET {} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
        place.get, target.domain
    );
    tls.write_all(head.as_bytes()).await?;
    tls.flush().await?;
    let (status, length, mut came) = head_of(&mut tls).await?;
    if status != 200 || length != Some(size) {
        return fault(format!("GET: {status}, {length:?} bytes"));
    }
    let mut buf = vec![0; CHUNK_BYTES];
    while came < size {
        let read = tls.read(&mut buf).await?;
        if read == 0 {
            return fault(format!("GET: {came} of {size} bytes"));
        }
        came += read;
    }
    Ok(begun.elapsed())
}

/// The status of an answer, its length, and how much of its body came with it.
async fn head_of(tls: &mut TlsStream<TcpStream>) -> Res<(u16, Option<usize>, usize)> {
    let mut raw = Vec::new();
    let end = loop {
        if let Some(end) = memmem::find(&raw, b"\r\n\r\n") {
            break end + 4;
        }
        if tls.read_buf(&mut raw).await? == 0 {
            return fault("no answer by HTTP");
        }
    };
    let head = String::from_utf8_lossy(raw.get(..end).unwrap_or_default()).to_ascii_lowercase();
    let status = head.split_whitespace().nth(1).and_then(|status| status.parse().ok());
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length = length.and_then(|length| length.trim().parse().ok());
    Ok((status.unwrap_or_default(), length, raw.len() - end))
}

const UPLOADERS: usize = 100;
const SMALL_BYTES: usize = 100_000;
const CHUNK_BYTES: usize = 65_536;
const SAMPLE: Duration = Duration::from_millis(20);
const PATIENCE: Duration = Duration::from_secs(60);
