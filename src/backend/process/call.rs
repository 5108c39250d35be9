//! Jobs that are calls of a function of this executable.

use std::panic::Location;

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
use crate::id::JobId;
use crate::job::{Caught, ClaimKey, Envelope, Header, JobCell, Ran, Share, catch};
use crate::snapshot::Lineage;

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

/// How far into the executable they lie: the trampoline, the function, and the line that submitted the job (0: it is not the executable's). Then comes
/// the job that submitted this one, if one did, and then the arguments.
const OFFSETS: usize = 24;

/// A [`Lineage`] on its way: its pool, the job, its label, the line that submitted that, and its depth.
type Parent<'a> = Option<(&'a str, u64, Option<&'a str>, u64, u32)>;

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
    fn load(&self, header: &Header, out: &mut Freight<'_>) -> Result<(), TransferFault> {
        let Self(RemoteCall { function, arguments }) = self;
        let executable = Executable::own().map_err(|error| TransferFault::Arguments(error.to_owned()))?;
        let trampoline = (trampoline::<A, R> as Trampoline) as usize;
        for address in [trampoline, *function as usize] {
            let offset = executable.offset_of(address).ok_or(TransferFault::NotInExecutable)?;
            out.extend(&offset.to_le_bytes());
        }
        let line = |line| executable.offset_of_line(line).unwrap_or(0);
        out.extend(&line(header.submitted_from()).to_le_bytes());
        let parent: Parent<'_> = header.lineage().map(|parent| {
            let Lineage { pool, parent, label, submitted_from, depth } = parent;
            (&**pool, parent.get(), label.as_deref(), line(submitted_from), *depth)
        });
        put(&parent, out).map_err(|error| TransferFault::Arguments(error.to_string()))?;
        caught(|| put(arguments, out)).map_err(TransferFault::Arguments)
    }
}

/// In the child: a payload, read as far as it is no code of the user's that reads it.
pub(super) struct Named<'a> {
    trampoline: Trampoline,
    function: usize,
    arguments: &'a [u8],
    /// The line that submitted the job, if the executable has it.
    pub(super) line: Option<&'static Location<'static>>,
    /// The job that did.
    pub(super) lineage: Option<Lineage>,
}

impl<'a> Named<'a> {
    /// # Errors
    ///
    /// What it lacks.
    pub(super) fn read(executable: &Executable, payload: &'a [u8]) -> Result<Self, &'static str> {
        let (offsets, rest) = payload.split_first_chunk::<OFFSETS>().ok_or("it names no function")?;
        let (offsets, _) = offsets.as_chunks::<8>();
        let [trampoline, function, line] = [0, 1, 2].map(|at| u64::from_le_bytes(offsets[at]));
        let (Some(trampoline), Some(function)) = (executable.at(trampoline), executable.at(function)) else {
            return Err("what it names is not code of this executable");
        };
        let (parent, arguments): (Parent<'_>, _) =
            postcard::take_from_bytes(rest).map_err(|_| "it does not say which job it comes from")?;
        // SAFETY: the parent has found this process to run the same executable (`Executable::identity`), so its offsets mean here what they
        // mean there; and it sends the offset of a trampoline in this place: `Call::load`.
        let trampoline = unsafe { sys::trampoline_at(trampoline) };
        // SAFETY: for the same reason, and since it sends those of lines in these places.
        let line_at = |offset| unsafe { executable.line_at(offset) };
        let lineage = parent.map(|(pool, parent, label, line, depth)| Lineage {
            pool: pool.into(),
            parent: JobId(parent),
            label: label.map(Into::into),
            // One of a library's line is not known here: this one is as good as any.
            submitted_from: line_at(line).unwrap_or_else(|| Location::caller()),
            depth,
        });
        Ok(Self { trampoline, function, arguments, line: line_at(line), lineage })
    }

    /// Calls what it names.
    pub(super) fn call(&self, out: &mut Freight<'_>) -> Called {
        (self.trampoline)(self.function, self.arguments, out)
    }
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
        match self.look(key, |call| call.load(self.header(), out)) {
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
    use crate::backend::process::freight::Terms as Freights;
    use crate::id::LaneId;
    use crate::job::{Origin, Submission, Terms};

    /// What is put into a frame's payload.
    fn payload_of<T>(put: impl FnOnce(&mut Freight<'_>) -> T) -> (T, Vec<u8>) {
        let mut out = Vec::new();
        let at = frame::begin(&mut out, Kind::Job, 1);
        let terms = Freights { limit: 1 << 20, shares: false, pool: "" };
        let done = put(&mut Freight::new(&mut out, at, terms));
        (done, out.split_off(HEADER))
    }

    fn called(bytes: &[u8]) -> (Called, Vec<u8>) {
        let own = Executable::own().expect("it is there");
        payload_of(|out| match Named::read(own, bytes) {
            Ok(named) => named.call(out),
            Err(what) => Called::Failed(Why::PayloadUnknown, what.to_owned()),
        })
    }

    fn loaded<A, R>(call: &Call<A, R>, origin: Option<Origin>) -> Vec<u8>
    where
        A: Serialize + DeserializeOwned,
        R: Serialize,
    {
        let terms = origin.map(|origin| Box::new(Terms::of_origin(Some(origin))));
        let job: Share<JobCell<(), ()>> =
            Share::alone((), Submission { lane: LaneId::DEFAULT, site: Location::caller(), terms });
        let (loaded, bytes) = payload_of(|out| call.load(job.header(), out));
        loaded.expect("it is this executable's");
        bytes
    }

    #[test]
    fn a_call_is_made_of_its_bytes() {
        let call_of = Call(RemoteCall::new(|(a, b): (u32, String)| format!("{b}{a}"), (7, "x".to_owned())));
        let bytes = loaded(&call_of, None);
        let (done, out) = called(&bytes);
        assert!(matches!(done, Called::Done));
        assert_eq!(postcard::from_bytes::<String>(&out), Ok("x7".to_owned()));
        for bad in [&bytes[..25], &bytes[..24], &bytes[..9], &[0xff; 30]] {
            assert!(matches!(called(bad), (Called::Failed(Why::PayloadUnknown, _), _)));
        }
    }

    #[test]
    fn a_call_knows_where_it_comes_from() {
        let call_of = Call(RemoteCall::new(|n: u32| n, 7));
        let line = Location::caller();
        let from = Lineage { pool: "outer".into(), parent: JobId(9), label: None, submitted_from: line, depth: 3 };
        for from in [None, Some(from)] {
            let bytes = loaded(&call_of, from.clone().map(Origin::elsewhere));
            let named = Named::read(Executable::own().expect("it is there"), &bytes).expect("it was just written");
            assert_eq!(named.lineage, from);
            assert_eq!(named.line.map(Location::file), Some(file!()));
        }
    }

    #[test]
    fn a_panic_is_an_answer() {
        let call_of: Call<u32, u32> = Call(RemoteCall::new(|n| panic!("no {n}"), 3));
        let bytes = loaded(&call_of, None);
        let (Called::Panicked(panicked), _) = called(&bytes) else { panic!("it panics") };
        assert_eq!(panicked.message, "no 3");
        assert!(panicked.location.is_some_and(|place| place.contains("call.rs")));
    }
}
