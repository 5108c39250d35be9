//! Pools of interpreters: what only they do. Bodies that are written for any engine run on each (`kinds.rs`); what one has alone is in its folder.

#![expect(clippy::disallowed_methods, reason = "tests may measure and sleep")]

#[macro_use]
mod kinds;
mod rig;

mod calls;
#[cfg(feature = "testing")]
mod clocked;
mod hostile;
mod kills;

#[cfg(feature = "lua")]
mod lua;
#[cfg(feature = "wasi")]
mod wasi;
#[cfg(feature = "interpreter")]
mod wasm;
