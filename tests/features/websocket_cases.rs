//! The cases of Autobahn's WebSocket test suite (groups 1 to 7, 9 and 10), by their numbers. Its client wants an
//! echo; this server speaks XMPP, so what is said is a message to oneself, which comes back.
//!
//! Where it differs from what Autobahn calls best: an empty message and binary ones are not of RFC 7395 (§3.3) and
//! end the connection; a text that is not UTF-8 fails when it is whole, not at its first bad byte (which Autobahn
//! calls `NON-STRICT`); and what XML cannot say ends the stream.

use crate::harness::client::{Client, Outcome, Security};
use crate::harness::frames::{
    BINARY, CLOSE, CONTINUE, Chop, FIN, Frames, Got, PING, PONG, TEXT, fragments, frame,
};
use crate::harness::process::{Lab, PASSWORD, wrong};

/// A session to send frames on.
async fn online(lab: &Lab) -> Outcome<(Frames, String)> {
    let mut client = Client::login(&lab.target, Security::WebSocket, "alice", PASSWORD).await?;
    client.answers_pings = false;
    client.become_available().await?;
    client.fence().await?;
    let jid = client.jid.clone();
    Ok((Frames::of(&mut client), jid))
}

/// A stream that has begun, and no more.
async fn open(lab: &Lab) -> Outcome<Frames> {
    let mut client = Client::connect(&lab.target, Security::WebSocket).await?;
    Ok(Frames::of(&mut client))
}

/// A message to oneself around what Autobahn says.
fn say(jid: &str, body: &[u8]) -> Vec<u8> {
    let begin = format!("<message xmlns='jabber:client' to='{jid}'><body>");
    [begin.as_bytes(), body, b"</body></message>"].concat()
}

/// The same of so many bytes in all.
fn sized(jid: &str, length: usize) -> Vec<u8> {
    let rest = length - say(jid, b"").len();
    say(jid, &vec![b'*'; rest])
}

/// Proves that the connection works, and that nothing else came.
async fn works(frames: &mut Frames, case: &str) -> Outcome<()> {
    let ping = "<iq xmlns='jabber:client' type='get' id='works'><ping xmlns='urn:xmpp:ping'/></iq>";
    frames.send(&[frame(FIN | TEXT, ping)], Chop::None).await;
    match frames.next().await? {
        Got::Text(text) if text.contains("id='works'") => Ok(()),
        other => wrong(format!("case {case}: {other:?}")),
    }
}

/// The close code that ends the connection; what was said before it is left out, but for pongs.
async fn fails(frames: &mut Frames, case: &str) -> Outcome<Option<u16>> {
    loop {
        match frames.next().await? {
            Got::Text(_) => {}
            Got::Close(code) => {
                frames.send(&[frame(FIN | CLOSE, [])], Chop::None).await;
                return match frames.next().await? {
                    Got::End => Ok(code),
                    more => wrong(format!("case {case}: {more:?} after the close frame")),
                };
            }
            other => return wrong(format!("case {case}: {other:?}")),
        }
    }
}

