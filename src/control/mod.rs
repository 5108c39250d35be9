//! The control plane: the supervisor actor, what it is asked, and the threads that it and the timer run on.
//!
//! The supervisor never awaits in a handler. It starts work, remembers what it waits for, and the answer comes back as a message.

mod autoscale;
mod climb;
mod dispatch;
mod event;
mod gate;
mod hook;
mod keeper;
mod message;
mod port;
mod reaper;
mod recycle;
mod report;
mod resize;
mod restart;
mod retune;
mod ring;
mod roll;
mod shutdown;
mod side;
mod slots;
mod staff;
mod supervisor;
mod swap;
mod target;
mod terminate;
mod timer;
mod trace;
mod watchdog;
#[cfg(any(feature = "guest", feature = "process"))]
mod weigh;

pub use event::{EventStream, PoolEvent};
pub use hook::{HookMessage, HookRow, HookSpec, Receipt};
pub use message::PoolMessage;
pub use reaper::{Orphan, orphans};
pub use report::{ResizeReport, RetuneReport, Settled, ShutdownReport};
pub use retune::Retune;
pub use supervisor::PoolSupervisor;
pub use swap::NewRestartPolicy;
pub use target::{Ladder, Select, Targets};
pub use watchdog::Watchdog;

pub(crate) use autoscale::Scaler;
pub(crate) use hook::check_hooks;
pub(crate) use message::{Attached, Command};
pub(crate) use supervisor::Shared;
pub(crate) use timer::{alarm_after, control_runtime};
