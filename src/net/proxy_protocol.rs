//! The PROXY protocol, versions 1 and 2 (<https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt>): a proxy
//! that passes a connection on as it is says before the first byte where it comes from.

use std::io;
use std::net::IpAddr;

use proxy_header::{ParseConfig, Protocol, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// What a proxy says of a connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Announced {
    /// Where it comes from; none if it is the proxy's own, which looks whether the server lives.
    pub client: Option<IpAddr>,
    /// Whether the client speaks TLS with the proxy.
    pub secured: bool,
}

/// Reads the header, and not a byte more: what follows is TLS, or whatever else it would be without. The caller
/// bounds the time.
pub async fn read(stream: &mut TcpStream) -> io::Result<Announced> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        // §2.2: after the signature two bytes that do not matter here, then the length of the rest.
        let mut more = [0; 4];
        stream.read_exact(&mut more).await?;
        let [.., high, low] = more;
        let length = usize::from(u16::from_be_bytes([high, low]));
        if length > V2_BYTES_MAX {
            return Err(invalid("a header that is too long"));
        }
        header.extend(more);
        let begin = header.len();
        header.resize(begin + length, 0);
        stream.read_exact(header.get_mut(begin..).unwrap_or_default()).await?;
    } else if header.starts_with(b"PROXY ") {
        line(stream, &mut header).await?;
    } else {
        return Err(invalid("no header of the PROXY protocol"));
    }
    parse(&header)
}

/// Reads to the end of the line (§2.1). It is looked at before it is taken, as the next byte is another's.
async fn line(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    while header.last() != Some(&b'\n') {
        let mut ahead = [0; V1_BYTES_MAX];
        let room = V1_BYTES_MAX.saturating_sub(header.len());
        let there = match room {
            0 => return Err(invalid("a line that does not end")),
            room => stream.peek(ahead.get_mut(..room).unwrap_or_default()).await?,
        };
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let ahead = ahead.get_mut(..there).unwrap_or_default();
        let end = memchr::memchr(b'\n', ahead).map_or(there, |at| at + 1);
        let taken = ahead.get_mut(..end).unwrap_or_default();
        stream.read_exact(taken).await?;
        header.extend_from_slice(taken);
    }
    Ok(())
}

