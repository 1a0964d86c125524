//! Floods of HTTP (RFC 9113 §10.5) and connections that nobody uses: they end or are slowed, memory stays bounded,
//! and chat goes on beside them.

use crate::harness::bosh::HTTPBIND;
use crate::harness::client::{Client, DEADLINE, Outcome};
use crate::harness::h2::{
    ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, H2, HEADERS, PING, PRIORITY,
    RST_STREAM, SETTINGS, WINDOW_UPDATE, field, frame, get, head,
};
use crate::harness::process::{Lab, wrong};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;
use tokio::time::timeout;

/// A GET is answered.
async fn served(h2: &mut H2, stream: u32) -> Outcome<()> {
    h2.write(&get(stream, "/.well-known/host-meta")).await?;
    match h2.expect(HEADERS).await? {
        // HPACK: `:status 200` (RFC 7541, Appendix A).
        Some(answer) if answer.stream == stream && answer.payload.first() == Some(&0x88) => Ok(()),
        other => wrong(format!("{other:?}")),
    }
}

/// `web.idle_secs`: a connection without requests is told so, and ends; pings do not keep it.
#[tokio::test]
async fn an_idle_connection_ends() -> Outcome<()> {
    let lab = Lab::new(&[], &["web.idle_secs=1", "web.trusted_proxies=[]"]);
    let mut used = H2::open(&lab.target).await?;
    served(&mut used, 1).await?;
    let mut pinging = H2::open(&lab.target).await?;
    let (mut acks, mut told) = (0, false);
    let until = Instant::now() + DEADLINE;
    loop {
        let _ = pinging.write(&frame(PING, 0, 0, b"whatever")).await;
        match pinging.next().await? {
            Some(answer) if answer.kind == PING && answer.flags == ACK => acks += 1,
            Some(end) if end.kind == GOAWAY => told = true,
            // The server's own ping asks whether its GOAWAY has come.
            Some(ask) if ask.kind == PING => {
                let _ = pinging.write(&frame(PING, ACK, 0, &ask.payload)).await;
            }
            Some(_) => {}
            None => break,
        }
        assert!(Instant::now() < until, "still there after {acks} pings");
    }
    assert!(told && acks > 0, "{told} {acks}");
    // NO_ERROR
    let goaway = used.expect(GOAWAY).await?.expect("a GOAWAY");
    assert_eq!(goaway.payload[4..8], [0; 4]);
    assert!(used.expect(GOAWAY).await?.is_none_or(|last| last.payload[4..8] == [0; 4]));
    Ok(())
}

/// A request that is held is no idleness.
#[tokio::test]
async fn a_held_request_keeps_its_connection() -> Outcome<()> {
    let set = ["web.idle_secs=1", "web.bosh_wait_max_secs=3", "web.trusted_proxies=[]"];
    let lab = Lab::new(&["alice"], &set);
    let mut alice = crate::harness::bosh::Bosh::online(&lab.target, "alice").await?;
    let started = Instant::now();
    alice.ask("", "").await?;
    assert!(started.elapsed() > Duration::from_secs(2), "answered early");
    Ok(())
}

/// `limits.bytes_per_second`: what is no body is read no faster than that, after a megabyte.
#[tokio::test]
async fn frames_that_carry_nothing_are_read_slowly() -> Outcome<()> {
    let set = ["limits.bytes_per_second=2000", "web.trusted_proxies=[]"];
    let lab = Lab::new(&[], &set);
    let mut flood = H2::open(&lab.target).await?;
    let pings = frame(PING, 0, 0, b"whatever").repeat(1_000);
    let (started, mut acks) = (Instant::now(), 0_u64);
    let mut stalled = false;
    while !stalled && started.elapsed() < DEADLINE * 3 {
        // What cannot be written waits in our own socket.
        stalled = timeout(Duration::from_secs(2), flood.write(&pings)).await.is_err();
        while let Ok(Ok(Some(answer))) =
            timeout(Duration::from_millis(if stalled { 500 } else { 1 }), flood.next()).await
        {
            acks += u64::from(answer.kind == PING && answer.flags == ACK);
            if stalled && started.elapsed() > DEADLINE * 3 {
                break;
            }
        }
    }
    let most = (1_048_576 + 2_000 * (started.elapsed().as_secs() + 5) + 20_000) / 17;
    assert!(stalled, "{acks} pings were answered in {:?}", started.elapsed());
    assert!(acks > 1_000 && acks <= most, "{acks} answers, {most} at most");
    // Others are served.
    served(&mut H2::open(&lab.target).await?, 1).await
}

