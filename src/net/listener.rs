//! Listening sockets: both families of addresses on one port.

use std::io;
use std::net::{Ipv6Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket as Socket2, Type};
use tokio::net::TcpListener;

/// Binds a listener along with the others of `all`. `[::]` serves IPv4 too, unless `0.0.0.0` is listed
/// with the same port. Where the system has no IPv6, it serves IPv4 alone.
pub async fn bind(address: SocketAddr, all: &[SocketAddr]) -> io::Result<TcpListener> {
    let any4 = SocketAddr::from(([0; 4], address.port()));
    if address == any_of_ipv6(address.port()) && address.port() != 0 && all.contains(&any4) {
        return bind_ipv6_only(address);
    }
    match TcpListener::bind(address).await {
        Err(error) if falls_back(address, &error) => TcpListener::bind(any4).await,
        bound => bound,
    }
}

/// Binds IPv6 only: otherwise the system takes the port for IPv4 too, and the other listener cannot
/// have it.
fn bind_ipv6_only(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket2::new(Domain::IPV6, Type::STREAM, Some(Protocol::TCP))?;
    socket.set_only_v6(true)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether all addresses are wanted but the system has only IPv4.
pub fn falls_back(address: SocketAddr, error: &io::Error) -> bool {
    // EAFNOSUPPORT, EADDRNOTAVAIL
    address == any_of_ipv6(address.port()) && matches!(error.raw_os_error(), Some(97 | 99))
}

fn any_of_ipv6(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))
}

/// The value that tokio uses.
const BACKLOG: i32 = 1_024;

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use tokio::net::TcpStream;

    use super::*;

    /// Both families on one port, in either order.
    #[tokio::test]
    async fn all_of_ipv4_and_all_of_ipv6_stand_together() {
        let any4 = |port| SocketAddr::from(([0; 4], port));
        for ipv6_first in [true, false] {
            // A port that is free for both families now; another test may take it in between.
            let bound = async || -> io::Result<()> {
                let port = TcpListener::bind(any_of_ipv6(0)).await?.local_addr()?.port();
                let mut all = [any4(port), any_of_ipv6(port)];
                if ipv6_first {
                    all.reverse();
                }
                let first = bind(all[0], &all).await?;
                let second = bind(all[1], &all).await?;
                for ip in [IpAddr::from([127, 0, 0, 1]), Ipv6Addr::LOCALHOST.into()] {
                    TcpStream::connect((ip, port)).await?;
                }
                drop((first, second));
                // On its own it serves both.
                let alone = bind(any_of_ipv6(port), &[any_of_ipv6(port)]).await?;
                TcpStream::connect(any4(port)).await?;
                drop(alone);
                Ok(())
            };
            let mut done = bound().await;
            for _ in 0..5 {
                if done.is_err() {
                    done = bound().await;
                }
            }
            done.unwrap();
        }
    }
}
