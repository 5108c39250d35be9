//! Hooks: who is asked before the supervisor acts and told afterwards, by message. It waits for none of them: DESIGN.md, "Hooks".
//!
//! - `message.rs`, `credit.rs`, `hosted.rs`: what is sent, how much of it, and the actor that hosts a hook of the trait
//! - `ask.rs`: a question is put to all hooks, and what is to follow happens when the strictest verdict is in
//! - `starts.rs`, `exits.rs`, `recycles.rs`, `requests.rs`, and `control/watchdog.rs`: what is asked about, and what follows
//! - `told.rs`, `pressure.rs`: what is told

pub(super) mod ask;
mod credit;
mod exits;
mod hosted;
mod message;
mod pressure;
mod recycles;
mod registry;
mod requests;
mod starts;
mod told;

pub use credit::Receipt;
pub(crate) use message::check_hooks;
pub use message::{HookMessage, HookSpec};
pub use registry::HookRow;
pub(super) use registry::Hooks;
