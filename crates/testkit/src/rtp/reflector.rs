//! Owns the bare RTP reflector: the least that a server with one socket per call has to do, as the measure for everything above it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use super::syscall::{self, Readiness};

/// When a reflector looks at its sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReflectorPace {
    /// As soon as the kernel says that one is readable: one wake-up for each packet unless several arrive together.
    Arrival,
    /// Once in each period, as a mixer with a tick does.
    Tick(Duration),
}

/// Sends every datagram back to where it came from.
pub struct Reflector {
    sockets: Vec<UdpSocket>,
    readiness: Readiness,
    pace: ReflectorPace,
}

impl Reflector {
    /// Opens `calls` sockets on free ports of `address`.
    pub fn open(address: IpAddr, calls: usize, pace: ReflectorPace) -> io::Result<Self> {
        let readiness = Readiness::new()?;
        let sockets = (0..calls)
            .map(|index| {
                let socket = UdpSocket::bind(SocketAddr::new(address, 0))?;
                socket.set_nonblocking(true)?;
                readiness.add(socket.as_raw_fd(), index as u64)?;
                Ok(socket)
            })
            .collect::<io::Result<Vec<_>>>()?;
        Ok(Self {
            sockets,
            readiness,
            pace,
        })
    }

    /// Returns the address of each call.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.sockets.iter().map(UdpSocket::local_addr).collect()
    }

    /// Reflects until the process ends.
    pub fn run(mut self) -> ! {
        let mut buffer = [0u8; 2048];
        let mut ready = Vec::with_capacity(self.sockets.len());
        let mut due_ns = syscall::monotonic_ns();
        loop {
            ready.clear();
            match self.pace {
                ReflectorPace::Arrival => self.readiness.poll(-1, &mut ready),
                ReflectorPace::Tick(period) => {
                    due_ns += period.as_nanos() as u64;
                    syscall::sleep_until(due_ns);
                    self.readiness.poll(0, &mut ready);
                }
            }
            for index in &ready {
                let socket = &self.sockets[*index as usize];
                if let Ok((length, from)) = socket.recv_from(&mut buffer) {
                    let _ = socket.send_to(&buffer[..length], from);
                }
            }
        }
    }
}
