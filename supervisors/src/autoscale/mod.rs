//! How many workers a pool may have.

mod fixed;
mod sojourn_target;

pub use fixed::Fixed;
pub use sojourn_target::SojournTarget;
