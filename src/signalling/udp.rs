//! SIP over UDP: binds the sockets and turns datagrams into endpoint input.
//!
//! Owns the sockets and one reading task each. It parses nothing. When the endpoint cannot keep up the datagram is
//! dropped and counted: a SIP peer retransmits (RFC 3261 §17).

use std::{
    io::{self, IoSlice, IoSliceMut},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6},
    os::fd::AsRawFd as _,
    sync::Arc,
    time::Duration,
};

use bytes::Bytes;
use confab_sip::{Flow, Transport};
use nix::{
    libc,
    sys::socket::{
        ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, SockaddrIn6, SockaddrStorage, recvmsg,
        sendmsg, setsockopt, sockopt,
    },
};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{io::Interest, net::UdpSocket, sync::mpsc, task::JoinHandle};

use super::{endpoint::Input, local::LocalAddresses, stats::TransportStats};
use crate::listen;

/// Socket buffers asked for, bytes: room for a burst of some thousand messages.
const SOCKET_BUFFER: usize = 4 << 20;

/// The largest datagram there is.
const DATAGRAM_LIMIT: usize = 65_535;

/// Class selector 3 (RFC 4594 §4.1), as the TOS octet.
const DSCP_CS3: u32 = 24 << 2;

/// One bound UDP socket. On a wildcard address it knows of each datagram which of the machine's addresses it was sent to,
/// and sends from the address that it is told: a peer, or a NAT on the way, takes no answer from another one than it asked
/// (RFC 3581 §4).
#[derive(Debug)]
pub(crate) struct SipSocket {
    socket: UdpSocket,
    bound: SocketAddr,
}

/// One datagram in the caller's buffer.
struct Received {
    length: usize,
    remote: SocketAddr,
    /// The address of this machine that it was sent to, where the socket's own does not say.
    arrived_at: Option<IpAddr>,
}

/// Binds one UDP socket for SIP.
///
/// # Errors
/// The address is in use or not of this machine; the text says which one and what to do.
pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<Arc<SipSocket>> {
    SipSocket::bind(address).map(Arc::new).map_err(|error| {
        let text = listen::failure("sip.udp", address, &error);
        anyhow::Error::new(error).context(text)
    })
}

impl SipSocket {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::DGRAM, Some(Protocol::UDP))?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // The kernel grants what net.core.*mem_max allows; less is no failure.
        let _ = socket.set_recv_buffer_size(SOCKET_BUFFER);
        let _ = socket.set_send_buffer_size(SOCKET_BUFFER);
        if address.is_ipv4() {
            let _ = socket.set_tos_v4(DSCP_CS3);
        } else {
            let _ = socket.set_tclass_v6(DSCP_CS3);
        }
        match address.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => setsockopt(&socket, sockopt::Ipv4PacketInfo, &true)?,
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => setsockopt(&socket, sockopt::Ipv6RecvPacketInfo, &true)?,
            _ => {}
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let socket = UdpSocket::from_std(socket.into())?;
        let bound = socket.local_addr()?;
        Ok(Self { socket, bound })
    }

    /// The address it is bound to, the port resolved.
    pub(crate) fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// Sends one datagram, on a wildcard address from `local`. When this machine has that address no longer, or no way from
    /// it to `remote`, the routes choose.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) async fn send(&self, bytes: &[u8], local: IpAddr, remote: SocketAddr) -> io::Result<()> {
        let chosen = self.bound.ip().is_unspecified()
            && !local.is_unspecified()
            && local.is_ipv4() == remote.is_ipv4()
            && self.bound.is_ipv4() == remote.is_ipv4();
        if chosen {
            let write = || send_from(&self.socket, bytes, local, remote);
            match self.socket.async_io(Interest::WRITABLE, write).await {
                Err(error) if is_no_source(&error) => {}
                sent => return sent,
            }
        }
        self.socket.send_to(bytes, remote).await.map(drop)
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<Received> {
        if self.bound.ip().is_unspecified() {
            let read = || receive_at(&self.socket, buffer);
            return self.socket.async_io(Interest::READABLE, read).await;
        }
        let (length, remote) = self.socket.recv_from(buffer).await?;
        Ok(Received {
            length,
            remote,
            arrived_at: None,
        })
    }
}

/// Whether sending failed because of the address to send from.
fn is_no_source(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidInput
            | io::ErrorKind::AddrNotAvailable
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}

fn send_from(socket: &UdpSocket, bytes: &[u8], local: IpAddr, remote: SocketAddr) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    let parts = [IoSlice::new(bytes)];
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
    let sent = match (local, remote) {
        (IpAddr::V4(local), SocketAddr::V4(remote)) => {
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: libc::in_addr {
                    s_addr: u32::from_ne_bytes(local.octets()),
                },
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            let source = [ControlMessage::Ipv4PacketInfo(&info)];
            sendmsg(fd, &parts, &source, flags, Some(&SockaddrIn::from(remote)))
        }
        (IpAddr::V6(local), SocketAddr::V6(remote)) => {
            let info = libc::in6_pktinfo {
                ipi6_addr: libc::in6_addr {
                    s6_addr: local.octets(),
                },
                // The scope of `remote` says which interface, where that matters.
                ipi6_ifindex: 0,
            };
            let source = [ControlMessage::Ipv6PacketInfo(&info)];
            sendmsg(fd, &parts, &source, flags, Some(&SockaddrIn6::from(remote)))
        }
        _ => return Err(io::ErrorKind::InvalidInput.into()),
    };
    sent.map(drop).map_err(io::Error::from)
}

