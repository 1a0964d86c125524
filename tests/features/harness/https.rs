//! HTTP/1.1 over TLS by hand: what is sent is exactly what the test says.

use super::client::{Client, DEADLINE, Failure, Outcome, Target};
use tokio::time::timeout;

/// What came back.
#[derive(Debug, Default)]
pub struct Answer {
    pub status: u16,
    /// Names in small letters.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(of, _)| of == name).map(|(_, value)| value.as_str())
    }
}

/// A connection for one request.
pub struct Https {
    client: Client,
}

impl Https {
    pub async fn connect(target: &Target) -> Outcome<Https> {
        let web = target.web.ok_or_else(|| Failure("no web".into()))?;
        let mut client = Client::dial(target, web).await?;
        client.handshake(&["http/1.1"]).await?;
        Ok(Https { client })
    }

    /// As it is.
    pub async fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.client.io.write(bytes).await.map_err(|error| Failure(error.to_string()))
    }

    /// The head of a request; the path of a whole address.
    pub async fn head(&mut self, method: &str, url: &str, headers: &[(&str, &str)]) -> Outcome<()> {
        let rest = url.strip_prefix("https://").unwrap_or(url);
        let path = rest.find('/').map_or("/", |at| &rest[at..]);
        let host = self.client.target.domain.clone();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        self.write(format!("{head}\r\n").as_bytes()).await
    }

    /// All that comes until the end.
    pub async fn answer(&mut self) -> Outcome<Answer> {
        let mut bytes = Vec::new();
        let read = async {
            loop {
                match self.client.io.read(&mut bytes).await {
                    Ok(0) | Err(_) => break,
                    Ok(_) => {}
                }
            }
        };
        let in_time = timeout(DEADLINE, read).await.is_ok();
        let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(1_000)]).into_owned();
        if !in_time {
            return Err(Failure(format!("no end came: {shown}")));
        }
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
        let end = end.ok_or_else(|| Failure(format!("no head came: {shown}")))?;
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers = headers.map(|(name, value)| (name.to_lowercase(), value.trim().to_owned()));
        Ok(Answer {
            status: status.ok_or_else(|| Failure(format!("no status: {shown}")))?,
            headers: headers.collect(),
            body: bytes[end + 4..].to_vec(),
        })
    }
}

/// One request on a connection of its own.
pub async fn request(
    target: &Target,
    method: &str,
    url: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Outcome<Answer> {
    let mut https = Https::connect(target).await?;
    https.head(method, url, headers).await?;
    if !body.is_empty() {
        // Who refuses at the head need not read on.
        let _ = https.write(body).await;
    }
    https.answer().await
}

pub async fn get(target: &Target, url: &str) -> Outcome<Answer> {
    request(target, "GET", url, &[], b"").await
}

pub async fn put(target: &Target, url: &str, body: &[u8]) -> Outcome<Answer> {
    let length = body.len().to_string();
    request(target, "PUT", url, &[("Content-Length", &length)], body).await
}