fn parse(raw: &[u8]) -> io::Result<Announced> {
    let parsed = ProxyHeader::parse(raw, ParseConfig::default());
    let (header, length) = parsed.map_err(|_| invalid("a header that cannot be read"))?;
    let from = header.proxied_address();
    if length != raw.len() || from.is_some_and(|from| from.protocol != Protocol::Stream) {
        return Err(invalid("a header that is not of a TCP connection"));
    }
    Ok(Announced {
        client: from.map(|from| from.source.ip().to_canonical()),
        secured: header.ssl().is_some_and(|ssl| ssl.client_ssl()),
    })
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
/// §2.1: the longest line there can be.
const V1_BYTES_MAX: usize = 107;
/// What may follow the signature: addresses, and what the proxy knows of the client's TLS.
const V2_BYTES_MAX: usize = 4_096;

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// What is read of these bytes, sent in pieces, and what is left for others.
    async fn heard(bytes: &[u8], step: usize) -> (io::Result<Announced>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut proxy = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        proxy.set_nodelay(true).unwrap();
        let sends = async {
            for some in bytes.chunks(step) {
                proxy.write_all(some).await.unwrap();
                tokio::task::yield_now().await;
            }
            proxy.shutdown().await.unwrap();
        };
        let (announced, ()) = tokio::join!(read(&mut stream), sends);
        let mut rest = Vec::new();
        stream.read_to_end(&mut rest).await.unwrap();
        (announced, rest)
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [SIGNATURE, &[command, family], &length, rest].concat()
    }

    const FOUR: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x10, 0, 0x14, 0x67];

    /// Both versions, however they come, and what follows is left alone.
    #[tokio::test]
    async fn who_is_behind_a_proxy_is_told() {
        let four = Some(IpAddr::from([192, 0, 2, 7]));
        let six: Option<IpAddr> = "2001:db8::7".parse().ok();
        let six_bytes = [
            &[0x20, 1, 0x0d, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 7][..],
            &[0; 15],
            &[1, 0x10, 0, 0x14, 0x67],
        ]
        .concat();
        let ssl = [&FOUR[..], &[0x20, 0, 5, 1, 0, 0, 0, 0]].concat();
        let no_ssl = [&FOUR[..], &[0x20, 0, 5, 0, 0, 0, 0, 0]].concat();
        for (header, client, secured) in [
            (b"PROXY TCP4 192.0.2.7 10.0.0.1 4096 5222\r\n".to_vec(), four, false),
            (b"PROXY TCP6 2001:db8::7 2001:db8::1 4096 5222\r\n".to_vec(), six, false),
            (b"PROXY TCP6 ::ffff:192.0.2.7 ::1 4096 5222\r\n".to_vec(), four, false),
            (b"PROXY UNKNOWN\r\n".to_vec(), None, false),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None, false),
            (v2(0x21, 0x11, &FOUR), four, false),
            (v2(0x21, 0x21, &six_bytes), six, false),
            (v2(0x21, 0x11, &ssl), four, true),
            (v2(0x21, 0x11, &no_ssl), four, false),
            (v2(0x20, 0x00, &[]), None, false),
            (v2(0x20, 0x11, &FOUR), None, false),
        ] {
            let input = [&header[..], b"\x16\x03\x01\r\nthe rest"].concat();
            for step in [1, 13, usize::MAX] {
                let (announced, rest) = heard(&input, step).await;
                let announced = announced.unwrap();
                assert_eq!(announced, Announced { client, secured }, "{header:02x?}");
                assert_eq!(rest, b"\x16\x03\x01\r\nthe rest");
            }
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = [b"PROXY UNKNOWN ".as_slice(), &[b'x'; 200], b"\r\n"].concat();
        for bytes in [
            b"".to_vec(),
            b"PROXY TCP4".to_vec(),
            b"PROXY TCP4 192.0.2.7".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4096 5222\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 10.0.0.1 4096 5222\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.777 10.0.0.1 4096 5222\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 10.0.0.1 4096 99999\r\n".to_vec(),
            b"PROXY UDP4 192.0.2.7 10.0.0.1 4096 5222\r\n".to_vec(),
            b"proxy tcp4 192.0.2.7 10.0.0.1 4096 5222\r\n".to_vec(),
            b"<stream:stream xmlns='jabber:client'>".to_vec(),
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
            long,
            v2(0x31, 0x11, &FOUR),
            v2(0x22, 0x11, &FOUR),
            v2(0x21, 0x11, &FOUR[..8]),
            v2(0x21, 0x12, &FOUR),
            v2(0x21, 0x51, &FOUR),
            v2(0x21, 0x11, &[0; V2_BYTES_MAX + 1]),
            v2(0x21, 0x11, &FOUR)[..20].to_vec(),
        ] {
            let (announced, _) = heard(&bytes, usize::MAX).await;
            assert!(announced.is_err(), "{announced:?} of {bytes:02x?}");
        }
    }

    /// Nothing that a header can hold makes the parser fall over.
    #[test]
    fn headers_of_random_bytes_are_only_refused() {
        let mut seed = 7_u64;
        let mut next = || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 56) as u8
        };
        for _ in 0..20_000 {
            let length = usize::from(next() % 64);
            let rest: Vec<u8> = (0..length).map(|_| next()).collect();
            let families = [0x00, 0x11, 0x12, 0x21, 0x22, 0x31, next()];
            let family = families[usize::from(next()) % families.len()];
            let _ = parse(&v2(0x20 | (next() & 1), family, &rest));
            let mut line = b"PROXY TCP4 192.0.2.7 10.0.0.1 4096 5222\r\n".to_vec();
            let at = usize::from(next()) % line.len();
            line[at] = next();
            line.truncate(15 + usize::from(next()) % 27);
            let _ = parse(&line);
        }
    }
}