/// What goes well: 1.1, 2, 5.3 to 5.8, 5.19, 5.20, 9.1, 10.1. All on one connection.
#[tokio::test]
#[allow(clippy::too_many_lines)] // a table
async fn what_is_allowed_is_understood() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let (mut frames, jid) = online(&lab).await?;
    let one = |text: Vec<u8>| vec![frame(FIN | TEXT, text)];
    let hello = say(&jid, b"fragment1fragment2fragment3");
    let cut = hello.len() - 20;
    let with_ping = |payload: &str| {
        vec![
            frame(TEXT, &hello[..cut]),
            frame(FIN | PING, payload),
            frame(FIN | CONTINUE, &hello[cut..]),
        ]
    };
    let pieces = |at: usize| &hello[at * 20..(at + 1) * 20];
    let mixed = vec![
        frame(TEXT, pieces(0)),
        frame(CONTINUE, pieces(1)),
        frame(FIN | PING, "pongme 1!"),
        frame(CONTINUE, pieces(2)),
        frame(CONTINUE, pieces(3)),
        frame(FIN | PING, "pongme 2!"),
        frame(FIN | CONTINUE, &hello[80..]),
    ];
    let ping = |payload: &[u8]| vec![frame(FIN | PING, payload)];
    let odd: &[u8] = b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff";
    let ten: Vec<String> = (0..10).map(|at| format!("payload-{at}")).collect();
    let pings: Vec<Vec<u8>> = ten.iter().map(|payload| frame(FIN | PING, payload)).collect();
    let ten: Vec<&[u8]> = ten.iter().map(String::as_bytes).collect();
    let pong = |payload: &str| frame(FIN | PONG, payload);
    for (case, sends, chop, pongs, echoes) in [
        ("1.1.2", one(sized(&jid, 125)), Chop::None, vec![], true),
        ("1.1.3", one(sized(&jid, 126)), Chop::None, vec![], true),
        ("1.1.4", one(sized(&jid, 127)), Chop::None, vec![], true),
        ("1.1.5", one(sized(&jid, 128)), Chop::None, vec![], true),
        ("1.1.6", one(sized(&jid, 65_535)), Chop::None, vec![], true),
        ("1.1.7", one(sized(&jid, 65_536)), Chop::None, vec![], true),
        ("1.1.8", one(sized(&jid, 65_536)), Chop::Bytes(997), vec![], true),
        ("2.1", ping(b""), Chop::None, vec![&b""[..]], false),
        ("2.2", ping(b"Hello, world!"), Chop::None, vec![b"Hello, world!"], false),
        ("2.3", ping(odd), Chop::None, vec![odd], false),
        ("2.4", ping(&[0xfe; 125]), Chop::None, vec![&[0xfe; 125]], false),
        ("2.6", ping(&[0xfe; 125]), Chop::Bytes(1), vec![&[0xfe; 125]], false),
        ("2.7", vec![pong("")], Chop::None, vec![], false),
        ("2.8", vec![pong("unsolicited pong payload")], Chop::None, vec![], false),
        (
            "2.9",
            vec![pong("unsolicited pong payload"), frame(FIN | PING, "ping payload")],
            Chop::None,
            vec![b"ping payload"],
            false,
        ),
        ("2.10", pings.clone(), Chop::None, ten.clone(), false),
        ("2.11", pings, Chop::Bytes(1), ten, false),
        ("5.3", fragments(&hello, cut), Chop::None, vec![], true),
        ("5.4", fragments(&hello, cut), Chop::Frames, vec![], true),
        ("5.5", fragments(&hello, cut), Chop::Bytes(1), vec![], true),
        ("5.6", with_ping("ping payload"), Chop::None, vec![b"ping payload"], true),
        ("5.7", with_ping("ping payload"), Chop::Frames, vec![b"ping payload"], true),
        ("5.8", with_ping("ping payload"), Chop::Bytes(1), vec![b"ping payload"], true),
        ("5.19", mixed.clone(), Chop::None, vec![b"pongme 1!", b"pongme 2!"], true),
        ("5.20", mixed, Chop::Frames, vec![b"pongme 1!", b"pongme 2!"], true),
        ("9.1.2", one(sized(&jid, 262_144)), Chop::None, vec![], true),
        ("9.5.6", one(sized(&jid, 65_536)), Chop::Bytes(2_048), vec![], true),
        ("9.3.1", fragments(sized(&jid, 262_144), 64), Chop::None, vec![], true),
        ("10.1.1", fragments(sized(&jid, 65_536), 1_300), Chop::None, vec![], true),
    ] {
        frames.send(&sends, chop).await;
        for payload in pongs {
            assert_eq!(frames.next().await?, Got::Pong(payload.to_vec()), "case {case}");
        }
        if echoes {
            let Got::Text(text) = frames.next().await? else { panic!("case {case}: no echo") };
            let body = text.contains("<body>***") || text.contains("<body>fragment1fragment2");
            assert!(text.starts_with("<message ") && body, "case {case}: {text:.200}");
        }
        works(&mut frames, case).await?;
    }
    Ok(())
}

