//! The state of a mixed pool, and its thread: it looks at attempts that have ended, has jobs that wait given to members, and ends those whose time is over. What is a user's
//! runs on its hands.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use millpond::{Clock, PoolMessage, Saturation, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use super::book::{Book, Promise, Slot};
use super::error::{Attempt, MixedEnd, Traces};
use super::guard::{Note, Rouse, catch, wake};
use super::hands::Hands;
use super::line::Walk;
use super::member::{Given, Member, Run};
use super::place::{Errand, Placed};
use super::route::Route;

/// While jobs wait, members are asked again this often: nobody tells when the job of somebody else leaves one of them.
const TICK: Duration = Duration::from_millis(5);

/// Whether jobs come in, and go on to members.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Gate {
    /// Exits: all others.
    Open,
    /// They come in, and go to no member. Exits: all others.
    Quiesced,
    /// Those that are in go on. Exit: `Closed`.
    Draining,
    /// Those that no member has end; the others end there.
    Closed,
}

/// What all handles of a mixed pool share with its thread.
pub(super) struct Shared<J, T> {
    pub(super) name: Arc<str>,
    pub(super) members: Vec<Member<J, T>>,
    pub(super) route: Box<dyn Route>,
    /// Why the route has no say any more.
    pub(super) route_fault: OnceLock<Arc<str>>,
    pub(super) clock: Clock,
    /// One for each job from its admission to its outcome.
    pub(super) places: Arc<Semaphore>,
    pub(super) most: usize,
    /// How long a submitter waits for one; `None`: not at all.
    pub(super) admission_limit: Option<Duration>,
    pub(super) shutdown_limit: Duration,
    pub(super) book: Arc<Book>,
    /// Where users' code runs.
    pub(super) hands: Arc<Hands>,
    /// Held while the gate is turned and members are told: they hear of it in that order. No user's code runs under it.
    pub(super) telling: Mutex<()>,
    pub(super) state: Mutex<State<J, T>>,
}

/// Under one lock, under which no code of a user's runs.
pub(super) struct State<J, T> {
    pub(super) gate: Gate,
    /// The last number that a job was given.
    pub(super) last: u64,
    /// By number: the order of admission.
    pub(super) waiting: BTreeMap<u64, Job<J, T>>,
    /// One of them is in the hands of whoever walks along them, and offers them to members.
    pub(super) offered: bool,
    /// One walk is out at a time.
    walk: Walking,
    running: HashMap<u64, Running<J, T>>,
    /// When the first of those that wait expires, or before.
    expiry: Timestamp,
    pub(super) alarms: HashMap<u64, (Timestamp, Waker)>,
    pub(super) last_alarm: u64,
    /// When it closes by itself.
    closes_at: Timestamp,
}

/// Where the walks along the line are.
enum Walking {
    /// None is out; so far has the round come.
    Rests(Walk),
    /// `again`: something has changed since it went out.
    Out { again: bool },
}

/// A job that was admitted.
pub(super) struct Job<J, T> {
    pub(super) promise: Promise<T>,
    pub(super) errand: Errand<J>,
}

/// A job in a member's pool.
struct Running<J, T> {
    job: Job<J, T>,
    member: usize,
    run: Box<dyn Run<T>>,
}

impl<J, T> State<J, T> {
    pub(super) fn new() -> Self {
        Self {
            gate: Gate::Open,
            last: 0,
            waiting: BTreeMap::new(),
            offered: false,
            walk: Walking::Rests(Walk::default()),
            running: HashMap::new(),
            expiry: Timestamp::NEVER,
            alarms: HashMap::new(),
            last_alarm: 0,
            closes_at: Timestamp::NEVER,
        }
    }

    /// Whether a job that comes now goes on at once, or waits; `None`: it does not come in.
    pub(super) fn goes_on(&self) -> Option<bool> {
        match self.gate {
            Gate::Open => Some(self.waiting_here() == 0),
            Gate::Quiesced => Some(false),
            Gate::Draining | Gate::Closed => None,
        }
    }

    pub(super) fn waiting_here(&self) -> usize {
        self.waiting.len() + usize::from(self.offered)
    }