/// How a flood is made: what is sent again and again, with the number of the turn.
type Flood = fn(u32) -> Vec<u8>;

/// The floods of RFC 9113 §10.5, and those of HTTP/1.1 beside them.
const FLOODS: [(&str, Flood); 11] = [
    ("rapid reset", |turn| {
        let stream = turn * 2 + 1;
        [get(stream, "/.well-known/host-meta"), frame(RST_STREAM, 0, stream, &[0, 0, 0, 8])]
            .concat()
    }),
    // CVE-2025-8671: the server is made to reset.
    ("made resets", |turn| {
        let stream = turn * 2 + 1;
        [get(stream, "/.well-known/host-meta"), frame(WINDOW_UPDATE, 0, stream, &[0; 4])].concat()
    }),
    ("settings", |turn| {
        frame(SETTINGS, 0, 0, &[[0, 4, 0, 0], [0, turn as u8, 0, 4]].concat()[..6])
    }),
    ("ping", |_| frame(PING, 0, 0, b"whatever")),
    ("continuation", |turn| match turn {
        0 => frame(HEADERS, END_STREAM, 1, &head("/ws")),
        _ => frame(CONTINUATION, 0, 1, &field("x-more", &"a".repeat(1_000))),
    }),
    ("empty continuation", |turn| match turn {
        0 => frame(HEADERS, END_STREAM, 1, &head("/ws")),
        _ => frame(CONTINUATION, 0, 1, &[]),
    }),
    ("many headers", |turn| {
        let fields = [head("/ws"), field("x", "").repeat(4_000)].concat();
        frame(HEADERS, END_STREAM | END_HEADERS, turn * 2 + 1, &fields)
    }),
    ("empty data", |turn| match turn {
        0 => frame(HEADERS, END_HEADERS, 1, &post_head()),
        _ => frame(DATA, 0, 1, &[]),
    }),
    ("window updates", |_| frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
    ("priorities", |turn| frame(PRIORITY, 0, turn * 2 + 1, &[0, 0, 0, 0, 16])),
    ("requests", |turn| get(turn * 2 + 1, "/.well-known/host-meta")),
];

/// As [`head`], of a POST to `/http-bind`.
fn post_head() -> Vec<u8> {
    let mut head = head("/http-bind");
    head[0] = 0x83;
    head
}

/// Floods until the server ends it or takes no more; what it had to do.
async fn flood(mut h2: H2, make: Flood, until: Instant) -> (usize, bool) {
    let (mut turn, mut sent) = (0, 0);
    while Instant::now() < until {
        let mut batch = Vec::new();
        for _ in 0..100 {
            batch.extend(make(turn));
            turn += 1;
        }
        match timeout(Duration::from_secs(1), h2.write(&batch)).await {
            Ok(Ok(())) => sent += batch.len(),
            Ok(Err(_)) => return (sent, true),
            Err(_) => {}
        }
        while let Ok(Ok(got)) = timeout(Duration::from_micros(100), h2.next()).await {
            match got {
                Some(end) if end.kind == GOAWAY && end.payload[4..8] != [0; 4] => {
                    return (sent, true);
                }
                Some(_) => {}
                None => return (sent, true),
            }
        }
    }
    (sent, false)
}

/// Kilobytes of memory in use.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("/proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Two clients on TCP say so many things to each other; the slowest.
async fn chat(alice: &mut Client, bob: &mut Client, times: usize) -> Outcome<Duration> {
    let mut slowest = Duration::ZERO;
    for _ in 0..times {
        let started = Instant::now();
        alice.send("<message to='bob@localhost'><body>hello</body></message>").await?;
        bob.expect(|e| e.name == "message").await?;
        bob.send("<message to='alice@localhost'><body>hello</body></message>").await?;
        alice.expect(|e| e.name == "message").await?;
        slowest = slowest.max(started.elapsed());
    }
    Ok(slowest)
}

/// Each of the floods ends or is slowed, and keeps nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_bounded_and_chat_goes_on() -> Outcome<()> {
    let set = [
        "limits.bytes_per_second=16384",
        "limits.stanzas_per_second=0",
        "web.trusted_proxies=[]",
        "web.idle_secs=5",
    ];
    let lab = Lab::new(&["alice", "bob"], &set);
    let mut alice = lab.online("alice", "r").await?;
    let mut bob = lab.online("bob", "r").await?;
    chat(&mut alice, &mut bob, 20).await?;
    let before = resident(lab.process.pid);
    let until = Instant::now() + Duration::from_secs(6);
    let mut floods = JoinSet::new();
    for (name, make) in FLOODS {
        let h2 = H2::open(&lab.target).await?;
        floods.spawn(async move { (name, flood(h2, make, until).await) });
    }
    for (name, text) in [("pipelined", pipelined()), ("not BOSH", not_bosh())] {
        let mut client = Client::dial(&lab.target, lab.target.web.unwrap()).await?;
        client.handshake(&["http/1.1"]).await?;
        floods.spawn(async move { (name, raw(client, text, until).await) });
    }
    let mut slowest = Duration::ZERO;
    while Instant::now() < until {
        slowest = slowest.max(chat(&mut alice, &mut bob, 5).await?);
    }
    let during = resident(lab.process.pid);
    while let Some(ended) = floods.join_next().await {
        let (name, (sent, cut)) = ended.unwrap();
        // The burst, what the sockets hold, and what may be read in that time.
        assert!(cut || sent < 16 << 20, "{name}: {sent} bytes were taken");
    }
    // Whoever floods here shares the processors with the server.
    assert!(slowest < Duration::from_secs(5), "{slowest:?} for a message and its answer");
    let grown = during.saturating_sub(before);
    assert!(grown < 96 << 10, "{grown} kB for {} connections", FLOODS.len() + 2);
    // All that was left open is gone in time, and others are served.
    served(&mut H2::open(&lab.target).await?, 1).await
}

