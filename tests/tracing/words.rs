//! Arguments that say something as they are written to a child, which is in this process, by the worker that has the job.

use parking_lot::Mutex;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::spans::Say;

/// See above. In the child there is nothing left to be said.
pub(crate) struct Words(Mutex<Option<Say>>);

impl Words {
    pub(crate) fn new(say: Say) -> Self {
        Self(Mutex::new(Some(say)))
    }
}

impl Serialize for Words {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let say = self.0.lock().take();
        if let Some(say) = say {
            say();
        }
        to.serialize_unit()
    }
}

impl<'de> Deserialize<'de> for Words {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        <()>::deserialize(from)?;
        Ok(Self(Mutex::new(None)))
    }
}
