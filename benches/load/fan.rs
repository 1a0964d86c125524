//! The floor of news: what comes from one connection is written to all others by their own tasks.

use super::conn::Conn;
use super::fault::{Res, fault};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{Receiver, Sender, channel};
use tokio::task::JoinSet;

/// The relay's part: each connection gets what others say.
pub async fn accept(listener: TcpListener) {
    let (say, _) = channel(WAITING);
    let mut tasks = JoinSet::new();
    while let Ok((tcp, _)) = listener.accept().await {
        let _ = tcp.set_nodelay(true);
        tasks.spawn(serve(tcp, say.clone(), say.subscribe()));
    }
}

async fn serve(mut tcp: TcpStream, say: Sender<Bytes>, mut heard: Receiver<Bytes>) -> Res<()> {
    let mut own = [0; ITEM_BYTES];
    let (mut reader, mut writer) = tcp.split();
    loop {
        tokio::select! {
            read = reader.read_exact(&mut own) => {
                read?;
                drop(say.send(Bytes::copy_from_slice(&own)));
            }
            item = heard.recv() => match item {
                Ok(item) => writer.write_all(&item).await?,
                Err(_) => return Ok(()),
            },
        }
    }
}

/// The clients' part: one says something, and all have it, itself too.
pub async fn round(publisher: &mut Conn, readers: &mut [Conn], item: &[u8]) -> Res<()> {
    publisher.send(item).await?;
    let all = readers.iter_mut().chain([publisher]);
    for conn in all {
        while conn.take_bytes(item.len()).is_none() {
            conn.fill().await?;
        }
    }
    if item.len() == ITEM_BYTES { Ok(()) } else { fault("not an item") }
}

/// As long as a notification is on the wire.
pub const ITEM_BYTES: usize = 400;
/// Items at once.
const WAITING: usize = 16;
