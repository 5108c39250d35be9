//! Jobs that are bytes, for programs that speak the frame protocol.

use super::Programs;
use super::freight::Freight;
use super::parcel::{Carried, Load, Parcel, ProcessJob, Reply, transfer_failed};
use crate::backend::Hosts;
use crate::error::TransferFault;
use crate::job::{ClaimKey, JobCell, Ran, Share};

/// What a program answered that could not do its job, in its own words.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
#[error("{message}")]
pub struct RequestFailed {
    /// What it said.
    pub message: String,
}

/// What a program answers: bytes, or why it could not.
pub type Answer = Result<Vec<u8>, RequestFailed>;

impl ProcessJob for JobCell<Vec<u8>, Answer> {
    fn parcel(&self) -> Parcel<'_> {
        Parcel(self)
    }
}

impl Carried for JobCell<Vec<u8>, Answer> {
    fn load(&self, key: &mut ClaimKey, out: &mut Freight<'_>) -> Load {
        match self.look(key, |bytes| out.extend(bytes)) {
            None => Load::Over,
            Some(()) => Load::Loaded,
        }
    }

    fn save(&self, key: &mut ClaimKey, out: &mut Freight<'_>) -> bool {
        self.look(key, |bytes| out.extend(bytes)).is_some()
    }

    fn conclude(&self, key: &mut ClaimKey, pool: &str, reply: Reply<'_>) -> Ran {
        let failed = |message| Ok(Err(RequestFailed { message }));
        self.conclude_with(key, pool, reply, |bytes| Ok(Ok(bytes.to_vec())), failed)
    }

    fn fail(&self, key: &mut ClaimKey, pool: &str, fault: TransferFault) -> Ran {
        self.discard_payload(key);
        key.ended(false);
        Ran { panicked: false, settled: transfer_failed(self, pool, fault) }
    }
}

impl Hosts<Vec<u8>> for Programs {
    type Output = Answer;
    type Payload = Vec<u8>;

    fn wrap(job: Vec<u8>) -> Vec<u8> {
        job
    }

    fn unwrap(payload: Vec<u8>) -> Vec<u8> {
        payload
    }

    fn erase(cell: Share<JobCell<Vec<u8>, Answer>>) -> Share<dyn ProcessJob> {
        cell.unsize::<dyn ProcessJob>(|cell| cell)
    }
}
