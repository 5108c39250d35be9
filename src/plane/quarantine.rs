//! Labels that are kept out, since workers keep being lost under their jobs. The rule is pure: `policy/quarantine.rs`.

use super::{Plane, Signal};
use crate::job::{Envelope, Header};
use crate::snapshot::Quarantined;
use crate::sync::{Arc, Ordering, Timestamp};

impl<J: ?Sized + Envelope> Plane<J> {
    /// A worker was lost under this job.
    pub(super) fn count_loss(&self, header: &Header) {
        let Some(label) = header.label() else { return };
        let begun = {
            let mut labels = self.labels.lock();
            let begun = labels.lost(label, self.clock.now());
            if begun.is_some() {
                // Relaxed: who does not see it yet came before, and is stopped on the way to a worker, if it is to be one that was submitted before.
                self.keeps_out.store(true, Ordering::Relaxed);
            }
            begun
        };
        if let Some(begun) = begun {
            let until = begun.until;
            self.port.signal(Signal::Quarantined(Arc::new(begun)));
            self.due.release(until, &*self.port);
            // A clock that was moved before that has ticked without it, and may not be moved again.
            let now = self.clock.now();
            if until <= now {
                self.release_labels(now);
            }
        }
    }

    /// Why jobs of this label are kept out, if they are. One load while no label is.
    pub(crate) fn kept_out(&self, label: &str) -> Option<Arc<Quarantined>> {
        if !self.keeps_out.load(Ordering::Relaxed) {
            return None;
        }
        self.labels.lock().kept_out(label, self.clock.now()).map(Arc::new)
    }

    /// All labels that are.
    pub(super) fn all_kept_out(&self, now: Timestamp) -> Vec<Arc<Quarantined>> {
        self.labels.lock().all_kept_out(now).into_iter().map(Arc::new).collect()
    }

    /// The time of one or more of them is over.
    pub(super) fn release_labels(&self, now: Timestamp) {
        let released = {
            let mut labels = self.labels.lock();
            let released = labels.release(now);
            self.keeps_out.store(labels.keeps_any_out(), Ordering::Relaxed);
            released
        };
        for label in released {
            self.port.signal(Signal::Released(label));
        }
    }
}
