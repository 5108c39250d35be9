//! Where a command waits: preview 1's `poll_oneoff`, which is also how it sleeps.
//!
//! wasmtime-wasi's blocks the thread, where no kill reaches. Here it is all that a command can wait in, as its standard streams and files are always ready.

use std::thread::{Thread, current, park_timeout};
use std::time::Duration;

use wasmtime::{Caller, Extern, Memory};

use super::command::State;
use super::time::Time;
use crate::backend::interpreter::Crossing;
use crate::backend::interpreter::wasm::Guest;
use crate::error::GuestFault;
use crate::sync::{Arc, Clock, Mutex};

/// Preview 1's numbers and layouts.
const SUCCESS: i32 = 0;
const INVALID: i32 = 28;
const SUBSCRIPTION: usize = 48;
const EVENT: usize = 32;
const CLOCK: u8 = 0;
const REALTIME: u32 = 0;
const MONOTONIC: u32 = 1;
const ABSOLUTE: u16 = 1;

/// What a command may wait for at once.
const MOST: u32 = 1_024;

/// The threads that sleep for commands of one pool.
#[derive(Default)]
pub(super) struct Sleepers(Mutex<Vec<Thread>>);

impl Sleepers {
    /// Has them look at their brakes.
    pub(super) fn wake(&self) {
        self.0.lock().iter().for_each(Thread::unpark);
    }

    /// Sleeps, unless the brake is pulled before or meanwhile.
    fn sleep(&self, clock: &Clock, span: Duration) -> Result<(), GuestFault> {
        let crossing = Crossing::here().ok_or(GuestFault::Interrupted)?;
        let until = clock.now().after(span);
        let _here = Here::new(self);
        // From here on, whoever pulls the brake finds this thread, or is seen before it parks.
        crossing.enter_guest()?;
        while !crossing.brake().has_stopped() {
            let left = until.since(clock.now());
            if left.is_zero() {
                break;
            }
            park_timeout(left);
        }
        crossing.leave_guest()
    }
}

/// This thread, while it sleeps.
struct Here<'a>(&'a Sleepers);

impl<'a> Here<'a> {
    fn new(sleepers: &'a Sleepers) -> Self {
        sleepers.0.lock().push(current());
        Self(sleepers)
    }
}

impl Drop for Here<'_> {
    fn drop(&mut self) {
        let own = current().id();
        self.0.0.lock().retain(|thread| thread.id() != own);
    }
}

/// One thing that is waited for.
struct Subscription {
    /// What the guest knows it by.
    user: [u8; 8],
    kind: u8,
    /// When it is there.
    within: Duration,
}

impl Subscription {
    /// `None`: it makes no sense.
    fn read(bytes: &[u8], time: &Time) -> Option<Self> {
        let user = bytes[..8].try_into().ok()?;
        let kind = bytes[8];
        let within = match kind {
            CLOCK => span(bytes, time)?,
            // Reading and writing: nothing that a command has keeps it waiting, and what it has not is an error that it meets when it tries.
            1 | 2 => Duration::ZERO,
            _ => return None,
        };
        Some(Self { user, kind, within })
    }

    fn event(&self) -> [u8; EVENT] {
        let mut event = [0; EVENT];
        event[..8].copy_from_slice(&self.user);
        event[10] = self.kind;
        if self.kind != CLOCK {
            // At least one byte.
            event[16] = 1;
        }
        event
    }
}

/// How long until a clock says what is asked for.
fn span(bytes: &[u8], time: &Time) -> Option<Duration> {
    let id = u32::from_le_bytes(bytes[16..20].try_into().ok()?);
    let timeout = Duration::from_nanos(u64::from_le_bytes(bytes[24..32].try_into().ok()?));
    let absolute = u16::from_le_bytes(bytes[40..42].try_into().ok()?) & ABSOLUTE != 0;
    let now = match id {
        REALTIME => time.wall(),
        MONOTONIC => time.monotonic(),
        _ => return None,
    };
    Some(if absolute { timeout.saturating_sub(now) } else { timeout })
}

/// Waits for the first of what it is given, and answers what is there by then.
pub(super) fn poll_oneoff(
    mut caller: Caller<'_, Guest>,
    subscriptions: u32,
    events: u32,
    count: u32,
    answer: u32,
) -> wasmtime::Result<i32> {
    let memory = caller.get_export("memory").and_then(Extern::into_memory);
    let memory = memory.ok_or_else(|| wasmtime::format_err!("it exports no memory called `memory`"))?;
    if !(1..=MOST).contains(&count) {
        return Ok(INVALID);
    }
    let state = State::of(caller.data_mut());
    let (time, sleepers) = (state.time.clone(), state.sleepers.clone());
    let bytes = slice(&memory, &caller, subscriptions, count as usize * SUBSCRIPTION)?;
    let wanted = bytes.chunks_exact(SUBSCRIPTION).map(|bytes| Subscription::read(bytes, &time));
    let Some(wanted) = wanted.collect::<Option<Vec<_>>>() else { return Ok(INVALID) };

    let first = wanted.iter().map(|wanted| wanted.within).min().unwrap_or_default();
    wait(&time, &sleepers, first)?;

    let there: Vec<u8> = wanted.iter().filter(|wanted| wanted.within <= first).flat_map(Subscription::event).collect();
    let found = u32::try_from(there.len() / EVENT)?;
    memory.write(&mut caller, events as usize, &there)?;
    memory.write(&mut caller, answer as usize, &found.to_le_bytes())?;
    Ok(SUCCESS)
}

fn wait(time: &Time, sleepers: &Arc<Sleepers>, span: Duration) -> Result<(), GuestFault> {
    match time {
        _ if span.is_zero() => Ok(()),
        Time::Still(_) => {
            time.skip(span);
            Ok(())
        }
        Time::Real(clock, _) => sleepers.sleep(clock, span),
    }
}

fn slice<'a>(memory: &Memory, caller: &'a Caller<'_, Guest>, at: u32, length: usize) -> wasmtime::Result<&'a [u8]> {
    let within = memory.data(caller).get(at as usize..).and_then(|rest| rest.get(..length));
    within.ok_or_else(|| wasmtime::format_err!("{length} bytes at {at} are not within its memory"))
}