fn pipelined() -> String {
    "GET /.well-known/host-meta HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100)
}

fn not_bosh() -> String {
    let body = format!("<body rid='1' sid='none' xmlns='{HTTPBIND}'/>");
    let length = body.len();
    format!("POST /http-bind HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n{body}")
        .repeat(100)
}

async fn raw(mut client: Client, text: String, until: Instant) -> (usize, bool) {
    let (mut sent, mut read) = (0, Vec::new());
    while Instant::now() < until {
        match timeout(Duration::from_secs(1), client.io.write(text.as_bytes())).await {
            Ok(Ok(())) => sent += text.len(),
            Ok(Err(_)) => return (sent, true),
            Err(_) => {}
        }
        read.clear();
        let _ = timeout(Duration::from_millis(1), client.io.read(&mut read)).await;
    }
    (sent, false)
}

/// RFC 9113 §10.5.1: a head that is too large is answered, and what comes without an end ends the connection.
#[tokio::test]
async fn heads_without_an_end_are_cut() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    let mut h2 = H2::open(&lab.target).await?;
    let large = [head("/ws"), field("x-large", &"a".repeat(8_000)).repeat(3)].concat();
    let (first, second) = large.split_at(12_000);
    h2.write(&frame(HEADERS, END_STREAM, 1, first)).await?;
    h2.write(&frame(CONTINUATION, END_HEADERS, 1, second)).await?;
    loop {
        match h2.next().await? {
            // `:status 431`, or the stream or the connection is refused.
            Some(answer) if matches!(answer.kind, HEADERS | RST_STREAM | GOAWAY) => break,
            Some(_) => {}
            None => break,
        }
    }
    let mut h2 = H2::open(&lab.target).await?;
    let (make, until) = (FLOODS[4].1, Instant::now() + DEADLINE);
    let mut sent = 0;
    for turn in 0.. {
        let frame = make(turn);
        sent += frame.len();
        if h2.write(&frame).await.is_err() {
            break;
        }
        if turn % 50 == 0 {
            match timeout(Duration::from_millis(5), h2.next()).await {
                Ok(Ok(Some(end))) if end.kind == GOAWAY => break,
                Ok(Ok(None)) => break,
                _ => {}
            }
        }
        assert!(Instant::now() < until && sent < 8 << 20, "{sent} bytes of a head were taken");
    }
    Ok(())
}
