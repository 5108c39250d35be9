//! What of processes needs `unsafe`, each with its argument, and nothing else.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Resource, Rlimit, Signal, getppid, nice, setrlimit, umask};

use super::call::Trampoline;
use super::frame::Decoder;

/// What is done in the child between fork and exec.
#[derive(Clone, Debug, Default)]
pub(super) struct BeforeExec {
    /// Which, the soft limit, the hard one.
    pub(super) limits: Vec<(Resource, u64, u64)>,
    pub(super) nice: Option<i32>,
    pub(super) umask: Option<u32>,
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
    pub(super) at_parents_death: AtParentsDeath,
}

/// What happens to a child when its parent dies.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) enum AtParentsDeath {
    /// It is killed, alone: there is nothing else to be had of a program that is not ours.
    #[default]
    Kill,
    /// It gets a signal that ends it until it [handles](take_group_along) it, and then its whole group.
    EndGroup,
}

/// Has `command` start as the leader of a process group that dies with this process, with the descriptors 0 to 2 and `socket`
/// and no other.
pub(super) fn confine(command: &mut Command, socket: RawFd, before: BeforeExec) {
    command.process_group(0);
    let (parent, death) = (rustix::process::getpid(), before.at_parents_death.signal());
    let life = move || {
        close_others()?;
        hear(death)?;
        // SAFETY: the parent keeps the socket open until the spawn has returned, so the number is that descriptor's here, too.
        fcntl_setfd(unsafe { BorrowedFd::borrow_raw(socket) }, FdFlags::empty())?;
        for &(resource, soft, hard) in &before.limits {
            setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })?;
        }
        if let Some(mask) = before.umask {
            umask(rustix::fs::Mode::from_raw_mode(mask as _));
        }
        if let Some(by) = before.nice {
            nice(by)?;
        }
        // After what takes privileges, and before what a change of the user forgets.
        run_as(before.user, before.group)?;
        die_with_parent(parent, death)
    };
    // SAFETY: `life` runs in a copy of this process with one thread, so it may call only what is safe in a signal handler. It makes system
    // calls and reads what it was given; it allocates nothing, takes no lock, and an error of the system's is a number.
    unsafe { command.pre_exec(life) };
}

/// What this process blocks or ignores is its own affair, and would be its children's too, also after the exec: they hear whatever they are to end of. (Of ignored signals
/// std sees to SIGPIPE alone.) Blocked is nothing.
fn hear(death: libc::c_int) -> io::Result<()> {
    for signal in [libc::SIGTERM, libc::SIGXCPU, death] {
        // SAFETY: it takes a number and what is no handler.
        let done = unsafe { libc::signal(signal, libc::SIG_DFL) } != libc::SIG_ERR;
        // Nobody can ignore that.
        if !done && signal != libc::SIGKILL {
            return Err(io::Error::last_os_error());
        }
    }
    // SAFETY: the set is a plain one, for which zeroes are a value, and it is emptied before it is read; nobody asks for the old one.
    let done = unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Gives up what this process may, for another user and group: the groups first, while it may.
fn run_as(user: Option<u32>, group: Option<u32>) -> io::Result<()> {
    let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    if let Some(group) = group {
        // SAFETY: it takes a number.
        done(unsafe { libc::setgid(group) })?;
    }
    if let Some(user) = user {
        if rustix::process::getuid().is_root() {
            // SAFETY: of no groups it reads none.
            done(unsafe { libc::setgroups(0, std::ptr::null()) })?;
        }
        // SAFETY: it takes a number.
        done(unsafe { libc::setuid(user) })?;
    }
    Ok(())
}

/// The signal is sent when the *thread* ends that forked this process: that is the spawner, which lives as long as the process.
#[cfg(target_os = "linux")]
fn die_with_parent(parent: Pid, signal: libc::c_int) -> io::Result<()> {
    // SAFETY: it takes numbers. (rustix does not know the signals of real time.)
    if unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // One that died before that was asked for sends none.
    if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

#[cfg(not(target_os = "linux"))]
fn die_with_parent(parent: Pid, _signal: libc::c_int) -> io::Result<()> {
    if getppid() == Some(parent) { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::ESRCH)) }
}

