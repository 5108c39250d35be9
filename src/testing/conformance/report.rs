//! Running the suite, and what comes of it.

use std::fmt;

use super::rig::Rig;
use super::{BODIES, Body, Subject, run};
use crate::job::{Caught, catch};

/// What came of one body.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The clause holds.
    Holds,
    /// It does not: what was seen, and where in the suite.
    Broken(String),
    /// It says nothing of this subject, and why.
    DoesNotApply(&'static str),
}

/// One body, and what came of it.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Row {
    /// The body.
    pub body: Body,
    /// What came of it.
    pub verdict: Verdict,
}

/// What came of all bodies. Prints as one line each.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Report {
    /// What the backend calls its pools.
    pub kind: &'static str,
    /// One row a body, in the order of [`BODIES`].
    pub rows: Vec<Row>,
}

impl Report {
    /// True if no clause is broken.
    pub fn holds(&self) -> bool {
        self.broken().next().is_none()
    }

    /// The bodies whose clauses are broken.
    pub fn broken(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| matches!(row.verdict, Verdict::Broken(_)))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = |wanted: fn(&Verdict) -> bool| self.rows.iter().filter(|row| wanted(&row.verdict)).count();
        let holds = count(|verdict| matches!(verdict, Verdict::Holds));
        let silent = count(|verdict| matches!(verdict, Verdict::DoesNotApply(_)));
        let broken = self.broken().count();
        write!(f, "{}: {holds} clauses hold, {broken} are broken, {silent} do not apply", self.kind)?;
        let mut matter = "";
        for Row { body, verdict } in &self.rows {
            if body.matter != matter {
                matter = body.matter;
                write!(f, "\n{matter}")?;
            }
            let name = body.name.replace('_', " ");
            match verdict {
                Verdict::Holds => write!(f, "\n  holds   {name}")?,
                Verdict::DoesNotApply(why) => write!(f, "\n  -       {name}: {why}")?,
                Verdict::Broken(what) => write!(f, "\n  BROKEN  {name}\n          {}\n          {what}", body.clause)?,
            }
        }
        Ok(())
    }
}

/// Runs every body, one after the other, on the calling thread, and says what came of each. For a thread that is on no runtime.
///
/// A clause that is broken prints its panic as any panic does.
pub fn run_all<S: Subject>(subject: &S) -> Report {
    let rows = BODIES.iter().map(|body| Row { body: *body, verdict: verdict_of(subject, body) }).collect();
    Report { kind: Rig(subject).capabilities().kind, rows }
}

/// The same for one body, by its [id](Body::id).
///
/// # Panics
///
/// If there is no such body.
pub fn run_one<S: Subject>(subject: &S, id: &str) -> Row {
    let body = BODIES.iter().find(|body| body.id == id);
    let body = body.unwrap_or_else(|| panic!("there is no body `{id}` in the suite"));
    Row { body: *body, verdict: verdict_of(subject, body) }
}

/// The same as a test has it: it passes, or fails.
///
/// # Panics
///
/// If the clause does not hold, with the clause and what was seen; or if there is no such body.
pub fn check<S: Subject>(subject: &S, id: &str) {
    let Row { body, verdict } = run_one(subject, id);
    if let Verdict::Broken(what) = verdict {
        panic!("a clause of the contract is broken: {}\n{what}", body.clause);
    }
}

fn verdict_of<S: Subject>(subject: &S, body: &Body) -> Verdict {
    let ran = catch(|| {
        let rig = Rig(subject);
        if let Some(why) = body.needs.unmet(subject, rig.capabilities()) {
            return Verdict::DoesNotApply(why);
        }
        run(rig, body.id);
        Verdict::Holds
    });
    ran.unwrap_or_else(|Caught { message, location, .. }| {
        Verdict::Broken(format!("{message} (at {})", location.as_deref().unwrap_or("a place that is not known")))
    })
}
