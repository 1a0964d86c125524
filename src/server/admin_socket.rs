//! The operator's access while the server runs: a unix socket, one JSON line each way.

use crate::admin::{Request, Response};
use std::future::Future;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{debug, warn};

/// A bound admin socket; dropping it removes the file.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    /// The owner of the socket's file; only root and this user may connect.
    owner: u32,
}

impl AdminSocket {
    /// Binds the socket, and first removes the file of a server that has ended. `AddrInUse` means that a
    /// server is running behind it.
    pub async fn bind(path: &Path) -> io::Result<Self> {
        let listener = match UnixListener::bind(path) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                remove_stale(path).await?;
                UnixListener::bind(path)?
            }
            other => other?,
        };
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
        let owner = std::fs::metadata(path)?.uid();
        Ok(Self { listener, path: path.to_owned(), owner })
    }

    /// Answers requests until the future is dropped.
    pub async fn serve<H, F>(self, handler: H)
    where
        H: Fn(Request) -> F + Send + Sync + 'static,
        F: Future<Output = Response> + Send + 'static,
    {
        let handler = Arc::new(handler);
        let mut open = JoinSet::new();
        loop {
            while open.len() >= CONNECTIONS_MAX {
                open.join_next().await;
            }
            match self.listener.accept().await {
                Ok((stream, _)) if self.may_speak(&stream) => {
                    let handler = Arc::clone(&handler);
                    open.spawn(async move {
                        if let Err(error) = answer(stream, &*handler).await {
                            debug!(%error, "admin connection ended early");
                        }
                    });
                }
                Ok(_) => warn!("admin socket: another user was turned away"),
                Err(error) => {
                    warn!(%error, "admin socket cannot accept");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// The file's mode allows the same users, but only from the moment after `bind`.
    fn may_speak(&self, stream: &UnixStream) -> bool {
        stream.peer_cred().is_ok_and(|peer| peer.uid() == self.owner || peer.uid() == 0)
    }
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Binds and answers: [`AdminSocket::bind`] and [`AdminSocket::serve`] in one.
pub async fn listen<H, F>(path: &Path, handler: H) -> io::Result<()>
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output = Response> + Send + 'static,
{
    AdminSocket::bind(path).await?.serve(handler).await;
    Ok(())
}

/// Asks the running server; `None` when none is running.
pub async fn ask(path: &Path, request: &Request) -> io::Result<Option<Response>> {
    let stream = match UnixStream::connect(path).await {
        Ok(stream) => stream,
        Err(error) if nobody_there(&error) => return Ok(None),
        Err(error) => return Err(error),
    };
    let (reader, mut writer) = stream.into_split();
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    writer.write_all(&line).await?;
    let answer = timeout(answer_time(request), read_line(reader, ANSWER_BYTES_MAX)).await??;
    Ok(Some(serde_json::from_slice(&answer)?))
}

/// Whether a server answers at the socket.
pub async fn is_alive(path: &Path) -> bool {
    UnixStream::connect(path).await.is_ok()
}

async fn answer<H, F>(stream: UnixStream, handler: &H) -> io::Result<()>
where
    H: Fn(Request) -> F,
    F: Future<Output = Response>,
{
    let (reader, mut writer) = stream.into_split();
    let line = timeout(REQUEST_TIME, read_line(reader, REQUEST_BYTES_MAX)).await??;
    let response = match serde_json::from_slice(&line) {
        Ok(request) => {
            let limit = answer_time(&request);
            timeout(limit, handler(request)).await.unwrap_or_else(|_| Response::error(TOO_SLOW))
        }
        // serde's error text could quote a password.
        Err(_) => Response::error(
            "the running server does not know this command: it is of another version; restart it",
        ),
    };
    let mut line = serde_json::to_vec(&response)?;
    line.push(b'\n');
    timeout(REQUEST_TIME, writer.write_all(&line)).await?
}

/// One whole line without its end. A longer or unfinished one is an error.
async fn read_line(reader: impl tokio::io::AsyncRead + Unpin, most: u64) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    BufReader::new(reader.take(most)).read_until(b'\n', &mut line).await?;
    match line.pop() {
        Some(b'\n') => Ok(line),
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, "no whole line")),
    }
}

/// Removes the socket of a server that has ended, and nothing else.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let is_socket = std::fs::symlink_metadata(path)?.file_type().is_socket();
    match UnixStream::connect(path).await {
        Err(error) if is_socket && nobody_there(&error) => std::fs::remove_file(path),
        _ => Err(io::ErrorKind::AddrInUse.into()),
    }
}

