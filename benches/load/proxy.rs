//! A proxy that breaks what it carries, one message in so many: what the bench's check must notice.

use super::fault::{Fault, Res, fault};
use super::framer::{Framer, is};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// What is done to a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Harm {
    /// It goes nowhere.
    Drop,
    /// It comes twice.
    Double,
    /// The next one of the connection comes first.
    Swap,
}

/// What is done, and to one message in how many.
#[derive(Debug, Clone, Copy)]
pub struct Proxy {
    /// What.
    pub harm: Harm,
    /// One in so many.
    pub one_in: u64,
}

impl Proxy {
    /// Reads `drop=N`, `double=N` or `swap=N`.
    pub fn parse(text: &str) -> Res<Self> {
        let wrong = || Fault(format!("--through-proxy {text}: write drop=N, double=N or swap=N"));
        let (harm, count) = text.split_once('=').ok_or_else(wrong)?;
        let harm = match harm {
            "drop" => Harm::Drop,
            "double" => Harm::Double,
            "swap" => Harm::Swap,
            _ => return Err(wrong()),
        };
        let one_in = count.parse().ok().filter(|count| *count > 0).ok_or_else(wrong)?;
        Ok(Self { harm, one_in })
    }

    /// Stands before a server until the tasks are dropped; answers where.
    pub async fn before(self, server: SocketAddr, tasks: &mut JoinSet<()>) -> Res<SocketAddr> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let count = Arc::new(AtomicU64::new(0));
        tasks.spawn(async move {
            let mut all = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let count = Arc::clone(&count);
                all.spawn(async move { self.carry(client, server, &count).await });
            }
        });
        Ok(address)
    }

    async fn carry(self, mut client: TcpStream, server: SocketAddr, count: &AtomicU64) -> Res<()> {
        let mut server = TcpStream::connect(server).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (mut said, mut heard, mut out) = ([0; 4096], Vec::new(), Vec::new());
        let (mut framer, mut held) = (Framer::default(), Vec::new());
        loop {
            tokio::select! {
                read = client.read(&mut said) => match read? {
                    0 => return fault("closed"),
                    bytes => server.write_all(said.get(..bytes).unwrap_or_default()).await?,
                },
                read = server.read_buf(&mut heard) => {
                    if read? == 0 {
                        return fault("closed");
                    }
                    while let Some(range) = framer.next(&heard) {
                        let piece = heard.get(range).unwrap_or_default();
                        self.pass(piece, &mut held, &mut out, count);
                    }
                    let gone = framer.needed();
                    framer.shift();
                    heard.drain(..gone);
                    client.write_all(&out).await?;
                    out.clear();
                }
            }
        }
    }

    fn pass(self, piece: &[u8], held: &mut Vec<u8>, out: &mut Vec<u8>, count: &AtomicU64) {
        if !is(piece, "message") {
            out.extend_from_slice(piece);
            return;
        }
        let turn = (count.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(self.one_in);
        match self.harm {
            Harm::Drop if turn => return,
            Harm::Double if turn => out.extend_from_slice(piece),
            Harm::Swap if turn && held.is_empty() => {
                held.extend_from_slice(piece);
                return;
            }
            _ => {}
        }
        out.extend_from_slice(piece);
        out.append(held);
    }
}
