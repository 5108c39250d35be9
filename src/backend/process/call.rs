//! Jobs that are calls of a function of this executable.

use postcard::ser_flavors::Flavor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::freight::Freight;
use super::identity::Executable;
use super::parcel::{Carried, Load, Parcel, ProcessJob, Reply, transfer_failed};
use super::wire::{Panicked, Why};
use super::{Processes, sys};
use crate::backend::Hosts;
use crate::error::TransferFault;
use crate::job::{Caught, ClaimKey, JobCell, Ran, Share, catch};

/// A function and its arguments, to be called in a child process of the same executable.
///
/// It is a plain function, or a closure that captures nothing; what it needs is in its arguments. [`Pool::submit`](crate::Pool::submit) of
/// a [`ProcessPool`](crate::ProcessPool) makes it; make it yourself for code that is generic over pools.
#[derive(Debug)]
pub struct RemoteCall<A, R> {
    function: fn(A) -> R,
    arguments: A,
}

impl<A, R> RemoteCall<A, R> {
    /// `function` with its arguments. For several, a tuple.
    pub fn new(function: fn(A) -> R, arguments: A) -> Self {
        Self { function, arguments }
    }

    /// The arguments.
    pub fn into_arguments(self) -> A {
        self.arguments
    }

    /// Calls the function here.
    pub fn call_here(self) -> R {
        (self.function)(self.arguments)
    }
}

/// A call as it lies in its cell.
#[derive(Debug)]
pub struct Call<A, R>(RemoteCall<A, R>);

/// What a child calls: the function's address, its arguments' bytes, and where its result's bytes go.
pub(super) type Trampoline = fn(usize, &[u8], &mut Freight<'_>) -> Called;

/// What came of it.
#[derive(Debug)]
pub(super) enum Called {
    Done,
    Failed(Why, String),
    Panicked(Panicked),
}

/// Two addresses: the trampoline's, and the function's.
pub(super) const ADDRESSES: usize = 16;

fn trampoline<A: DeserializeOwned, R: Serialize>(function: usize, arguments: &[u8], out: &mut Freight<'_>) -> Called {
    let arguments: A = match caught(|| postcard::from_bytes(arguments)) {
        Ok(arguments) => arguments,
        Err(error) => return Called::Failed(Why::PayloadUnknown, error),
    };
    // SAFETY: whoever names a trampoline `<A, R>` names with it, in the same frame, a `fn(A) -> R` of the same executable: `Call::load`.
    let function = unsafe { sys::function_at::<A, R>(function) };
    match catch(|| function(arguments)) {
        Ok(result) => match caught(|| put(&result, out)) {
            Ok(()) => Called::Done,
            Err(error) => Called::Failed(Why::ResultUnsendable, error),
        },
        Err(Caught { message, location, backtrace }) => Called::Panicked(Panicked { message, location, backtrace }),
    }
}

/// Runs code of the user's that takes bytes apart, or puts them together.
fn caught<T>(f: impl FnOnce() -> Result<T, postcard::Error>) -> Result<T, String> {
    match catch(f) {
        Ok(result) => result.map_err(|error| error.to_string()),
        Err(caught) => Err(format!("it panicked: {}", caught.message)),
    }
}

fn put(value: &impl Serialize, out: &mut Freight<'_>) -> Result<(), postcard::Error> {
    postcard::serialize_with_flavor(value, Appended(out))
}

/// Serialised where it is to be sent from.
struct Appended<'a, 'b>(&'a mut Freight<'b>);

impl Appended<'_, '_> {
    fn go_on(&self) -> postcard::Result<()> {
        if self.0.is_stopped() { Err(postcard::Error::SerializeBufferFull) } else { Ok(()) }
    }
}

impl Flavor for Appended<'_, '_> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        self.go_on()
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend(bytes);
        self.go_on()
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

impl<A, R> Call<A, R>
where
    A: Serialize + DeserializeOwned,
    R: Serialize,
{
    fn load(&self, out: &mut Freight<'_>) -> Result<(), TransferFault> {
        let Self(RemoteCall { function, arguments }) = self;
        let executable = Executable::own().map_err(|error| TransferFault::Arguments(error.to_owned()))?;
        let trampoline = (trampoline::<A, R> as Trampoline) as usize;
        for address in [trampoline, *function as usize] {
            let offset = executable.offset_of(address).ok_or(TransferFault::NotInExecutable)?;
            out.extend(&offset.to_le_bytes());
        }
        caught(|| put(arguments, out)).map_err(TransferFault::Arguments)
    }
}

/// In the child: calls what a payload names.
pub(super) fn call(executable: &Executable, payload: &[u8], out: &mut Freight<'_>) -> Called {
    let unknown = |what: &str| Called::Failed(Why::PayloadUnknown, what.to_owned());
    let Some((addresses, arguments)) = payload.split_first_chunk::<ADDRESSES>() else {
        return unknown("it names no function");
    };
    let (trampoline, function) = addresses.split_at(8);
    let at = |offset: &[u8]| executable.at(u64::from_le_bytes(offset.try_into().ok()?));
    let (Some(trampoline), Some(function)) = (at(trampoline), at(function)) else {
        return unknown("what it names is not code of this executable");
    };
    // SAFETY: the parent has found this process to run the same executable (`Executable::identity`), so its offsets mean here what they
    // mean there; and it sends the offset of a trampoline in this place: `Call::load`.
    let trampoline = unsafe { sys::trampoline_at(trampoline) };
    trampoline(function, arguments, out)
}

impl<A, R> ProcessJob for JobCell<Call<A, R>, R>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    fn parcel(&self) -> Parcel<'_> {
        Parcel(self)
    }
}