    /// Whether anything happens by itself, as time passes.
    fn is_timed(&self) -> bool {
        // What a walk has in its hands it may put back, and tells nobody.
        let may_wait = !self.waiting.is_empty() || matches!(self.walk, Walking::Out { .. });
        may_wait || !self.alarms.is_empty() || self.closes_at != Timestamp::NEVER
    }
}

impl<J, T> Job<J, T> {
    fn number(&self) -> u64 {
        self.promise.slot.about.job
    }
}

impl<J: Send + 'static, T: Send + 'static> Shared<J, T> {
    /// All members' counters together, with the jobs and submitters that wait here.
    pub(super) fn saturation(&self) -> Saturation {
        let mut all = Saturation::default();
        for member in &self.members {
            let one = member.pool.saturation();
            all.limit += one.limit;
            all.debt += one.debt;
            all.workers += one.workers;
            all.active += one.active;
            all.idle += one.idle;
            all.starting += one.starting;
            all.abandoned += one.abandoned;
            all.missing += one.missing;
            all.queued += one.queued;
            all.queue_capacity = all.queue_capacity.saturating_add(one.queue_capacity);
            all.waiting += one.waiting;
        }
        all.queued += self.waiting_here();
        all.waiting += usize::try_from(self.book.ledger().waiting).unwrap_or(usize::MAX);
        all
    }

    /// A job ends without an output; `attempt`: how its last one failed, if that is not noted yet.
    pub(super) fn fail(&self, job: Job<J, T>, end: MixedEnd, attempt: Option<Attempt>) {
        let Job { promise, mut errand } = job;
        errand.attempts.extend(attempt);
        let attempts = std::mem::take(&mut errand.attempts);
        // Before it has ended: the pool's thread, which sees to it that nothing waits for a hand that hangs, may end with the last job.
        self.let_go(errand);
        promise.broken(end, attempts);
    }

    fn keep(&self, job: Job<J, T>, output: T) {
        let Job { promise, errand } = job;
        self.let_go(errand);
        if let Some(unwanted) = promise.kept(output) {
            self.hands.let_go(unwanted);
        }
    }

    fn let_go(&self, errand: Errand<J>) {
        // Each for itself: the drop of one may panic.
        errand.into_jobs().into_iter().flatten().for_each(|job| self.hands.let_go(job));
    }

    pub(super) fn waiting_here(&self) -> usize {
        self.state.lock().waiting_here()
    }

    /// Goes from one state of the gate to another, unless it is further on already, and says where it stands then.
    pub(super) fn turn_to(&self, gate: Gate) -> Gate {
        let _told = self.telling.lock();
        self.turn_and_tell(gate)
    }

    /// The same, for who holds `telling`.
    pub(super) fn turn_and_tell(&self, gate: Gate) -> Gate {
        let (stands, was_quiesced) = {
            let mut state = self.state.lock();
            let was = state.gate;
            if gate > was || was == Gate::Quiesced {
                state.gate = gate;
            }
            if state.gate >= Gate::Draining {
                self.places.close();
            }
            (state.gate, was == Gate::Quiesced && state.gate == Gate::Draining)
        };
        // What is paused would never drain. Nobody waits for the answers: a member that is gone has ended its jobs.
        if was_quiesced {
            for member in &self.members {
                let (reply, _) = ractor::concurrency::oneshot();
                let _ = member.pool.actor().cast(PoolMessage::Resume(reply.into()));
            }
        }
        self.book.mailbox.post(Note::Look);
        stands
    }

    /// Nobody has a handle any more: what was admitted has this long.
    pub(super) fn is_left(&self) {
        let until = self.clock.now().after(self.shutdown_limit);
        self.state.lock().closes_at = until;
        self.turn_to(Gate::Draining);
    }

    /// The job is in that member's pool.
    pub(super) fn begin(&self, job: Job<J, T>, member: usize, run: Box<dyn Run<T>>) {
        let number = job.number();
        let slot = job.promise.slot.clone();
        slot.is_with(Some((self.members[member].name.clone(), run.id())));
        self.state.lock().running.insert(number, Running { job, member, run });
        self.book.mailbox.post(Note::Ready(number));
        self.heed_cancel(number, &slot);
    }

    pub(super) fn let_wait(&self, job: Job<J, T>) {
        job.promise.slot.is_with(None);
        self.put(job, false);
        self.book.mailbox.post(Note::Look);
    }

