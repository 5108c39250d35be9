//! What a hook's actor is sent, and what pools are given hooks by.

use ractor::{ActorRef, RpcReplyPort};

use super::credit::Receipt;
use super::hosted::Launch;
use crate::backend::Refusals;
use crate::config::{ConfigError, check_limit, check_name};
use crate::control::side::Aside;
use crate::hook::{Hook, HookContext, HookOptions, LONGEST_DELAY, Notice, Question, Verdict};
use crate::sync::Arc;

/// What a pool sends to a hook that is an actor of yours. Reply, or drop the port: then the hook's default verdict counts.
///
/// ```
/// use millpond::{HookMessage, Question, Verdict};
///
/// fn handle(message: HookMessage) {
///     match message {
///         HookMessage::Asked { question: Question::Shrink { .. }, reply, .. } => drop(reply.send(Verdict::deny("not today"))),
///         HookMessage::Asked { reply, .. } => drop(reply.send(Verdict::Allow)),
///         HookMessage::Told { notice, .. } => println!("{notice:?}"),
///         _ => {}
///     }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum HookMessage {
    /// May this be done? Nobody waits for the reply for longer than the hook's limit.
    Asked {
        /// Who asks.
        context: HookContext,
        /// What.
        question: Question,
        /// Where the verdict goes. Closed once nobody waits for it any more.
        reply: RpcReplyPort<Verdict>,
        /// Drop it when the question is dealt with.
        receipt: Receipt,
    },
    /// This has happened.
    Told {
        /// Who tells.
        context: HookContext,
        /// What.
        notice: Notice,
        /// Drop it when the notice is dealt with: 64 may be out at once, and what comes beyond is counted in [`Notice::Missed`].
        receipt: Receipt,
    },
}

#[cfg(feature = "cluster")]
impl ractor::Message for HookMessage {}

pub(super) enum Host {
    /// In an actor of ours, on a thread of its own.
    Side(Aside<dyn Launch>),
    /// In an actor of somebody else's.
    Foreign(ActorRef<HookMessage>),
}

/// A hook with its name and options, to be given to a pool: at build, or later by [`PoolExecutor::set_hook`](crate::PoolExecutor::set_hook).
pub struct HookSpec {
    pub(super) name: Arc<str>,
    pub(super) host: Host,
    pub(super) options: HookOptions,
    /// So many threads the system refuses to it, for tests.
    pub(crate) refusals: Refusals,
}

impl HookSpec {
    /// A hook that is hosted in an actor of millpond's, on a thread of its own, which is started when there is something to ask or tell.
    pub fn new(name: impl AsRef<str>, hook: impl Hook) -> Self {
        Self::of(name.as_ref(), Host::Side(Aside::new(Arc::new(hook))))
    }

    /// An actor of your own. It is not linked: it stays its supervisor's. One that has ended counts as its default verdict.
    pub fn actor(name: impl AsRef<str>, actor: ActorRef<HookMessage>) -> Self {
        Self::of(name.as_ref(), Host::Foreign(actor))
    }

    fn of(name: &str, host: Host) -> Self {
        Self { name: Arc::from(name), host, options: HookOptions::new(), refusals: Refusals::default() }
    }

    /// Sets its limit, its default verdict, and whether it is asked at all.
    #[must_use]
    pub fn options(mut self, options: HookOptions) -> Self {
        self.options = options;
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(in crate::control) fn check(&self) -> Result<(), ConfigError> {
        check_name("hook", &self.name)?;
        check_limit("hook limit", Some(self.options.limit))?;
        match self.options.default {
            Verdict::Delay(delay) if delay > LONGEST_DELAY => {
                Err(ConfigError::HookDelay { hook: self.name.to_string(), delay })
            }
            _ => Ok(()),
        }
    }
}

impl std::fmt::Debug for HookSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HookSpec").field("name", &self.name).field("options", &self.options).finish_non_exhaustive()
    }
}

/// Hooks of one pool at most: each costs a message a question.
const MAX_HOOKS: usize = 64;

/// What hooks a pool is built with, checked.
pub(crate) fn check_hooks(hooks: &[HookSpec]) -> Result<(), ConfigError> {
    for (index, hook) in hooks.iter().enumerate() {
        hook.check()?;
        if hooks[..index].iter().any(|other| other.name == hook.name) {
            return Err(ConfigError::DuplicateHook(hook.name.to_string()));
        }
    }
    check_count(hooks.len())
}

pub(super) fn check_count(hooks: usize) -> Result<(), ConfigError> {
    if hooks > MAX_HOOKS { Err(ConfigError::TooManyHooks { hooks, most: MAX_HOOKS }) } else { Ok(()) }
}
