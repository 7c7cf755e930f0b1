//! Worker threads that apply one update together, as Burn's distributed data parallel training has them.

use alloc::format;
use alloc::string::String;
use alloc::sync::{Arc, Weak};
use alloc::vec::Vec;
use burn::tensor::Device;
use std::cell::RefCell;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

use super::error::CenterLossError;
use crate::centers::{CentersError, Pulls};
use crate::device::order_of;

/// Where the workers of a training meet at each step: each hands in its updates, and each receives those of
/// all.
///
/// A worker is a thread. Burn clones its models at each step, so that no clone tells which worker it belongs
/// to. All clones of a loss share the meeting.
#[derive(Debug)]
pub(super) struct Meeting {
    workers: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// All workers that were seen, in the order in which they were first seen.
    members: Vec<Member>,
    /// The place of the first worker that has ended.
    first_gone: Option<usize>,
    handed_in: Vec<Part>,
    /// How many meetings have ended.
    meetings: u64,
    /// Of the last meeting that has ended.
    outcome: Option<Outcome>,
}

#[derive(Debug)]
struct Member {
    thread: ThreadId,
    name: String,
    is_gone: bool,
}

/// What a worker hands in. Parts are merged in the order of their ranks.
#[derive(Debug)]
struct Part {
    thread: ThreadId,
    /// The place of the worker's device among all devices, and of the worker among those that were seen.
    rank: ((u16, u16), usize),
    updates: Vec<Pulls>,
}

/// The merged updates of all workers, if there are any, and how many they are.
pub(super) type Outcome = Result<(Option<Pulls>, usize), CentersError>;

impl Meeting {
    pub fn new(workers: usize) -> Self {
        Self {
            workers,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    /// Makes this thread known as a worker, so that the others fail if it ends.
    pub fn join(self: &Arc<Self>) -> Result<(), CenterLossError> {
        let mut state = self.lock();
        let thread = thread::current();
        if state.place(thread.id()).is_some() {
            return Ok(());
        }
        let are_all_gone = state.members.iter().all(|member| member.is_gone);
        if state.members.len() == self.workers && are_all_gone {
            // They were the workers of an earlier training.
            state.members.clear();
            state.first_gone = None;
        }
        let name = match thread.name() {
            Some(name) => format!("{name} ({:?})", thread.id()),
            None => format!("{:?}", thread.id()),
        };
        if state.members.len() == self.workers {
            return Err(CenterLossError::TooManyWorkers {
                worker: name,
                workers: self.workers,
            });
        }
        state.members.push(Member {
            thread: thread.id(),
            name,
            is_gone: false,
        });
        Membership::note(self);
        state.refuse_departures()
    }

    /// Waits until all workers have handed in their updates, and returns those of all. `device` is the
    /// worker's own.
    pub fn meet(
        self: &Arc<Self>,
        updates: Vec<Pulls>,
        device: &Device,
    ) -> Result<Outcome, CenterLossError> {
        self.join()?;
        let mut state = self.lock();
        state.refuse_departures()?;
        let thread = thread::current().id();
        let place = state.place(thread).expect("the thread has joined");
        state.handed_in.push(Part {
            thread,
            rank: (order_of(device), place),
            updates,
        });
        if state.handed_in.len() == self.workers {
            let parts = core::mem::take(&mut state.handed_in);
            // A backend that fails in there ends this thread, which the others then notice.
            drop(state);
            let outcome = merge(parts);
            let mut state = self.lock();
            state.meetings += 1;
            state.outcome = Some(outcome.clone());
            self.changed.notify_all();
            return Ok(outcome);
        }
        let meeting = state.meetings;
        while state.meetings == meeting {
            if let Err(gone) = state.refuse_departures() {
                state.handed_in.retain(|part| part.thread != thread);
                return Err(gone);
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
        Ok(state.outcome.clone().expect("the meeting has ended"))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn leave(&self, thread: ThreadId) {
        let mut state = self.lock();
        if let Some(place) = state.place(thread) {
            state.members[place].is_gone = true;
            state.first_gone.get_or_insert(place);
        }
        self.changed.notify_all();
    }
}

impl State {
    fn place(&self, thread: ThreadId) -> Option<usize> {
        self.members
            .iter()
            .position(|member| member.thread == thread)
    }

    fn refuse_departures(&self) -> Result<(), CenterLossError> {
        match self.first_gone {
            Some(place) => Err(CenterLossError::WorkerGone {
                worker: self.members[place].name.clone(),
            }),
            None => Ok(()),
        }
    }
}

/// All updates in the order of the ranks, and those of a worker in the order in which they were noted.
fn merge(mut parts: Vec<Part>) -> Outcome {
    parts.sort_by_key(|part| part.rank);
    let updates: Vec<Pulls> = parts.into_iter().flat_map(|part| part.updates).collect();
    let count = updates.len();
    Ok((Pulls::merge(updates)?, count))
}

std::thread_local! {
    static MEMBERSHIPS: RefCell<Vec<Membership>> = const { RefCell::new(Vec::new()) };
}

/// Tells a meeting that the thread has ended, by a panic or otherwise.
struct Membership {
    meeting: Weak<Meeting>,
    thread: ThreadId,
}

impl Membership {
    fn note(meeting: &Arc<Meeting>) {
        let membership = Self {
            meeting: Arc::downgrade(meeting),
            thread: thread::current().id(),
        };
        MEMBERSHIPS.with_borrow_mut(|all| {
            all.retain(|other| other.meeting.strong_count() > 0);
            all.push(membership);
        });
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if let Some(meeting) = self.meeting.upgrade() {
            meeting.leave(self.thread);
        }
    }
}