    /// `was_offered`: by a walk along the line, which has it in its hands.
    fn put(&self, job: Job<J, T>, was_offered: bool) {
        let (expires, _) = job.errand.expires_at();
        let (number, slot) = (job.number(), job.promise.slot.clone());
        {
            let mut state = self.state.lock();
            state.expiry = state.expiry.min(expires);
            state.waiting.insert(number, job);
            // In one step, so that it is never counted twice, or not at all.
            state.offered &= !was_offered;
        }
        self.heed_cancel(number, &slot);
    }

    /// Whoever looked for the job while it was in somebody's hands has not found it.
    fn heed_cancel(&self, number: u64, slot: &Slot<T>) {
        if slot.is_cancelled() {
            self.book.mailbox.post(Note::Cancel(number));
        }
    }

    /// The life of the pool's thread: it ends when nobody comes any more and every job has ended.
    pub(super) fn drive(self: &Arc<Self>) {
        self.book.mailbox.is_read_here();
        loop {
            for note in self.book.mailbox.take() {
                // Nothing of a user's runs below but wakers, which are guarded; if something is wrong, it costs one job, and not all.
                if let Err(message) = catch(|| self.heed(note)) {
                    tracing::error!(pool = &*self.name, "a mixed pool's thread panicked: {message}");
                }
            }
            if let Err(message) = catch(|| self.pass()) {
                tracing::error!(pool = &*self.name, "a mixed pool's thread panicked: {message}");
            }
            let (gate, is_timed) = {
                let state = self.state.lock();
                (state.gate, state.is_timed())
            };
            let hands_full = self.hands.look();
            if gate >= Gate::Draining && self.book.rests() && !hands_full {
                return self.book.mailbox.is_read_no_more();
            }
            // What is posted from here on unparks it.
            if self.book.mailbox.is_empty() {
                if is_timed || hands_full { std::thread::park_timeout(TICK) } else { std::thread::park() }
            }
        }
    }

    fn heed(self: &Arc<Self>, note: Note) {
        match note {
            Note::Ready(job) => self.look_at(job),
            Note::Cancel(job) => self.cancel(job),
            Note::Look => {}
        }
    }

    /// The attempt of a job may have ended. If not, this is told when it has.
    fn look_at(self: &Arc<Self>, number: u64) {
        let Some(mut running) = self.state.lock().running.remove(&number) else { return };
        let waker = Waker::from(Arc::new(Rouse { mailbox: self.book.mailbox.clone(), job: number }));
        match running.run.poll(&mut Context::from_waker(&waker)) {
            Poll::Pending => {
                self.state.lock().running.insert(number, running);
            }
            Poll::Ready(Ok(Given::Ours(output))) => self.keep(running.job, output),
            Poll::Ready(Ok(Given::Another(make))) => {
                let shared = self.clone();
                self.hands.run(move || match catch(make) {
                    Ok(output) => shared.keep(running.job, output),
                    Err(message) => {
                        shared.has_failed(running, |member, name| Attempt::adapter(member, name, message, Traces::Over))
                    }
                });
            }
            Poll::Ready(Err(error)) => {
                let was_lost = running.run.was_lost();
                self.has_failed(running, |member, name| Attempt::job(member, name, error, was_lost));
            }
        }
    }

    /// The job goes on, or ends.
    fn has_failed(self: &Arc<Self>, running: Running<J, T>, how: impl FnOnce(usize, Arc<str>) -> Attempt) {
        let Running { mut job, member, .. } = running;
        job.errand.failed(how(member, self.members[member].name.clone()), self.clock.now());
        let Some(job) = self.unless_it_stays(job) else { return };
        let shared = self.clone();
        self.hands.run(move || {
            // It may have waited for a hand.
            let job = shared.unless_it_stays(job);
            if job.is_some_and(|job| shared.go_on(job, false)) {
                shared.book.mailbox.post(Note::Look);
            }
        });
    }

    /// Gives a job back that has failed and may be given to another member now. Otherwise it ends or waits.
    fn unless_it_stays(self: &Arc<Self>, job: Job<J, T>) -> Option<Job<J, T>> {
        let gate = self.state.lock().gate;
        if gate == Gate::Closed || job.promise.slot.is_cancelled() || !job.errand.may_go_on() {
            self.fail(job, MixedEnd::Failed, None);
            return None;
        }
        if gate == Gate::Quiesced {
            self.let_wait(job);
            return None;
        }
        Some(job)
    }

