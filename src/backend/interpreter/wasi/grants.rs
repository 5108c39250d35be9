//! What commands may touch of this system, and the context that gives it to one of them.

use std::path::{Path, PathBuf};

use wasmtime_wasi::p1::WasiP1Ctx;
use wasmtime_wasi::p2::pipe::MemoryInputPipe;
use wasmtime_wasi::{Deterministic, FsPerms, WasiCtxBuilder, WasiView};

use super::output::Written;
use super::time::Time;

/// What a run may write to each of its streams if nobody says.
const OUTPUT: usize = 1 << 20;
/// How many files a run may have open: they are this process's.
const FILES: usize = 128;
/// The standard streams, and what lives for one call.
const OTHERS: usize = 8;
/// What a run may have this process make up at once, in bytes.
const RANDOM: u64 = 1 << 20;

#[derive(Clone, Debug)]
pub(super) struct Grants {
    pub(super) output: usize,
    pub(super) environment: Vec<(String, String)>,
    pub(super) directories: Vec<(PathBuf, String, FsPerms)>,
    pub(super) clocks: bool,
    pub(super) random: bool,
}

impl Default for Grants {
    fn default() -> Self {
        Self { output: OUTPUT, environment: Vec::new(), directories: Vec::new(), clocks: false, random: false }
    }
}

impl Grants {
    /// What no run could ever be given.
    pub(super) fn check(&self) -> Result<(), String> {
        for (name, value) in &self.environment {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(format!("its environment cannot have {name:?} with the value {value:?}"));
            }
        }
        let mut trial = WasiCtxBuilder::new();
        self.directories.iter().try_for_each(|(host, guest, access)| open(&mut trial, host, guest, *access))
    }

    /// What one run has.
    pub(super) fn context(
        &self,
        arguments: &[String],
        input: Vec<u8>,
        (stdout, stderr): (&Written, &Written),
        time: &Time,
    ) -> Result<WasiP1Ctx, String> {
        let mut context = WasiCtxBuilder::new();
        // The worker is a thread of its own. What blocks there is seen to, and counted; what a runtime's threads did for it would not be.
        context.allow_blocking_current_thread(true);
        context.args(arguments).envs(&self.environment);
        context.stdin(MemoryInputPipe::new(input)).stdout(stdout.clone()).stderr(stderr.clone());
        context.wall_clock(time.clone()).monotonic_clock(time.clone());
        context.max_random_size(RANDOM);
        if !self.random {
            context.secure_random(foreseeable());
        }
        for (host, guest, access) in &self.directories {
            open(&mut context, host, guest, *access)?;
        }
        let mut context = context.build_p1();
        context.ctx().table.set_max_capacity(FILES + OTHERS + self.directories.len());
        Ok(context)
    }
}

fn open(context: &mut WasiCtxBuilder, host: &Path, guest: &str, access: FsPerms) -> Result<(), String> {
    let opened = context.preopened_dir(host, guest, access);
    opened.map(drop).map_err(|error| format!("it is to have the directory {}: {error:#}", host.display()))
}

/// The same numbers for each run, which yet look like random ones: programs shuffle and hash by them, and try again where two are the same.
fn foreseeable() -> Deterministic {
    let mut state = 0_u64;
    let words = std::iter::repeat_with(move || {
        // SplitMix64.
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    });
    Deterministic::new(words.take(128).flat_map(u64::to_le_bytes).collect())
}
