//! Whether a child is the same build, and where functions and lines of code are in it.
//!
//! A function is named by how far it lies from the beginning of the executable in memory, and so is a line, whose [`Location`] the compiler
//! put among the executable's constants. That means the same in the child if both run
//! the same file: the same device, inode, size and times of change (a file that is being executed cannot be written to).

use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::panic::Location;
use std::sync::OnceLock;

use super::sys;

/// An executable in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Executable {
    /// Where it begins.
    base: usize,
    /// Where code of it is.
    code: Vec<Range<usize>>,
    /// Where its constants are: what nobody writes to once the program has begun, so that it is the same in each process.
    data: Vec<Range<usize>>,
    /// What is compared with a child's.
    identity: Vec<u8>,
}

/// A function that both sides have. Where it lies is part of the identity.
fn anchor() {}

impl Executable {
    /// This process's own.
    pub(super) fn own() -> Result<&'static Self, &'static str> {
        static OWN: OnceLock<Result<Executable, String>> = OnceLock::new();
        OWN.get_or_init(Self::look).as_ref().map_err(String::as_str)
    }

    /// The file that a child is started from.
    #[cfg(target_os = "linux")]
    pub(super) fn path() -> std::io::Result<std::path::PathBuf> {
        // What this process was started from, also after the file was replaced or removed.
        Ok("/proc/self/exe".into())
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn path() -> std::io::Result<std::path::PathBuf> {
        std::env::current_exe()
    }

    fn look() -> Result<Self, String> {
        let anchor = (anchor as fn()) as usize;
        let InMemory { base, code, data } = in_memory(anchor)?;
        let file = Self::path().and_then(std::fs::metadata).map_err(|error| format!("the executable: {error}"))?;
        let parts = [
            file.dev(),
            file.ino(),
            file.size(),
            file.mtime().cast_unsigned(),
            file.mtime_nsec().cast_unsigned(),
            file.ctime().cast_unsigned(),
            file.ctime_nsec().cast_unsigned(),
            anchor.wrapping_sub(base) as u64,
        ];
        Ok(Self { base, code, data, identity: parts.into_iter().flat_map(u64::to_le_bytes).collect() })
    }

    pub(super) fn identity(&self) -> &[u8] {
        &self.identity
    }

    /// How far from the beginning a function lies; `None` if it is not the executable's, but a shared library's.
    pub(super) fn offset_of(&self, function: usize) -> Option<u64> {
        self.is_code(function).then(|| function.wrapping_sub(self.base) as u64)
    }

    /// Where the function lies, if there is code at all.
    pub(super) fn at(&self, offset: u64) -> Option<usize> {
        let function = self.base.wrapping_add(usize::try_from(offset).ok()?);
        self.is_code(function).then_some(function)
    }

    /// The same for a line; `None` also for one that a shared library has compiled.
    pub(super) fn offset_of_line(&self, line: &'static Location<'static>) -> Option<u64> {
        let address = std::ptr::from_ref(line).expose_provenance();
        self.has_line(address).then(|| address.wrapping_sub(self.base) as u64)
    }

    /// The line that the same executable named so.
    ///
    /// # Safety
    ///
    /// The offset is one that a process of this executable got from [`offset_of_line`](Self::offset_of_line).
    pub(super) unsafe fn line_at(&self, offset: u64) -> Option<&'static Location<'static>> {
        let address = self.base.wrapping_add(usize::try_from(offset).ok()?);
        // SAFETY: the caller's. What the other process has there is here, too, since it is the same file; and the loader was done with it before `main`.
        self.has_line(address).then(|| unsafe { sys::line_at(address) })
    }

    fn has_line(&self, address: usize) -> bool {
        let end = address.saturating_add(size_of::<Location<'_>>());
        address.is_multiple_of(align_of::<Location<'_>>())
            && self.data.iter().any(|data| data.contains(&address) && end <= data.end)
    }

    fn is_code(&self, address: usize) -> bool {
        self.code.iter().any(|code| code.contains(&address))
    }
}

/// Where an executable is.
struct InMemory {
    base: usize,
    code: Vec<Range<usize>>,
    data: Vec<Range<usize>>,
}

/// Where the file that has code at `anchor` begins, and where its code and its data are.
#[cfg(target_os = "linux")]
fn in_memory(anchor: usize) -> Result<InMemory, String> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|error| format!("/proc/self/maps: {error}"))?;
    let mappings: Vec<Mapping<'_>> = maps.lines().filter_map(Mapping::of).collect();
    let own =
        mappings.iter().find(|mapping| mapping.range.contains(&anchor)).ok_or("its code is not in its own map")?;
    let same = || mappings.iter().filter(|mapping| mapping.file == own.file);
    let base = same().map(|mapping| mapping.range.start).min().unwrap_or_default();
    let ranges =
        |wanted: fn(&Mapping<'_>) -> bool| same().filter(|part| wanted(part)).map(|part| part.range.clone()).collect();
    Ok(InMemory { base, code: ranges(|part| part.is_code), data: ranges(|part| part.is_constant) })
}

/// Elsewhere the anchor is where it begins, all is taken for code, and nothing is known to be a constant.
#[cfg(not(target_os = "linux"))]
fn in_memory(anchor: usize) -> Result<InMemory, String> {
    Ok(InMemory { base: anchor, code: vec![1..usize::MAX], data: Vec::new() })
}

/// A line of `/proc/self/maps`.
#[cfg(target_os = "linux")]
struct Mapping<'a> {
    range: Range<usize>,
    is_code: bool,
    is_constant: bool,
    /// Device, inode and path.
    file: (&'a str, &'a str, &'a str),
}

#[cfg(target_os = "linux")]
impl<'a> Mapping<'a> {
    fn of(line: &'a str) -> Option<Self> {
        let mut words = line.splitn(6, ' ');
        let (from, to) = words.next()?.split_once('-')?;
        let range = usize::from_str_radix(from, 16).ok()?..usize::from_str_radix(to, 16).ok()?;
        let (rights, _offset, device, inode) = (words.next()?, words.next()?, words.next()?, words.next()?);
        let path = words.next().map_or("", str::trim);
        let (is_code, is_constant) = (rights.contains('x'), rights.starts_with("r-") && !rights.contains('x'));
        Some(Self { range, is_code, is_constant, file: (device, inode, path) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_the_executable_is_found_again_and_one_of_a_library_is_refused() {
        let own = Executable::own().expect("it is there");
        let function = (anchor as fn()) as usize;
        let offset = own.offset_of(function).expect("it is code");
        assert_eq!(own.at(offset), Some(function));
        // libc's, which is shared.
        assert_eq!(own.offset_of(libc::getpid as *const () as usize), None);
        let data = std::ptr::from_ref(own).addr();
        assert_eq!(own.offset_of(data), None, "nor is data code");
        assert_eq!(own.at(u64::MAX / 2), None);
    }

    #[test]
    fn a_line_of_the_executable_is_found_again_and_nothing_else_is_taken_for_one() {
        let own = Executable::own().expect("it is there");
        let line = Location::caller();
        let offset = own.offset_of_line(line).expect("it is a constant");
        // SAFETY: this process has just named it so.
        assert_eq!(unsafe { own.line_at(offset) }, Some(line));
        let code = own.offset_of((anchor as fn()) as usize).expect("it is code");
        for offset in [code, offset + 1, u64::MAX / 2] {
            // SAFETY: there is none, so none is looked at.
            assert_eq!(unsafe { own.line_at(offset) }, None);
        }
    }
}
