//! SIP over UDP: binds the sockets and turns datagrams into endpoint input.
//!
//! Owns the sockets and one reading task each. It parses nothing. When the endpoint cannot keep up the datagram is
//! dropped and counted: a SIP peer retransmits (RFC 3261 §17).

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use confab_sip::{Flow, Transport};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{net::UdpSocket, sync::mpsc, task::JoinHandle};

use super::{endpoint::Input, local::LocalAddresses, stats::TransportStats};
use crate::listen;

/// Socket buffers asked for, bytes: room for a burst of some thousand messages.
const SOCKET_BUFFER: usize = 4 << 20;

/// The largest datagram there is.
const DATAGRAM_LIMIT: usize = 65_535;

/// Class selector 3 (RFC 4594 §4.1), as the TOS octet.
const DSCP_CS3: u32 = 24 << 2;

/// Binds one UDP socket for SIP.
///
/// # Errors
/// The address is in use or not of this machine; the text says which one and what to do.
pub(crate) fn bind(address: SocketAddr) -> anyhow::Result<Arc<UdpSocket>> {
    let bind = || -> std::io::Result<UdpSocket> {
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
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        UdpSocket::from_std(socket.into())
    };
    bind().map(Arc::new).map_err(|error| {
        let text = listen::failure("sip.udp", address, &error);
        anyhow::Error::new(error).context(text)
    })
}

/// Reads datagrams from `socket` until the endpoint is gone.
pub(crate) fn read(
    socket: Arc<UdpSocket>,
    bound: SocketAddr,
    local: Arc<LocalAddresses>,
    stats: Arc<TransportStats>,
    inputs: mpsc::Sender<Input>,
) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut buffer = vec![0; DATAGRAM_LIMIT];
        loop {
            let (length, remote) = match socket.recv_from(&mut buffer).await {
                Ok(received) => received,
                Err(error) => {
                    // ICMP errors of earlier sends surface here; they concern a transaction that times out by itself.
                    stats.udp_receive_errors.increment();
                    tracing::debug!(%error, "receiving SIP over UDP");
                    if error.kind() != std::io::ErrorKind::ConnectionRefused {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    continue;
                }
            };
            let Some(ip) = local.towards(bound.ip(), remote.ip()) else {
                stats.no_route.increment();
                continue;
            };
            let flow = Flow {
                transport: Transport::Udp,
                local: SocketAddr::new(ip, bound.port()),
                remote,
                connection: 0,
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
