//! The system calls that the standard library has no name for: clocks, absolute sleep, datagrams with kernel receive
//! times, real-time priority, waking a thread. All unsafe code of the media plane is in this file; it keeps no state and takes
//! no decision.

#![allow(unsafe_code)] // each block says what it relies on

use std::io;
use std::mem::{MaybeUninit, size_of};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

/// Nanoseconds per second.
const SECOND_NS: u64 = 1_000_000_000;

/// Returns the monotonic clock in nanoseconds. Read in user space (vDSO), without a system call.
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// Returns the wall clock in nanoseconds since 1970. Read in user space (vDSO), without a system call.
pub(crate) fn wall_ns() -> u64 {
    clock_ns(libc::CLOCK_REALTIME)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid place to write to, and both clocks exist on every Linux.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    time.tv_sec.cast_unsigned() * SECOND_NS + time.tv_nsec.cast_unsigned()
}

/// Sleeps until the monotonic clock shows `deadline_ns`. Returns early only on a signal, which the caller notices by
/// reading the clock.
pub(crate) fn sleep_until(deadline_ns: u64) {
    let time = libc::timespec {
        tv_sec: (deadline_ns / SECOND_NS).cast_signed(),
        tv_nsec: (deadline_ns % SECOND_NS).cast_signed(),
    };
    // SAFETY: `time` is a valid time, and no remainder is asked for.
    unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &raw const time,
            ptr::null_mut(),
        )
    };
}

/// Asks for SCHED_FIFO with the given priority for the calling thread, or with `None` for the ordinary scheduler.
pub(crate) fn set_realtime(priority: Option<u8>) -> io::Result<()> {
    let (policy, priority) = match priority {
        Some(priority) => (libc::SCHED_FIFO, libc::c_int::from(priority)),
        None => (libc::SCHED_OTHER, 0),
    };
    let parameters = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: thread 0 is the calling one, and `parameters` is valid for the call.
    check(unsafe { libc::sched_setscheduler(0, policy, &raw const parameters) }).map(drop)
}

/// Asks the kernel to stamp received datagrams with the wall clock.
pub(crate) fn enable_receive_times(socket: BorrowedFd<'_>) -> io::Result<()> {
    set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)
}

/// Sets the traffic class octet of sent datagrams: the code point in its upper six bits.
pub(crate) fn set_traffic_class(socket: BorrowedFd<'_>, ipv6: bool, dscp: u8) -> io::Result<()> {
    let (level, option) = if ipv6 {
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
    } else {
        (libc::IPPROTO_IP, libc::IP_TOS)
    };
    set_option(socket, level, option, libc::c_int::from(dscp) << 2)
}

fn set_option(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    // SAFETY: the value pointed to is an int of the length given, and outlives the call.
    check(unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            length,
        )
    })
    .map(drop)
}

/// A counter in the kernel that wakes a thread that waits for it.
#[derive(Debug)]
pub(crate) struct Waker(OwnedFd);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers; the descriptor returned is ours alone.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) })?;
        // SAFETY: just created and owned by nobody else.
        Ok(Waker(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Ends the current or the next wait.
    pub(crate) fn wake(&self) {
        let one = 1u64;
        // SAFETY: eight valid bytes. The counter would have to reach 2^64 − 2 before this could block.
        unsafe { libc::write(self.0.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    }

    /// Waits until it was woken since the last wait. Returns early only on a signal.
    pub(crate) fn wait(&self) {
        let mut count = 0u64;
        // SAFETY: room for eight bytes.
        unsafe { libc::read(self.0.as_raw_fd(), (&raw mut count).cast(), size_of::<u64>()) };
    }
}

/// A destination in the form that the kernel takes, converted once and used for every packet.
#[derive(Clone, Copy)]
pub(crate) struct RawAddress {
    /// Large enough for both families; an IPv4 address fills the beginning.
    storage: libc::sockaddr_in6,
    length: libc::socklen_t,
}

impl RawAddress {
    pub(crate) fn new(address: SocketAddr) -> Self {
        // SAFETY: all-zero bytes are a valid value of this plain C struct.
        let mut storage: libc::sockaddr_in6 = unsafe { MaybeUninit::zeroed().assume_init() };
        let length = match address {
            SocketAddr::V4(v4) => {
                let raw = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr {
                        s_addr: u32::from_ne_bytes(v4.ip().octets()),
                    },
                    sin_zero: [0; 8],
                };
                // SAFETY: `storage` is larger than a `sockaddr_in` and at least as aligned.
                unsafe { ptr::write((&raw mut storage).cast(), raw) };
                size_of::<libc::sockaddr_in>()
            }
            SocketAddr::V6(v6) => {
                storage.sin6_family = libc::AF_INET6 as libc::sa_family_t;
                storage.sin6_port = v6.port().to_be();
                storage.sin6_flowinfo = v6.flowinfo();
                storage.sin6_addr = libc::in6_addr {
                    s6_addr: v6.ip().octets(),
                };
                storage.sin6_scope_id = v6.scope_id();
                size_of::<libc::sockaddr_in6>()
            }
        };
        RawAddress {
            storage,
            length: length as libc::socklen_t,
        }
    }
}

impl std::fmt::Debug for RawAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RawAddress")
            .field(&read_address(&self.storage, self.length))
            .finish()
    }
}

