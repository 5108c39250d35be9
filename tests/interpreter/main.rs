//! Pools of WebAssembly instances: what only they do.

#![expect(clippy::disallowed_methods, reason = "tests may measure and sleep")]

mod calls;
mod hostile;
mod kills;
mod rig;
#[cfg(feature = "wasi")]
mod wasi;
