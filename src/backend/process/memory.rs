//! Memory files (`memfd`): how large payloads travel beside the socket.
//!
//! The sender writes one and seals it, so that nobody can change it any more, itself included. The receiver looks at the seals and the length
//! before it maps it, and gives up its descriptor with that. Only Linux has them; elsewhere none is ever made, sent, or asked for.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;

pub(super) use super::sys::Mapping;
use super::wire::{self, Malformed};

/// True if payloads can travel so at all.
pub(super) const IS_THERE: bool = cfg!(target_os = "linux");

/// Why what came is not a payload. Whoever sent it breaks the protocol.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(super) enum Unfit {
    #[error("a payload in a file that is not sealed memory")]
    Unsealed,
    #[error("a payload in a file of {found} bytes, where it said {said}")]
    Length { said: u64, found: u64 },
    #[error("a payload of {length} bytes in a file, where {limit} are allowed")]
    TooLong { length: u64, limit: u64 },
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// Why a payload that came cannot be had.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error(transparent)]
    Unfit(#[from] Unfit),
    /// This process lacks what it takes: the sender is not to blame.
    #[error("{0}")]
    Refused(String),
}

/// The descriptor that a frame speaks of, as it came.
#[derive(Debug)]
pub(super) enum Descriptor {
    Here(OwnedFd),
    /// It came, and this process may have no more of them.
    NoRoom,
}

/// One that is being written.
#[derive(Debug)]
pub(super) struct MemoryFile(File);

impl MemoryFile {
    /// An empty one, which `/proc` shows under that name.
    ///
    /// # Errors
    ///
    /// If the system has none, or no more of them.
    pub(super) fn new(name: &str) -> io::Result<Self> {
        create(name).map(|file| Self(File::from(file)))
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// As it is to be sent: nobody can change it.
    pub(super) fn seal(self) -> io::Result<OwnedFd> {
        let file = OwnedFd::from(self.0);
        seal(&file)?;
        Ok(file)
    }
}

/// Maps the payload that came with a frame, which has its length in its place. Of the descriptor nothing is left.
pub(super) fn open(came: Descriptor, in_place: &[u8], limit: u32) -> Result<Mapping, Lost> {
    let (said, limit) = (wire::read_length(in_place).map_err(Unfit::from)?, u64::from(limit));
    if said > limit {
        return Err(Unfit::TooLong { length: said, limit }.into());
    }
    let Descriptor::Here(file) = came else {
        return Err(Lost::Refused("the process that it came to has as many descriptors open as it may".to_owned()));
    };
    let found = sealed_length(&file).ok_or(Unfit::Unsealed)?;
    if found != said {
        return Err(Unfit::Length { said, found }.into());
    }
    let refused = |error: io::Error| Lost::Refused(format!("its {said} bytes of memory cannot be mapped: {error}"));
    let length = usize::try_from(said).map_err(|_| refused(io::ErrorKind::OutOfMemory.into()))?;
    Mapping::new(&file, length).map_err(refused)
}

#[cfg(target_os = "linux")]
fn create(name: &str) -> io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, memfd_create};
    use rustix::process::{Resource, getrlimit};

    // To pass that limit is a signal, which kills.
    if getrlimit(Resource::Fsize).current.is_some() {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    let name = format!("millpond:{}", &name[..name.floor_char_boundary(200)]).replace('\0', "?");
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    match memfd_create(&name, flags | MemfdFlags::NOEXEC_SEAL) {
        // A kernel before 6.3.
        Err(rustix::io::Errno::INVAL) => Ok(memfd_create(&name, flags)?),
        made => Ok(made?),
    }
}

#[cfg(target_os = "linux")]
fn seal(file: &OwnedFd) -> io::Result<()> {
    use rustix::fs::{SealFlags, fcntl_add_seals};
    Ok(fcntl_add_seals(file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?)
}

/// How long it is, if nobody can change that, or what is in it, and it is memory. The seals come first: to ask another kind of file anything may take
/// for ever. Huge pages are refused, as to touch one that the system has not got is a signal.
#[cfg(target_os = "linux")]
#[allow(clippy::unnecessary_cast, reason = "how wide these are differs from one target to the next")]
fn sealed_length(file: &OwnedFd) -> Option<u64> {
    use rustix::fs::{SealFlags, fcntl_get_seals, fstat, fstatfs};
    let seals = fcntl_get_seals(file).ok()?;
    let is_sealed = seals.contains(SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE);
    let is_memory = is_sealed && fstatfs(file).is_ok_and(|system| system.f_type as i64 == libc::TMPFS_MAGIC as i64);
    let length = is_memory.then(|| fstat(file).ok())??.st_size;
    u64::try_from(length).ok()
}

#[cfg(not(target_os = "linux"))]
fn create(_name: &str) -> io::Result<OwnedFd> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn seal(_file: &OwnedFd) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_os = "linux"))]
fn sealed_length(_file: &OwnedFd) -> Option<u64> {
    None
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

    const LIMIT: u32 = 1 << 20;

    fn file(bytes: &[u8], seals: SealFlags) -> Descriptor {
        let mut file = File::from(memfd_create("test", MemfdFlags::ALLOW_SEALING).expect("there is one"));
        file.write_all(bytes).expect("it has room");
        fcntl_add_seals(&file, seals).expect("it is sealed");
        Descriptor::Here(file.into())
    }

    fn unfit(came: Descriptor, said: u64) -> Unfit {
        match open(came, &said.to_le_bytes(), LIMIT) {
            Err(Lost::Unfit(unfit)) => unfit,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_and_sealed_is_read_in_place() {
        for length in [0, 1, 4_096, 100_000] {
            let bytes: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let mut file = MemoryFile::new("a pool\0").expect("there is one");
            file.write(&bytes).expect("it has room");
            let file = file.seal().expect("it is sealed");
            assert!(rustix::io::write(&file, b"x").is_err(), "nobody changes it");
            assert_eq!(&*open(Descriptor::Here(file), &u64::to_le_bytes(length), LIMIT).expect("it is fit"), &*bytes);
        }
    }

    #[test]
    fn what_can_still_change_is_not_touched() {
        let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        assert!(open(file(b"ten bytes!", all), &u64::to_le_bytes(10), LIMIT).is_ok());
        for lacks in [SealFlags::SHRINK, SealFlags::GROW, SealFlags::WRITE] {
            assert_eq!(unfit(file(b"ten bytes!", all - lacks), 10), Unfit::Unsealed);
        }
        let (socket, _end) = std::os::unix::net::UnixStream::pair().expect("there is one");
        assert_eq!(unfit(Descriptor::Here(socket.into()), 10), Unfit::Unsealed);
        let own = File::open("/proc/self/exe").expect("it is there");
        assert_eq!(unfit(Descriptor::Here(own.into()), 10), Unfit::Unsealed);
    }

    #[test]
    fn what_is_not_as_long_as_was_said_is_not_touched() {
        let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
        assert_eq!(unfit(file(b"ten bytes!", all), 11), Unfit::Length { said: 11, found: 10 });
        assert_eq!(unfit(file(b"ten bytes!", all), 9), Unfit::Length { said: 9, found: 10 });
        let limit = u64::from(LIMIT);
        assert_eq!(unfit(file(b"", all), limit + 1), Unfit::TooLong { length: limit + 1, limit });
        assert!(matches!(open(Descriptor::NoRoom, &[0; 8], LIMIT), Err(Lost::Refused(_))));
        assert!(matches!(open(file(b"", all), &[0; 7], LIMIT), Err(Lost::Unfit(Unfit::Malformed(_)))));
    }
}