/// What breaks the rules of frames: 1.2, 2.5, 3, 4, 5.1, 5.2, 5.9 to 5.18, 9.1.
#[tokio::test]
#[allow(clippy::too_many_lines)] // a table
async fn what_breaks_the_rules_of_frames_fails_the_connection() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let text = |payload: &[u8]| frame(FIN | TEXT, payload);
    let ping = || frame(FIN | PING, "");
    let binary = |length: usize| vec![frame(FIN | BINARY, vec![0xfe; length])];
    let nothing = "non-continuation payload";
    let (_, jid) = online(&lab).await?;
    // It goes to who is online just then: what comes back is not looked at.
    let hello = say(jid.split('/').next().unwrap_or_default(), b"Hello, world!");
    let opcode = |opcode: u8, payload: &str| vec![frame(FIN | opcode, payload)];
    let after = |second: Vec<u8>| vec![text(&hello), second, ping()];
    let twice = |first: u8| {
        let one = [
            frame(first | CONTINUE, "fragment1"),
            frame(TEXT, &hello[..9]),
            frame(FIN | CONTINUE, &hello[9..]),
        ];
        [one.clone(), one].concat()
    };
    let continued = |first: u8| vec![frame(first | CONTINUE, nothing), text(&hello)];
    for (case, sends, chop, code) in [
        ("1.2.1", binary(0), Chop::None, 1003),
        ("1.2.2", binary(125), Chop::None, 1003),
        ("1.2.3", binary(126), Chop::None, 1003),
        ("1.2.4", binary(127), Chop::None, 1003),
        ("1.2.5", binary(128), Chop::None, 1003),
        ("1.2.6", binary(65_535), Chop::None, 1003),
        ("1.2.7", binary(65_536), Chop::None, 1003),
        ("1.2.8", binary(65_536), Chop::Bytes(997), 1003),
        ("2.5", vec![frame(FIN | PING, [0xfe; 126])], Chop::None, 1002),
        ("3.1", vec![frame(0x90 | TEXT, &hello)], Chop::None, 1002),
        ("3.2", after(frame(0xa0 | TEXT, &hello)), Chop::None, 1002),
        ("3.3", after(frame(0xb0 | TEXT, &hello)), Chop::Frames, 1002),
        ("3.4", after(frame(0xc0 | TEXT, &hello)), Chop::Bytes(1), 1002),
        ("3.5", vec![frame(0xd0 | BINARY, b"\x00\xff\xfe\xfd\xfc\xfb\x00\xff")], Chop::None, 1002),
        ("3.6", vec![frame(0xe0 | PING, "Hello, world!")], Chop::None, 1002),
        ("3.7", vec![frame(0xf0 | CLOSE, "")], Chop::None, 1002),
        ("4.1.1", opcode(3, ""), Chop::None, 1002),
        ("4.1.2", opcode(4, "reserved opcode payload"), Chop::None, 1002),
        ("4.1.3", after(frame(FIN | 5, "")), Chop::None, 1002),
        ("4.1.4", after(frame(FIN | 6, &hello)), Chop::None, 1002),
        ("4.1.5", after(frame(FIN | 7, &hello)), Chop::Bytes(1), 1002),
        ("4.2.1", opcode(11, ""), Chop::None, 1002),
        ("4.2.2", opcode(12, "reserved opcode payload"), Chop::None, 1002),
        ("4.2.3", after(frame(FIN | 13, "")), Chop::None, 1002),
        ("4.2.4", after(frame(FIN | 14, &hello)), Chop::None, 1002),
        ("4.2.5", after(frame(FIN | 15, &hello)), Chop::Bytes(1), 1002),
        (
            "5.1",
            vec![frame(PING, "fragment1"), frame(FIN | CONTINUE, "fragment2")],
            Chop::None,
            1002,
        ),
        (
            "5.2",
            vec![frame(PONG, "fragment1"), frame(FIN | CONTINUE, "fragment2")],
            Chop::None,
            1002,
        ),
        ("5.9", continued(FIN), Chop::None, 1002),
        ("5.10", continued(FIN), Chop::Frames, 1002),
        ("5.11", continued(FIN), Chop::Bytes(1), 1002),
        ("5.12", continued(0), Chop::None, 1002),
        ("5.13", continued(0), Chop::Frames, 1002),
        ("5.14", continued(0), Chop::Bytes(1), 1002),
        (
            "5.15",
            vec![
                frame(TEXT, &hello[..9]),
                frame(FIN | CONTINUE, &hello[9..]),
                frame(CONTINUE, "fragment3"),
                text(&hello),
            ],
            Chop::None,
            1002,
        ),
        ("5.16", twice(0), Chop::None, 1002),
        ("5.17", twice(FIN), Chop::None, 1002),
        ("5.18", vec![frame(TEXT, &hello[..9]), text(&hello[9..])], Chop::None, 1002),
        // `limits.stanza_bytes_max`, whole and in fragments.
        ("9.1.3", vec![text(&sized(&jid, 1 << 20))], Chop::None, 1009),
        ("9.3.9", fragments(sized(&jid, 1 << 20), 1 << 16), Chop::None, 1009),
        // §5.1: not of the suite, whose frames are all masked.
        ("unmasked", vec![[&[FIN | TEXT, 4], &b"<a/>"[..]].concat()], Chop::None, 1002),
    ] {
        let (mut frames, _) = online(&lab).await?;
        frames.send(&sends, chop).await;
        assert_eq!(fails(&mut frames, case).await?, Some(code), "case {case}");
    }
    Ok(())
}