/// Reads an address that the kernel wrote; `None` for other families.
fn read_address(storage: &libc::sockaddr_in6, length: libc::socklen_t) -> Option<SocketAddr> {
    let length = length as usize;
    match libc::c_int::from(storage.sin6_family) {
        libc::AF_INET if length >= size_of::<libc::sockaddr_in>() => {
            // SAFETY: the family says that the beginning of `storage` is a `sockaddr_in`, which is smaller.
            let v4: libc::sockaddr_in = unsafe { ptr::read(ptr::from_ref(storage).cast()) };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(v4.sin_port))))
        }
        libc::AF_INET6 if length >= size_of::<libc::sockaddr_in6>() => {
            let ip = Ipv6Addr::from(storage.sin6_addr.s6_addr);
            let port = u16::from_be(storage.sin6_port);
            Some(SocketAddr::V6(SocketAddrV6::new(
                ip,
                port,
                storage.sin6_flowinfo,
                storage.sin6_scope_id,
            )))
        }
        _ => None,
    }
}

/// One datagram as it was received into the caller's buffer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Datagram {
    /// Bytes in the buffer.
    pub(crate) length: usize,
    /// The datagram was longer than the buffer.
    pub(crate) truncated: bool,
    pub(crate) from: SocketAddr,
    /// The kernel's receive time by the wall clock.
    pub(crate) wall_ns: Option<u64>,
}

/// Room for the one control message we ask for, aligned as control messages must be.
#[repr(C, align(8))]
struct ControlBuffer([u8; 64]);

/// Receives one datagram, or `None` when there is none.
pub(crate) fn receive(socket: BorrowedFd<'_>, buffer: &mut [u8]) -> Option<Datagram> {
    // SAFETY: all-zero bytes are a valid value of these plain C structs.
    let mut from: libc::sockaddr_in6 = unsafe { MaybeUninit::zeroed().assume_init() };
    // SAFETY: as above.
    let mut message: libc::msghdr = unsafe { MaybeUninit::zeroed().assume_init() };
    let mut control = ControlBuffer([0; 64]);
    let mut part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    message.msg_name = (&raw mut from).cast();
    message.msg_namelen = size_of::<libc::sockaddr_in6>() as libc::socklen_t;
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = control.0.as_mut_ptr().cast();
    message.msg_controllen = control.0.len() as _;
    // The system call itself: the library's function is one that a thread can be cancelled in, which costs time.
    // SAFETY: every pointer of `message` is to a live local or to `buffer`, with its true length.
    let length = unsafe {
        libc::syscall(
            libc::SYS_recvmsg,
            socket.as_raw_fd(),
            &raw mut message,
            libc::MSG_DONTWAIT,
        )
    };
    let length = usize::try_from(length).ok()?;
    Some(Datagram {
        length: length.min(buffer.len()),
        truncated: message.msg_flags & libc::MSG_TRUNC != 0,
        from: read_address(&from, message.msg_namelen)?,
        wall_ns: receive_time(&message),
    })
}