fn nobody_there(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn answer_time(request: &Request) -> Duration {
    match request {
        Request::Backup { .. } => BACKUP_TIME,
        Request::Peers(_) => PEERS_TIME,
        Request::Certificates(_) => CERTIFICATES_TIME,
        _ => ANSWER_TIME,
    }
}

const TOO_SLOW: &str = "the server did not finish in time; see its log, then look with `list`";
/// A request is an address and a password, both bounded.
const REQUEST_BYTES_MAX: u64 = 65_536;
/// A list of a million accounts still fits.
const ANSWER_BYTES_MAX: u64 = 256 * 1_048_576;
/// For trying another server: all its addresses, one after the other, and a ping.
const PEERS_TIME: Duration = Duration::from_secs(150);
/// For an order of a certificate, and one before it that is under way.
const CERTIFICATES_TIME: Duration = Duration::from_secs(1_230);
/// Connections served at the same time; further ones wait.
const CONNECTIONS_MAX: usize = 16;
/// Time for a request to arrive, or for an answer to be read.
const REQUEST_TIME: Duration = Duration::from_secs(10);
/// Time for a command: a large account's deletion, a slow disk.
const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Time to copy and read a large database on a slow disk.
const BACKUP_TIME: Duration = Duration::from_secs(3 * 3600);
/// The pause after a failed accept, so that a lack of file descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::UserQuery;

    fn del(jid: &str) -> Request {
        Request::UserDel { jid: jid.to_owned(), now: false }
    }

    async fn echo(request: Request) -> Response {
        match request {
            Request::UserDel { jid, .. } => Response::done(jid),
            _ => Response::error("no"),
        }
    }

    #[tokio::test]
    async fn a_request_gets_its_answer() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        assert_eq!(ask(&path, &del("a")).await.unwrap(), None);
        let socket = AdminSocket::bind(&path).await.unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let client = async {
            for jid in ["a", "\u{e9}\n\"b", &"x".repeat(60_000)] {
                assert_eq!(ask(&path, &del(jid)).await.unwrap(), Some(Response::done(jid)));
            }
            let list = Request::UserList(UserQuery::default());
            assert_eq!(ask(&path, &list).await.unwrap(), Some(Response::error("no")));
            // A request that is too long is cut off, and the next one is served.
            let long = ask(&path, &del(&"x".repeat(70_000))).await;
            assert!(long.is_err(), "{long:?}");
            assert!(is_alive(&path).await);
        };
        tokio::select! {
            () = socket.serve(echo) => unreachable!(),
            () = client => {}
        }
        assert!(!path.exists());
        assert!(!is_alive(&path).await);
    }

    #[tokio::test]
    async fn nonsense_is_answered_without_being_quoted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let socket = AdminSocket::bind(&path).await.unwrap();
        let client = async {
            let mut stream = UnixStream::connect(&path).await.unwrap();
            stream.write_all(b"{\"verb\":\"x\",\"password\":\"hunter2\"}\n").await.unwrap();
            let mut told = String::new();
            stream.read_to_string(&mut told).await.unwrap();
            assert!(told.contains("another version") && !told.contains("hunter2"), "{told}");
        };
        tokio::select! {
            () = socket.serve(echo) => unreachable!(),
            () = client => {}
        }
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_living_or_foreign_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        // std's listener leaves its file behind, as a killed server does.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(ask(&path, &del("a")).await.unwrap(), None);
        let living = AdminSocket::bind(&path).await.unwrap();
        let second = AdminSocket::bind(&path).await.unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
        assert!(is_alive(&path).await);
        drop(living);
        std::fs::write(&path, "precious").unwrap();
        assert!(AdminSocket::bind(&path).await.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"precious");
    }
}