/// Text that is UTF-8: 6.2, and those of 6.5 to 6.23 that are valid. On one connection, as long as it is XML.
#[tokio::test]
async fn text_that_is_utf_8_comes_back() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let (mut frames, jid) = online(&lab).await?;
    let kosme = "κόσμε";
    let long = "Hello-µ@ßöäüàá-UTF-8!!";
    for (case, text, length) in [
        ("6.2.1", long, usize::MAX),
        ("6.2.2", long, 60),
        ("6.2.3", long, 1),
        ("6.2.4", kosme, 1),
        ("6.5.1", "hello\u{24}world", usize::MAX),
        ("6.5.2", "hello\u{a2}world", usize::MAX),
        ("6.5.3", "hello\u{20ac}world", usize::MAX),
        ("6.5.4", "hello\u{24b62}world", usize::MAX),
        ("6.5.5", kosme, usize::MAX),
        ("6.6.2", "κ", usize::MAX),
        ("6.6.5", "κό", usize::MAX),
        ("6.6.7", "κόσ", usize::MAX),
        ("6.6.9", "κόσμ", usize::MAX),
        ("6.6.11", kosme, usize::MAX),
        ("6.7.2", "\u{80}", usize::MAX),
        ("6.7.3", "\u{800}", usize::MAX),
        ("6.7.4", "\u{10000}", usize::MAX),
        ("6.9.1", "\u{7f}", usize::MAX),
        ("6.9.2", "\u{7ff}", usize::MAX),
        ("6.9.4", "\u{10ffff}", usize::MAX),
        ("6.11.1", "\u{d7ff}", usize::MAX),
        ("6.11.2", "\u{e000}", usize::MAX),
        ("6.11.3", "\u{fffd}", usize::MAX),
        ("6.11.4", "\u{10ffff}", usize::MAX),
        ("6.22.3", "\u{1fffe}", usize::MAX),
        ("6.22.4", "\u{1ffff}", usize::MAX),
        ("6.22.16", "\u{7ffff}", usize::MAX),
        ("6.22.34", "\u{10ffff}", usize::MAX),
        ("6.23.1", "\u{fff9}", usize::MAX),
        ("6.23.4", "\u{fffc}", usize::MAX),
    ] {
        frames.send(&fragments(say(&jid, text.as_bytes()), length), Chop::None).await;
        let Got::Text(echo) = frames.next().await? else { panic!("case {case}: no echo") };
        assert!(echo.contains(&format!("<body>{text}</body>")), "case {case}: {echo}");
    }
    // XML 1.0 §2.2: what it cannot say; and RFC 7395 §3.3: a message is one element.
    for (case, text) in [
        ("6.7.1", say("a", b"\0")),
        ("6.9.3", say("a", "\u{ffff}".as_bytes())),
        ("6.22.1", say("a", "\u{fffe}".as_bytes())),
        ("6.22.2", say("a", "\u{ffff}".as_bytes())),
        ("1.1.1", b"".to_vec()),
        ("6.1.1", b"".to_vec()),
        ("5.3", "κόσμε".into()),
    ] {
        let mut frames = open(&lab).await?;
        frames.send(&[frame(FIN | TEXT, text)], Chop::None).await;
        let Got::Text(error) = frames.next().await? else { panic!("case {case}: no error") };
        assert!(error.contains("<not-well-formed "), "case {case}: {error}");
        assert_eq!(fails(&mut frames, case).await?, Some(1000), "case {case}");
    }
    let mut empty = open(&lab).await?;
    // 6.1.2: three fragments of nothing.
    let three = [frame(TEXT, ""), frame(CONTINUE, ""), frame(FIN | CONTINUE, "")];
    empty.send(&three, Chop::None).await;
    assert_eq!(fails(&mut empty, "6.1.2").await?, Some(1000));
    Ok(())
}