/// Has every descriptor from 3 up closed by the exec. Closing them now would close the one that tells of an exec that fails.
#[cfg(target_os = "linux")]
fn close_others() -> io::Result<()> {
    // SAFETY: it takes numbers, and marks descriptors of this process, which has one thread and is about to exec.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3_u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    let error = io::Error::last_os_error();
    match error.raw_os_error() {
        _ if done == 0 => Ok(()),
        // A kernel before 5.11: what this crate and std opened is closed by the exec in any case.
        Some(libc::ENOSYS | libc::EINVAL) => Ok(()),
        _ => Err(error),
    }
}

#[cfg(not(target_os = "linux"))]
fn close_others() -> io::Result<()> {
    Ok(())
}

/// The socket of that number, if there is one that a parent of ours has given this process.
///
/// # Errors
///
/// If it is one, and the parent that gave it is gone.
pub(super) fn inherited_socket(number: RawFd) -> Result<Option<OwnedFd>, ()> {
    // Under the number of a descriptor that is not open there is nothing to take; asked before anything else of this process opens one.
    if number < 3 {
        return Ok(None);
    }
    // SAFETY: only asked about, and whether it is open is the first question.
    let asked = unsafe { BorrowedFd::borrow_raw(number) };
    match is_from_parent(asked) {
        None => Ok(None),
        Some(false) => Err(()),
        // SAFETY: it is open, a parent of ours opened it for this, and `init` takes it once: nobody else owns it.
        Some(true) => Ok(Some(unsafe { OwnedFd::from_raw_fd(number) })),
    }
}

/// True if that is the number of a socket that this process's parent has given it.
pub(super) fn is_parents_socket(number: RawFd) -> bool {
    // SAFETY: only asked about, and whether it is open is the first question.
    number >= 3 && is_from_parent(unsafe { BorrowedFd::borrow_raw(number) }) == Some(true)
}

/// `None`: not a Unix socket at all, or none that is open.
#[cfg(target_os = "linux")]
fn is_from_parent(socket: BorrowedFd<'_>) -> Option<bool> {
    let peer = rustix::net::sockopt::socket_peercred(socket).ok()?;
    Some(Some(peer.pid) == getppid())
}

#[cfg(not(target_os = "linux"))]
fn is_from_parent(socket: BorrowedFd<'_>) -> Option<bool> {
    rustix::net::sockopt::socket_type(socket).ok()?;
    Some(true)
}