/// Room for the one control message that was asked for, of either family, aligned as control messages must be.
#[repr(align(8))]
struct ControlBuffer([u8; 64]);

fn receive_at(socket: &UdpSocket, buffer: &mut [u8]) -> io::Result<Received> {
    let mut control = ControlBuffer([0; 64]);
    let mut parts = [IoSliceMut::new(buffer)];
    let message = recvmsg::<SockaddrStorage>(
        socket.as_raw_fd(),
        &mut parts,
        Some(&mut control.0),
        MsgFlags::MSG_DONTWAIT,
    )?;
    let remote = message.address.as_ref().and_then(address);
    let arrived_at = message.cmsgs()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            // For a broadcast this is the address of the interface.
            Some(Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes()).into())
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => Some(Ipv6Addr::from(info.ipi6_addr.s6_addr).into()),
        _ => None,
    });
    Ok(Received {
        length: message.bytes,
        remote: remote.ok_or(io::ErrorKind::Unsupported)?,
        arrived_at: arrived_at.filter(|ip: &IpAddr| !ip.is_multicast() && !ip.is_unspecified()),
    })
}

fn address(storage: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddrV4::from(*v4).into());
    v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into()))
}

/// Reads datagrams from `socket` until the endpoint is gone.
pub(crate) fn read(
    socket: Arc<SipSocket>,
    local: Arc<LocalAddresses>,
    stats: Arc<TransportStats>,
    inputs: mpsc::Sender<Input>,
) -> JoinHandle<()> {
    let bound = socket.bound();
    tokio::spawn(async move {
        let mut buffer = vec![0; DATAGRAM_LIMIT];
        loop {
            let received = match socket.receive(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    // ICMP errors of earlier sends surface here; they concern a transaction that times out by itself.
                    stats.udp_receive_errors.increment();
                    tracing::debug!(%error, "receiving SIP over UDP");
                    if error.kind() != io::ErrorKind::ConnectionRefused {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    continue;
                }
            };
            let Received {
                length,
                remote,
                arrived_at,
            } = received;
            let Some(ip) = arrived_at.or_else(|| local.towards(bound.ip(), remote.ip())) else {
                stats.no_route.increment();
                continue;
            };
            let flow = Flow {
                transport: Transport::Udp,
                local: SocketAddr::new(ip, bound.port()),
                remote,
                connection: 0,
                name: 0,
            };
            let bytes = Bytes::copy_from_slice(&buffer[..length]);
            match inputs.try_send(Input::Message { flow, bytes }) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(_)) => stats.queue_full.increment(),
                Err(mpsc::error::TrySendError::Closed(_)) => return,
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connected sockets hear an answer only from the address they asked.
    #[tokio::test]
    async fn a_wildcard_socket_answers_from_the_address_that_was_asked() {
        for (any, asked) in [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "::1")] {
            let Ok(server) = SipSocket::bind(any.parse().unwrap()) else {
                assert!(any.starts_with('['), "IPv4 is always there");
                continue;
            };
            let asked: IpAddr = asked.parse().unwrap();
            let own: SocketAddr = if asked.is_ipv4() { "127.0.0.1:0" } else { "[::1]:0" }
                .parse()
                .unwrap();
            let Ok(client) = UdpSocket::bind(own).await else {
                assert!(asked.is_ipv6());
                continue;
            };
            client
                .connect(SocketAddr::new(asked, server.bound().port()))
                .await
                .unwrap();
            client.send(b"ask").await.unwrap();
            let mut buffer = [0; 64];
            let received = server.receive(&mut buffer).await.unwrap();
            assert_eq!(received.arrived_at, Some(asked));
            assert_eq!(received.remote, client.local_addr().unwrap());
            assert_eq!(&buffer[..received.length], b"ask");
            server.send(b"answer", asked, received.remote).await.unwrap();
            let answer = tokio::time::timeout(Duration::from_secs(5), client.recv(&mut buffer)).await;
            assert_eq!(answer.expect("heard").unwrap(), 6);
        }
    }

    #[tokio::test]
    async fn an_address_that_is_gone_does_not_keep_a_message() {
        let server = SipSocket::bind("0.0.0.0:0".parse().unwrap()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let gone = "192.0.2.77".parse().unwrap();
        server
            .send(b"x", gone, client.local_addr().unwrap())
            .await
            .unwrap();
        let mut buffer = [0; 8];
        let heard = tokio::time::timeout(Duration::from_secs(5), client.recv(&mut buffer)).await;
        assert_eq!(heard.expect("heard").unwrap(), 1);
    }
}