/// Text that is not UTF-8: 6.3, 6.4, and those of 6.6 to 6.21 that are not. Inside of an element or without.
#[tokio::test]
async fn text_that_is_not_utf_8_fails_the_connection() -> Outcome<()> {
    let lab = Lab::new(&[], &[]);
    let bad: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    let late: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xf4\x90\x80\x80edited";
    let part = |first: u8, from: usize, to: usize| frame(first, &late[from..to]);
    let fragmented = |one: usize, two: usize| {
        vec![part(TEXT, 0, one), part(CONTINUE, one, two), part(FIN | CONTINUE, two, late.len())]
    };
    for (case, sends, chop) in [
        ("6.3.1", vec![frame(FIN | TEXT, bad)], Chop::None),
        ("6.3.2", fragments(bad, 1), Chop::None),
        ("6.4.1", fragmented(11, 15), Chop::Frames),
        ("6.4.2", fragmented(12, 13), Chop::Frames),
        ("6.4.3", vec![frame(FIN | TEXT, late)], Chop::Bytes(11)),
        ("6.4.4", vec![frame(FIN | TEXT, late)], Chop::Bytes(12)),
    ] {
        let mut frames = open(&lab).await?;
        frames.send(&sends, chop).await;
        assert_eq!(fails(&mut frames, case).await?, Some(1007), "case {case}");
    }
    let unexpected: Vec<u8> = (0x80..0xbf).collect();
    let lonely = |from: u8, to: u8| (from..to).flat_map(|byte| [byte, b' ']).collect::<Vec<u8>>();
    let starts: Vec<Vec<u8>> =
        [(0xc0, 0xdf), (0xe0, 0xef), (0xf0, 0xf7), (0xf8, 0xfb), (0xfc, 0xfd)]
            .map(|(from, to)| lonely(from, to))
            .into();
    let cases: [(&str, &[&[u8]]); 13] = [
        ("6.6", &[b"\xce", b"\xce\xba\xe1", b"\xce\xba\xe1\xbd", b"\xce\xba\xe1\xbd\xb9\xcf"]),
        ("6.8", &[b"\xf8\x88\x80\x80\x80", b"\xfc\x84\x80\x80\x80\x80"]),
        ("6.10", &[b"\xf7\xbf\xbf\xbf", b"\xfb\xbf\xbf\xbf\xbf", b"\xfd\xbf\xbf\xbf\xbf\xbf"]),
        ("6.11.5", &[b"\xf4\x90\x80\x80"]),
        ("6.12", &[b"\x80", b"\xbf", b"\x80\xbf", b"\x80\xbf\x80\xbf\x80\xbf", &unexpected]),
        ("6.13", &[&starts[0], &starts[1], &starts[2], &starts[3], &starts[4]]),
        ("6.14", &[b"\xc0", b"\xe0\x80", b"\xf0\x80\x80", b"\xdf", b"\xef\xbf", b"\xf7\xbf\xbf"]),
        ("6.15", &[b"\xc0\xe0\x80\xf0\x80\x80\xf8\x80\x80\x80\xdf\xef\xbf\xf7\xbf\xbf"]),
        ("6.16", &[b"\xfe", b"\xff", b"\xfe\xfe\xff\xff"]),
        ("6.17", &[b"\xc0\xaf", b"\xe0\x80\xaf", b"\xf0\x80\x80\xaf", b"\xf8\x80\x80\x80\xaf"]),
        ("6.18", &[b"\xc1\xbf", b"\xe0\x9f\xbf", b"\xf0\x8f\xbf\xbf", b"\xf8\x87\xbf\xbf\xbf"]),
        ("6.19", &[b"\xc0\x80", b"\xe0\x80\x80", b"\xf0\x80\x80\x80", b"\xf8\x80\x80\x80\x80"]),
        (
            "6.20, 6.21",
            &[
                b"\xed\xa0\x80",
                b"\xed\xad\xbf",
                b"\xed\xae\x80",
                b"\xed\xaf\xbf",
                b"\xed\xb0\x80",
                b"\xed\xbe\x80",
                b"\xed\xbf\xbf",
                b"\xed\xa0\x80\xed\xb0\x80",
                b"\xed\xaf\xbf\xed\xbf\xbf",
            ],
        ),
    ];
    for (case, texts) in cases {
        for text in texts {
            for sent in [text.to_vec(), say("a", text)] {
                let mut frames = open(&lab).await?;
                frames.send(&[frame(FIN | TEXT, &sent)], Chop::None).await;
                let code = fails(&mut frames, case).await?;
                assert_eq!(code, Some(1007), "case {case}: {sent:02x?}");
            }
        }
    }
    Ok(())
}