impl AtParentsDeath {
    #[cfg(target_os = "linux")]
    fn signal(self) -> libc::c_int {
        match self {
            Self::Kill => libc::SIGKILL,
            // Nobody else's, as a rule; and it ends who does not handle it.
            Self::EndGroup => libc::SIGRTMAX() - 3,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn signal(self) -> libc::c_int {
        libc::SIGKILL
    }
}

/// In a worker: its whole process group dies when its parent does, and not just the worker.
///
/// # Errors
///
/// If the system refuses.
#[cfg(target_os = "linux")]
pub(super) fn take_group_along() -> io::Result<()> {
    extern "C" fn end_group(_signal: libc::c_int) {
        kill_own_group();
    }
    // SAFETY: `action` is a plain struct, for which zeroes are a value; the handler makes system calls and nothing else.
    let done = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = end_group as *const () as usize;
        libc::sigaction(AtParentsDeath::EndGroup.signal(), &raw const action, std::ptr::null_mut())
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn take_group_along() -> io::Result<()> {
    Ok(())
}

/// Kills this process and its group, if it leads one.
pub(super) fn kill_own_group() {
    let me = rustix::process::getpid();
    if rustix::process::getpgrp() == me {
        // It does not return.
        let _ = rustix::process::kill_process_group(me, Signal::KILL);
    }
    let _ = rustix::process::kill_process(me, Signal::KILL);
}

/// Readable once that process has died.
#[cfg(target_os = "linux")]
pub(super) fn pidfd(pid: Pid) -> Option<OwnedFd> {
    // A kernel before 5.3 has none: the end of the stream says then that it has died.
    rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
pub(super) fn pidfd(_pid: Pid) -> Option<OwnedFd> {
    None
}

/// One descriptor that is readable when one of those is. `None`: each is to be waited for.
#[cfg(target_os = "linux")]
pub(super) fn watch_all(sources: &[Option<BorrowedFd<'_>>]) -> Option<OwnedFd> {
    use rustix::event::epoll;
    let all = epoll::create(epoll::CreateFlags::CLOEXEC).ok()?;
    for source in sources.iter().flatten() {
        epoll::add(&all, source, epoll::EventData::new_u64(0), epoll::EventFlags::IN).ok()?;
    }
    Some(all)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn watch_all(_sources: &[Option<BorrowedFd<'_>>]) -> Option<OwnedFd> {
    None
}

/// The function that lies at `address`.
///
/// # Safety
///
/// There has to be a [`Trampoline`] at that address.
pub(super) unsafe fn trampoline_at(address: usize) -> Trampoline {
    // SAFETY: the caller's.
    unsafe { std::mem::transmute::<*const (), Trampoline>(std::ptr::with_exposed_provenance(address)) }
}

/// The function that lies at `address`.
///
/// # Safety
///
/// There has to be a `fn(A) -> R` at that address.
pub(super) unsafe fn function_at<A, R>(address: usize) -> fn(A) -> R {
    // SAFETY: the caller's.
    unsafe { std::mem::transmute::<*const (), fn(A) -> R>(std::ptr::with_exposed_provenance(address)) }
}

/// The line of code that the compiler put at `address`.
///
/// # Safety
///
/// There has to be a [`Location`](std::panic::Location) of the executable's at that address.
pub(super) unsafe fn line_at(address: usize) -> &'static std::panic::Location<'static> {
    // SAFETY: the caller's.
    unsafe { &*std::ptr::with_exposed_provenance(address) }
}

/// A file's bytes, in memory. Whoever maps it sees to it that nobody changes or cuts them: [`memory::open`](super::memory::open).
#[derive(Debug)]
pub(super) struct Mapping {
    at: std::ptr::NonNull<u8>,
    length: usize,
}

// SAFETY: plain memory that nobody writes to, mapped for the whole process; which thread unmaps it makes no difference.
unsafe impl Send for Mapping {}

impl Mapping {
    /// The first `length` bytes.
    ///
    /// # Errors
    ///
    /// If the system refuses: this process may have no more memory, or mappings.
    pub(super) fn new(file: &OwnedFd, length: usize) -> io::Result<Self> {
        if length == 0 {
            return Ok(Self { at: std::ptr::NonNull::dangling(), length });
        }
        let (access, how) = (libc::PROT_READ, libc::MAP_PRIVATE | POPULATE);
        // SAFETY: a new mapping, wherever the system likes, of a descriptor that is open.
        let at = unsafe { libc::mmap(std::ptr::null_mut(), length, access, how, file.as_raw_fd(), 0) };
        let at = if at == libc::MAP_FAILED { None } else { std::ptr::NonNull::new(at.cast()) };
        at.map(|at| Self { at, length }).ok_or_else(io::Error::last_os_error)
    }
}

impl std::ops::Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: so many bytes are mapped there until this is dropped, and the seals of their file keep them as they are; or there are none.
        unsafe { std::slice::from_raw_parts(self.at.as_ptr(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.length > 0 {
            // SAFETY: this is what `new` mapped, and nobody borrows it any more.
            unsafe { libc::munmap(self.at.as_ptr().cast(), self.length) };
        }
    }
}

/// All pages at once: one by one they cost more than the copy that they save.
#[cfg(target_os = "linux")]
const POPULATE: libc::c_int = libc::MAP_POPULATE;
#[cfg(not(target_os = "linux"))]
const POPULATE: libc::c_int = 0;

/// Reads once, to the end of what the decoder has, with the descriptors that come along, if those are wanted. (Otherwise the system closes them.)
pub(super) fn receive(socket: &UnixStream, decoder: &mut Decoder) -> rustix::io::Result<usize> {
    if decoder.shares() {
        return receive_with_descriptors(socket, decoder);
    }
    rustix::io::read(socket, rustix::buffer::spare_capacity(decoder.room()))
}

/// Room for one descriptor, and for a second one where alignment leaves it.
#[cfg(target_os = "linux")]
#[repr(C)]
union Control {
    _aligned: libc::cmsghdr,
    bytes: [u8; 32],
}

#[cfg(target_os = "linux")]
fn receive_with_descriptors(socket: &UnixStream, decoder: &mut Decoder) -> rustix::io::Result<usize> {
    // SAFETY: it takes a number.
    const SPACE: usize = unsafe { libc::CMSG_SPACE(size_of::<RawFd>() as u32) } as usize;
    const { assert!(SPACE <= size_of::<Control>()) };
    let room = decoder.room();
    let spare = room.spare_capacity_mut();
    let mut bytes = libc::iovec { iov_base: spare.as_mut_ptr().cast(), iov_len: spare.len() };
    let mut control = Control { bytes: [0; 32] };
    // SAFETY: a plain struct, for which zeroes are a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut bytes, 1);
    (message.msg_control, message.msg_controllen) = ((&raw mut control).cast(), SPACE as _);
    // SAFETY: both buffers are there, as long as is said, and nobody else's.
    let got = unsafe { libc::recvmsg(socket.as_raw_fd(), &raw mut message, libc::MSG_CMSG_CLOEXEC) };
    let Ok(got) = usize::try_from(got) else {
        let error = io::Error::last_os_error();
        return Err(rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO));
    };
    // SAFETY: the system has written so many bytes to the spare capacity.
    unsafe { room.set_len(room.len() + got) };
    if message.msg_controllen > 0 || message.msg_flags & libc::MSG_CTRUNC != 0 {
        // SAFETY: the system has filled in `message`, and each descriptor in it is new, and taken here alone.
        let descriptors = unsafe { descriptors_of(&message) };
        decoder.take_in(descriptors, message.msg_flags & libc::MSG_CTRUNC != 0);
    }
    Ok(got)
}

#[cfg(not(target_os = "linux"))]
fn receive_with_descriptors(socket: &UnixStream, decoder: &mut Decoder) -> rustix::io::Result<usize> {
    rustix::io::read(socket, rustix::buffer::spare_capacity(decoder.room()))
}

/// The descriptors in a message that was received.
///
/// # Safety
///
/// `recvmsg` has to have filled it in, its control buffer has to be there yet, and nobody else may take them.
#[cfg(target_os = "linux")]
#[allow(clippy::unnecessary_cast, reason = "how wide a length is differs from one C library to the next")]
unsafe fn descriptors_of(message: &libc::msghdr) -> smallvec::SmallVec<[OwnedFd; 2]> {
    let mut descriptors = smallvec::SmallVec::new();
    // SAFETY: the caller's; the macros stay within what the system says it has written.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(message);
        while let Some(found) = header.as_ref() {
            if (found.cmsg_level, found.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_RIGHTS) {
                let (start, length) = (libc::CMSG_DATA(header).cast::<RawFd>(), found.cmsg_len as usize);
                let count = (length - libc::CMSG_LEN(0) as usize) / size_of::<RawFd>();
                descriptors.extend((0..count).map(|n| OwnedFd::from_raw_fd(start.add(n).read_unaligned())));
            }
            header = libc::CMSG_NXTHDR(message, header);
        }
    }
    descriptors
}

/// Writes once, and sends `file` along with the first byte.
#[cfg(target_os = "linux")]
pub(super) fn send_with(socket: &UnixStream, bytes: &[u8], file: &OwnedFd) -> io::Result<usize> {
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    let files = [std::os::fd::AsFd::as_fd(file)];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&files));
    Ok(sendmsg(socket, &[io::IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn send_with(_socket: &UnixStream, _bytes: &[u8], _file: &OwnedFd) -> io::Result<usize> {
    Err(io::ErrorKind::Unsupported.into())
}

/// The number of a descriptor that is to stay open meanwhile.
pub(super) fn number_of(socket: &impl AsRawFd) -> RawFd {
    socket.as_raw_fd()
}