    /// Gives the job to a member; true if it waits for one instead. `was_offered`: as in `put`.
    pub(super) fn go_on(&self, mut job: Job<J, T>, was_offered: bool) -> bool {
        let placed = self.place(&mut job.errand);
        if was_offered && !matches!(placed, Placed::Waits) {
            // Before its outcome is there.
            self.state.lock().offered = false;
        }
        match placed {
            Placed::With(member, run) => self.begin(job, member, run),
            Placed::Waits => {
                job.promise.slot.is_with(None);
                self.put(job, was_offered);
                return true;
            }
            Placed::GivesUp(_) if !job.errand.attempts.is_empty() => self.fail(job, MixedEnd::Failed, None),
            Placed::GivesUp(refusals) => self.fail(job, MixedEnd::NoMember(refusals), None),
            Placed::Expired(limit) => {
                let after = self.waited(&job.errand);
                self.fail(job, MixedEnd::TimedOut { limit, after }, None);
            }
            Placed::Broke(member, message) => {
                let name = self.members[member].name.clone();
                self.fail(job, MixedEnd::Failed, Some(Attempt::adapter(member, name, message, Traces::Final)));
            }
        }
        false
    }

    fn cancel(self: &Arc<Self>, number: u64) {
        let waited = {
            let mut state = self.state.lock();
            state.waiting.remove(&number)
        };
        if let Some(job) = waited {
            return self.fail(job, MixedEnd::Cancelled, None);
        }
        let running = self.state.lock().running.remove(&number);
        if let Some(running) = running {
            running.run.cancel();
            self.state.lock().running.insert(number, running);
            // It may have ended meanwhile.
            self.look_at(number);
        }
    }

    /// What is due, for whatever reason.
    fn pass(self: &Arc<Self>) {
        let now = self.clock.now();
        let (gate, rung) = {
            let mut state = self.state.lock();
            if now >= state.closes_at {
                (state.gate, state.closes_at) = (Gate::Closed, Timestamp::NEVER);
            }
            let rung: Vec<_> = state.alarms.extract_if(|_, (at, _)| *at <= now).collect();
            (state.gate, rung)
        };
        rung.into_iter().for_each(|(_, (_, waker))| wake(waker));
        match gate {
            Gate::Open | Gate::Draining => self.walk(),
            Gate::Quiesced => {}
            Gate::Closed => self.end(Timestamp::NEVER, |_| MixedEnd::NotStarted),
        }
        let expired = now >= self.state.lock().expiry;
        if expired {
            self.end(now, |errand| MixedEnd::TimedOut { limit: errand.expires_at().1, after: self.waited(errand) });
        }
    }

    /// Has those that wait offered to members.
    fn walk(self: &Arc<Self>) {
        let mut round = {
            let mut state = self.state.lock();
            if state.waiting.is_empty() {
                return;
            }
            match std::mem::replace(&mut state.walk, Walking::Out { again: false }) {
                Walking::Rests(round) => round,
                Walking::Out { .. } => {
                    state.walk = Walking::Out { again: true };
                    return;
                }
            }
        };
        let shared = self.clone();
        self.hands.run(move || {
            if let Err(message) = catch(|| shared.hand_out(&mut round)) {
                tracing::error!(pool = &*shared.name, "a mixed pool's walk along its line panicked: {message}");
            }
            let again = {
                let mut state = shared.state.lock();
                matches!(std::mem::replace(&mut state.walk, Walking::Rests(round)), Walking::Out { again: true })
            };
            if again {
                shared.book.mailbox.post(Note::Look);
            }
        });
    }

    /// Ends those that wait and expire by `now`.
    fn end(&self, now: Timestamp, how: impl Fn(&Errand<J>) -> MixedEnd) {
        let over: Vec<_> = {
            let mut state = self.state.lock();
            let over = state.waiting.extract_if(.., |_, job| job.errand.expires_at().0 <= now).collect();
            let expiry = state.waiting.values().map(|job| job.errand.expires_at().0).min();
            state.expiry = expiry.unwrap_or(Timestamp::NEVER);
            over
        };
        for (_, job) in over {
            let end = how(&job.errand);
            self.fail(job, end, None);
        }
    }
}
