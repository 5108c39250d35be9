//! The engines, as the bodies that are written for any of them see one.

use std::sync::Arc;

use millpond::GuestFault;
use millpond::interpreter::{Engine, Script};

/// An interpreter, with a plugin that has these functions of one number that give one:
///
/// `fine` gives 1; `count` counts how often it was called in its instance; `trap` fails by itself; `spin` never ends, and `branch` neither, by calls instead of a loop; `recurse` calls itself without
/// end; `grow` takes so many times 64 KiB more memory, for good, and gives 1; `grow_and_wait` takes 32 of them, and then is as `until_cancelled`; `eat` wants ever more memory, and `eat_politely` stops as it is refused some, and says how many times 64 KiB it got; `turns` goes so many times round a loop; `until_cancelled` loops until it
/// is asked to stop.
pub(crate) trait Kind: Engine + Sized {
    type Call: Script<Self, Output = i64>;

    fn plugin() -> Self;

    /// One that calls `host` in its functions `call`, which then gives 1, and `call_and_spin`, which then never ends; and which has `fine`.
    fn calling(host: Arc<Host>) -> Self;

    /// The plugin, whose instances go so many times round a loop as they are made.
    fn starting(turns: i64) -> Self;

    /// One whose instances are never there, since what they run as they are made never ends, or fails by itself.
    fn never_made(how: Never) -> Self;

    fn call(function: &'static str, number: i64) -> Self::Call;

    /// Keeps a value in the instance, and gives 1.
    fn keep(value: Box<dyn Send>) -> impl Script<Self, Output = i64>;

    /// Calls `count`, and then what is not there.
    fn count_and_miss() -> impl Script<Self, Output = i64>;

    /// Calls `first`, whatever comes of it, and then `last`; without that it gives 0.
    fn despite(first: &'static str, last: Option<&'static str>) -> impl Script<Self, Output = i64>;

    fn fresh(self) -> Self;
    fn memory(self, bytes: usize) -> Self;
    fn fuelled(self, units: u64) -> Self;
}

/// What a guest calls of this process's.
pub(crate) type Host = dyn Fn() -> Result<(), GuestFault> + Send + Sync;

pub(crate) enum Never {
    Ends,
    Succeeds,
}

/// Runs each body on every engine.
macro_rules! on_every_engine {
    ($($body:ident),* $(,)?) => {
        #[cfg(feature = "interpreter")]
        mod on_wasm {
            $( #[test] fn $body() -> crate::rig::Outcome { super::$body::<millpond::interpreter::Wasm>() } )*
        }
        #[cfg(feature = "lua")]
        mod on_lua {
            $( #[test] fn $body() -> crate::rig::Outcome { super::$body::<millpond::interpreter::Lua>() } )*
        }
    };
}
