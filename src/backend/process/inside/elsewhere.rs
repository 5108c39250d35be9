//! The pool that a job in a child belongs to.

use crate::error::Deadlock;
use crate::id::LaneId;
use crate::job::{Envelope, Recalls, Share};
use crate::sync::Arc;

/// Stands for the pool of the parent, which is never found here.
pub(crate) enum Elsewhere {}

impl Recalls for Elsewhere {
    fn name(&self) -> Arc<str> {
        match *self {}
    }

    fn lane_name(&self, _lane: LaneId) -> Arc<str> {
        match *self {}
    }

    fn is_plain(&self) -> bool {
        match *self {}
    }

    fn could_start(&self, _lane: LaneId, _held: &[usize], _abandoned: usize) -> bool {
        match *self {}
    }

    fn report(&self, _deadlock: &Arc<Deadlock>) {
        match *self {}
    }

    fn recall(&self, _job: &Share<dyn Envelope>) {
        match *self {}
    }

    fn would_block(&self) -> bool {
        match *self {}
    }
}