/// Finds the receive time among the control messages.
fn receive_time(message: &libc::msghdr) -> Option<u64> {
    // SAFETY: `message` was filled in by `recvmsg` and its control buffer is alive.
    let header = unsafe { libc::CMSG_FIRSTHDR(message).as_ref() }?;
    let expected = size_of::<libc::cmsghdr>() + size_of::<libc::timespec>();
    let is_time = header.cmsg_level == libc::SOL_SOCKET
        && header.cmsg_type == libc::SCM_TIMESTAMPNS
        && header.cmsg_len as usize >= expected;
    // SAFETY: the header announces a timespec behind it, within the control buffer.
    let time: libc::timespec =
        is_time.then(|| unsafe { ptr::read_unaligned(libc::CMSG_DATA(header).cast()) })?;
    Some(u64::try_from(time.tv_sec).ok()? * SECOND_NS + u64::try_from(time.tv_nsec).ok()?)
}

/// Begins to load a value into the cache, or the beginning of a large one, for use in a microsecond or so. Changes nothing
/// else; where the processor's way to say it is not known, it does nothing.
#[inline]
pub(crate) fn prefetch<T: ?Sized>(value: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = ptr::from_ref(value).cast::<i8>();
        // Lines begin where they will; the last one is the last octet's.
        let before = address.addr() % CACHE_LINE;
        let length = size_of_val(value).min(MOST_LOADED);
        for line in 0..(before + length).div_ceil(CACHE_LINE) {
            // SAFETY: a prefetch reads nothing and cannot fault, whatever the address.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(address.wrapping_add(line * CACHE_LINE).wrapping_sub(before))
            };
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = value;
}

/// Octets that the processor loads at once.
#[cfg(target_arch = "x86_64")]
const CACHE_LINE: usize = 64;

/// Of a value larger than this only so much is loaded.
#[cfg(target_arch = "x86_64")]
const MOST_LOADED: usize = 2560;

/// [`prefetch`] as others know it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Prefetcher;

impl confab_rtp::Preload for Prefetcher {
    #[inline]
    fn preload<T: ?Sized>(&self, value: &T) {
        prefetch(value);
    }
}

/// Sends one datagram; returns whether the kernel took it.
pub(crate) fn send(socket: BorrowedFd<'_>, bytes: &[u8], to: &RawAddress) -> bool {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // The system call itself, as above.
    // SAFETY: bytes and address are valid for the lengths given.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_sendto,
            socket.as_raw_fd(),
            bytes.as_ptr(),
            bytes.len(),
            flags,
            &raw const to.storage,
            to.length,
        )
    };
    sent >= 0
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::os::fd::AsFd;

    use super::*;

    #[test]
    fn datagrams_arrive_with_source_and_time_over_both_families() {
        for ip in ["127.0.0.1", "::1"] {
            let Ok(receiver) = UdpSocket::bind((ip, 0)) else {
                continue;
            }; // no IPv6 here
            let sender = UdpSocket::bind((ip, 0)).unwrap();
            enable_receive_times(receiver.as_fd()).unwrap();
            set_traffic_class(sender.as_fd(), ip == "::1", 46).unwrap();
            let mut buffer = [0; 4];
            assert!(
                receive(receiver.as_fd(), &mut buffer).is_none(),
                "nothing there, and no waiting"
            );
            let before = wall_ns();
            let to = RawAddress::new(receiver.local_addr().unwrap());
            assert!(send(sender.as_fd(), b"hello", &to));
            let datagram = receive(receiver.as_fd(), &mut buffer).unwrap();
            assert_eq!((datagram.length, datagram.truncated, &buffer), (4, true, b"hell"));
            assert_eq!(datagram.from, sender.local_addr().unwrap());
            let stamp = datagram.wall_ns.unwrap();
            assert!(stamp >= before && stamp <= wall_ns());
        }
    }

    #[test]
    fn waking_ends_one_wait() {
        let waker = std::sync::Arc::new(Waker::new().unwrap());
        waker.wake();
        waker.wake();
        waker.wait(); // at once
        let other = std::sync::Arc::clone(&waker);
        let thread = std::thread::spawn(move || other.wake());
        waker.wait();
        thread.join().unwrap();
    }

    #[test]
    fn sleeping_reaches_the_deadline() {
        let deadline = monotonic_ns() + 2_000_000;
        sleep_until(deadline);
        assert!(monotonic_ns() >= deadline);
    }
}
