//! Whether a child is the same build, and where functions are in it.
//!
//! A function is named by how far it lies from the beginning of the executable in memory. That means the same in the child if both run
//! the same file: the same device, inode, size and times of change (a file that is being executed cannot be written to).

use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

/// An executable in memory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Executable {
    /// Where it begins.
    base: usize,
    /// Where code of it is.
    code: Vec<std::ops::Range<usize>>,
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
        let (base, code) = in_memory(anchor)?;
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
        Ok(Self { base, code, identity: parts.into_iter().flat_map(u64::to_le_bytes).collect() })
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

    fn is_code(&self, address: usize) -> bool {
        self.code.iter().any(|code| code.contains(&address))
    }
}

/// Where the file that has code at `anchor` begins, and where its code is.
#[cfg(target_os = "linux")]
fn in_memory(anchor: usize) -> Result<(usize, Vec<std::ops::Range<usize>>), String> {
    let maps = std::fs::read_to_string("/proc/self/maps").map_err(|error| format!("/proc/self/maps: {error}"))?;
    let mappings: Vec<Mapping<'_>> = maps.lines().filter_map(Mapping::of).collect();
    let own =
        mappings.iter().find(|mapping| mapping.range.contains(&anchor)).ok_or("its code is not in its own map")?;
    let same = || mappings.iter().filter(|mapping| mapping.file == own.file);
    let base = same().map(|mapping| mapping.range.start).min().unwrap_or_default();
    Ok((base, same().filter(|mapping| mapping.is_code).map(|mapping| mapping.range.clone()).collect()))
}

/// Elsewhere the anchor is where it begins, and all is taken for code.
#[cfg(not(target_os = "linux"))]
fn in_memory(anchor: usize) -> Result<(usize, Vec<std::ops::Range<usize>>), String> {
    Ok((anchor, vec![1..usize::MAX]))
}

/// A line of `/proc/self/maps`.
#[cfg(target_os = "linux")]
struct Mapping<'a> {
    range: std::ops::Range<usize>,
    is_code: bool,
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
        Some(Self { range, is_code: rights.contains('x'), file: (device, inode, path) })
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
}
