//! Every worker of every member, in one table, and whether they can do their work.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use millpond::{Saturation, WorkerRow};

use super::{MemberView, MixedPool};

/// Whether a mixed pool can do its work. Which member cannot, and why, [`MixedPool::members`] says.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum MixedHealth {
    /// Every member is open and healthy.
    Healthy,
    /// Some member is paused, or closed, or lacks workers; there is one that works.
    Degraded,
    /// No member works off what it is given.
    Unavailable,
}

impl fmt::Display for MixedHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unavailable => "unavailable",
        })
    }
}

/// A worker, with the name of the member whose it is. Its number, and its job's, are that pool's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MixedRow {
    /// The member's name.
    pub member: Arc<str>,
    /// The worker.
    pub row: WorkerRow,
}

/// Every worker of every member. Prints as a table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MixedInventory {
    /// The mixed pool's name.
    pub pool: Arc<str>,
    /// All members' counters together.
    pub saturation: Saturation,
    /// Jobs that wait here, since no member has them. They are in the saturation's `queued`.
    pub waiting_here: usize,
    /// Whether it can do its work.
    pub health: MixedHealth,
    /// The members, in the order in which they were given.
    pub members: Vec<MemberView>,
    /// One row a worker, by member and slot.
    pub workers: Vec<MixedRow>,
}

impl<J: Send + 'static, T: Send + 'static> MixedPool<J, T> {
    /// Every worker of every member, read in the caller: answers whatever the load. The members are read one after the other.
    pub fn inventory_now(&self) -> MixedInventory {
        let shared = self.shared();
        let mut workers = Vec::new();
        for member in &shared.members {
            let rows = member.pool.inventory_now().workers.into_iter();
            workers.extend(rows.map(|row| MixedRow { member: member.name.clone(), row }));
        }
        let members = self.members();
        MixedInventory {
            pool: shared.name.clone(),
            saturation: shared.saturation(),
            waiting_here: shared.waiting_here(),
            health: health_of(&members),
            members,
            workers,
        }
    }

    /// Whether it can do its work.
    pub fn health(&self) -> MixedHealth {
        health_of(&self.members())
    }
}

fn health_of(members: &[MemberView]) -> MixedHealth {
    if !members.iter().any(MemberView::works) {
        MixedHealth::Unavailable
    } else if members.iter().all(|member| member.works() && member.health.is_healthy()) {
        MixedHealth::Healthy
    } else {
        MixedHealth::Degraded
    }
}

/// Prints the counters of all, a line for each member that does not work or lacks workers, and a row for each worker.
impl fmt::Display for MixedInventory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "mixed pool `{}`: {}, {} here, {}", self.pool, self.saturation, self.waiting_here, self.health)?;
        for member in self.members.iter().filter(|member| member.gate != "open" || !member.health.is_healthy()) {
            write!(f, "\n`{}` is {}, {}", member.name, member.gate, member.health)?;
        }
        let rows: Vec<_> = self.workers.iter().map(cells).collect();
        let head = ["member", "worker", "state", "for", "job", "label", "from"].map(str::to_owned);
        let all = || std::iter::once(&head).chain(&rows);
        let widths: [usize; COLUMNS] =
            std::array::from_fn(|column| all().map(|row| row[column].chars().count()).max().unwrap_or(0));
        for row in all() {
            let padded = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
            write!(f, "\n{}", padded.collect::<Vec<_>>().join(" ").trim_end())?;
        }
        Ok(())
    }
}

const COLUMNS: usize = 7;

fn cells(MixedRow { member, row }: &MixedRow) -> [String; COLUMNS] {
    let [id, label, from] = match &row.job {
        None => ["-", "", ""].map(str::to_owned),
        Some(job) => {
            let label = job.label.as_deref().unwrap_or("-");
            [job.id.to_string(), plain(label), job.submitted_from.to_string()]
        }
    };
    [plain(member), row.worker.to_string(), row.state.to_string(), span(row.in_state_for), id, label, from]
}

/// A line break or an escape in a name must not tear the table.
fn plain(text: &str) -> String {
    text.replace(char::is_control, "\u{fffd}")
}

fn span(span: Duration) -> String {
    format!("{span:.1?}")
}
