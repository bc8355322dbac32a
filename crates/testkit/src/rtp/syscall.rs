//! Owns the few system calls that the standard library does not offer: receive timestamps, absolute sleep, priority, readiness.
//!
//! The only module of this crate with unsafe code; every block hands the kernel pointers to live, correctly sized local values.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::RawFd;

const SECOND_NS: u64 = 1_000_000_000;

/// Returns the monotonic clock in nanoseconds; the same clock as `std::time::Instant`.
pub fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `time` is a valid timespec for the kernel to fill in.
    unsafe { libc::clock_gettime(clock, &mut time) };
    timespec_ns(&time)
}

fn timespec_ns(time: &libc::timespec) -> u64 {
    time.tv_sec as u64 * SECOND_NS + time.tv_nsec as u64
}

/// Sleeps until the monotonic clock shows `until_ns`; returns at once when it already does.
pub(super) fn sleep_until(until_ns: u64) {
    let until = libc::timespec {
        tv_sec: (until_ns / SECOND_NS) as _,
        tv_nsec: (until_ns % SECOND_NS) as _,
    };
    // SAFETY: `until` outlives the call and no remaining time is asked for.
    while unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &until,
            std::ptr::null_mut(),
        )
    } == libc::EINTR
    {}
}

/// Asks for SCHED_FIFO at `priority` (1 to 99) for the calling thread; says whether it was granted.
pub fn request_real_time(priority: i32) -> bool {
    let parameter = libc::sched_param {
        sched_priority: priority,
    };
    // SAFETY: 0 names the calling thread and `parameter` is a valid sched_param.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK, &parameter) == 0 }
}

/// Keeps the calling thread and those it starts on one processor core; says whether that worked.
pub fn pin_to_core(core: usize) -> bool {
    // SAFETY: an all-zero cpu_set_t is the empty set; CPU_SET checks the index; 0 names the calling thread.
    unsafe {
        let mut set: libc::cpu_set_t = zeroed();
        if core >= 8 * size_of::<libc::cpu_set_t>() {
            return false;
        }
        libc::CPU_SET(core, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &set) == 0
    }
}

/// Asks the kernel to stamp every received datagram with its time of arrival.
pub(super) fn enable_receive_timestamps(socket: RawFd) -> io::Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the option value is an int of the size given.
    let result = unsafe {
        libc::setsockopt(
            socket,
            libc::SOL_SOCKET,
            libc::SO_TIMESTAMPNS,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Turns the kernel's wall-clock receive timestamps into monotonic time. Taken anew now and then, so that a stepped wall clock hurts
/// only the packets of that moment.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClockOffset {
    wall_minus_monotonic_ns: u64,
}

impl ClockOffset {
    pub(super) fn measure() -> Self {
        let before = monotonic_ns();
        let wall = clock_ns(libc::CLOCK_REALTIME);
        let after = monotonic_ns();
        Self {
            wall_minus_monotonic_ns: wall.wrapping_sub(before + (after - before) / 2),
        }
    }
}

/// Room for the control message with the timestamp, aligned as the kernel wants it.
#[repr(align(8))]
struct ControlBuffer([u8; 64]);

/// Reads one datagram without blocking; returns its length and its arrival in monotonic nanoseconds.
pub(super) fn receive(socket: RawFd, buffer: &mut [u8], offset: ClockOffset) -> io::Result<(usize, u64)> {
    let mut control = ControlBuffer([0; 64]);
    let mut vector = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: an all-zero msghdr is valid; the pointers set below stay alive and sized through the call, and the control messages
    // are walked only by the libc macros within the length the kernel reported.
    unsafe {
        let mut message: libc::msghdr = zeroed();
        message.msg_iov = &mut vector;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len() as _;
        let length = libc::recvmsg(socket, &mut message, libc::MSG_DONTWAIT);
        if length < 0 {
            return Err(io::Error::last_os_error());
        }
        let mut arrival_ns = None;
        let mut header = libc::CMSG_FIRSTHDR(&message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_TIMESTAMPNS {
                let stamp = libc::CMSG_DATA(header).cast::<libc::timespec>().read_unaligned();
                arrival_ns = Some(timespec_ns(&stamp).wrapping_sub(offset.wall_minus_monotonic_ns));
            }
            header = libc::CMSG_NXTHDR(&message, header);
        }
        Ok((length as usize, arrival_ns.unwrap_or_else(monotonic_ns)))
    }
}

/// A set of sockets whose readiness the kernel tracks.
pub(super) struct Readiness {
    epoll: RawFd,
    events: Vec<libc::epoll_event>,
}

impl Readiness {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are involved.
        let epoll = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
        if epoll < 0 {
            return Err(io::Error::last_os_error());
        }
        Ok(Self {
            epoll,
            events: vec![libc::epoll_event { events: 0, u64: 0 }; 1024],
        })
    }

    /// Adds a socket; `token` comes back when it is readable. Closing the socket takes it out again.
    pub(super) fn add(&self, socket: RawFd, token: u64) -> io::Result<()> {
        let mut event = libc::epoll_event {
            events: libc::EPOLLIN as u32,
            u64: token,
        };
        // SAFETY: `event` is valid for the call; the kernel copies it.
        let result = unsafe { libc::epoll_ctl(self.epoll, libc::EPOLL_CTL_ADD, socket, &mut event) };
        if result == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }

    /// Appends the tokens of all readable sockets to `tokens`, waiting up to `timeout_ms` for the first.
    pub(super) fn poll(&mut self, timeout_ms: i32, tokens: &mut Vec<u64>) {
        let room = self.events.len() as i32;
        // SAFETY: the kernel writes at most `room` events into the vector's initialised elements.
        let count = unsafe { libc::epoll_wait(self.epoll, self.events.as_mut_ptr(), room, timeout_ms) };
        tokens.extend(
            self.events
                .iter()
                .take(count.max(0) as usize)
                .map(|event| event.u64),
        );
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        // SAFETY: the descriptor is ours and closed once.
        unsafe { libc::close(self.epoll) };
    }
}