impl<A, R> Carried for JobCell<Call<A, R>, R>
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    fn load(&self, key: &mut ClaimKey, out: &mut Freight<'_>) -> Load {
        match self.look(key, |call| call.load(out)) {
            None => Load::Over,
            Some(Ok(())) => Load::Loaded,
            Some(Err(fault)) => Load::Unfit(fault),
        }
    }

    fn save(&self, key: &mut ClaimKey, out: &mut Freight<'_>) -> bool {
        let saved = self.look(key, |Call(call)| caught(|| put(&call.arguments, out)).is_ok());
        saved == Some(true)
    }

    fn conclude(&self, key: &mut ClaimKey, pool: &str, reply: Reply<'_>) -> Ran {
        self.conclude_with(
            key,
            pool,
            reply,
            |bytes| caught(|| postcard::from_bytes(bytes)).map_err(TransferFault::ResultUnknown),
            |said| Err(TransferFault::ResultUnknown(said)),
        )
    }

    fn fail(&self, key: &mut ClaimKey, pool: &str, fault: TransferFault) -> Ran {
        self.discard_payload(key);
        key.ended(false);
        Ran { panicked: false, settled: transfer_failed(self, pool, fault) }
    }
}

impl<P: Send + 'static, T: Send + 'static> JobCell<P, T> {
    /// Lets go of what was sent, and writes what came back. `failed`: what it is to have failed in the worker's own terms.
    pub(super) fn conclude_with(
        &self,
        key: &mut ClaimKey,
        pool: &str,
        reply: Reply<'_>,
        read: impl FnOnce(&[u8]) -> Result<T, TransferFault>,
        failed: impl FnOnce(String) -> Result<T, TransferFault>,
    ) -> Ran {
        self.discard_payload(key);
        let result = match reply {
            Reply::Result(bytes) => read(bytes),
            Reply::Failure(Why::Failed, said) => failed(said),
            Reply::Failure(Why::PayloadUnknown, said) => Err(TransferFault::ArgumentsUnknown(said)),
            Reply::Failure(Why::ResultUnsendable, said) => Err(TransferFault::Result(said)),
            Reply::Failure(Why::ResultTooLarge, said) => Err(TransferFault::ResultTooLarge { said }),
            Reply::Panic(Panicked { message, location, backtrace }) => {
                key.ended(true);
                return self.finish_caught(Err(Caught { message, location, backtrace }));
            }
        };
        key.ended(false);
        match result {
            Ok(output) => self.finish(Ok(output)),
            Err(fault) => Ran { panicked: false, settled: transfer_failed(self, pool, fault) },
        }
    }

    /// Drops the payload; a panic of its `Drop` is the job's own business.
    pub(super) fn discard_payload(&self, key: &mut ClaimKey) {
        let payload = self.reclaim(key);
        let _ = catch(|| drop(payload));
    }
}

impl<A, R> Hosts<RemoteCall<A, R>> for Processes
where
    A: Serialize + DeserializeOwned + Send + 'static,
    R: Serialize + DeserializeOwned + Send + 'static,
{
    type Output = R;
    type Payload = Call<A, R>;

    fn wrap(job: RemoteCall<A, R>) -> Call<A, R> {
        Call(job)
    }

    fn unwrap(Call(job): Call<A, R>) -> RemoteCall<A, R> {
        job
    }

    fn erase(cell: Share<JobCell<Call<A, R>, R>>) -> Share<dyn ProcessJob> {
        cell.unsize::<dyn ProcessJob>(|cell| cell)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::process::frame::{self, HEADER, Kind};
    use crate::backend::process::freight::Terms;

    /// What is put into a frame's payload.
    fn payload_of<T>(put: impl FnOnce(&mut Freight<'_>) -> T) -> (T, Vec<u8>) {
        let mut out = Vec::new();
        let at = frame::begin(&mut out, Kind::Job, 1);
        let terms = Terms { limit: 1 << 20, shares: false, pool: "" };
        let done = put(&mut Freight::new(&mut out, at, terms));
        (done, out.split_off(HEADER))
    }

    fn called(bytes: &[u8]) -> (Called, Vec<u8>) {
        let own = Executable::own().expect("it is there");
        payload_of(|out| call(own, bytes, out))
    }

    #[test]
    fn a_call_is_made_of_its_bytes() {
        let call_of = Call(RemoteCall::new(|(a, b): (u32, String)| format!("{b}{a}"), (7, "x".to_owned())));
        let (loaded, bytes) = payload_of(|out| call_of.load(out));
        loaded.expect("it is this executable's");
        let (done, out) = called(&bytes);
        assert!(matches!(done, Called::Done));
        assert_eq!(postcard::from_bytes::<String>(&out), Ok("x7".to_owned()));
        for bad in [&bytes[..17], &bytes[..9], &[0xff; 20]] {
            assert!(matches!(called(bad), (Called::Failed(Why::PayloadUnknown, _), _)));
        }
    }

    #[test]
    fn a_panic_is_an_answer() {
        let call_of: Call<u32, u32> = Call(RemoteCall::new(|n| panic!("no {n}"), 3));
        let (loaded, bytes) = payload_of(|out| call_of.load(out));
        loaded.expect("it is this executable's");
        let (Called::Panicked(panicked), _) = called(&bytes) else { panic!("it panics") };
        assert_eq!(panicked.message, "no 3");
        assert!(panicked.location.is_some_and(|place| place.contains("call.rs")));
    }
}