/// The closing handshake: 7.1, 7.3, 7.5, 7.7, 7.9, 7.13. Nothing is answered after it.
#[tokio::test]
async fn a_close_frame_comes_back_and_ends_it() -> Outcome<()> {
    let lab = Lab::new(&["alice"], &[]);
    let close =
        |code: u16, reason: &[u8]| frame(FIN | CLOSE, [&code.to_be_bytes()[..], reason].concat());
    let normal = || close(1000, b"");
    let text = || frame(FIN | TEXT, "<a xmlns='urn:a'/>");
    let bad: &[u8] = b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80edited";
    for (case, sends, code) in [
        ("7.1.2", vec![normal(), frame(FIN | CLOSE, "")], Some(1000)),
        ("7.1.3", vec![normal(), frame(FIN | PING, "")], Some(1000)),
        ("7.1.4", vec![normal(), text()], Some(1000)),
        (
            "7.1.5",
            vec![frame(TEXT, "fragment1"), normal(), frame(FIN | CONTINUE, "fragment2")],
            Some(1000),
        ),
        ("7.3.1", vec![frame(FIN | CLOSE, "")], None),
        ("7.3.2", vec![frame(FIN | CLOSE, "a")], Some(1002)),
        ("7.3.3", vec![normal()], Some(1000)),
        ("7.3.4", vec![close(1000, b"Hello World!")], Some(1000)),
        ("7.3.5", vec![close(1000, &[b'*'; 123])], Some(1000)),
        ("7.3.6", vec![close(1000, &[b'*'; 124])], Some(1002)),
        ("7.5.1", vec![close(1000, bad)], Some(1007)),
        ("7.13.1", vec![close(5000, b"")], Some(1002)),
        ("7.13.2", vec![close(65_535, b"")], Some(1002)),
    ] {
        let mut frames = open(&lab).await?;
        frames.send(&sends, Chop::None).await;
        assert_eq!(fails(&mut frames, case).await?, code, "case {case}");
    }
    for code in [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999] {
        let mut frames = open(&lab).await?;
        frames.send(&[close(code, b"")], Chop::None).await;
        assert_eq!(fails(&mut frames, "7.7").await?, Some(code), "case 7.7");
    }
    for code in [0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999] {
        let mut frames = open(&lab).await?;
        frames.send(&[close(code, b"")], Chop::None).await;
        assert_eq!(fails(&mut frames, "7.9").await?, Some(1002), "case 7.9: {code}");
    }
    // 7.1.1, 7.1.6: what was said before it is heard.
    for length in [200, 262_144] {
        let (mut frames, _) = online(&lab).await?;
        let mut other = lab.online("alice", "other").await?;
        let message = frame(FIN | TEXT, sized(&other.jid, length));
        frames.send(&[message, normal(), frame(FIN | PING, "")], Chop::None).await;
        assert_eq!(fails(&mut frames, "7.1.6").await?, Some(1000));
        other.expect(|e| e.name == "message").await?;
    }
    Ok(())
}
